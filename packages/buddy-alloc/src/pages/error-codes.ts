import type { BuddyErrorCode } from './buddy-error.ts';

/**
 * The codes of `BuddyError` that each operation can throw, including codes of this package's own objects that are passed in:
 * `OUTSIDE_MEMORY` of a `ByteMemory` that clears pages, and the codes of a shared allocator that `renderMap` draws.
 */
export const ERRORS_OF = {
  getOrder: ['SIZE_TOO_LARGE'],
  renderMap: ['INVALID_OPTION', 'LOCK_TIMEOUT', 'BROKEN_INVARIANT'],
  isBuddyError: [],

  'new PageAllocator': [
    'INVALID_MAX_ORDER',
    'NO_REGION',
    'INVALID_OPTION',
    'INVALID_REGION',
    'INVALID_RESERVED',
    'METADATA_FULL',
  ],
  'PageAllocator.restore': [
    'INVALID_MAX_ORDER',
    'INVALID_REGION',
    'INVALID_RESERVED',
    'OUTSIDE_REGION',
    'NOT_FREE',
    'INVALID_SNAPSHOT',
    'METADATA_FULL',
  ],
  'PageAllocator.region': [],
  'PageAllocator.regions': [],
  'PageAllocator.maxOrder': [],
  'PageAllocator.allocatePages': ['INVALID_ORDER', 'OUT_OF_MEMORY', 'METADATA_FULL'],
  'PageAllocator.allocateBlock': ['INVALID_ORDER', 'OUT_OF_MEMORY', 'METADATA_FULL'],
  'PageAllocator.allocatePage': ['OUT_OF_MEMORY', 'METADATA_FULL'],
  'PageAllocator.allocateZeroedPage': ['OUT_OF_MEMORY', 'NO_PAGE_MEMORY', 'OUTSIDE_MEMORY', 'METADATA_FULL'],
  'PageAllocator.allocateFilePage': ['OUT_OF_MEMORY', 'OUTSIDE_MEMORY', 'METADATA_FULL'],
  'PageAllocator.getFilePage': ['OUTSIDE_REGION', 'MISALIGNED_ADDRESS', 'NOT_FILE_PAGE'],
  'PageAllocator.putFilePage': ['OUTSIDE_REGION', 'MISALIGNED_ADDRESS', 'NOT_FILE_PAGE'],
  'PageAllocator.allocateRun': ['OUT_OF_MEMORY', 'INVALID_PAGE_COUNT', 'METADATA_FULL'],
  'PageAllocator.allocateAt': ['INVALID_REGION', 'OUTSIDE_REGION', 'NOT_FREE', 'METADATA_FULL'],
  'PageAllocator.freePages': [
    'OUTSIDE_REGION',
    'MISALIGNED_ADDRESS',
    'BLOCK_TAIL',
    'DOUBLE_FREE',
    'RESERVED_PAGE',
    'WRONG_SIZE',
    'FILE_PAGE',
    'SLAB_PAGE',
    'HEAP_BLOCK',
  ],
  'PageAllocator.freePage': [
    'OUTSIDE_REGION',
    'MISALIGNED_ADDRESS',
    'BLOCK_TAIL',
    'DOUBLE_FREE',
    'RESERVED_PAGE',
    'WRONG_SIZE',
    'FILE_PAGE',
    'SLAB_PAGE',
    'HEAP_BLOCK',
  ],
  'PageAllocator.reserve': ['INVALID_REGION', 'OUTSIDE_REGION', 'NOT_FREE', 'METADATA_FULL'],
  'PageAllocator.unreserve': ['INVALID_REGION', 'OUTSIDE_REGION', 'NOT_RESERVED', 'METADATA_FULL'],
  'PageAllocator.addRegion': ['INVALID_REGION', 'METADATA_FULL'],
  'PageAllocator.removeRegion': ['INVALID_REGION', 'OUTSIDE_REGION', 'NOT_FREE', 'METADATA_FULL'],
  'PageAllocator.pagesFor': ['INVALID_OPTION'],
  'PageAllocator.own': [
    'INVALID_ORDER',
    'OUT_OF_MEMORY',
    'INVALID_REGION',
    'OUTSIDE_REGION',
    'BLOCK_TAIL',
    'DOUBLE_FREE',
    'RESERVED_PAGE',
    'WRONG_SIZE',
    'FILE_PAGE',
    'SLAB_PAGE',
    'HEAP_BLOCK',
    'METADATA_FULL',
  ],
  'PageAllocator.blockOf': [],
  'PageAllocator.blocks': [],
  'PageAllocator.memoryInfo': [],
  'PageAllocator.snapshot': [],
  'PageAllocator.checkInvariants': ['BROKEN_INVARIANT'],

  'IndexedPages.allocate': ['INVALID_ORDER', 'OUT_OF_MEMORY', 'METADATA_FULL'],
  'IndexedPages.free': [
    'INVALID_PAGE_INDEX',
    'OUTSIDE_REGION',
    'BLOCK_TAIL',
    'DOUBLE_FREE',
    'RESERVED_PAGE',
    'FILE_PAGE',
    'SLAB_PAGE',
    'HEAP_BLOCK',
  ],
  'IndexedPages.addressOf': ['INVALID_PAGE_INDEX'],
  'IndexedPages.indexOf': ['OUTSIDE_REGION'],

  'PageSource.allocate': ['OUT_OF_MEMORY', 'INVALID_PAGE_COUNT', 'METADATA_FULL'],
  'PageSource.free': [
    'OUTSIDE_REGION',
    'MISALIGNED_ADDRESS',
    'BLOCK_TAIL',
    'DOUBLE_FREE',
    'RESERVED_PAGE',
    'WRONG_KIND',
  ],

  'OwnedBlock.region': ['RELEASED_BLOCK'],
  'OwnedBlock.start': ['RELEASED_BLOCK'],
  'OwnedBlock.isOwned': [],
  'OwnedBlock.leak': ['RELEASED_BLOCK'],
  'OwnedBlock.takeOver': ['RELEASED_BLOCK'],
  'OwnedBlock.release': [
    'OUTSIDE_REGION',
    'BLOCK_TAIL',
    'DOUBLE_FREE',
    'RESERVED_PAGE',
    'WRONG_SIZE',
    'FILE_PAGE',
    'SLAB_PAGE',
    'HEAP_BLOCK',
    'RELEASED_BLOCK',
  ],
  'OwnedBlock.[Symbol.dispose]': [
    'OUTSIDE_REGION',
    'BLOCK_TAIL',
    'DOUBLE_FREE',
    'RESERVED_PAGE',
    'WRONG_SIZE',
    'FILE_PAGE',
    'SLAB_PAGE',
    'HEAP_BLOCK',
  ],

  'new SlabCache': ['INVALID_OPTION', 'INVALID_OBJECT_SIZE'],
  'SlabCache.allocate': ['OUT_OF_MEMORY', 'METADATA_FULL'],
  'SlabCache.free': ['OUTSIDE_OBJECTS', 'OBJECT_INTERIOR', 'DOUBLE_FREE_OBJECT'],
  'SlabCache.info': [],
  'SlabCache.trim': [],
  'SlabCache.checkInvariants': ['BROKEN_INVARIANT'],

  'new HeapAllocator': [],
  'HeapAllocator.allocate': ['OUT_OF_MEMORY', 'INVALID_OBJECT_SIZE', 'METADATA_FULL'],
  'HeapAllocator.free': ['OUTSIDE_OBJECTS', 'OBJECT_INTERIOR', 'DOUBLE_FREE_OBJECT'],
  'HeapAllocator.reallocate': [
    'OUT_OF_MEMORY',
    'INVALID_OBJECT_SIZE',
    'OUTSIDE_OBJECTS',
    'OBJECT_INTERIOR',
    'DOUBLE_FREE_OBJECT',
    'OUTSIDE_MEMORY',
    'METADATA_FULL',
  ],
  'HeapAllocator.sizeOf': ['OUTSIDE_OBJECTS', 'OBJECT_INTERIOR', 'DOUBLE_FREE_OBJECT'],
  'HeapAllocator.view': [
    'OUTSIDE_OBJECTS',
    'OBJECT_INTERIOR',
    'DOUBLE_FREE_OBJECT',
    'OUTSIDE_MEMORY',
    'MISALIGNED_VIEW',
    'NO_HEAP_MEMORY',
  ],
  'HeapAllocator.info': [],
  'HeapAllocator.trim': [],
  'HeapAllocator.checkInvariants': ['BROKEN_INVARIANT'],

  'new ByteMemory': [],
  'ByteMemory.byteLength': [],
  'ByteMemory.bytes': ['OUTSIDE_MEMORY'],
  'ByteMemory.view': ['OUTSIDE_MEMORY', 'MISALIGNED_VIEW'],
  'ByteMemory.clearPage': ['OUTSIDE_MEMORY'],
  'ByteMemory.copy': ['OUTSIDE_MEMORY'],

  'SharedPageAllocator.create': [
    'INVALID_MAX_ORDER',
    'INVALID_OPTION',
    'INVALID_REGION',
    'INVALID_RESERVED',
    'REGION_TOO_LARGE',
    'INVALID_SHARED_BUFFER',
  ],
  'SharedPageAllocator.attach': ['INVALID_OPTION', 'INVALID_SHARED_BUFFER'],
  'SharedPageAllocator.bytesFor': ['INVALID_OPTION', 'INVALID_REGION', 'REGION_TOO_LARGE'],
  'SharedPageAllocator.region': [],
  'SharedPageAllocator.maxOrder': [],
  'SharedPageAllocator.owner': [],
  'SharedPageAllocator.allocatePages': ['INVALID_ORDER', 'OUT_OF_MEMORY', 'LOCK_TIMEOUT', 'BROKEN_INVARIANT'],
  'SharedPageAllocator.allocateBlock': ['INVALID_ORDER', 'OUT_OF_MEMORY', 'LOCK_TIMEOUT', 'BROKEN_INVARIANT'],
  'SharedPageAllocator.allocatePage': ['OUT_OF_MEMORY', 'LOCK_TIMEOUT', 'BROKEN_INVARIANT'],
  'SharedPageAllocator.freePages': [
    'OUTSIDE_REGION',
    'MISALIGNED_ADDRESS',
    'BLOCK_TAIL',
    'DOUBLE_FREE',
    'RESERVED_PAGE',
    'WRONG_SIZE',
    'LOCK_TIMEOUT',
    'BROKEN_INVARIANT',
  ],
  'SharedPageAllocator.freePage': [
    'OUTSIDE_REGION',
    'MISALIGNED_ADDRESS',
    'BLOCK_TAIL',
    'DOUBLE_FREE',
    'RESERVED_PAGE',
    'WRONG_SIZE',
    'LOCK_TIMEOUT',
    'BROKEN_INVARIANT',
  ],
  'SharedPageAllocator.cache': ['INVALID_OPTION', 'LOCK_TIMEOUT', 'NO_CACHE_LEFT', 'BROKEN_INVARIANT'],
  'SharedPageAllocator.recover': ['INVALID_OPTION', 'LOCK_TIMEOUT', 'BROKEN_INVARIANT'],
  'SharedPageAllocator.blockOf': ['LOCK_TIMEOUT', 'BROKEN_INVARIANT'],
  'SharedPageAllocator.blocks': ['LOCK_TIMEOUT', 'BROKEN_INVARIANT'],
  'SharedPageAllocator.memoryInfo': ['LOCK_TIMEOUT', 'BROKEN_INVARIANT'],
  'SharedPageAllocator.checkInvariants': ['LOCK_TIMEOUT', 'BROKEN_INVARIANT'],

  'PageCache.allocatePage': ['OUT_OF_MEMORY', 'LOCK_TIMEOUT', 'CLOSED_CACHE', 'BROKEN_INVARIANT'],
  'PageCache.freePage': [
    'OUTSIDE_REGION',
    'MISALIGNED_ADDRESS',
    'BLOCK_TAIL',
    'DOUBLE_FREE',
    'RESERVED_PAGE',
    'WRONG_SIZE',
    'LOCK_TIMEOUT',
    'CLOSED_CACHE',
    'BROKEN_INVARIANT',
  ],
  'PageCache.flush': ['LOCK_TIMEOUT', 'CLOSED_CACHE', 'BROKEN_INVARIANT'],
  'PageCache.close': ['LOCK_TIMEOUT', 'BROKEN_INVARIANT'],
  'PageCache.[Symbol.dispose]': ['LOCK_TIMEOUT', 'BROKEN_INVARIANT'],
} as const;

