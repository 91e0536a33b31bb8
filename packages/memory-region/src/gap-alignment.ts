/** The bytes in one unit of the upper key of an address in a `RegionIndex`. */
const UNIT = 0x800;

/** An alignment, in the units of the two keys: 2 KiB above, and bytes below. One of the two is 1. */
export class GapAlignment {
  readonly #upper: number;
  readonly #lower: number;

  constructor(alignment: bigint) {
    this.#upper = Math.max(Number(alignment) / UNIT, 1);
    this.#lower = Math.min(Number(alignment), UNIT);
  }

  /** The bytes from the first multiple after the address with the first keys up to the address with the others. */
  room(upper: number, lower: number, endUpper: number, endLower: number): number {
    const startLower = Math.ceil((lower + 1) / this.#lower) * this.#lower;
    // With an alignment above 2 KiB, `startLower` is 2 KiB: one unit above `upper`.
    if (this.#lower < UNIT) return (endUpper - upper) * UNIT + (endLower - startLower);
    return (endUpper - Math.ceil((upper + 1) / this.#upper) * this.#upper) * UNIT + endLower;
  }
}
