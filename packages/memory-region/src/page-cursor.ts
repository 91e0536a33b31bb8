import { type Address, PageSize, type PhysAddr, showInConsoles, type VirtAddr } from '@svsm/address';
import { isRegionError, RegionError } from './region-error.ts';

/**
 * An object that moves from page to page of a region: `region.cursor(size)` makes one. It is an iterator whose steps all return
 * the cursor itself. It holds the address of its page as two 32-bit halves, so a loop makes no `bigint` and no garbage. Every
 * function that takes a {@link VirtPage} or a {@link PhysPage} takes it in place of an address.
 *
 * Use it within its loop, and keep its {@link address}: the cursor itself moves on. Its type is not that of an address, so the
 * compiler refuses to store it as one. Before the loop and after it, a cursor is not on a page, and to use it as one throws
 * `NOT_ON_PAGE`. One mistake goes unnoticed: a cursor that was kept, and is used while its loop goes on, is the page that the
 * loop has reached.
 */
export interface PageCursor<A extends Address> {
  /**
   * The address of the page. Each read makes a `bigint`.
   *
   * @throws RegionError `NOT_ON_PAGE`
   */
  readonly address: A;
  /**
   * Bits 31:0 of the address, as an int32.
   *
   * @throws RegionError `NOT_ON_PAGE`
   */
  readonly low: number;
  /**
   * Bits 63:32 of the address, as an int32.
   *
   * @throws RegionError `NOT_ON_PAGE`
   */
  readonly high: number;
  /**
   * The number of pages of the region before this page.
   *
   * @throws RegionError `NOT_ON_PAGE`
   */
  readonly index: number;
  /** The number of pages of the region. */
  readonly count: number;
  /** The size of a page in bytes. */
  readonly pageSize: PageSize;
  /**
   * Moves to any page of the region, also before the first step and after the last. The next step goes on from there. Returns
   * the cursor. O(1).
   *
   * @param index - 0 to `count` - 1
   * @throws RegionError `INVALID_ARGUMENT`
   */
  goTo(index: number): this;
  /** Moves to the first page, or to the next one. After the last page, the cursor is not on a page. O(1). */
  next(): IteratorResult<PageCursor<A>, undefined>;
  /** Ends the iteration: a loop that is left early calls it. The cursor is not on a page then. O(1). */
  return(): IteratorResult<PageCursor<A>, undefined>;
  /** Returns the cursor. */
  [Symbol.iterator](): PageCursor<A>;
}

/** A virtual page: its address, or a cursor that is on it. */
export type VirtPage = VirtAddr | PageCursor<VirtAddr>;

/** A physical page, or frame: its address, or a cursor that is on it. */
export type PhysPage = PhysAddr | PageCursor<PhysAddr>;

/**
 * The address of a page that is an address or a cursor. The kind of an address is not checked. O(1).
 *
 * @throws RegionError `NOT_ON_PAGE` for a cursor that is not on a page; `INVALID_ARGUMENT` if `page` is neither
 * @example
 * ```ts
 * import { formatAddress, PageSize, virtAddr } from '@svsm/address';
 * import { pageAddress, type VirtPage, virtRegion } from '@svsm/memory-region';
 *
 * const name = (page: VirtPage): string => formatAddress(pageAddress(page));
 * console.log(name(virtAddr(0x1000))); // => 0x0000000000001000
 * for (const page of virtRegion(virtAddr(0x2000), 0x1000).cursor(PageSize.Regular)) console.log(name(page));
 * // => 0x0000000000002000
 * ```
 */
export function pageAddress<A extends Address>(page: A | PageCursor<A>): A {
  if (typeof page === 'bigint') return page;
  let cause: unknown;
  try {
    // A cursor of another installed copy of this package has these properties too.
    const { low, high } = page;
    if ((low | 0) === low && (high | 0) === high) return joined(low, high) as A;
  } catch (error) {
    if (isRegionError(error, 'NOT_ON_PAGE')) throw error;
    cause = error;
  }
  const details = { what: 'page', value: page, expected: 'pass the address of a page, or a page cursor' };
  throw new RegionError('INVALID_ARGUMENT', details, cause === undefined ? {} : { cause });
}

/**
 * A cursor over `count` pages of `pageSize` bytes from `start` on. O(1).
 *
 * @internal
 */
export function cursorOver<A extends Address>(start: A, count: number, pageSize: PageSize): PageCursor<A> {
  return new Cursor(start, count, pageSize);
}

/** A cell to split and join an address. */
const CELL = /* @__PURE__ */ new BigUint64Array(1);
const HALVES = /* @__PURE__ */ new Int32Array(CELL.buffer);

