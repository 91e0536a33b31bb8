/** Explores every state of a small allocator, and tries every operation in each state. */
import type { MemoryRegion } from '@svsm/memory-region';
import { expect } from 'vitest';
import { type BuddyErrorCode, isBuddyError, PageAllocator, type PageSource } from '../../src/index.ts';
import { Flat, type FlatAddr } from './allocators.ts';
import { addressAt, dumpOf, dumpRangesOf, Picture, type Piece, type Place, unitsAt } from './picture.ts';

/** A small allocator to explore. */
export interface World extends Place {
  /** The units that the constructor reserves: bit n for unit n of the region. */
  readonly reserved: number;
  /**
   * `blocks`: the states that `allocatePages` and `freePages` lead to. `all`: also runs, units that are reserved and removed
   * at any time, and if a unit is a page, file pages with one or two references, slabs, and pages of a heap.
   */
  readonly pieces: 'blocks' | 'all';
}

/** The numbers of states and operations explored. */
export interface Explored {
  states: number;
  /** Operations that succeeded: each was compared with the picture, undone, and compared again. */
  done: number;
  /** Operations that failed with the right code and changed nothing. */
  refused: number;
}

/** The allocator that goes through all states of a world, and the picture that it must match. */
interface Walk extends Explored {
  readonly world: World;
  readonly allocator: PageAllocator<FlatAddr>;
  readonly picture: Picture;
  readonly slabs: PageSource<FlatAddr>;
  readonly heap: PageSource<FlatAddr>;
}

/**
 * Goes through every state of a world. In each state the invariants hold, and the visible state is that of the picture, so
 * it depends only on what is allocated. All operations are tried: those that can succeed do, and lead to the right state;
 * the others are refused with the right code and change nothing.
 *
 * One allocator goes through all states, one piece at a time, so each state has another history. Each piece is freed again,
 * which leads to the state without that piece. So freeing everything, in any order, leads back to the initial state.
 */
