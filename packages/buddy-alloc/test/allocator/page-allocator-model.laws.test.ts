/**
 * Random operations, compared with a plain list of pages. In units of one page they run on real memory, in which each
 * owner writes a byte of its own; in units of many pages they run without memory.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type BlockKind, ByteMemory, type OwnedBlock, PageAllocator } from '../../src/index.ts';
import { codeOf, Flat, type FlatAddr } from '../support/allocators.ts';
import {
  addressAt,
  dumpOf,
  dumpRangesOf,
  Picture,
  type Piece,
  type Place,
  unitsAt,
} from '../support/picture.ts';

/** Fills freed pages, as upstream's fuzzer does. A live or cleared page must never have this byte. */
const FREED = 0xfa;
const STEPS = 700;

interface Live {
  piece: Piece;
  /** The value of all its bytes. */
  readonly poison: number;
  readonly owner: OwnedBlock<FlatAddr> | undefined;
}

/** An allocator, its picture and its memory. */
class Bench {
  readonly place: Place;
  readonly picture: Picture;
  readonly live: Live[] = [];
  allocator: PageAllocator<FlatAddr>;
  /** Present only if a unit is a page. */
  readonly #memory: ByteMemory<FlatAddr> | undefined;
  #poison = 0;

  constructor(place: Place, away: number) {
    this.place = place;
    this.picture = new Picture(place);
    for (let index = 0; index < place.units; index += 1) {
      if ((away >> (index % 16)) & 1) this.picture.units[index] = 'away';
    }
    const space = unitsAt(place, place.start, place.units);
    const regions = this.picture.stretches((unit) => unit !== 'away');
    this.#memory =
      place.unitOrder > 0
        ? undefined
        : new ByteMemory(Flat, new ArrayBuffer(place.units * 4096), space.start);
    this.#fill(place.start, place.units, FREED);
    this.allocator = new PageAllocator(
      regions.map(({ first, count }) => unitsAt(place, first, count)),
      { space, maxOrder: Math.min(52, place.maxOrder + place.unitOrder), memory: this.#memory },
    );
  }

  /** Replaces the allocator with one that is restored from its snapshot. Owners keep the old one, so no block may have an owner. */
  restore(): void {
    if (this.live.some(({ owner }) => owner !== undefined)) return;
    this.allocator = PageAllocator.restore(Flat, this.allocator.snapshot(), { memory: this.#memory });
  }

  /** Records `count` units, just allocated at `start`, after a check that they were free and aligned to `alignment` units. */
  add(
    start: bigint,
    count: number,
    {
      kind,
      alignment = 1,
      owner,
      clear = false,
    }: {
      kind?: BlockKind | undefined;
      alignment?: number;
      owner?: OwnedBlock<FlatAddr> | undefined;
      clear?: boolean;
    } = {},
  ): void {
    const first = Number(start / this.unitBytes);
    if (!this.picture.is('free', first, count) || first % alignment !== 0) {
      expect.fail(`${count} pages at ${first}, of ${this.picture.dump()}`);
    }
    // Pages that were freed or never allocated were poisoned. If this page is zeros, it was cleared.
    if (!this.#holds(first, count, clear ? 0 : FREED)) expect.fail(`pages at ${first} hold something else`);
    const piece = this.picture.put(first, count, kind, kind === 'file' ? 1 : 0);
    this.#poison = (this.#poison % 0xf0) + 1;
    this.#fill(first, count, this.#poison);
    this.live.push({ piece, poison: this.#poison, owner });
  }

  get unitBytes(): bigint {
    return 4096n << BigInt(this.place.unitOrder);
  }

  /** Picks a live piece, after a check that no other owner has written to it. */
  pick(choice: number): Live | undefined {
    const found = this.live[choice % this.live.length];
    if (found !== undefined && !this.#holds(found.piece.first, found.piece.count, found.poison)) {
      expect.fail(`${JSON.stringify(found)} holds something else`);
    }
    return found;
  }

  /** Records that a live piece was freed. */
  drop(gone: Live): void {
    const { first, count } = gone.piece;
    this.#fill(first, count, FREED);
    this.picture.fill(first, count, 'free');
    const last = this.live.pop() as Live;
    if (last !== gone) this.live[this.live.indexOf(gone)] = last;
  }

  check(): void {
    const { allocator, picture, place } = this;
    allocator.checkInvariants();
    expect(dumpOf(place, allocator)).toBe(picture.dump());
    expect(dumpRangesOf(place, allocator)).toBe(picture.dumpRanges());
  }

  #words(first: number, count: number): Int32Array {
    if (this.#memory === undefined) return new Int32Array(0);
    return this.#memory.view(Int32Array, addressAt(this.place, first), count * 1024);
  }

  #fill(first: number, count: number, byte: number): void {
    this.#words(first, count).fill(Math.imul(byte, 0x0101_0101));
  }

  #holds(first: number, count: number, byte: number): boolean {
    const words = this.#words(first, count);
    const wanted = Math.imul(byte, 0x0101_0101);
    for (let index = 0; index < words.length; index += 1) if (words[index] !== wanted) return false;
    return true;
  }
}

/** An operation. It uses the choices that follow its number, and returns whether there was something to do. */
type Operation = (bench: Bench, a: number, b: number) => boolean;

/** Tries to allocate `count` units at a multiple of `alignment` units, which must succeed if there is room. */
function allocate(
  { picture }: Bench,
  count: number,
  alignment: number,
  action: () => void,
  isPossible = true,
): boolean {
  const code = codeOf(action);
  if (!isPossible) expect(code).toBe('INVALID_ORDER');
  else if (code !== undefined) {
    expect(code).toBe('OUT_OF_MEMORY');
    expect(picture.hasRoom(count, alignment), `false: there is room for ${count}`).toBe(false);
  }
  return true;
}

/** Tries to allocate one page of some kind. */
const page =
  (kind: BlockKind, clear: boolean, action: (bench: Bench) => bigint): Operation =>
  (bench) =>
    bench.place.unitOrder === 0 && allocate(bench, 1, 1, () => bench.add(action(bench), 1, { kind, clear }));

/** An order; small orders are more frequent. */
const orderOf = (choice: number) => Math.clz32((choice & 0xff) | 1) - 24;

const OPERATIONS: readonly Operation[] = [
  page('pages', false, ({ allocator }) => allocator.allocatePage()),
  page('pages', false, ({ allocator }) => allocator.allocatePage()),
  page('pages', true, ({ allocator }) => allocator.allocateZeroedPage()),
  page('file', true, ({ allocator }) => allocator.allocateFilePage()),
  page('slab', false, ({ allocator }) => allocator.pagesFor('slab').allocate(1, 4096)),
  function blocks(bench, a, b) {
    const { allocator, picture, place } = bench;
    const order = orderOf(a);
    const pageOrder = order + place.unitOrder;
    const size = 2 ** order;
    const action = () => {
      if (b % 3 === 0) return bench.add(allocator.allocateBlock(pageOrder), size, { alignment: size });
      const owner = b % 3 === 1 ? allocator.own(pageOrder) : undefined;
      const region = owner?.region ?? allocator.allocatePages(pageOrder);
      expect(region.size).toBe(BigInt(size) * bench.unitBytes);
      bench.add(region.start, size, { alignment: size, owner });
    };
    return allocate(bench, size, size, action, order <= picture.maxOrder);
  },
  function runs(bench, a, b) {
    const { allocator, place } = bench;
    const count = 1 + (a % 13);
    const alignment = 2 ** (b % 5);
    const pages = count * 2 ** place.unitOrder;
    const bytes = alignment * Number(bench.unitBytes);
    if (b % 3 > 0) {
      return allocate(bench, count, alignment, () => {
        bench.add(allocator.allocateRun(pages, bytes).start, count, { alignment });
      });
    }
    const heap = allocator.pagesFor('heap');
    return allocate(bench, count, alignment, () =>
      bench.add(heap.allocate(pages, bytes), count, { alignment, kind: 'heap' }),
    );
  },
  function free(bench, a, b) {
    const found = bench.pick(a);
    if (found === undefined) return false;
    const { allocator, place } = bench;
    const { first, count, kind, references } = found.piece;
    const address = addressAt(place, first);
    if (found.owner !== undefined) {
      if (b % 4 === 0) {
        // The block stays allocated, without an owner or with another one.
        expect(found.owner.leak().start).toBe(address);
        bench.live[bench.live.indexOf(found)] = { ...found, owner: undefined };
        return true;
      }
      if (b % 4 === 1) {
        bench.live[bench.live.indexOf(found)] = { ...found, owner: found.owner.takeOver() };
        return true;
      }
      if (b % 4 === 2) found.owner.release();
      else found.owner[Symbol.dispose]();
      expect(codeOf(() => found.owner?.release())).toBe('RELEASED_BLOCK');
    } else if (kind === 'file') {
      if (b % 3 === 0) expect(allocator.getFilePage(address)).toBe(references + 1);
      else expect(allocator.putFilePage(address)).toBe(references - 1);
      const left = references + (b % 3 === 0 ? 1 : -1);
      if (left > 0) {
        found.piece = { ...found.piece, references: left };
        bench.picture.fill(first, count, found.piece);
        return true;
      }
    } else if (kind === 'slab' || kind === 'heap') allocator.pagesFor(kind).free(address);
    else if (b % 2 === 0) allocator.freePages(unitsAt(place, first, count));
    else if (count === 1 && place.unitOrder === 0) allocator.freePage(address);
    else allocator.freePages(address);
    bench.drop(found);
    return true;
  },
  function ranges(bench, a, b) {
    const { allocator, picture, place } = bench;
    const first = place.start + (a % place.units);
    const count = Math.min(1 + (b % 9), place.start + place.units - first);
    const region = unitsAt(place, first, count);
    const isAll = (state: 'free' | 'reserved' | 'away') => picture.is(state, first, count);
    const obstacle = (wanted: 'free' | 'reserved') => {
      for (let unit = first; unit < first + count; unit += 1) {
        const here = picture.at(unit);
        if (here !== wanted) return here === 'away' ? 'OUTSIDE_REGION' : `NOT_${wanted.toUpperCase()}`;
      }
      return undefined;
    };
    const what = (a >>> 16) % 7;
    if (what === 0) {
      const code = codeOf(() => bench.add(allocator.allocateAt(region).start, count));
      expect(code).toBe(code === undefined ? undefined : obstacle('free'));
    } else if (what === 1) {
      const expected = obstacle('free');
      expect(codeOf(() => allocator.reserve(region))).toBe(expected);
      if (expected === undefined) picture.fill(first, count, 'reserved');
    } else if (what === 2 || what === 3) {
      const expected = obstacle('reserved');
      expect(codeOf(() => allocator.unreserve(region))).toBe(expected);
      if (expected === undefined) picture.fill(first, count, 'free');
    } else if (what === 4) {
      const expected = obstacle('free');
      expect(codeOf(() => allocator.removeRegion(region))).toBe(expected);
      if (expected === undefined) picture.fill(first, count, 'away');
    } else {
      const isAway = isAll('away');
      expect(codeOf(() => allocator.addRegion(region))).toBe(isAway ? undefined : 'INVALID_REGION');
      if (isAway) picture.fill(first, count, 'free');
    }
    return true;
  },
  function badFrees(bench, a, b) {
    const { allocator, picture, place } = bench;
    const unit = Math.max(0, place.start - 2 + (a % (place.units + 4)));
    const here = picture.at(unit);
    const address = addressAt(place, unit);
    const offset = b % 3 === 0 ? 1 + (b % 4095) : 0;
    const codes = { away: 'OUTSIDE_REGION', free: 'DOUBLE_FREE', reserved: 'RESERVED_PAGE' } as const;
    const owned = { file: 'FILE_PAGE', slab: 'SLAB_PAGE', heap: 'HEAP_BLOCK' } as const;
    const isHead = typeof here === 'object' && here.first === unit;
    const expected =
      typeof here !== 'object'
        ? codes[here]
        : here.kind in owned
          ? owned[here.kind as keyof typeof owned]
          : isHead
            ? 'WRONG_SIZE'
            : 'BLOCK_TAIL';
    if (offset > 0) {
      const code = here === 'away' ? 'OUTSIDE_REGION' : 'MISALIGNED_ADDRESS';
      expect(codeOf(() => allocator.freePages(Flat.add(address, offset)))).toBe(code);
      return true;
    }
    const count = isHead ? here.count + 1 + (b % 3) : 1 + (b % 3);
    expect(codeOf(() => allocator.freePages(unitsAt(place, unit, count)))).toBe(expected);
    if (expected !== 'WRONG_SIZE') expect(codeOf(() => allocator.freePages(address))).toBe(expected);
    return true;
  },
  function looking(bench, a) {
    const { allocator, picture, place } = bench;
    const unit = Math.max(0, place.start - 2 + (a % (place.units + 4)));
    const block = allocator.blockOf(Flat.add(addressAt(place, unit), a % 4096));
    const here = picture.at(unit);
    if (here === 'away') expect(block).toBeUndefined();
    else if (typeof here !== 'object') expect(block?.state).toBe(here);
    else {
      const region = unitsAt(place, here.first, here.count);
      expect(block).toMatchObject({ state: 'allocated', kind: here.kind });
      expect(block?.region.equals(region)).toBe(true);
    }
    if (a % 16 === 0) bench.restore();
    return true;
  },
];

/** The frequency of each of {@link OPERATIONS}. */
const WEIGHTS = [2, 2, 1, 2, 1, 6, 4, 14, 6, 3, 2];
const CHOICES = OPERATIONS.flatMap((operation, index) =>
  new Array<Operation>(WEIGHTS[index] ?? 1).fill(operation),
);

const places = fc.record({
  // Units from 0, or across the borders of tables.
  start: fc.oneof(
    fc.nat(64),
    fc.integer({ min: 960, max: 1088 }),
    fc.integer({ min: 2 ** 20 - 64, max: 2 ** 20 }),
    fc.integer({ min: 2 ** 30 - 64, max: 2 ** 30 }),
  ),
  units: fc.integer({ min: 1, max: 128 }),
  unitOrder: fc.constantFrom(0, 0, 0, 6, 9, 17, 20),
  maxOrder: fc.constantFrom(52, 52, 0, 1, 3, 5),
});

test('an allocator agrees with a list of pages, and no page has two owners', () => {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  let count = 0;
  // A zero stands for no step, so that shrinking leaves out steps.
  const steps = fc.array(fc.maxSafeNat(), { minLength: STEPS, maxLength: STEPS, size: 'max' });
  const property = fc.property(
    places,
    fc.constantFrom(0, 0, 0x00f0, 0x8001, 0xffff),
    steps,
    (place, away, steps) => {
      const bench = new Bench(place, away);
      const initial = dumpOf(place, bench.allocator);
      const { units } = bench.picture;
      const wasAway = units.map((unit) => unit === 'away');
      for (const [index, step] of steps.entries()) {
        if (step === 0) continue;
        const operation = CHOICES[step % CHOICES.length]!;
        const rest = Math.floor(step / CHOICES.length);
        if (operation(bench, rest % 2 ** 24, Math.floor(rest / 2 ** 24))) count += 1;
        if (index % 16 === 0) bench.allocator.checkInvariants();
        if (index % 128 === 0) bench.check();
      }
      bench.check();

      // After everything is freed, in any order, the allocator is as it began.
      const { allocator, live } = bench;
      for (let round = 0; live.length > 0; round += 1) {
        const found = bench.pick(steps[round % STEPS]!) as Live;
        const { first, kind, references } = found.piece;
        const address = addressAt(place, first);
        if (kind === 'file') for (let put = 0; put < references; put += 1) allocator.putFilePage(address);
        else if (kind === 'slab' || kind === 'heap') allocator.pagesFor(kind).free(address);
        else if (found.owner !== undefined) found.owner.release();
        else allocator.freePages(address);
        bench.drop(found);
      }
      for (const [index, isAway] of wasAway.entries()) {
        const region = unitsAt(place, place.start + index, 1);
        if (units[index] === 'reserved') allocator.unreserve(region);
        if (units[index] === 'away' && !isAway) allocator.addRegion(region);
        if (units[index] !== 'away' && isAway) allocator.removeRegion(region);
      }
      expect(dumpOf(place, allocator)).toBe(initial);
      allocator.checkInvariants();
    },
  );
  try {
    fc.assert(property);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  console.log(`${count} operations compared with the model`);
});
