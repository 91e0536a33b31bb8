import { type Address, type AddressKind, alignmentBytes, type Bytes, PAGE_SIZE } from '@svsm/address';
import { MemoryRegion, type RegionBounds } from '@svsm/memory-region';
import {
  type Block,
  type BlockKind,
  type BlockState,
  blockBytes,
  MAX_ORDER,
  orderOfPages,
} from '../pages/block.ts';
import { refusalOf } from '../pages/block-refusal.ts';
import { BuddyError } from '../pages/buddy-error.ts';
import { isIntegerUpTo, requireMaxOrder } from '../pages/integers.ts';
import { infoOf, type MemoryInfo } from '../pages/memory-info.ts';
import {
  largestOrderIn,
  orderAround,
  type PageRange,
  pagesIn,
  rangeAt,
  rangeFrom,
  rangesBetween,
  withoutRange,
  withRange,
} from '../pages/page-range.ts';
import {
  asRegion,
  isOwnRegion,
  pagesOfRegion,
  requireKind,
  reservedRanges,
  wholePages,
} from '../pages/region-pages.ts';
import type { AllocatorSnapshot, SnapshotBlock } from '../pages/snapshot.ts';
import { addressOfPage, pageNumberOf } from '../pages/words.ts';
import { ALLOCATED, FILE, FREE, HEAP, REST, RUN, SLAB } from '../tree/buddy-level.ts';
import { BuddyTree, type TreeBlock } from '../tree/buddy-tree.ts';
import { checkTree } from '../tree/check-tree.ts';

/** The parameters of a {@link PageSpace}. */
export interface PageSpaceSpec<A extends Address> {
  readonly regions: readonly MemoryRegion<A>[];
  readonly space: MemoryRegion<A> | undefined;
  readonly maxOrder: number;
  readonly reserved: Iterable<MemoryRegion<A>>;
}

/** The kind of a block or run, by the mark of its first page. */
const KINDS: Readonly<Record<number, BlockKind>> = {
  [ALLOCATED]: 'pages',
  [RUN]: 'run',
  [FILE]: 'file',
  [SLAB]: 'slab',
  [HEAP]: 'heap',
};

/**
 * The state of a page allocator: its regions, the reserved pages, the blocks of the other pages, and the references to file
 * pages. It turns regions into page numbers and blocks of the tree into the blocks that callers see, and it finds the
 * reason of each refusal.
 */
export class PageSpace<A extends Address> {
  readonly kind: AddressKind<A>;
  readonly maxOrder: number;
  readonly tree: BuddyTree;
  /** The pages of the regions: ascending, disjoint, not touching. */
  ranges: readonly PageRange[] = [];
  /** From the start of the first region to the end of the last one. */
  hull: MemoryRegion<A>;
  /** The reserved pages: ascending, disjoint, not touching. */
  reserved: readonly PageRange[] = [];
  /** The numbers of references of file pages, by page number. Pages with one reference have no entry. */
  readonly references: Map<number, number> = new Map();
  /** The addresses that the allocator may grow to. */
  readonly space: MemoryRegion<A>;

  constructor({ regions, space, maxOrder, reserved }: PageSpaceSpec<A>) {
    const any = asRegion(regions.length === 0 ? space : regions[0]);
    if (any === undefined) throw new BuddyError('NO_REGION', {});
    requireMaxOrder(maxOrder);
    this.kind = any.kind;
    this.hull = regions.length === 0 ? new MemoryRegion(any.kind, any.start, 0) : any;
    for (const region of regions.slice(1)) this.hull = this.hull.hull(requireKind(region, any));
    this.space = this.hull;
    if (space !== undefined) {
      this.space = requireKind(space, this.hull);
    }
    for (const region of regions) this.ranges = withRange(this.ranges, this.newRange(region));
    const whole = wholePages(this.space);
    if (whole === undefined)
      throw new BuddyError('INVALID_REGION', { region: this.space, reason: 'misaligned' });
    this.reserved = reservedRanges(reserved, this.space, this.hull, this.ranges);
    this.tree = new BuddyTree(whole);
    this.maxOrder = Math.min(maxOrder, this.tree.maxOrder);
    if (space === undefined) {
      // The hull may have room for a block that fits into no region.
      const largest = this.ranges.map(largestOrderIn).reduce((one, other) => Math.max(one, other));
      this.maxOrder = Math.min(this.maxOrder, largest);
    }
    for (const range of this.ranges) {
      const holes = this.reserved.filter(({ start }) => start >= range.start && start < range.end);
      for (const part of rangesBetween(range, holes)) this.tree.addFreeRange(part);
    }
  }

  /** The regions: ascending, regions that touch joined. O(regions). */
  get regions(): MemoryRegion<A>[] {
    return this.ranges.map((range) => this.regionOf(range));
  }

