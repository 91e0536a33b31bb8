/**
 * The largest value of each part of a list of numbers, as a binary tree: it finds the first number from a place on that is at
 * least a bound. A search and a change are O(log n).
 */
export class GapTree {
  /** Node k has the children 2k and 2k + 1; the leaves begin at {@link #leaves}. */
  readonly #nodes: Float64Array;
  readonly #leaves: number;
  /** The places whose numbers have to be set again before a search. */
  readonly stale: Set<number> = new Set();

  /** @param values - at least one; −Infinity if a place is never to be found */
  constructor(values: readonly number[]) {
    this.#leaves = 2 ** Math.ceil(Math.log2(values.length));
    this.#nodes = new Float64Array(2 * this.#leaves).fill(Number.NEGATIVE_INFINITY);
    this.#nodes.set(values, this.#leaves);
    for (let node = this.#leaves - 1; node >= 1; node -= 1) this.#update(node);
  }

  /** Replaces the number at a place. */
  set(place: number, value: number): void {
    let node = this.#leaves + place;
    this.#nodes[node] = value;
    for (node >>>= 1; node >= 1; node >>>= 1) this.#update(node);
  }

  /** The first place from `from` on whose number is at least `bound`, or −1. */
  firstFrom(from: number, bound: number): number {
    if (from >= this.#leaves) return -1;
    let node = this.#leaves + from;
    while (this.#nodes[node]! < bound) {
      // The next node to the right that covers what has not been seen: none if the way up has only right children.
      while ((node & 1) === 1) node >>>= 1;
      if (node === 0) return -1;
      node += 1;
    }
    while (node < this.#leaves) {
      node *= 2;
      if (this.#nodes[node]! < bound) node += 1;
    }
    return node - this.#leaves;
  }

  #update(node: number): void {
    this.#nodes[node] = Math.max(this.#nodes[2 * node]!, this.#nodes[2 * node + 1]!);
  }
}
