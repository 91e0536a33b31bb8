import { CELL, fitsCell, HALVES, HIGH, LOW } from '../pages/words.ts';

const NO_PAGES: Int32Array<ArrayBuffer> = /* @__PURE__ */ new Int32Array(1024);

/**
 * A map from pages of slabs to numbers above 0. It consists of tables for 1024 pages each, created when the first of these
 * pages is used.
 */
export class SlabDirectory {
  readonly #originHigh: number;
  readonly #tables: Map<number, Int32Array<ArrayBuffer>> = new Map();
  /** The table that was used last, and bits 63:32 and 31:22 of its addresses; −1 at first. */
  #last: Int32Array<ArrayBuffer> = NO_PAGES;
  #lastHigh = 0;
  #lastMiddle = -1;

  /** @param origin - an address near the pages to come: keys count from it, and small keys are fast */
  constructor(origin: bigint) {
    CELL[0] = origin;
    this.#originHigh = HALVES[HIGH]!;
  }

  /** The number of the page that contains `address`, any `bigint`; 0 without one. Leaves `address` in `CELL`. O(1). */
  at(address: bigint): number {
    CELL[0] = address;
    const high = HALVES[HIGH]!;
    const low = HALVES[LOW]!;
    if (low >>> 22 !== this.#lastMiddle || high !== this.#lastHigh) {
      const table = this.#tables.get((high - this.#originHigh) * 1024 + (low >>> 22));
      if (table === undefined) return 0;
      this.#last = table;
      this.#lastHigh = high;
      this.#lastMiddle = low >>> 22;
    }
    return fitsCell(address) ? this.#last[(low >>> 12) & 0x3ff]! : 0;
  }

  /** Sets the number of the page at `address`; 0 removes it. O(1), amortized. */
  set(address: bigint, number: number): void {
    CELL[0] = address;
    const low = HALVES[LOW]!;
    const key = (HALVES[HIGH]! - this.#originHigh) * 1024 + (low >>> 22);
    let table = this.#tables.get(key);
    if (table === undefined) {
      table = new Int32Array(1024);
      this.#tables.set(key, table);
    }
    table[(low >>> 12) & 0x3ff] = number;
  }
}