  /** The region of a range of pages. O(1). */
  regionOf({ start, end }: PageRange): MemoryRegion<A> {
    return MemoryRegion.fromAddresses(this.kind, addressOfPage(start) as A, addressOfPage(end));
  }

  /**
   * The pages of `region`, at least one.
   *
   * @throws BuddyError `INVALID_REGION`; RegionError `KIND_MISMATCH`
   */
  rangeOf(region: MemoryRegion<A>): PageRange {
    return pagesOfRegion(this.sameKind(region));
  }

  /** Returns `region`, any value, if it is a region of this kind of address. O(1). @throws RegionError `KIND_MISMATCH` */
  sameKind(region: MemoryRegion<A>): MemoryRegion<A> {
    return isOwnRegion(region, this.kind) ? region : requireKind(region, this.hull);
  }

  /**
   * The block or run with exactly these pages. O(orders), for each block of a run.
   *
   * @throws BuddyError and RegionError as `PageAllocator.own` for a region
   */
  allocatedBlock(region: MemoryRegion<A>): MemoryRegion<A> {
    const { start, end } = this.rangeOf(region);
    const pages = this.regionOf({ start, end });
    const found = this.blockAround(start);
    if (!found?.region.equals(pages) || (found.kind !== 'pages' && found.kind !== 'run')) {
      throw this.refusal(pages.start, pages.size);
    }
    return pages;
  }

  /**
   * The pages of a region to add: inside the space, and outside all regions. O(regions).
   *
   * @throws BuddyError `INVALID_REGION`; RegionError `KIND_MISMATCH`
   */
  newRange(region: MemoryRegion<A>): PageRange {
    const pages = this.sameKind(region);
    const range = pagesOfRegion(pages);
    if (!this.space.containsRegion(pages))
      throw new BuddyError('INVALID_REGION', { region, reason: 'outside' });
    if (this.ranges.some(({ start, end }) => start < range.end && range.start < end)) {
      throw new BuddyError('INVALID_REGION', { region, reason: 'overlapping' });
    }
    return range;
  }

  /** The block that contains `page`, any number; `undefined` outside the regions. O(orders + log reserved). */
  blockAround(page: number): Block<A> | undefined {
    const found = this.tree.find(page);
    if (found === undefined) {
      const range = rangeAt(this.reserved, page);
      return range === undefined
        ? undefined
        : this.#blockAt(page, orderAround(range, page, this.maxOrder), 'reserved');
    }
    if (found.kind === FREE) return this.#blockAt(page, Math.min(found.order, this.maxOrder), 'free');
    const run = this.tree.runAround(found);
    return Object.freeze({
      region: this.regionOf(run),
      order: orderOfPages(run.end - run.start),
      state: 'allocated',
      kind: KINDS[(this.tree.find(run.start) as TreeBlock).kind],
    });
  }

  /** All blocks of all regions, ascending, as `PageAllocator.blocks`. O(orders + log(regions + reserved)) for each. */
  *blocks(): Generator<Block<A>, undefined, undefined> {
    let place = 0;
    for (let range = this.ranges[0]; range !== undefined; range = rangeFrom(this.ranges, place)) {
      const first = Math.max(place, range.start);
      const block = this.blockAround(first) as Block<A>;
      const start = pageNumberOf(block.region.start);
      place = start + Number(block.region.size / BigInt(PAGE_SIZE));
      // A block that begins before the place has grown since the last step.
      if (start === first) yield block;
    }
  }

  /**
   * Throws unless every page of `range` lies in a region and has this state. O(orders) for each block in it.
   *
   * @throws BuddyError `OUTSIDE_REGION`, `NOT_FREE`, `NOT_RESERVED`
   */
  requireState(state: 'free' | 'reserved', range: PageRange): void {
    for (let page = range.start; page < range.end; ) {
      const block = this.blockAround(page);
      if (block === undefined) throw this.outsideRegion(addressOfPage(page));
      if (block.state !== state) {
        const details = { region: this.regionOf(range), block: block.region, state: block.state };
        throw new BuddyError(state === 'free' ? 'NOT_FREE' : 'NOT_RESERVED', details);
      }
      page = pageNumberOf(block.region.start) + 2 ** block.order;
    }
  }

  /** Allocates one page. O(orders), amortized. @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL` */
  allocatePage(): A {
    const page = this.tree.allocate(0) as A | undefined;
    if (page === undefined) throw this.outOfMemory(0);
    return page;
  }

