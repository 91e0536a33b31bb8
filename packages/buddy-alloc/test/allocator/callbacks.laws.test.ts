/** Callbacks that call back or throw: the state is that of a twin whose callbacks do nothing. */
import { Virt, type VirtAddr, virtAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  ByteMemory,
  HeapAllocator,
  isBuddyError,
  type OwnedBlock,
  PageAllocator,
  renderMap,
  SlabCache,
} from '../../src/index.ts';
import { HEAP, heapPages } from '../support/allocators.ts';

const PAGES = 48;

/** An allocator and everything on it. `hook` is called in the middle of each call of the memory, and by the tracer. */
class World {
  hook: ((where: 'memory' | 'trace') => void) | undefined;
  readonly allocator: PageAllocator<VirtAddr>;
  readonly heap: HeapAllocator<VirtAddr>;
  readonly cache: SlabCache<VirtAddr>;
  readonly blocks: VirtAddr[] = [];
  readonly files: VirtAddr[] = [];
  readonly objects: VirtAddr[] = [];
  readonly small: VirtAddr[] = [];
  readonly owned: OwnedBlock<VirtAddr>[] = [];
  readonly iterator: Iterator<unknown>;
  readonly seen: unknown[] = [];

  constructor(poison: boolean) {
    const bytes = new ByteMemory(Virt, new ArrayBuffer(2 * PAGES * 4096), HEAP);
    const memory = {
      clearPage: (page: VirtAddr) => {
        this.hook?.('memory');
        bytes.clearPage(page);
      },
      bytes: (address: VirtAddr, length: number) => {
        this.hook?.('memory');
        return bytes.bytes(address, length);
      },
    };
    this.allocator = new PageAllocator(heapPages(0, PAGES), {
      space: heapPages(0, 2 * PAGES),
      memory,
      poison,
      trace: () => this.hook?.('trace'),
    });
    this.heap = new HeapAllocator(this.allocator, { memory: bytes });
    this.cache = new SlabCache(this.allocator, 1024, { keepEmpty: 0 });
    this.iterator = this.allocator.blocks();
  }

  /** The visible state. */
  picture(): string {
    const { allocator, heap, cache } = this;
    const hex = (_: string, value: unknown) => (typeof value === 'bigint' ? value.toString(16) : value);
    const owned = this.owned.map((one) => one.isOwned);
    return JSON.stringify(
      [allocator.snapshot(), allocator.memoryInfo(), heap.info(), cache.info(), owned],
      hex,
    );
  }

  check(): void {
    this.allocator.checkInvariants();
    this.heap.checkInvariants();
    this.cache.checkInvariants();
  }
}

/** An operation: `n` chooses among the world's blocks and objects. Its result is kept by `keep`. */
interface Step {
  readonly perform: (world: World, n: number) => unknown;
  readonly keep?: (world: World, result: never) => void;
}

const pick = (list: readonly VirtAddr[], n: number): VirtAddr => list[n % Math.max(1, list.length)] ?? HEAP;
const keepIn =
  (list: 'blocks' | 'files' | 'objects' | 'small') =>
  (world: World, address: VirtAddr): void => {
    world[list].push(address);
  };

const region = (n: number) => heapPages(n % PAGES, 1 + (n % 3));

const STEPS: readonly Step[] = [
  { perform: ({ allocator }, n) => allocator.allocateBlock(n % 4), keep: keepIn('blocks') },
  {
    perform: ({ allocator }, n) => allocator.allocatePages(n % 3),
    keep: (world, { start }: { start: VirtAddr }) => world.blocks.push(start),
  },
  { perform: ({ allocator }) => allocator.allocatePage(), keep: keepIn('blocks') },
  { perform: ({ allocator }) => allocator.allocateZeroedPage(), keep: keepIn('blocks') },
  { perform: ({ allocator }) => allocator.allocateFilePage(), keep: keepIn('files') },
  {
    perform: ({ allocator }, n) => allocator.allocateRun(1 + (n % 5)),
    keep: (world, { start }: { start: VirtAddr }) => world.blocks.push(start),
  },
  {
    perform: ({ allocator }, n) => allocator.allocateAt(region(n)),
    keep: (world, { start }: { start: VirtAddr }) => world.blocks.push(start),
  },
  {
    perform: ({ allocator }, n) => allocator.indexed.allocate(n % 3),
    keep: (world, index: number) => world.blocks.push(virtAddr(HEAP + BigInt(index * 4096))),
  },
  { perform: ({ allocator, blocks }, n) => allocator.freePages(pick(blocks, n)) },
  { perform: ({ allocator, blocks }, n) => allocator.freePage(pick(blocks, n)) },
  {
    perform: ({ allocator, blocks }, n) => allocator.indexed.free(allocator.indexed.indexOf(pick(blocks, n))),
  },
  { perform: ({ allocator, files }, n) => allocator.getFilePage(pick(files, n)) },
  { perform: ({ allocator, files }, n) => allocator.putFilePage(pick(files, n)) },
  { perform: ({ allocator }, n) => allocator.reserve(region(n)) },
  { perform: ({ allocator }, n) => allocator.unreserve(region(n)) },
  { perform: ({ allocator }, n) => allocator.addRegion(heapPages(PAGES + (n % PAGES), 2)) },
  { perform: ({ allocator }, n) => allocator.removeRegion(heapPages(n % (2 * PAGES), 1 + (n % 2))) },
  {
    perform: ({ allocator }, n) => allocator.own(n % 3),
    keep: (world, owned: OwnedBlock<VirtAddr>) => world.owned.push(owned),
  },
  { perform: ({ owned }, n) => owned[n % Math.max(1, owned.length)]?.release() },
  { perform: ({ owned }, n) => owned[n % Math.max(1, owned.length)]?.[Symbol.dispose]() },
  { perform: ({ heap }, n) => heap.allocate(1 + ((n * 37) % 9000)), keep: keepIn('objects') },
  { perform: ({ heap, objects }, n) => heap.free(pick(objects, n)) },
  {
    perform: ({ heap, objects }, n) => heap.reallocate(pick(objects, n), 1 + ((n * 53) % 9000)),
    keep: keepIn('objects'),
  },
  { perform: ({ heap }) => heap.trim() },
  { perform: ({ cache }) => cache.allocate(), keep: keepIn('small') },
  { perform: ({ cache, small }, n) => cache.free(pick(small, n)) },
  { perform: ({ cache }) => cache.trim() },
];

