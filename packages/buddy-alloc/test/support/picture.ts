/** A plain list of pages, from which the visible state of an allocator is computed. */

import type { MemoryRegion } from '@svsm/memory-region';
import type { BlockKind, PageAllocator } from '../../src/index.ts';
import { Flat, type FlatAddr, flatRegion } from './allocators.ts';

/** The place and the sizes of pages, counted in units of 2^`unitOrder` pages. */
export interface Place {
  /** The first unit of the region. */
  readonly start: number;
  /** The number of units. */
  readonly units: number;
  /** The order of a unit: 0, or more to test large blocks. Smaller blocks are not allocated. */
  readonly unitOrder: number;
  /** The greatest order of a request, counted from a unit; 52 means no limit. */
  readonly maxOrder: number;
}

/** An allocated piece. If it can be a block of at most the greatest order, its kind is `pages` and not `run`. */
export interface Piece {
  readonly first: number;
  readonly count: number;
  readonly kind: BlockKind;
  /** The references of a file page; otherwise 0. */
  readonly references: number;
}

/** The state of a unit: free, reserved, outside the allocator, or in a piece. */
export type Unit = 'free' | 'reserved' | 'away' | Piece;

/** The units of a place. It is kept simple, because the allocator is compared with it. */
export class Picture {
  readonly place: Place;
  readonly units: Unit[];
  /** The greatest order of a request, counted from a unit. */
  readonly maxOrder: number;

  constructor(place: Place, reserved = 0) {
    this.place = place;
    this.units = Array.from({ length: place.units }, (_, index) =>
      (reserved >> index) & 1 ? 'reserved' : 'free',
    );
    this.maxOrder = Math.min(place.maxOrder, largestOrder(place));
  }

  /** The state of `unit`, counted from 0; `away` outside the region. */
  at(unit: number): Unit {
    return this.units[unit - this.place.start] ?? 'away';
  }

  fill(first: number, count: number, unit: Unit): void {
    this.units.fill(unit, first - this.place.start, first - this.place.start + count);
  }

  /** Puts a piece on free units. The kind of a block or run follows from its place. */
  put(first: number, count: number, kind: BlockKind = this.kindOf(first, count), references = 0): Piece {
    const piece = { first, count, kind, references };
    this.fill(first, count, piece);
    return piece;
  }

  kindOf(first: number, count: number): 'pages' | 'run' {
    const order = Math.log2(count);
    return Number.isInteger(order) && order <= this.maxOrder && first % count === 0 ? 'pages' : 'run';
  }

  is(state: 'free' | 'reserved' | 'away', first: number, count: number): boolean {
    for (let unit = first; unit < first + count; unit += 1) if (this.at(unit) !== state) return false;
    return true;
  }

  pieces(): Piece[] {
    return [...new Set(this.units)].filter((unit) => typeof unit === 'object');
  }

  /** The maximal stretches of units for which `isIn` holds. */
  stretches(isIn: (unit: Unit) => boolean): { readonly first: number; readonly count: number }[] {
    const found: { first: number; count: number }[] = [];
    for (const [index, unit] of this.units.entries()) {
      if (!isIn(unit)) continue;
      const last = found.at(-1);
      const first = this.place.start + index;
      if (last !== undefined && last.first + last.count === first) last.count += 1;
      else found.push({ first, count: 1 });
    }
    return found;
  }

  /** The order of the largest aligned block around `unit` whose units all have the same state. */
  orderAround(unit: number, state: 'free' | 'reserved', maxOrder: number): number {
    let order = 0;
    while (order < maxOrder) {
      const size = 2 ** (order + 1);
      if (!this.is(state, unit - (unit % size), size)) break;
      order += 1;
    }
    return order;
  }

  /** The orders of the merged free blocks, whatever the limit of the order. */
  freeOrders(): number[] {
    const orders: number[] = [];
    for (const { first, count } of this.stretches((unit) => unit === 'free')) {
      for (let unit = first; unit < first + count; ) {
        const order = this.orderAround(unit, 'free', 52);
        orders.push(order);
        unit += 2 ** order;
      }
    }
    return orders;
  }

  /** Whether `count` free units that start at a multiple of `alignment` units exist. */
  hasRoom(count: number, alignment: number): boolean {
    const { start, units } = this.place;
    for (
      let first = Math.ceil(start / alignment) * alignment;
      first + count <= start + units;
      first += alignment
    ) {
      if (this.is('free', first, count)) return true;
    }
    return false;
  }

