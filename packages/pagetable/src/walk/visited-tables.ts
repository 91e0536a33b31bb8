/**
 * The set of tables that a walk has visited. Allocators tend to return frames in order, so most walks meet each table
 * above or below all earlier ones: such a table is new without a lookup. A `Set` is made only when one lies between.
 */
export class VisitedTables {
  readonly #tables: number[] = [];
  #set: Set<number> | undefined;
  #lowest = Number.POSITIVE_INFINITY;
  #highest = Number.NEGATIVE_INFINITY;

  /** Adds a table. Returns whether it is new. */
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
