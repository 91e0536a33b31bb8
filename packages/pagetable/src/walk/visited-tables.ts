/**
 * Tables that a walk has been to. Most walks meet frames that lie above or below all before them, as an allocator gives them:
 * those are new without a look, and a set is made only where they do not.
 */
export class VisitedTables {
  readonly #tables: number[] = [];
  #set: Set<number> | undefined;
  #lowest = Number.POSITIVE_INFINITY;
  #highest = Number.NEGATIVE_INFINITY;

  /** Returns whether it is new. */
  add(table: number): boolean {
    if (table >= this.#lowest && table <= this.#highest) {
      this.#set ??= new Set(this.#tables);
      if (this.#set.has(table)) return false;
    }
    if (table < this.#lowest) this.#lowest = table;
    if (table > this.#highest) this.#highest = table;
    if (this.#set === undefined) this.#tables.push(table);
    else this.#set.add(table);
    return true;
  }
}
