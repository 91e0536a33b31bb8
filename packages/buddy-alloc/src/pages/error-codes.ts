import type { BuddyErrorCode } from './buddy-error.ts';
import type { ERRORS_OF } from './errors-of.ts';

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