  /** The visible state of an allocator that matches this picture. */
  dump(): string {
    const { unitOrder } = this.place;
    const scale = 2 ** unitOrder;
    const orders = this.maxOrder + unitOrder + 1;
    const freeBlocks = new Array<number>(orders).fill(0);
    const allocatedBlocks = new Array<number>(orders).fill(0);
    const count = (counts: number[], order: number) => {
      counts[order + unitOrder]! += 1;
    };
    let lines = '';
    const pages = { free: 0, allocated: 0, reserved: 0 };
    for (const range of this.stretches((unit) => unit !== 'away')) {
      for (let unit = range.first; unit < range.first + range.count; ) {
        const here = this.at(unit);
        if (typeof here === 'object') {
          lines += line(unit, here.count, ceilLog2(here.count), 'allocated', here.kind);
          pages.allocated += here.count;
          for (let part = unit; part < unit + here.count; ) {
            let order = 0;
            for (let next = 1; next <= this.maxOrder; next += 1) {
              const head = part - (part % 2 ** next);
              if (head >= unit && head + 2 ** next <= unit + here.count) order = next;
            }
            count(allocatedBlocks, order);
            part += 2 ** order;
          }
          unit += here.count;
          continue;
        }
        const state = here as 'free' | 'reserved';
        const order = this.orderAround(unit, state, this.maxOrder);
        lines += line(unit, 2 ** order, order, state, undefined);
        pages[state] += 2 ** order;
        if (state === 'free') count(freeBlocks, order);
        unit += 2 ** order;
      }
    }
    const freePages = pages.free * scale;
    let smaller = 0;
    const fragmentation = freeBlocks.map((blocks, order) => {
      const share = freePages === 0 ? 0 : smaller / freePages;
      smaller += blocks * 2 ** order;
      return share;
    });
    const info = {
      totalPages: (pages.free + pages.allocated + pages.reserved) * scale,
      freePages,
      allocatedPages: pages.allocated * scale,
      reservedPages: pages.reserved * scale,
      largestFreeOrder: freePages === 0 ? undefined : freeBlocks.findLastIndex((blocks) => blocks > 0),
      freeBlocks,
      allocatedBlocks,
      fragmentation,
    };
    return `${lines}${JSON.stringify(info)}`;
  }

  /** The expected `snapshot` and `regions` as text. */
  dumpRanges(): string {
    const ranges = (isIn: (unit: Unit) => boolean) =>
      this.stretches(isIn).map(({ first, count }) => `${first}+${count}`);
    const regions = ranges((unit) => unit !== 'away');
    const reserved = ranges((unit) => unit === 'reserved');
    const blocks = this.pieces().map(
      ({ first, count, kind, references }) => `${first}+${count}${kind}${references}`,
    );
    return `${regions} | ${reserved} | ${blocks}`;
  }
}

/** The visible state of `allocator`, in the form of {@link Picture.dump}. */
export function dumpOf({ unitOrder }: Place, allocator: PageAllocator<FlatAddr>): string {
  const unit = 4096n << BigInt(unitOrder);
  let lines = '';
  for (const { region, order, state, kind } of allocator.blocks()) {
    lines += line(Number(region.start / unit), Number(region.size / unit), order - unitOrder, state, kind);
  }
  return `${lines}${JSON.stringify(allocator.memoryInfo())}`;
}

/** The `snapshot` and `regions` of `allocator`, in the form of {@link Picture.dumpRanges}. */
export function dumpRangesOf({ unitOrder }: Place, allocator: PageAllocator<FlatAddr>): string {
  const unit = 4096n << BigInt(unitOrder);
  const range = ({ start, end }: { start: bigint; end: bigint }) => `${start / unit}+${(end - start) / unit}`;
  const { regions, reserved, blocks } = allocator.snapshot();
  const pieces = blocks.map((block) => `${range(block)}${block.kind}${block.references ?? 0}`);
  return `${allocator.regions.map(range)} | ${reserved.map(range)} | ${pieces}${
    String(regions.map(range)) === String(allocator.regions.map(range)) ? '' : ' | other regions'
  }`;
}

/** The region of `count` units from `first`. */
export function unitsAt({ unitOrder }: Place, first: number, count: number): MemoryRegion<FlatAddr> {
  return flatRegion(edge(unitOrder, first), edge(unitOrder, first + count));
}

/** The start address of `unit`. */
export function addressAt({ unitOrder }: Place, unit: number): FlatAddr {
  return Flat.address(edge(unitOrder, unit));
}

function edge(unitOrder: number, unit: number): bigint {
  return (4096n << BigInt(unitOrder)) * BigInt(unit);
}

function line(first: number, count: number, order: number, state: string, kind: string | undefined): string {
  return `${first}+${count}:${order}${state}${kind ?? ''} `;
}

function ceilLog2(count: number): number {
  let order = 0;
  while (2 ** order < count) order += 1;
  return order;
}

function largestOrder({ start, units }: Place): number {
  for (let order = 52; ; order -= 1) {
    const size = 2 ** order;
    if (Math.ceil(start / size) * size + size <= start + units) return order;
  }
}
