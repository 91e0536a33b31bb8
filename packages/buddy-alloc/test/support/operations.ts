/** Every operation of the package, to be called by its name on objects in good and bad states, with good and bad arguments. */
import { Phys, physAddr, Virt, type VirtAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { vi } from 'vitest';
import {
  BuddyError,
  ByteMemory,
  getOrder,
  HeapAllocator,
  isBuddyError,
  type OwnedBlock,
  PageAllocator,
  type PageSource,
  renderMap,
  SharedPageAllocator,
  SlabCache,
  type ViewConstructor,
} from '../../src/index.ts';
import { Slabs } from '../../src/objects/slabs.ts';
import type { ERRORS_OF } from '../../src/pages/errors-of.ts';
import { DIRTY, LOCK } from '../../src/shared/shared-layout.ts';
import { BuddyLevel } from '../../src/tree/buddy-level.ts';
import { BuddyTree } from '../../src/tree/buddy-tree.ts';
import { HEAP, heapPages, untyped } from './allocators.ts';
import { BAD_REGIONS, NOT_ADDRESSES, NOT_NUMBERS, NOT_REGIONS } from './hostile.ts';
import { countedPage, SPECIAL, type Special } from './special-allocators.ts';

export type Operation = keyof typeof ERRORS_OF;
export type Call = (...args: unknown[]) => unknown;

/** Objects in several states, and the operations on them. */
export interface Scene {
  /** For each operation, the calls of it on each object. */
  readonly calls: Readonly<Record<Operation, readonly Call[]>>;
  /** Good and bad arguments: constants, and addresses and regions of the objects. */
  readonly args: readonly unknown[];
}

const at = (page: number, byte = 0): VirtAddr => virtAddr(HEAP + BigInt(page * 4096 + byte));

/** Creates new objects. The calls of a scene change them. */
export function makeScene(): Scene {
  const pages = pageScene();
  const objects = objectScene();
  const shared = sharedScene();
  const special = SPECIAL.map((make) => make());
  return merged(special.map(specialCalls), {
    // A size that only large allocators have comes first, then addresses, because the calls free what they name.
    args: [
      ...new Set([
        9_000_000,
        ...pages.args,
        ...objects.args,
        ...shared.args,
        ...special.flatMap(({ args }) => args),
        ...CONSTANTS,
      ]),
    ],
    calls: {
      getOrder: [getOrder as Call],
      isBuddyError: [isBuddyError as Call],
      renderMap: [pages.busy, ...shared.allocators].map(
        (allocator) => (options) => renderMap(allocator, untyped(options)),
      ),
      'new PageAllocator': [(regions, options) => new PageAllocator(untyped(regions), untyped(options))],
      'PageAllocator.restore': [
        PageAllocator.restore as Call,
        (kind, snapshot) =>
          PageAllocator.restore(untyped(kind), untyped(snapshot), { memory: TINY, poison: true }),
      ],
      ...methods('PageAllocator', PAGE_ALLOCATOR, pages.allocators),
      'PageAllocator.checkInvariants': [
        () => pages.busy.checkInvariants(),
        () => {
          const count = vi.spyOn(BuddyTree.prototype, 'allocatedBlocks').mockReturnValue(77);
          try {
            pages.busy.checkInvariants();
          } finally {
            count.mockRestore();
          }
        },
      ],
      ...methods('IndexedPages', ['allocate', 'free', 'addressOf', 'indexOf'], pages.indexed),
      ...methods('PageSource', ['allocate', 'free'], pages.sources),
      ...methods('OwnedBlock', OWNED_BLOCK, pages.owned),
      ...objects.calls,
      'SharedPageAllocator.create': [SharedPageAllocator.create as Call],
      'SharedPageAllocator.attach': [SharedPageAllocator.attach as Call],
      'SharedPageAllocator.bytesFor': [SharedPageAllocator.bytesFor as Call],
      ...methods('SharedPageAllocator', SHARED_ALLOCATOR, shared.allocators),
      ...methods('PageCache', PAGE_CACHE, shared.caches),
    },
  });
}

/** The operations on an allocator whose callbacks misbehave, and on what is on it. */
function specialCalls({ allocator, owned, caches, heap, around }: Special): Partial<Scene['calls']> {
  const calls: Partial<Record<Operation, readonly Call[]>> = {
    renderMap: [(options) => renderMap(allocator, untyped(options))],
    'new SlabCache': [(size, options) => new SlabCache(allocator, untyped(size), untyped(options))],
    'new HeapAllocator': [(options) => new HeapAllocator(allocator, untyped(options))],
    ...methods('PageAllocator', [...PAGE_ALLOCATOR, 'checkInvariants'], [allocator]),
    ...methods('IndexedPages', ['allocate', 'free'], [allocator.indexed]),
    ...methods('PageSource', ['allocate', 'free'], [allocator.pagesFor('slab'), allocator.pagesFor('heap')]),
    ...methods('OwnedBlock', OWNED_BLOCK, [owned]),
    ...methods('SlabCache', [...SLAB_CACHE, 'checkInvariants'], caches),
    ...methods('HeapAllocator', [...HEAP_ALLOCATOR, 'checkInvariants'], [heap]),
    'HeapAllocator.view': [(address, length) => heap.view(Uint8Array, untyped(address), untyped(length))],
  };
  const rows = Object.entries(calls).map(([operation, list]) => [
    operation,
    list.map(
      (call): Call =>
        (...args) =>
          around(() => call(...args)),
    ),
  ]);
  return Object.fromEntries(rows);
}

/** A scene with more calls. */
function merged(more: readonly Partial<Scene['calls']>[], { calls, args }: Scene): Scene {
  const rows = Object.entries(calls).map(([operation, list]) => [
    operation,
    [...list, ...more.flatMap((one) => one[operation as Operation] ?? [])],
  ]);
  return { calls: Object.fromEntries(rows), args };
}

/** The code of the BuddyError that a call throws, or `undefined`. Other errors come from values that nobody checks. */
export function codeThrownBy(call: Call, args: readonly unknown[]): string | undefined {
  try {
    call(...args);
  } catch (error) {
    if (isBuddyError(error)) return error.code;
  }
  return undefined;
}

/** Operations whose second argument matters. */
const TWO_ARGUMENTS: ReadonlySet<Operation> = new Set<Operation>([
  'new PageAllocator',
  'PageAllocator.restore',
  'PageAllocator.allocateRun',
  'PageSource.allocate',
  'new SlabCache',
  'HeapAllocator.allocate',
  'HeapAllocator.reallocate',
  'HeapAllocator.view',
  'new ByteMemory',
  'ByteMemory.bytes',
  'ByteMemory.view',
  'ByteMemory.copy',
  'SharedPageAllocator.create',
  'SharedPageAllocator.attach',
  'SharedPageAllocator.bytesFor',
]);

/** The codes that an operation throws in new scenes with every argument or pair of arguments, and when tables cannot grow. */
export function codesOf(operation: Operation): Set<string> {
  const codes = new Set<string>();
  for (let index = 0; index < makeScene().calls[operation].length; index += 1) {
    for (const run of [(action: () => void) => action(), withFullTables]) {
      const { calls, args } = makeScene();
      const call = calls[operation][index]!;
      const seconds = TWO_ARGUMENTS.has(operation) ? args : [undefined];
      run(() => {
        for (const first of args) {
          for (const second of seconds) codes.add(codeThrownBy(call, [first, second]) ?? '');
        }
      });
    }
  }
  codes.delete('');
  return codes;
}

/** Runs `action` as if the tables could describe no more small blocks. */
function withFullTables(action: () => void): void {
  const { openNode } = BuddyLevel.prototype;
  const open = vi.spyOn(BuddyLevel.prototype, 'openNode').mockImplementation(function (
    this: BuddyLevel,
    owner,
  ) {
    if (this.parent?.children[owner] !== 0) return openNode.call(this, owner);
    throw new BuddyError('METADATA_FULL', { pages: 2 ** 31 });
  });
  try {
    action();
  } finally {
    open.mockRestore();
  }
}

const PAGE_ALLOCATOR = [
  'region',
  'regions',
  'maxOrder',
  'allocatePages',
  'allocateBlock',
  'allocatePage',
  'allocateZeroedPage',
  'allocateFilePage',
  'getFilePage',
  'putFilePage',
  'allocateRun',
  'allocateAt',
  'freePages',
  'freePage',
  'reserve',
  'unreserve',
  'addRegion',
  'removeRegion',
  'pagesFor',
  'own',
  'blockOf',
  'blocks',
  'memoryInfo',
  'snapshot',
] as const;
const OWNED_BLOCK = ['region', 'start', 'isOwned', 'leak', 'takeOver', 'release', Symbol.dispose] as const;
const SLAB_CACHE = ['allocate', 'free', 'info', 'trim'] as const;
const HEAP_ALLOCATOR = ['allocate', 'free', 'reallocate', 'sizeOf', 'view', 'info', 'trim'] as const;
const SHARED_ALLOCATOR = [
  'region',
  'maxOrder',
  'owner',
  'allocatePages',
  'allocateBlock',
  'allocatePage',
  'freePages',
  'freePage',
  'cache',
  'recover',
  'blockOf',
  'blocks',
  'memoryInfo',
  'checkInvariants',
] as const;
const PAGE_CACHE = ['allocatePage', 'freePage', 'flush', 'close', Symbol.dispose] as const;

/** The name of a member in the table of error codes. */
type NameOf<Member extends string | symbol> = Member extends string ? Member : '[Symbol.dispose]';

/** Calls of the members of `objects`. An accessor is called without arguments. */
function methods<Class extends string, Member extends string | symbol>(
  name: Class,
  members: readonly Member[],
  objects: readonly object[],
): Record<`${Class}.${NameOf<Member>}`, readonly Call[]> {
  const rows = members.map((member) => [
    `${name}.${typeof member === 'string' ? member : '[Symbol.dispose]'}`,
    objects.map((object): Call => {
      const receiver = object as Record<string | symbol, unknown>;
      return (...args) => {
        const value = receiver[member];
        return typeof value === 'function' ? value.apply(receiver, args) : value;
      };
    }),
  ]);
  return Object.fromEntries(rows);
}

/** An allocator with pages of all kinds, and allocators that are full, without memory, or too large for their memory. */
function pageScene() {
  const memory = new ByteMemory(Virt, new ArrayBuffer(64 * 4096), HEAP);
  const busy = new PageAllocator(heapPages(0, 64), {
    memory,
    reserved: [heapPages(60, 2)],
    space: heapPages(0, 8192),
  });
  const block = busy.allocatePages(2);
  const run = busy.allocateRun(5);
  const file = busy.allocateFilePage();
  const slab = busy.pagesFor('slab').allocate(1, 4096);
  const heap = busy.pagesFor('heap').allocate(3, 4096);
  const full = new PageAllocator(heapPages(0, 2), { memory });
  full.allocatePages(1);
  const wide = new PageAllocator(heapPages(0, 8192), {
    memory: new ByteMemory(Virt, new ArrayBuffer(4096), at(9000)),
    reserved: [heapPages(4096, 1024)],
  });
  const bare = new PageAllocator(heapPages(0, 64));
  const counted = countedPage(Number.MAX_SAFE_INTEGER);
  const allocators = [busy, full, wide, bare, counted];
  const index = (page: VirtAddr) => busy.indexed.indexOf(page);
  return {
    busy,
    allocators,
    indexed: allocators.map(({ indexed }) => indexed),
    sources: allocators.flatMap((allocator) => [allocator.pagesFor('slab'), allocator.pagesFor('heap')]),
    owned: ownedBlocks(),
    args: [
      // Inside blocks, and smaller than blocks.
      ...[at(1), at(0, 4), Virt.add(run.start, 4096), Virt.add(heap, 4096), heapPages(1, 1), heapPages(0, 1)],
      ...[file, slab, heap].flatMap((page) => [page, virtRegion(page, 4096), index(page)]),
      ...[virtRegion(run.start, 4096), virtRegion(heap, 3 * 4096), block, run, run.start],
      // Free, reserved and outside, or some of these.
      ...[at(40), at(60), at(63), at(5000), at(8191), at(8192), 1, 40, 60, 64, 8191],
      ...[heapPages(40, 1), heapPages(60, 1), heapPages(200, 3), heapPages(4100, 1)],
    ],
  };
}

/** Owners whose block is live, released, or was freed by someone else and is in another state now. */
function ownedBlocks(): OwnedBlock<VirtAddr>[] {
  const changes: ((allocator: PageAllocator<VirtAddr>, owned: OwnedBlock<VirtAddr>) => void)[] = [
    () => undefined,
    (_, owned) => owned.release(),
    (_, owned) => owned.leak(),
    (allocator, { region }) => allocator.freePages(region),
    (allocator, { region }) => {
      allocator.freePages(region);
      allocator.removeRegion(region);
    },
    (allocator, { region }) => {
      allocator.freePages(region);
      allocator.reserve(region);
    },
    (allocator, { region }) => {
      allocator.freePages(region);
      allocator.allocateAt(heapPages(2, 1));
    },
    (allocator, { region }) => {
      allocator.freePages(region);
      allocator.allocateAt(heapPages(0, 4));
    },
    (allocator, { region }) => {
      allocator.freePages(region);
      allocator.allocateAt(heapPages(3, 1));
      allocator.allocateFilePage();
    },
    (allocator, { region }) => {
      allocator.freePages(region);
      (allocator.pagesFor('slab') as PageSource<VirtAddr>).allocate(1, 4096);
    },
    (allocator, { region }) => {
      allocator.freePages(region);
      allocator.pagesFor('heap').allocate(2, 4096);
    },
  ];
  return changes.map((change) => {
    const allocator = new PageAllocator(heapPages(0, 4));
    // Only pages 2 and 3 are left, so whatever is allocated next is there.
    allocator.allocatePages(1);
    const owned = allocator.own(1);
    if (change === changes[7]) allocator.freePages(at(0));
    change(allocator, owned);
    return owned;
  });
}

/** Caches and heaps with objects, on allocators with pages, without pages, and with too little memory. */
function objectScene() {
  let buffer = BIG;
  const memory = new ByteMemory(
    Virt,
    {
      get buffer() {
        return buffer;
      },
    },
    HEAP,
  );
  const allocator = new PageAllocator(heapPages(0, 64), { memory });
  const full = new PageAllocator(heapPages(0, 1));
  full.allocatePage();
  const fresh = new PageAllocator(heapPages(0, 8192));
  const caches = [allocator, full, fresh].map((pages) => new SlabCache(pages, 64));
  const roomy = new PageAllocator(heapPages(0, 8192));
  const heaps = [allocator, full, fresh, roomy].map((pages) => new HeapAllocator(pages, { memory }));
  buffer = new ArrayBuffer(16 * 4096);
  const object = caches[0]!.allocate();
  const freed = caches[0]!.allocate();
  caches[0]!.free(freed);
  const small = heaps[0]!.allocate(48);
  const gone = heaps[0]!.allocate(48);
  heaps[0]!.free(gone);
  const large = heaps[0]!.allocate(9000);
  const far = heaps[0]!.allocate(20 * 4096);
  const bare = new HeapAllocator(allocator);
  // Bytes at addresses that are not multiples of 8.
  const odd = new HeapAllocator(new PageAllocator(heapPages(1, 8)), {
    memory: new ByteMemory(Virt, new ArrayBuffer(16 * 4096), at(0, 4)),
  });
  const broken = new HeapAllocator(allocator);
  allocator.pagesFor('heap').free(broken.allocate(9000));
  const sole = heaps[3]!.allocate(48);
  // A view takes a constructor first.
  const views: readonly ViewConstructor<ArrayBufferView>[] = [Uint8Array, Float64Array, untyped(undefined)];
  return {
    args: [
      Virt.add(small, 8),
      Virt.add(large, 4096),
      object,
      freed,
      small,
      gone,
      odd.allocate(8),
      large,
      far,
      sole,
    ],
    calls: {
      'new SlabCache': [
        (size: unknown, options: unknown) => new SlabCache(allocator, untyped(size), untyped(options)),
      ],
      ...methods('SlabCache', SLAB_CACHE, caches),
      'SlabCache.checkInvariants': [
        () => caches[0]!.checkInvariants(),
        () => {
          const problem = vi.spyOn(Slabs.prototype, 'problem').mockReturnValue('slab 0 is lost');
          try {
            caches[0]!.checkInvariants();
          } finally {
            problem.mockRestore();
          }
        },
      ],
      'new HeapAllocator': [(options: unknown) => new HeapAllocator(allocator, untyped(options))],
      ...methods('HeapAllocator', HEAP_ALLOCATOR, heaps),
      'HeapAllocator.view': [...heaps, bare, odd].flatMap((heap) =>
        views.map(
          (view) => (address: unknown, length: unknown) => heap.view(view, untyped(address), untyped(length)),
        ),
      ),
      'HeapAllocator.checkInvariants': [() => heaps[0]!.checkInvariants(), () => broken.checkInvariants()],
      'new ByteMemory': [
        (source: unknown, origin: unknown) => new ByteMemory(Virt, untyped(source), untyped(origin)),
      ],
      ...methods('ByteMemory', ['origin', 'byteLength', 'bytes', 'clearPage'], [memory]),
      'ByteMemory.copy': [(to: unknown, length: unknown) => memory.copy(HEAP, untyped(to), untyped(length))],
      'ByteMemory.view': views.map(
        (view) => (address: unknown, length: unknown) => memory.view(view, untyped(address), untyped(length)),
      ),
    },
  };
}

/** Shared allocators with pages, without pages, with a lock that is held, and with tables that cannot be repaired. */
function sharedScene() {
  const make = (pages: number, caches: number) =>
    SharedPageAllocator.create(heapPages(0, pages), {
      caches,
      lockTimeout: 0,
      reserved: pages > 60 ? [heapPages(60, 2)] : [],
    });
  const [busy, full, locked, broken] = [make(64, 4), make(2, 1), make(64, 4), make(64, 4)];
  const allocators = [busy, full, locked, broken] as const;
  const caches = allocators.map((allocator) => allocator.cache({ pages: 2 }));
  const closed = busy.cache();
  closed.close();
  for (const allocator of [busy, locked, broken]) {
    allocator.allocatePages(2);
    allocator.freePage(allocator.allocatePage());
  }
  full.allocatePages(1);
  // A page in each cache that can have one, so that `flush` has to take the lock.
  for (const cache of [caches[0]!, caches[2]!, caches[3]!]) cache.freePage(cache.allocatePage());
  new Int32Array(locked.buffer)[LOCK] = 99;
  new Int32Array(broken.buffer)[DIRTY] = 1;
  new Uint8Array(broken.buffer).fill(0xf3, broken.buffer.byteLength - 8);
  return {
    allocators: [...allocators],
    caches: [...caches, closed],
    args: [Virt, Phys, busy.buffer, new SharedArrayBuffer(64), new SharedArrayBuffer(65536)],
  };
}

/** Bytes for the largest allocator of {@link objectScene}. */
const BIG = new ArrayBuffer(8192 * 4096);
/** A memory that has too few bytes for every allocator. */
const TINY = new ByteMemory(Virt, new ArrayBuffer(8), HEAP);
const PAGES_64 = { start: HEAP, end: HEAP + 64n * 4096n };
const SNAPSHOT = { maxOrder: 52, space: PAGES_64, regions: [PAGES_64], reserved: [], blocks: [] };
const bytes = (first: number, end: number) => ({ start: HEAP + BigInt(first), end: HEAP + BigInt(end) });
const PAGE = { ...bytes(0, 4096), kind: 'pages', references: undefined };

/** Arguments for all operations. */
const CONSTANTS: readonly unknown[] = [
  ...NOT_NUMBERS,
  ...NOT_ADDRESSES,
  ...NOT_REGIONS,
  ...BAD_REGIONS,
  ...[0, 1, 3, 8, 49, 64, 4097, 8191, 8192, 9000, 2n ** 64n + 1n, 'slab', 'heap'],
  ...[heapPages(0, 1), heapPages(0, 64), [heapPages(0, 64), heapPages(63, 64)]],
  virtRegion(HEAP, 2 ** 42 + 4096),
  physRegion(physAddr(0), 0x1000),
  ...[{ maxOrder: 53 }, { reserved: 5 }, { reserved: [heapPages(0, 65)] }, { reserved: [BAD_REGIONS[4]] }],
  ...[
    { space: heapPages(0, 1) },
    { space: virtRegion(HEAP, 65 * 4096 + 1) },
    { memory: 5 },
    { memory: TINY },
    { memory: TINY, poison: true },
  ],
  ...[{ keepEmpty: 0.5 }, { columns: 0 }, { rows: 1.5 }, { pages: 1 }, { caches: -1 }, { caches: 0 }],
  ...[{ lockTimeout: -1 }, { buffer: 5 }, { buffer: new SharedArrayBuffer(64) }],
  SNAPSHOT,
  ...[{ maxOrder: 53 }, { regions: [bytes(0, 100)] }, { regions: [PAGES_64, PAGES_64] }].map((part) => ({
    ...SNAPSHOT,
    ...part,
  })),
  ...[{ reserved: [bytes(0, 100)] }, { blocks: [{ ...PAGE, kind: 'other' }] }, { blocks: [PAGE, PAGE] }].map(
    (part) => ({ ...SNAPSHOT, ...part }),
  ),
  { ...SNAPSHOT, space: bytes(0, 128 * 4096), blocks: [{ ...PAGE, ...bytes(64 * 4096, 65 * 4096) }] },
];