function joined(low: number, high: number): bigint {
  HALVES[0] = low;
  HALVES[1] = high;
  return CELL[0]!;
}

/** The result of the step after the last page. */
const ENDED: IteratorResult<never, undefined> = /* @__PURE__ */ Object.freeze({
  done: true,
  value: undefined,
});

/** The index of a cursor before its first step. */
const BEFORE = -1;
/** The index of a cursor after its iteration. */
const AFTER = -2;

// Loops over pages spend half their time here, so the code is as short as it can be: engines put a getter of a few bytes into
// every loop, and keep a field that only ever held small integers as such.
class Cursor<A extends Address> implements PageCursor<A> {
  static {
    showInConsoles(this, 'PageCursor', (cursor) => {
      const { count, pageSize } = cursor;
      return cursor.#index < 0
        ? { count, pageSize }
        : { address: cursor.address, index: cursor.#index, count, pageSize };
    });
  }

  readonly count: number = 0;
  readonly pageSize: PageSize = PageSize.Regular;
  /** The binary logarithm of the page size. */
  readonly #shift: number = 0;
  /** The number of pages between the start of the region and the multiple of 4 GiB below it. */
  readonly #startPage: number = 0;
  readonly #startHigh: number = 0;
  /** The result of each step. The object is always the same, so a step makes no garbage. */
  readonly #step: IteratorResult<PageCursor<A>, undefined>;
  #low = 0;
  #high = 0;
  /** Below 0 while the cursor is not on a page: {@link BEFORE} or {@link AFTER}. */
  #index: number = BEFORE;
  /** The index at which the iteration ends: no index of a next page once it has ended. */
  #end = 0;

  constructor(start: A, count: number, pageSize: PageSize) {
    this.count = count;
    this.pageSize = pageSize;
    this.#shift = 31 - Math.clz32(pageSize);
    CELL[0] = start;
    this.#startPage = HALVES[0]! >>> this.#shift;
    this.#startHigh = HALVES[1]!;
    // One page before the first one. It need not be an address.
    CELL[0] = start - BigInt(pageSize);
    this.#low = HALVES[0]!;
    this.#high = HALVES[1]!;
    this.#end = count;
    this.#step = Object.freeze({ done: false, value: this });
  }

  get address(): A {
    return joined(this.low, this.#high) as A;
  }

  get low(): number {
    const index = this.#index;
    if (index < 0) refuse(index);
    return this.#low;
  }

  get high(): number {
    const index = this.#index;
    if (index < 0) refuse(index);
    return this.#high;
  }

  get index(): number {
    const index = this.#index;
    if (index < 0) refuse(index);
    return index;
  }

  goTo(index: number): this {
    if (typeof index !== 'number' || (index | 0) !== index || index < 0 || index >= this.count)
      this.#goFar(index);
    else {
      // The number of the page, counted from the 4 GiB in which the region starts.
      const page = this.#startPage + index;
      this.#low = page << this.#shift;
      this.#high = (this.#startHigh + (page >>> (32 - this.#shift))) | 0;
    }
    this.#index = index;
    this.#end = this.count;
    return this;
  }

  next(): IteratorResult<PageCursor<A>, undefined> {
    const index = this.#index + 1;
    if (index >= this.#end) return this.return();
    const low = (this.#low + this.pageSize) | 0;
    this.#index = index;
    this.#low = low;
    // The first page is aligned, so a carry leaves no bits.
    if (low === 0) this.#high = (this.#high + 1) | 0;
    return this.#step;
  }

  return(): IteratorResult<PageCursor<A>, undefined> {
    this.#index = AFTER;
    this.#end = AFTER;
    return ENDED;
  }

  [Symbol.iterator](): this {
    return this;
  }

  /** Sets the address of a page whose index does not fit an int32, which no loop has. */
  #goFar(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.count) {
      const expected =
        this.count === 0 ? 'the region is empty' : `pass an integer from 0 to ${this.count - 1}`;
      throw new RegionError('INVALID_ARGUMENT', { what: 'index', value: index, expected });
    }
    // Exact: a page size is a power of two.
    const bytes = index * this.pageSize;
    const low = this.#startPage * this.pageSize + (bytes >>> 0);
    this.#low = low | 0;
    this.#high = (this.#startHigh + Math.floor(bytes / 2 ** 32) + (low >= 2 ** 32 ? 1 : 0)) | 0;
  }
}

/** Refuses a cursor with an index below 0. A private method would not fit into a getter of a few bytes. */
function refuse(index: number): never {
  throw new RegionError('NOT_ON_PAGE', { hasEnded: index === AFTER });
}
