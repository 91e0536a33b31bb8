/**
 * A value for each integer from 0 on, kept per run of equal values: the state of memory in which almost everything is
 * alike. A run costs some 20 bytes.
 *
 * n is the number of runs.
 */
export class RunMap<V> {
  /** The first number of each run, ascending from 0. */
  readonly #starts: number[] = [0];
  readonly #values: V[];
  readonly #areEqual: (left: V, right: V) => boolean;
  /** The index of the run that was found last. */
  #last = 0;

  /** A map in which every number has `value`. O(1). */
  constructor(value: V, areEqual: (left: V, right: V) => boolean = Object.is) {
    this.#values = [value];
    this.#areEqual = areEqual;
  }

  /** The number of runs. */
  get runs(): number {
    return this.#starts.length;
  }

  /** The value of a number. O(1) in the run of the last call, else O(log n). */
  get(at: number): V {
    return this.#values[this.#indexOf(at)] as V;
  }

  /** The first number of the run around a number. O(log n). */
  startOf(at: number): number {
    return this.#starts[this.#indexOf(at)] as number;
  }

  /** The exclusive end of the run around a number: Infinity for the last run. O(log n). */
  endOf(at: number): number {
    return this.#endOfRun(this.#indexOf(at));
  }

  /** Sets the value of the numbers from `start` to `end`, exclusive. O(log n), and O(n) to move the runs above. */
  set(start: number, end: number, value: V): void {
    if (end <= start) return;
    let first = this.#indexOf(start);
    const endOfFirst = this.#endOfRun(first);
    if (end <= endOfFirst && this.#areEqual(this.#values[first] as V, value)) return;
    // The next numbers join the run below: a loop over pages does it. They must not join the run above too.
    const isNext = first > 0 && this.#starts[first] === start && end < endOfFirst;
    if (isNext && this.#areEqual(this.#values[first - 1] as V, value)) {
      this.#starts[first] = end;
      return;
    }
    if (this.#starts[first] === start && end <= endOfFirst) {
      const isWhole = end === endOfFirst;
      const joinsBelow = first > 0 && this.#areEqual(this.#values[first - 1] as V, value);
      const hasAbove = isWhole && first + 1 < this.#starts.length;
      const joinsAbove = hasAbove && this.#areEqual(this.#values[first + 1] as V, value);
      if (!joinsBelow && !joinsAbove) {
        // A loop over pages that changes each in several steps does this.
        if (!isWhole) {
          this.#starts.splice(first + 1, 0, end);
          this.#values.splice(first, 0, value);
        } else this.#values[first] = value;
        return;
      }
      if (isWhole && !joinsAbove) {
        this.#starts.splice(first, 1);
        this.#values.splice(first, 1);
        this.#last = first - 1;
        return;
      }
    }
    let last = this.#indexOf(end - 1);
    const [starts, values]: [number[], V[]] = [[], []];
    if (this.#starts[first]! < start) {
      starts.push(this.#starts[first]!);
      values.push(this.#values[first]!);
    } else if (first > 0) {
      first -= 1;
      starts.push(this.#starts[first]!);
      values.push(this.#values[first]!);
    }
    const add = (at: number, next: V): void => {
      if (values.length > 0 && this.#areEqual(values.at(-1) as V, next)) return;
      starts.push(at);
      values.push(next);
    };
    add(start, value);
    const after = this.#endOfRun(last);
    if (end < after) add(end, this.#values[last]!);
    else if (last + 1 < this.#starts.length) {
      last += 1;
      add(end, this.#values[last]!);
    }
    this.#starts.splice(first, last - first + 1, ...starts);
    this.#values.splice(first, last - first + 1, ...values);
    this.#last = first;
  }

  #endOfRun(index: number): number {
    return this.#starts[index + 1] ?? Number.POSITIVE_INFINITY;
  }

  #indexOf(at: number): number {
    const starts = this.#starts;
    const last = this.#last;
    if (starts[last]! <= at && (last + 1 === starts.length || at < starts[last + 1]!)) return last;
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (starts[middle]! <= at) low = middle;
      else high = middle - 1;
    }
    this.#last = low;
    return low;
  }
}
