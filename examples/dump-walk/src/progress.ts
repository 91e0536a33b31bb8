import process from 'node:process';

const EVERY_MS = 200;

/** One line on standard error that says how far things are, rewritten in place; none at all where that is no terminal. */
export class Progress {
  readonly #isShown: boolean = process.stderr.isTTY === true;
  #next = Date.now() + EVERY_MS;
  #isThere = false;

  /** Shows what `text` gives, if it is time. */
  tell(text: () => string): void {
    if (!this.#isShown) return;
    const now = Date.now();
    if (now < this.#next) return;
    this.#next = now + EVERY_MS;
    this.#isThere = true;
    process.stderr.write(`\r\u001b[K${text()}`);
  }

  /** Takes the line away, so that other output can come. */
  clear(): void {
    if (this.#isThere) process.stderr.write('\r\u001b[K');
    this.#isThere = false;
  }
}
