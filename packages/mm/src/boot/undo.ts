/** Steps backwards: each entry undoes one step. They run in the reverse order, once. */
export class Undo {
  readonly #steps: { readonly run: () => void; readonly onFailure: boolean }[] = [];

  /** @param onFailure - undoes a step only if the whole fails: {@link settle} forgets it */
  push(run: () => void, onFailure = false): void {
    this.#steps.push({ run, onFailure });
  }

  /** Moves the entries of another list to the end of this one. */
  take(other: Undo): void {
    this.#steps.push(...other.#steps.splice(0));
  }

  /** Forgets the entries for a failure: the whole has succeeded. */
  settle(): void {
    this.#steps.splice(0, Number.POSITIVE_INFINITY, ...this.#steps.filter(({ onFailure }) => !onFailure));
  }

  /**
   * Runs the entries, last first. An entry that throws stays, with those before it: the next call continues with it.
   *
   * @throws the error of the entry
   */
  run(): void {
    for (;;) {
      const step = this.#steps.at(-1);
      if (step === undefined) return;
      step.run();
      this.#steps.pop();
    }
  }
}
