import { CELL, fitsCell, HALVES, HIGH, LOW } from '../pages/words.ts';

const NO_PAGES: Int32Array<ArrayBuffer> = /* @__PURE__ */ new Int32Array(1024);

/**
 * What is in which page of slabs: for each page a number above zero, in tables of 1024 pages that are made when one of
 * them is first used.
 */
export class SlabDirectory {
  readonly #originHigh: number;
  readonly #tables: Map<number, Int32Array<ArrayBuffer>> = new Map();
  /** The table that was asked last, and bits 63:32 and 31:22 of the addresses it is for; −1 is none. */
  #last: Int32Array<ArrayBuffer> = NO_PAGES;
  #lastHigh = 0;
  #lastMiddle = -1;

  /** @param origin - an address near those to come: keys that are small are fast */
  constructor(origin: bigint) {
    CELL[0] = origin;
    this.#originHigh = HALVES[HIGH]!;
  }

  /**
   * The number of the page that `address`, any `bigint`, lies in; 0 if it has none. Leaves `address` in the cell.
   * O(1).
   */
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

  /** Gives the page at `address` a number; 0 takes it out. O(1), amortized. */
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