  /**
   * Allocates `pages` pages as `PageAllocator.allocateRun`.
   *
   * @throws BuddyError `INVALID_PAGE_COUNT`, `OUT_OF_MEMORY`, `METADATA_FULL`; AddressError `INVALID_ALIGNMENT`
   */
  allocateRun(pages: number, alignment: Bytes): MemoryRegion<A> {
    if (!isIntegerUpTo(pages, 2 ** MAX_ORDER) || pages === 0) {
      throw new BuddyError('INVALID_PAGE_COUNT', { pages });
    }
    const alignedPages = Math.max(1, Number(alignmentBytes(alignment)) / PAGE_SIZE);
    const order = orderOfPages(Math.max(pages, alignedPages));
    const block = order <= this.tree.maxOrder ? this.tree.allocate(order) : undefined;
    if (block === undefined) {
      const range = this.#findFree(pages, orderOfPages(alignedPages));
      if (range === undefined) throw this.outOfMemory(orderOfPages(pages), pages);
      return this.allocateRange(range);
    }
    if (pages === 2 ** order && order <= this.maxOrder) {
      return MemoryRegion.unchecked(this.kind, block as A, blockBytes(order));
    }
    this.tree.free(block, undefined);
    const start = pageNumberOf(block);
    return this.allocateRange({ start, end: start + pages });
  }

