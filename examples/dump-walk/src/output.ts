import { once } from 'node:events';
import process from 'node:process';
import { ExitCode } from './problem.ts';
import type { Progress } from './progress.ts';

const ENOUGH = 0x1_0000;

/** Standard output, in large pieces, no faster than its reader takes them. */
export class Output {
  readonly #progress: Progress;
  #pending = '';
  #isScheduled = false;

  constructor(progress: Progress) {
    this.#progress = progress;
    // Whoever reads has seen enough, as `head` does: that is no error.
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(ExitCode.Done);
      process.stderr.write(`dump-walk: cannot write: ${error.message}\n`);
      process.exit(ExitCode.BadFile);
    });
  }

  /** Adds lines. Returns whether there is so much by now that {@link flush} should be awaited. */
  add(lines: string): boolean {
    this.#pending += `${lines}\n`;
    if (!this.#isScheduled) {
      // Whoever waits for an answer gets it as soon as there is nothing else to do.
      this.#isScheduled = true;
      setImmediate(() => {
        this.#isScheduled = false;
        void this.flush();
      });
    }
    return this.#pending.length >= ENOUGH;
  }

  async flush(): Promise<void> {
    const pending = this.#pending;
    this.#pending = '';
    if (pending === '') return;
    if (process.stdout.isTTY === true) this.#progress.clear();
    if (!process.stdout.write(pending)) await once(process.stdout, 'drain');
  }
}