/** Refuses a table with a code that `BuddyError` does not have. */
type Checked<Table extends Readonly<Record<string, readonly BuddyErrorCode[]>>> = Table;
type Row = keyof typeof ERRORS_OF;
type CodeOf<Operation extends Row> = Checked<typeof ERRORS_OF>[Operation][number];
/** The rows of the methods of a class, or of those named. */
type MethodOf<Class extends string, Name extends string = string> = Extract<Row, `${Class}.${Name}`>;

/** The codes of `new PageAllocator` and `PageAllocator.restore`. */
export type CreateAllocatorErrorCode = CodeOf<'new PageAllocator' | 'PageAllocator.restore'>;

/** The codes of the `allocate…` methods of a `PageAllocator`, except `allocateAt`. */
export type AllocateErrorCode = CodeOf<
  MethodOf<
    'PageAllocator',
    | 'allocatePages'
    | 'allocateBlock'
    | 'allocatePage'
    | 'allocateZeroedPage'
    | 'allocateFilePage'
    | 'allocateRun'
  >
>;

/** The codes of `freePages` and `freePage` of a `PageAllocator`. */
export type FreeErrorCode = CodeOf<MethodOf<'PageAllocator', 'freePages' | 'freePage'>>;

/** The codes of `getFilePage` and `putFilePage`. */
export type FilePageErrorCode = CodeOf<MethodOf<'PageAllocator', 'getFilePage' | 'putFilePage'>>;

