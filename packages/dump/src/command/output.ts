import { once } from 'node:events';
import process from 'node:process';
import { printableLines } from '../source/printable.ts';
import { ExitCode } from './problem.ts';
import type { Progress } from './progress.ts';

const ENOUGH = 0x1_0000;

/** Standard output, written in large pieces, no faster than its reader reads them, without characters that terminals obey. */
export class Output {
  /** Colours lines that have no escape codes. */
  paint: (lines: string) => string = (lines) => lines;
  readonly #progress: Progress;
  #pending = '';
  #isScheduled = false;
  #isFull = false;

  constructor(progress: Progress) {
    this.#progress = progress;
    // A reader such as `head` may stop reading. This is not an error.
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      progress.clear();
      if (error.code === 'EPIPE') process.exit(ExitCode.Done);
      process.stderr.write(`svsm-dump: cannot write: ${error.message}\n`);
      process.exit(ExitCode.BadFile);
    });
  }

  /** Adds lines. Returns whether so much is pending that the caller should await {@link flush}. */
  add(lines: string): boolean {
    this.#pending += `${lines}\n`;
    if (!this.#isScheduled) {
      // An interactive reader gets the lines as soon as there is nothing else to do.
      this.#isScheduled = true;
      setImmediate(() => {
        this.#isScheduled = false;
        void this.flush();
      });
    }
    return this.#pending.length >= ENOUGH;
  }

  /** Writes bytes as they are. Returns whether the caller should await {@link flush}. */
  write(bytes: Uint8Array): boolean {
    if (process.stdout.isTTY === true) this.#progress.clear();
    this.#isFull = !process.stdout.write(bytes);
    return this.#isFull;
  }

  async flush(): Promise<void> {
    if (this.#isFull) {
      this.#isFull = false;
      await once(process.stdout, 'drain');
    }
    // Escape codes of a dump or its name are gone before those of colours come in.
    const pending = this.paint(printableLines(this.#pending));
    this.#pending = '';
    if (pending === '') return;
    if (process.stdout.isTTY === true) this.#progress.clear();
    if (!process.stdout.write(pending)) await once(process.stdout, 'drain');
  }
}
