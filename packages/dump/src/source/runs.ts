/** A run of addresses that are at `delta` more in a file. */
export interface Run {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly delta: number;
}

const FIELDS = 3;

/** A list of runs in a typed array, because a file can have a million of them. */
export class Runs {
  #fields: Float64Array = new Float64Array(FIELDS * 64);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Adds a run, unless it is empty. */
  add(start: number, end: number, delta: number): void {
    if (end <= start) return;
    const at = this.#length * FIELDS;
    if (at === this.#fields.length) {
      const larger = new Float64Array(at * 2);
      larger.set(this.#fields);
      this.#fields = larger;
    }
    this.#fields[at] = start;
    this.#fields[at + 1] = end;
    this.#fields[at + 2] = delta;
    this.#length += 1;
  }

  start(index: number): number {
    return this.#fields[index * FIELDS]!;
  }

  end(index: number): number {
    return this.#fields[index * FIELDS + 1]!;
  }

  delta(index: number): number {
    return this.#fields[index * FIELDS + 2]!;
  }

  /** The indexes of the runs by start. Runs with the same start keep their order. */
  order(): Uint32Array {
    return this.#order((a, b) => this.start(a) - this.start(b));
  }

  /** The runs by start. */
  *sorted(): Generator<Run, undefined, undefined> {
    for (const i of this.order()) {
      yield { start: this.start(i), end: this.end(i), delta: this.delta(i) };
    }
  }

  /** All runs of both lists. */
  with(other: Runs): Runs {
    const both = new Runs();
    for (const runs of [this, other]) {
      for (let i = 0; i < runs.length; i += 1) both.add(runs.start(i), runs.end(i), runs.delta(i));
    }
    return both;
  }

  /** The same addresses at the same places by start, with runs joined that touch or overlap and have the same delta. */
  joined(): Runs {
    const byDelta = this.#order((a, b) => this.delta(a) - this.delta(b) || this.start(a) - this.start(b));
    const joined = new Runs();
    let [start, end, delta] = [0, -1, 0];
    for (const i of byDelta) {
      if (this.delta(i) === delta && this.start(i) <= end) end = Math.max(end, this.end(i));
      else {
        joined.add(start, end, delta);
        [start, end, delta] = [this.start(i), this.end(i), this.delta(i)];
      }
    }
    joined.add(start, end, delta);
    const result = new Runs();
    for (const run of joined.sorted()) result.add(run.start, run.end, run.delta);
    return result;
  }

  /** The number of addresses; each counts once. */
  covered(): number {
    let [sum, reached] = [0, 0];
    for (const { start, end } of this.sorted()) {
      sum += Math.max(0, end - Math.max(start, reached));
      reached = Math.max(reached, end);
    }
    return sum;
  }

  /** The addresses of this list that `other` does not have, ascending. */
  *without(other: Runs): Generator<{ start: number; end: number }, undefined, undefined> {
    const others = [...other.sorted()];
    let next = 0;
    for (let { start, end } of this.sorted()) {
      while (next < others.length && others[next]!.end <= start) next += 1;
      for (let i = next; i < others.length && others[i]!.start < end; i += 1) {
        if (others[i]!.start > start) yield { start, end: others[i]!.start };
        start = Math.max(start, others[i]!.end);
      }
      if (start < end) yield { start, end };
    }
  }

  /**
   * Splits the list into the fewest lists in which no two runs overlap, each sorted.
   *
   * @param tooMany - called with an address that is in more than `most` runs
   */
  layers(most: number, tooMany: (address: number) => never): Runs[] {
    const layers: Runs[] = [];
    for (const { start, end, delta } of this.sorted()) {
      let layer = layers.find((runs) => runs.end(runs.length - 1) <= start);
      if (layer === undefined) {
        if (layers.length === most) tooMany(start);
        layer = new Runs();
        layers.push(layer);
      }
      layer.add(start, end, delta);
    }
    return layers;
  }

  /** The index of the run with `address`, or -1. The list must be sorted and disjoint. O(log n). */
  indexAt(address: number): number {
    const index = this.#lastFrom(address);
    return index >= 0 && this.end(index) > address ? index : -1;
  }

  /** The first address from `address` on that a run has. The list must be sorted and disjoint. O(log n). */
  firstFrom(address: number): number | undefined {
    const index = this.#lastFrom(address);
    if (index >= 0 && this.end(index) > address) return address;
    return index + 1 < this.#length ? this.start(index + 1) : undefined;
  }

  /** The parts of runs between `start` and `end`. The list must be sorted and disjoint. */
  *within(
    start: number,
    end: number,
  ): Generator<{ from: number; to: number; delta: number }, undefined, undefined> {
    for (let i = Math.max(0, this.#lastFrom(start)); i < this.#length && this.start(i) < end; i += 1) {
      const from = Math.max(start, this.start(i));
      const to = Math.min(end, this.end(i));
      if (from < to) yield { from, to, delta: this.delta(i) };
    }
  }

  /** The index of the last run that starts at or before `address`, or -1. */
  #lastFrom(address: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.start(middle) <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #order(compare: (a: number, b: number) => number): Uint32Array {
    const order = Uint32Array.from({ length: this.#length }, (_, i) => i);
    let isSorted = true;
    for (let i = 1; i < order.length && isSorted; i += 1) isSorted = compare(i - 1, i) <= 0;
    return isSorted ? order : order.sort(compare);
  }
}