export function explore(world: World): Explored {
  const { stackTraceLimit } = Error;
  // Nobody reads the stacks of a million errors, and they would take most of the time.
  Error.stackTraceLimit = 0;
  try {
    const walk = start(world);
    const initial = dumpOf(world, walk.allocator);
    visit(walk, world.start);
    expect(dumpOf(world, walk.allocator)).toBe(initial);
    const { states, done, refused } = walk;
    return { states, done, refused };
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** The number of states of a world of blocks: sets of disjoint aligned blocks, counted without an allocator. */
export function countStates({ start, units, maxOrder, reserved }: World): number {
  const usable = (unit: number) =>
    unit >= start && unit < start + units && ((reserved >> (unit - start)) & 1) === 0;
  const sets = (first: number, order: number): { readonly count: number; readonly whole: boolean } => {
    if (order === 0) return usable(first) ? { count: 2, whole: true } : { count: 1, whole: false };
    const left = sets(first, order - 1);
    const right = sets(first + 2 ** (order - 1), order - 1);
    const whole = left.whole && right.whole;
    return { count: left.count * right.count + (whole && order <= maxOrder ? 1 : 0), whole };
  };
  return sets(0, Math.ceil(Math.log2(start + units))).count;
}

/** The number of states of a world of all pieces: a unit has one of several states, or starts a piece of any length. */
export function countAllStates({ units, unitOrder }: World): number {
  const [single, long] = unitOrder === 0 ? [3 + 3, 2] : [3, 2];
  const counts = [1];
  for (let size = 1; size <= units; size += 1) {
    const longer = counts.reduce((sum, count) => sum + count, 0);
    counts.push(single * counts[size - 1]! + long * longer);
  }
  return counts[units]!;
}

const WAYS = ['start', 'region'] as const;

function start(world: World): Walk {
  const picture = new Picture(world, world.reserved);
  const reserved = picture.stretches((unit) => unit === 'reserved');
  const allocator = new PageAllocator(unitsAt(world, world.start, world.units), {
    maxOrder: Math.min(52, world.unitOrder + world.maxOrder),
    reserved: reserved.map(({ first, count }) => unitsAt(world, first, count)),
    memory: { clearPage: () => undefined },
  });
  expect(allocator.maxOrder).toBe(picture.maxOrder + world.unitOrder);
  const [slabs, heap] = [allocator.pagesFor('slab'), allocator.pagesFor('heap')];
  return { world, allocator, picture, slabs, heap, states: 0, done: 0, refused: 0 };
}

/** Visits every state of the units from `unit` to the end. */
function visit(walk: Walk, unit: number): void {
  const { world, allocator, picture } = walk;
  const end = world.start + world.units;
  if (unit === end) {
    walk.states += 1;
    tryAll(walk);
    return;
  }
  visit(walk, unit + 1);
  if (picture.at(unit) !== 'free') return;
  const room = end - unit;
  if (world.pieces === 'blocks') {
    for (let order = 0; order <= picture.maxOrder; order += 1) {
      if (unit % 2 ** order !== 0 || !picture.is('free', unit, 2 ** order)) break;
      visitWith(walk, { first: unit, count: 2 ** order, kind: 'pages', references: 0 });
    }
    return;
  }
  for (const [state, enter, leave] of [
    ['reserved', 'reserve', 'unreserve'],
    ['away', 'removeRegion', 'addRegion'],
  ] as const) {
    allocator[enter](unitsAt(world, unit, 1));
    picture.fill(unit, 1, state);
    visit(walk, unit + 1);
    allocator[leave](unitsAt(world, unit, 1));
    picture.fill(unit, 1, 'free');
  }
  for (let count = 1; count <= room && picture.is('free', unit, count); count += 1) {
    visitWith(walk, { first: unit, count, kind: picture.kindOf(unit, count), references: 0 });
    visitWith(walk, { first: unit, count, kind: 'heap', references: 0 });
  }
  if (world.unitOrder > 0) return;
  visitWith(walk, { first: unit, count: 1, kind: 'slab', references: 0 });
  visitWith(walk, { first: unit, count: 1, kind: 'file', references: 1 });
  visitWith(walk, { first: unit, count: 1, kind: 'file', references: 2 });
}

function visitWith(walk: Walk, piece: Piece): void {
  place(walk, piece);
  visit(walk, piece.first + piece.count);
  free(walk, piece);
}

/** Allocates a piece at its place, which is free. */
function place({ world, allocator, picture, slabs, heap }: Walk, piece: Piece): void {
  const { first, count, kind, references } = piece;
  const region = unitsAt(world, first, count);
  picture.fill(first, count, piece);
  if (kind === 'pages' || kind === 'run') {
    allocator.allocateAt(region);
    return;
  }
  // The allocator chooses the place of these. So all other units are made busy for a moment.
  const others = picture
    .stretches((unit) => unit === 'free')
    .map((other) => allocator.allocateAt(unitsAt(world, other.first, other.count)));
  const pages = count * 2 ** world.unitOrder;
  const address =
    kind === 'file' ? allocator.allocateFilePage() : (kind === 'slab' ? slabs : heap).allocate(pages, 4096);
  if (address !== region.start) expect.fail(`${kind} at ${address}, not at ${region}`);
  for (let more = 1; more < references; more += 1) allocator.getFilePage(address);
  for (const other of others) allocator.freePages(other);
}

/** Frees a piece, and all its references. */
function free(walk: Walk, piece: Piece, by: 'start' | 'region' = 'start'): void {
  const { world, allocator, picture, slabs, heap } = walk;
  const { first, count, kind, references } = piece;
  const address = addressAt(world, first);
  if (kind === 'slab') slabs.free(address);
  else if (kind === 'heap') heap.free(address);
  else if (kind !== 'file') allocator.freePages(by === 'start' ? address : unitsAt(world, first, count));
  else
    for (let left = references - 1; left >= 0; left -= 1) expect(allocator.putFilePage(address)).toBe(left);
  picture.fill(first, count, 'free');
}

/** Tries everything in the present state, which is restored afterwards. */
function tryAll(walk: Walk): void {
  const { allocator, world, picture } = walk;
  const before = picture.dump();
  check(walk, 'on the way here', before);
  expect(dumpRangesOf(world, allocator)).toBe(picture.dumpRanges());
  allocator.checkInvariants();

  for (const piece of picture.pieces()) {
    // In large worlds, only one of the two ways.
    for (const by of isLarge(world) ? [walk.done % 2 === 0 ? WAYS[0] : WAYS[1]] : WAYS) {
      free(walk, piece, by);
      check(walk, `free ${piece.first} by its ${by}`);
      place(walk, piece);
      walk.done += 1;
    }
  }
  check(walk, 'after all frees', before);
  tryBlocks(walk);
  if (world.pieces === 'all') {
    tryRuns(walk);
    tryRanges(walk);
    tryPages(walk);
  }
  check(walk, 'after what succeeds', before);
  refuseFrees(walk);
  check(walk, 'after what is refused', before);
  allocator.checkInvariants();
}

/** Allocates blocks of every order with every method: each comes out of a smallest free block that has room. */
function tryBlocks(walk: Walk): void {
  const { allocator, world, picture } = walk;
  const orders = picture.freeOrders();
  for (let order = 0; order <= picture.maxOrder; order += 1) {
    const fitting = orders.filter((free) => free >= order);
    const pageOrder = order + world.unitOrder;
    if (fitting.length === 0) {
      const details = refuse(walk, 'OUT_OF_MEMORY', () => allocator.allocatePages(pageOrder));
      expect(details).toMatchObject({ order: pageOrder, pages: 2 ** pageOrder });
      refuse(walk, 'OUT_OF_MEMORY', () => allocator.allocateBlock(pageOrder));
      refuse(walk, 'OUT_OF_MEMORY', () => allocator.own(pageOrder));
      continue;
    }
    const from = Math.min(...fitting);
    const isFrom = (first: number) => picture.orderAround(first, 'free', 52) === from;
    succeed(walk, () => allocator.allocatePages(pageOrder), 2 ** order, { isFrom });
    const byAddress = () => {
      const start = allocator.allocateBlock(pageOrder);
      return unitsAt(world, Number(start / unitBytes(world)), 2 ** order);
    };
    if (world.pieces === 'blocks') continue;
    succeed(walk, byAddress, 2 ** order, { isFrom });
    const owner = allocator.own(pageOrder);
    expect(picture.is('free', Number(owner.start / unitBytes(world)), 2 ** order)).toBe(true);
    owner.release();
  }
  for (const order of [-1, 0.5, NaN, allocator.maxOrder + 1]) {
    refuse(walk, 'INVALID_ORDER', () => allocator.allocatePages(order));
  }
}

/** Runs of every length and alignment are found if they exist. */
function tryRuns(walk: Walk): void {
  const { allocator, world, picture, heap } = walk;
  const scale = 2 ** world.unitOrder;
  for (let count = 1; count <= world.units; count += 1) {
    for (const alignment of [1, 2, 4]) {
      // No alignment is greater than 2^47.
      if (world.unitOrder > 30) continue;
      const bytes = alignment * scale * 4096;
      const isAligned = (first: number) => first % alignment === 0;
      if (!picture.hasRoom(count, alignment)) {
        refuse(walk, 'OUT_OF_MEMORY', () => allocator.allocateRun(count * scale, bytes));
        refuse(walk, 'OUT_OF_MEMORY', () => heap.allocate(count * scale, bytes));
        continue;
      }
      succeed(walk, () => allocator.allocateRun(count * scale, bytes), count, { isFrom: isAligned });
      const ofHeap = () =>
        unitsAt(world, Number(heap.allocate(count * scale, bytes) / unitBytes(world)), count);
      succeed(walk, ofHeap, count, { isFrom: isAligned, kind: 'heap' });
    }
  }
}

/** Every operation on every range of units. */
function tryRanges(walk: Walk): void {
  const { allocator, world, picture } = walk;
  const end = world.start + world.units;
  for (let first = world.start; first < end; first += 1) {
    // The unit past the end is outside, if it exists.
    const beyond = BigInt(end + 1) * unitBytes(world) <= Flat.end ? 1 : 0;
    for (let count = 1; first + count <= end + beyond; count += 1) {
      const region = unitsAt(world, first, count);
      const obstacle = (wanted: 'free' | 'reserved') => {
        for (let unit = first; unit < first + count; unit += 1) {
          const here = picture.at(unit);
          if (here !== wanted) return here === 'away' ? 'OUTSIDE_REGION' : `NOT_${wanted.toUpperCase()}`;
        }
        return undefined;
      };
      const notFree = obstacle('free') as BuddyErrorCode | undefined;
      if (notFree === undefined) {
        succeed(walk, () => allocator.allocateAt(region), count);
        change(walk, 'reserved', region, first, count, 'reserve', 'unreserve');
        change(walk, 'away', region, first, count, 'removeRegion', 'addRegion');
      } else {
        refuse(walk, notFree, () => allocator.allocateAt(region));
        refuse(walk, notFree, () => allocator.reserve(region));
        refuse(walk, notFree, () => allocator.removeRegion(region));
      }
      const notReserved = obstacle('reserved') as BuddyErrorCode | undefined;
      if (notReserved === undefined)
        change(walk, 'free', region, first, count, 'unreserve', 'reserve', 'reserved');
      else refuse(walk, notReserved, () => allocator.unreserve(region));
      if (first + count <= end && picture.is('away', first, count)) {
        change(walk, 'free', region, first, count, 'addRegion', 'removeRegion', 'away');
      } else {
        refuse(walk, 'INVALID_REGION', () => allocator.addRegion(region));
      }
      const piece = picture.at(first);
      if (typeof piece === 'object' && piece.first === first && piece.count === count) continue;
      if (count > 1 || piece !== 'free') refuse(walk, undefined, () => allocator.own(region));
    }
  }
}

/** Allocates pages of all kinds, and references to file pages. */
function tryPages(walk: Walk): void {
  const { allocator, world, picture, slabs } = walk;
  if (world.unitOrder > 0) return;
  for (const [kind, allocate] of [
    ['pages', () => allocator.allocatePage()],
    ['pages', () => allocator.allocateZeroedPage()],
    ['file', () => allocator.allocateFilePage()],
    ['slab', () => slabs.allocate(1, 4096)],
  ] as const) {
    if (picture.hasRoom(1, 1)) {
      const from = Math.min(...picture.freeOrders());
      const isFrom = (first: number) => picture.orderAround(first, 'free', 52) === from;
      succeed(walk, () => unitsAt(world, Number(allocate() / 4096n), 1), 1, { kind, isFrom });
    } else {
      refuse(walk, 'OUT_OF_MEMORY', allocate);
    }
  }
  for (const piece of picture.pieces()) {
    if (piece.kind !== 'file') continue;
    const address = addressAt(world, piece.first);
    expect(allocator.getFilePage(address)).toBe(piece.references + 1);
    expect(allocator.putFilePage(address)).toBe(piece.references);
    expect(dumpRangesOf(world, allocator)).toBe(picture.dumpRanges());
    walk.done += 2;
  }
}

/** Every address that is not the start of a block is refused, by every way to free it and for every kind. */
function refuseFrees(walk: Walk): void {
  const { allocator, world, picture, slabs, heap } = walk;
  const end = world.start + world.units;
  const last = BigInt(end + 1) * unitBytes(world) <= Flat.end ? end : end - 1;
  for (let unit = Math.max(0, world.start - 1); unit <= last; unit += 1) {
    const address = addressAt(world, unit);
    const here = picture.at(unit);
    const code = refusalAt(picture, unit);
    const isPiece = typeof here === 'object';
    if (code !== undefined) refuse(walk, code, () => allocator.freePages(address));
    const isPage = isPiece && here.kind === 'pages' && here.count === 1 && world.unitOrder === 0;
    if (!isPage) refuse(walk, code ?? 'WRONG_SIZE', () => allocator.freePage(address));
    const inside = here === 'away' ? 'OUTSIDE_REGION' : 'MISALIGNED_ADDRESS';
    refuse(walk, inside, () => allocator.freePages(Flat.add(address, 1)));
    refuse(walk, inside, () => allocator.freePage(Flat.add(address, 4095)));
    for (let count = 0; unit + count <= last + 1; count += 1) {
      if (isLarge(world) && count > 2 && !(isPiece && Math.abs(count - here.count) < 2)) continue;
      if (code === undefined && isPiece && count === here.count) continue;
      refuse(walk, code ?? 'WRONG_SIZE', () => allocator.freePages(unitsAt(world, unit, count)));
    }
    if (world.pieces === 'blocks') continue;
    if (!isPiece || here.kind !== 'file') {
      const wrong = here === 'away' ? 'OUTSIDE_REGION' : 'NOT_FILE_PAGE';
      refuse(walk, wrong, () => allocator.getFilePage(address));
      refuse(walk, wrong, () => allocator.putFilePage(address));
    }
    refuse(walk, inside, () => allocator.getFilePage(Flat.add(address, 1)));
    refuse(walk, inside, () => allocator.putFilePage(Flat.add(address, 4095)));
    for (const [kind, source] of [
      ['slab', slabs],
      ['heap', heap],
    ] as const) {
      if (isPiece && here.kind === kind && here.first === unit) continue;
      const wrong = !isPiece ? code : here.kind === kind ? 'BLOCK_TAIL' : 'WRONG_KIND';
      refuse(walk, wrong, () => source.free(address));
      refuse(walk, inside, () => source.free(Flat.add(address, 8)));
    }
  }
}

/** The code with which freeing the address of `unit` is refused; `undefined` if it succeeds. */
function refusalAt(picture: Picture, unit: number): BuddyErrorCode | undefined {
  const here = picture.at(unit);
  if (here === 'away') return 'OUTSIDE_REGION';
  if (here === 'free') return 'DOUBLE_FREE';
  if (here === 'reserved') return 'RESERVED_PAGE';
  if (here.kind === 'file') return 'FILE_PAGE';
  if (here.kind === 'slab') return 'SLAB_PAGE';
  if (here.kind === 'heap') return 'HEAP_BLOCK';
  return here.first === unit ? undefined : 'BLOCK_TAIL';
}

/** Tries an allocation that must succeed, at free units that satisfy `isFrom`; then frees it. */
function succeed(
  walk: Walk,
  allocate: () => MemoryRegion<FlatAddr>,
  count: number,
  { isFrom = () => true, kind }: { isFrom?: (first: number) => boolean; kind?: Piece['kind'] } = {},
): void {
  const { world, picture } = walk;
  const region = allocate();
  const first = Number(region.start / unitBytes(world));
  if (
    region.size !== BigInt(count) * unitBytes(world) ||
    !picture.is('free', first, count) ||
    !isFrom(first)
  ) {
    expect.fail(`${count} units at ${region}, in ${picture.dump()}`);
  }
  const piece = picture.put(first, count, kind, kind === 'file' ? 1 : 0);
  check(walk, `allocate ${count} at ${first}`);
  free(walk, piece, walk.done % 2 === 0 ? 'start' : 'region');
  walk.done += 1;
}

/** Tries an operation on a range that must succeed; then undoes it. */
function change(
  walk: Walk,
  state: 'free' | 'reserved' | 'away',
  region: MemoryRegion<FlatAddr>,
  first: number,
  count: number,
  enter: 'reserve' | 'unreserve' | 'removeRegion' | 'addRegion',
  leave: 'reserve' | 'unreserve' | 'removeRegion' | 'addRegion',
  before: 'free' | 'reserved' | 'away' = 'free',
): void {
  const { allocator, picture } = walk;
  allocator[enter](region);
  picture.fill(first, count, state);
  check(walk, `${enter} ${first}+${count}`);
  allocator[leave](region);
  picture.fill(first, count, before);
  walk.done += 1;
}

/** Tries an operation that must throw, with `code` if that is given. A later check makes sure that nothing has changed. */
function refuse(walk: Walk, code: BuddyErrorCode | undefined, action: () => void): unknown {
  let caught: unknown;
  try {
    action();
  } catch (error) {
    caught = error;
  }
  if (!isBuddyError(caught) || (code !== undefined && caught.code !== code)) {
    expect.fail(`${code} is missing, in ${walk.picture.dump()}: ${caught}`);
  }
  walk.refused += 1;
  return caught.details;
}

/** Checks that the allocator matches the picture. */
function check({ world, allocator, picture }: Walk, step: string, expected: string = picture.dump()): void {
  const found = dumpOf(world, allocator);
  if (found !== expected) expect(found, step).toBe(expected);
}

/** Whether the world has so many states that each gets only some of the operations that differ in their numbers. */
function isLarge({ units }: World): boolean {
  return units > 8;
}

function unitBytes({ unitOrder }: World): bigint {
  return 4096n << BigInt(unitOrder);
}
