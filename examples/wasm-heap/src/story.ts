import { isBuddyError, renderMap } from '@svsm/buddy-alloc';
import { HEAP_BASE, TABLE } from './module.ts';
import { createWorld, Wasm, type WasmAddr, type World } from './world.ts';

/** The report on a heap in a module's memory. */
export interface StoryReport {
  readonly heapBase: number;
  /** The first page of the heap. */
  readonly firstPage: WasmAddr;
  /** The size of the memory in bytes, at the start and at the end. */
  readonly memoryBytes: readonly [before: number, after: number];
  readonly maps: readonly [before: string, grown: string, after: string];
  /** An array that the host wrote, its sum by the module, and the expected sum. */
  readonly sum: {
    readonly at: WasmAddr;
    readonly length: number;
    readonly sum: number;
    readonly expected: number;
  };
  /** A list that the host allocated, before and after the module reversed it. */
  readonly list: { readonly before: readonly number[]; readonly after: readonly number[] };
  /** A list that the module allocated in the heap. */
  readonly range: { readonly nodes: number; readonly sum: number; readonly pages: number };
  readonly growth: {
    /** The requested bytes, and the number of 64 KiB pages by which the memory grew. */
    readonly asked: number;
    readonly pages: number;
    /** The number of elements of a view from before, whose buffer is detached, and of a new view of the same address. */
    readonly oldView: number;
    readonly newView: number;
    readonly sum: number;
    /** The address that `malloc` returns for more than the memory may grow to. */
    readonly tooMuch: number;
  };
  /** The calls that failed: who called, and the error. */
  readonly refusals: readonly { readonly who: string; readonly code: string; readonly message: string }[];
  /** Two checks of the module's own data: the CRC of its table, and the number of bytes below the heap that changed. */
  readonly own: { readonly crc: number; readonly changedBytes: number };
  /** The objects that the module did not free, and the content of the heap when all others are freed. */
  readonly leaks: readonly { readonly at: WasmAddr; readonly bytes: number }[];
  readonly left: { readonly objects: number; readonly bytes: number; readonly pages: number };
}

/** Runs all steps once, in a new world. */
export function tellStory(): StoryReport {
  const world = createWorld();
  const { exports, memory, allocator, heap } = world;
  const own = memory.bytes(Wasm.address(0), HEAP_BASE).slice();
  const bytesBefore = memory.byteLength;
  const mapBefore = map(world);

  const array = world.allocate(1000 * 8, 8);
  const numbers = heap.view(Float64Array, array, 1000);
  numbers.forEach((_, i) => {
    numbers[i] = i / 2;
  });
  const sum = exports.sum(Number(array), 1000);

  const head = newList(world, [3, 1, 4, 1, 5, 9]);
  const before = valuesOf(world, head);
  const reversed = Wasm.address(exports.reverse(Number(head)) >>> 0);
  const after = valuesOf(world, reversed);

  const pagesBefore = heap.info().pages;
  const range = Wasm.address(exports.range(1000) >>> 0);
  const rangeValues = valuesOf(world, range);
  const rangePages = heap.info().pages - pagesBefore;

  const asked = 300_000;
  const large = world.allocate(asked);
  memory.bytes(large, asked).fill(0xff);
  const mapGrown = map(world);
  const newView = heap.view(Float64Array, array, 1000);
  const growth = {
    asked,
    pages: world.grown.reduce((total, pages) => total + pages, 0),
    oldView: numbers.length,
    newView: newView.length,
    sum: exports.sum(Number(array), 1000),
    tooMuch: exports.make(8 * 1024 ** 2),
  };

  const leaked = Wasm.address(exports.range(3) >>> 0);
  const refusals = [
    refused('the module', 'frees an object twice', () => exports.free_twice(24)),
    refused('the host', 'frees an address in the module’s data', () => heap.free(Wasm.address(TABLE.at))),
    refused('the module', 'frees an address inside an object', () => exports.drop(Number(leaked) + 4)),
    refused('the host', 'views more bytes than the object has', () => heap.view(Float64Array, array, 2000)),
  ];

  const crc = crcOf(world, '123456789');
  exports.drop(Number(range));
  freeList(world, reversed);
  heap.free(array);
  heap.free(large);
  heap.trim();
  heap.checkInvariants();
  allocator.checkInvariants();
  const changed = memory.bytes(Wasm.address(0), HEAP_BASE);
  return {
    heapBase: HEAP_BASE,
    firstPage: allocator.region.start,
    memoryBytes: [bytesBefore, memory.byteLength],
    maps: [mapBefore, mapGrown, map(world)],
    sum: { at: array, length: 1000, sum, expected: 249_750 },
    list: { before, after },
    range: { nodes: rangeValues.length, sum: rangeValues.reduce((a, b) => a + b, 0), pages: rangePages },
    growth,
    refusals,
    own: { crc, changedBytes: own.filter((byte, at) => byte !== changed[at]).length },
    leaks: [...world.owed].map(([at, bytes]) => ({ at, bytes })),
    left: heap.info(),
  };
}

function map({ allocator }: World): string {
  return renderMap(allocator, { columns: 32, rows: 8 });
}

/** Allocates a list in the module's memory: nodes with a link and a value. */
function newList(world: World, values: readonly number[]): WasmAddr {
  return values.reduceRight((next, value) => {
    const node = world.allocate(8);
    world.heap.view(Int32Array, node, 2).set([Number(next), value]);
    return node;
  }, Wasm.address(0));
}

function* nodesOf({ memory }: World, head: WasmAddr): Generator<{ at: WasmAddr; value: number }> {
  for (let at = head; at !== 0n; ) {
    const [next = 0, value = 0] = memory.view(Int32Array, at, 2);
    yield { at, value };
    at = Wasm.address(next >>> 0);
  }
}

function valuesOf(world: World, head: WasmAddr): number[] {
  return Array.from(nodesOf(world, head), ({ value }) => value);
}

function freeList(world: World, head: WasmAddr): void {
  for (const { at } of [...nodesOf(world, head)]) world.heap.free(at);
}

function crcOf(world: World, text: string): number {
  const at = world.allocate(text.length);
  world.heap.view(Uint8Array, at, text.length).set(new TextEncoder().encode(text));
  const crc = world.exports.crc32(Number(at), text.length) >>> 0;
  world.heap.free(at);
  return crc;
}

function refused(who: string, what: string, action: () => void): StoryReport['refusals'][number] {
  try {
    action();
  } catch (error) {
    if (isBuddyError(error)) return { who: `${who} ${what}`, code: error.code, message: error.message };
    throw error;
  }
  throw new Error(`${who} ${what}, and no error is thrown`);
}