  /** Allocates free pages: as a block if they can be one, otherwise as a run. @throws BuddyError `METADATA_FULL` */
  allocateRange(range: PageRange): MemoryRegion<A> {
    this.tree.takeRange(range, this.#isBlock(range) ? ALLOCATED : RUN, REST, this.maxOrder);
    return this.regionOf(range);
  }

  /** Changes the mark of the block or run at `start`. O(levels). */
  setMark(start: A, mark: number): void {
    this.tree.markBlock(pageNumberOf(start), mark);
  }

  /**
   * Adds the pages of `region`, all of them free. Returns them. O(orders + regions), amortized.
   *
   * @throws BuddyError `INVALID_REGION`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
   */
  addRegion(region: MemoryRegion<A>): MemoryRegion<A> {
    const range = this.newRange(region);
    this.tree.addFreeRange(range);
    this.#setRanges(withRange(this.ranges, range));
    return this.regionOf(range);
  }

  /**
   * Removes free pages. Returns them. O(orders) for each free block that contains some of them, and O(regions), amortized.
   *
   * @throws BuddyError `INVALID_REGION`, `OUTSIDE_REGION`, `NOT_FREE`, `METADATA_FULL`; RegionError `KIND_MISMATCH`
   */
  removeRegion(region: MemoryRegion<A>): MemoryRegion<A> {
    const range = this.rangeOf(region);
    this.requireState('free', range);
    this.tree.removeRange(range);
    this.#setRanges(withoutRange(this.ranges, range));
    return this.regionOf(range);
  }

  /** Makes free pages reserved. Returns them. Cost and errors are those of `removeRegion`. */
  reserve(region: MemoryRegion<A>): MemoryRegion<A> {
    const range = this.rangeOf(region);
    this.requireState('free', range);
    this.tree.removeRange(range);
    this.reserved = withRange(this.reserved, range);
    return this.regionOf(range);
  }

  /** Makes reserved pages free. Returns them. Cost and errors are those of `removeRegion`, with `NOT_RESERVED` for `NOT_FREE`. */
  unreserve(region: MemoryRegion<A>): MemoryRegion<A> {
    const range = this.rangeOf(region);
    this.requireState('reserved', range);
    this.tree.addFreeRange(range);
    this.reserved = withoutRange(this.reserved, range);
    return this.regionOf(range);
  }

  /**
   * Allocates a block of a snapshot. O(orders) for each free block that contains some of its pages, amortized.
   *
   * @throws BuddyError `INVALID_SNAPSHOT`, `INVALID_REGION`, `OUTSIDE_REGION`, `NOT_FREE`, `METADATA_FULL`; AddressError and
   *   RegionError if a bound is not valid
   */
  restoreBlock(block: SnapshotBlock): void {
    const { kind, references, start, end } = block;
    const fail = (problem: string) => new BuddyError('INVALID_SNAPSHOT', { block: { start, end }, problem });
    const range = this.rangeOf(MemoryRegion.fromAddresses(this.kind, start as A, end));
    this.requireState('free', range);
    const pages = range.end - range.start;
    if (this.#isBlock(range) ? kind === 'run' : kind === 'pages')
      throw fail('has the wrong kind for its pages');
    if (!Object.values(KINDS).includes(kind)) throw fail('has an unknown kind');
    if ((kind === 'file' || kind === 'slab') && pages !== 1) throw fail('must be a single page');
    if (
      kind === 'file'
        ? !(Number.isSafeInteger(references) && (references as number) > 0)
        : references !== undefined
    ) {
      throw fail('has an invalid number of references');
    }
    this.allocateRange(range);
    if (kind === 'file') this.setMark(start as A, FILE);
    else if (kind === 'slab') this.setMark(start as A, SLAB);
    else if (kind === 'heap') this.setMark(start as A, HEAP);
    if (kind === 'file' && references !== 1) this.references.set(range.start, references as number);
  }

  /** The complete state. O(blocks · orders). */
  snapshot(): AllocatorSnapshot {
    const bounds = ({ start, end }: RegionBounds) => ({ start: BigInt(start), end });
    const blocks: SnapshotBlock[] = [];
    for (const { region, state, kind } of this.blocks()) {
      if (state !== 'allocated') continue;
      const references = kind === 'file' ? this.referencesOf(pageNumberOf(region.start)) : undefined;
      blocks.push({ ...bounds(region), kind: kind as BlockKind, references });
    }
    return {
      maxOrder: this.maxOrder,
      space: bounds(this.space),
      regions: this.regions.map(bounds),
      reserved: this.reserved.map((range) => bounds(this.regionOf(range))),
      blocks,
    };
  }

  /** The number of references of the file page `page`. O(1). */
  referencesOf(page: number): number {
    return this.references.get(page) ?? 1;
  }

  /** The pages and blocks by state and order. O(orders + reserved + regions). */
  info(): MemoryInfo {
    const { tree, maxOrder } = this;
    return infoOf({
      maxOrder,
      mergeOrder: tree.maxOrder,
      freeBlocks: (order) => tree.freeBlocks(order),
      allocatedBlocks: (order) => tree.allocatedBlocks(order),
      totalPages: pagesIn(this.ranges),
      reservedPages: pagesIn(this.reserved),
    });
  }

  /** Checks the tables and the references. @throws BuddyError `BROKEN_INVARIANT` */
  check(): void {
    checkTree(this.tree, this.#absent());
    for (const [page, count] of this.references) {
      if (this.tree.find(page)?.kind === FILE && Number.isSafeInteger(count) && count > 1) continue;
      const problem = `page ${page} has ${count} references`;
      throw new BuddyError('BROKEN_INVARIANT', { invariant: 'references', problem });
    }
  }

  /** The error of a request for `pages` pages that no free block has. */
  outOfMemory(order: number, pages: number = 2 ** order): BuddyError {
    const { largestFreeOrder, freePages } = this.info();
    return new BuddyError('OUT_OF_MEMORY', { order, pages, largestFreeOrder, freePages });
  }

  /** The error of an address that lies in no region. */
  outsideRegion(address: bigint): BuddyError {
    return new BuddyError('OUTSIDE_REGION', { address, region: this.hull, regions: this.regions });
  }

  /** The reason why the `size` bytes at `address` are not a block that can be freed. O(orders). */
  refusal(address: A, size: bigint = blockBytes(0)): BuddyError {
    this.kind.assertIsAddress(address);
    const found = this.blockAround(pageNumberOf(address & ~0xfffn));
    if (found === undefined) return this.outsideRegion(address);
    return refusalOf(found, address, size, this.referencesOf(pageNumberOf(address)));
  }

  /**
   * The first `pages` consecutive free pages that start at a multiple of 2^`order` pages, or `undefined`.
   * O(blocks · orders).
   */
  #findFree(pages: number, order: number): PageRange | undefined {
    const alignment = 2 ** order;
    for (const range of this.ranges) {
      let start = -1;
      for (let page = range.start; page < range.end; ) {
        const block = this.blockAround(page) as Block<A>;
        if (block.state !== 'free') start = -1;
        else if (start < 0) start = Math.ceil(page / alignment) * alignment;
        page += Number(block.region.size / BigInt(PAGE_SIZE));
        if (start >= 0 && start + pages <= page) return { start, end: start + pages };
      }
    }
    return undefined;
  }

  /** Whether these pages can be a block; otherwise they are allocated as a run. */
  #isBlock(range: PageRange): boolean {
    return orderAround(range, range.start, this.maxOrder) === orderOfPages(range.end - range.start);
  }

  #setRanges(ranges: readonly PageRange[]): void {
    this.ranges = ranges;
    const start = ranges.at(0)?.start ?? pageNumberOf(this.space.start);
    this.hull = this.regionOf({ start, end: ranges.at(-1)?.end ?? start });
  }

  #blockAt(page: number, order: number, state: BlockState): Block<A> {
    const start = addressOfPage(page - (page % 2 ** order)) as A;
    const region = new MemoryRegion(this.kind, start, blockBytes(order));
    return Object.freeze({ region, order, state, kind: undefined });
  }

  /** The pages of the tree that are in no block: they are reserved, or in no region. */
  #absent(): PageRange[] {
    const outside = rangesBetween(this.tree.range, this.ranges);
    return this.reserved.reduce<readonly PageRange[]>(withRange, outside) as PageRange[];
  }
}