/** The codes of operations on given pages: `allocateAt`, `reserve`, `unreserve`, `addRegion`, `removeRegion`. */
export type ReserveErrorCode = CodeOf<
  MethodOf<'PageAllocator', 'allocateAt' | 'reserve' | 'unreserve' | 'addRegion' | 'removeRegion'>
>;

/** The codes of `own` and of the methods of an `OwnedBlock`. */
export type OwnedBlockErrorCode = CodeOf<'PageAllocator.own' | MethodOf<'OwnedBlock'>>;

/** The codes of the methods of `IndexedPages`. */
export type IndexedPagesErrorCode = CodeOf<MethodOf<'IndexedPages'>>;

/** The codes of the methods of a `PageSource`. */
export type PageSourceErrorCode = CodeOf<MethodOf<'PageSource'>>;

/** The codes of `new SlabCache` and of `allocate` and `free` of a cache. */
export type SlabErrorCode = CodeOf<'new SlabCache' | MethodOf<'SlabCache', 'allocate' | 'free'>>;

/** The codes of `allocate`, `free`, `reallocate`, `sizeOf` and `view` of a `HeapAllocator`. */
export type HeapErrorCode = CodeOf<
  MethodOf<'HeapAllocator', 'allocate' | 'free' | 'reallocate' | 'sizeOf' | 'view'>