/** Operations that only read. */
const READS: readonly Step[] = [
  { perform: ({ allocator }) => allocator.region },
  { perform: ({ allocator }) => allocator.regions },
  { perform: ({ allocator }) => allocator.blockOf(HEAP) },
  { perform: ({ allocator }) => allocator.blocks() },
  { perform: ({ iterator }) => iterator.next() },
  { perform: ({ allocator }) => allocator.memoryInfo() },
  { perform: ({ allocator }) => allocator.snapshot() },
  { perform: ({ allocator }) => allocator.checkInvariants() },
  { perform: ({ allocator }) => renderMap(allocator) },
  { perform: ({ allocator }) => allocator.pagesFor('heap') },
  { perform: ({ allocator }) => new SlabCache(allocator, 8) },
  { perform: ({ allocator }) => new HeapAllocator(allocator) },
  { perform: ({ heap, objects }, n) => heap.sizeOf(pick(objects, n)) },
  { perform: ({ heap }) => heap.info() },
  { perform: ({ heap }) => heap.checkInvariants() },
  { perform: ({ cache }) => cache.info() },
  { perform: ({ cache }) => cache.checkInvariants() },
];
const ALL: readonly Step[] = [...STEPS, ...READS];

/** The error of the step that is thrown, or its result, which is kept. */
function attempt(world: World, step: Step, n: number): { result: unknown; error: unknown } {
  let result: unknown;
  let error: unknown;
  try {
    result = step.perform(world, n);
  } catch (thrown) {
    error = thrown;
    if (!isBuddyError(thrown, 'CALLBACK_FAILED')) return { result, error };
    result = thrown.details.result;
  }
  step.keep?.(world, result as never);
  return { result, error };
}

const plan = fc.array(
  fc.record({
    step: fc.nat(STEPS.length - 1),
    n: fc.nat(1000),
    /** The call of a callback that misbehaves, and the operation that it calls; or it throws. */
    at: fc.oneof(fc.constant(0), fc.nat(6)),
    inner: fc.option(fc.nat(ALL.length - 1), { freq: 2 }),
    innerN: fc.nat(1000),
  }),
  { minLength: 10, maxLength: 60 },
);

const same = (value: unknown): string =>
  JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? part.toString(16) : part)) ?? 'undefined';

test.each([false, true])(
  'callbacks that call back change nothing, and failures are reported, poison %s',
  (poison) => {
    let busy = 0;
    let failed = 0;
    let refused = 0;
    fc.assert(
      fc.property(plan, (steps) => {
        const [world, twin] = [new World(poison), new World(poison)];
        for (const { step, n, at, inner, innerN } of steps) {
          const failure = new Error('the callback failed');
          const before = world.picture();
          let calls = 0;
          let traces = 0;
          let twinTraces = 0;
          let where: 'memory' | 'trace' | undefined;
          world.hook = (place) => {
            if (place === 'trace') traces += 1;
            calls += 1;
            if (calls !== at + 1) return;
            if (inner === null) {
              where = place;
              throw failure;
            }
            let thrown: unknown;
            try {
              (ALL[inner] as Step).perform(world, innerN);
            } catch (error) {
              thrown = error;
            }
            // An operation on an owner that does not exist is not an operation.
            if (world.owned.length === 0 && (inner === 18 || inner === 19)) return;
            expect(isBuddyError(thrown, 'BUSY'), String(thrown)).toBe(true);
            busy += 1;
          };
          const outcome = attempt(world, STEPS[step] as Step, n);
          world.hook = undefined;
          if (where === 'memory') {
            // It throws before or within the change.
            expect(outcome.error).toBe(failure);
            expect(world.picture()).toBe(before);
            refused += 1;
            world.check();
            // Of several free blocks, any may be the next, and the failure may have changed which. So the twin fails, too.
            let twinCalls = 0;
            twin.hook = () => {
              twinCalls += 1;
              if (twinCalls === at + 1) throw failure;
            };
            attempt(twin, STEPS[step] as Step, n);
            twin.hook = undefined;
            continue;
          }
          twin.hook = (place) => {
            if (place === 'trace') twinTraces += 1;
          };
          const expected = attempt(twin, STEPS[step] as Step, n);
          twin.hook = undefined;
          expect(traces).toBe(twinTraces);
          if (where === 'trace') {
            expect(isBuddyError(outcome.error, 'CALLBACK_FAILED') && outcome.error.cause).toBe(failure);
            failed += 1;
          } else {
            expect(String(outcome.error)).toBe(String(expected.error));
          }
          expect(same(outcome.result)).toBe(same(expected.result));
          expect(world.picture()).toBe(twin.picture());
          world.check();
        }
      }),
    );
    expect(busy).toBeGreaterThan(50);
    expect(failed).toBeGreaterThan(50);
    if (poison) expect(refused).toBeGreaterThan(50);
  },
);
