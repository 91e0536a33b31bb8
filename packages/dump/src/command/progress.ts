import process from 'node:process';
import { clearLine, cursorTo } from 'node:readline';
import type { OnProgress } from '../source/on-progress.ts';

const EVERY_MS = 200;
const WIDTH = 30;

/** A progress bar on standard error, rewritten in place. It is not shown if standard error is not a terminal. */
export class Progress {
  readonly #isShown: boolean = process.stderr.isTTY === true;
  #next = Date.now() + EVERY_MS;
  #isThere = false;

  /** Shows the progress, unless the line was updated a moment ago. */
  readonly report: OnProgress = (done, total, what) => {
    if (!this.#isShown) return;
    const now = Date.now();
    if (now < this.#next) return;
    this.#next = now + EVERY_MS;
    this.clear();
    this.#isThere = true;
    process.stderr.write(barOf(done, total, what));
  };

  /** Removes the line, so that other output can follow. */
  clear(): void {
    if (!this.#isThere) return;
    this.#isThere = false;
    cursorTo(process.stderr, 0);
    clearLine(process.stderr, 0);
  }
}

/** The text of the bar. Without a total, it is only the number. */
export function barOf(done: number, total: number | undefined, what: string): string {
  if (total === undefined || total <= 0) return `${done} ${what}`;
  const part = Math.min(1, done / total);
  const full = Math.floor(part * WIDTH);
  return `[${'#'.repeat(full)}${'.'.repeat(WIDTH - full)}] ${Math.floor(part * 100)} % of ${total} ${what}`;
}