>;

/** The codes of the methods of a `ByteMemory`. */
export type ByteMemoryErrorCode = CodeOf<MethodOf<'ByteMemory'>>;

/** The codes of `SharedPageAllocator.create`, `attach` and `bytesFor`. */
export type CreateSharedErrorCode = CodeOf<MethodOf<'SharedPageAllocator', 'create' | 'attach' | 'bytesFor'>>;

/** The codes of `allocatePages`, `allocateBlock` and `allocatePage` of a `SharedPageAllocator`. */
export type SharedAllocateErrorCode = CodeOf<
  MethodOf<'SharedPageAllocator', 'allocatePages' | 'allocateBlock' | 'allocatePage'>
>;

/** The codes of `freePages` and `freePage` of a `SharedPageAllocator`. */
export type SharedFreeErrorCode = CodeOf<MethodOf<'SharedPageAllocator', 'freePages' | 'freePage'>>;

/** The codes of `cache` of a `SharedPageAllocator` and of the methods of a `PageCache`. */
export type PageCacheErrorCode = CodeOf<'SharedPageAllocator.cache' | MethodOf<'PageCache'>>;

/** The codes of `recover`, `blockOf`, `blocks`, `memoryInfo` and `checkInvariants` of a `SharedPageAllocator`. */
export type SharedStateErrorCode = CodeOf<
  MethodOf<'SharedPageAllocator', 'recover' | 'blockOf' | 'blocks' | 'memoryInfo' | 'checkInvariants'>
>;
