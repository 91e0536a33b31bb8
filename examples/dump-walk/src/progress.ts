import process from 'node:process';

const EVERY_MS = 200;

/** A progress line on standard error, rewritten in place. It is not shown if standard error is not a terminal. */
export class Progress {
  readonly #isShown: boolean = process.stderr.isTTY === true;
  #next = Date.now() + EVERY_MS;
  #isThere = false;

  /** Shows the result of `text`, unless the line was updated a moment ago. */
  tell(text: () => string): void {
    if (!this.#isShown) return;
    const now = Date.now();
    if (now < this.#next) return;
    this.#next = now + EVERY_MS;
    this.#isThere = true;
    process.stderr.write(`\r\u001b[K${text()}`);
  }

  /** Removes the line, so that other output can follow. */
  clear(): void {
    if (this.#isThere) process.stderr.write('\r\u001b[K');
    this.#isThere = false;
  }
}
