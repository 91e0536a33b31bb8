/** The codes by operation. */
import {
  type AllocateErrorCode,
  type BuddyErrorCode,
  type ByteMemoryErrorCode,
  type CreateAllocatorErrorCode,
  type CreateSharedErrorCode,
  type FilePageErrorCode,
  type FreeErrorCode,
  type HeapErrorCode,
  type IndexedPagesErrorCode,
  isBuddyError,
  type OwnedBlockErrorCode,
  type PageCacheErrorCode,
  type PageSourceErrorCode,
  type ReserveErrorCode,
  type SharedAllocateErrorCode,
  type SharedFreeErrorCode,
  type SharedStateErrorCode,
  type SlabErrorCode,
} from '../../src/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function check<_ extends true>(): void {}

type NotABlock = 'OUTSIDE_REGION' | 'BLOCK_TAIL' | 'DOUBLE_FREE' | 'RESERVED_PAGE' | 'WRONG_SIZE';
type OtherKind = 'FILE_PAGE' | 'SLAB_PAGE' | 'HEAP_BLOCK';
type NoRoom = 'OUT_OF_MEMORY' | 'METADATA_FULL';
type NotAnObject = 'OUTSIDE_OBJECTS' | 'OBJECT_INTERIOR' | 'DOUBLE_FREE_OBJECT';
type Calls = 'BUSY' | 'CALLBACK_FAILED';
type Filled = Calls | 'OUTSIDE_MEMORY' | 'POISON_OVERWRITTEN';
type Shared = 'LOCK_TIMEOUT' | 'BROKEN_INVARIANT';

check<
  Equal<
    CreateAllocatorErrorCode,
    | 'INVALID_MAX_ORDER'
    | 'NO_REGION'
    | 'INVALID_OPTION'
    | 'INVALID_REGION'
    | 'INVALID_RESERVED'
    | 'OUTSIDE_REGION'
    | 'NOT_FREE'
    | 'INVALID_SNAPSHOT'
    | 'METADATA_FULL'
    | 'MEMORY_MISMATCH'
  >
>();
check<
  Equal<AllocateErrorCode, NoRoom | Filled | 'INVALID_ORDER' | 'INVALID_PAGE_COUNT' | 'NO_PAGE_MEMORY'>
>();
check<Equal<FreeErrorCode, NotABlock | OtherKind | Calls | 'MISALIGNED_ADDRESS' | 'OUTSIDE_MEMORY'>>();
check<
  Equal<
    FilePageErrorCode,
    | Calls
    | 'OUTSIDE_MEMORY'
    | 'TOO_MANY_REFERENCES'
    | 'OUTSIDE_REGION'
    | 'MISALIGNED_ADDRESS'
    | 'NOT_FILE_PAGE'
  >
>();
check<
  Equal<
    ReserveErrorCode,
    | Filled
    | 'INVALID_REGION'
    | 'OUTSIDE_REGION'
    | 'NOT_FREE'
    | 'NOT_RESERVED'
    | 'METADATA_FULL'
    | 'MEMORY_MISMATCH'
  >
>();
check<
  Equal<
    OwnedBlockErrorCode,
    NotABlock | OtherKind | NoRoom | Filled | 'INVALID_ORDER' | 'INVALID_REGION' | 'RELEASED_BLOCK'
  >
>();
check<
  Equal<
    IndexedPagesErrorCode,
    Exclude<NotABlock, 'WRONG_SIZE'> | OtherKind | NoRoom | Filled | 'INVALID_ORDER' | 'INVALID_PAGE_INDEX'
  >
>();
check<
  Equal<
    PageSourceErrorCode,
    | Exclude<NotABlock, 'WRONG_SIZE'>
    | NoRoom
    | Filled
    | 'INVALID_PAGE_COUNT'
    | 'MISALIGNED_ADDRESS'
    | 'WRONG_KIND'
  >
>();
check<Equal<SlabErrorCode, NotAnObject | NoRoom | Filled | 'INVALID_OPTION' | 'INVALID_OBJECT_SIZE'>>();
check<
  Equal<
    HeapErrorCode,
    | NotAnObject
    | NoRoom
    | Filled
    | 'INVALID_OPTION'
    | 'INVALID_OBJECT_SIZE'
    | 'MISALIGNED_VIEW'
    | 'NO_HEAP_MEMORY'
  >
>();
check<Equal<ByteMemoryErrorCode, 'INVALID_OPTION' | 'OUTSIDE_MEMORY' | 'MISALIGNED_VIEW'>>();
check<
  Equal<
    CreateSharedErrorCode,
    | 'INVALID_MAX_ORDER'
    | 'INVALID_OPTION'
    | 'INVALID_REGION'
    | 'INVALID_RESERVED'
    | 'REGION_TOO_LARGE'
    | 'INVALID_SHARED_BUFFER'
  >
>();
check<Equal<SharedAllocateErrorCode, Shared | 'INVALID_ORDER' | 'OUT_OF_MEMORY'>>();
check<Equal<SharedFreeErrorCode, NotABlock | Shared | 'MISALIGNED_ADDRESS'>>();
check<
  Equal<
    PageCacheErrorCode,
    | NotABlock
    | Shared
    | 'MISALIGNED_ADDRESS'
    | 'OUT_OF_MEMORY'
    | 'INVALID_OPTION'
    | 'NO_CACHE_LEFT'
    | 'CLOSED_CACHE'
  >
>();
check<Equal<SharedStateErrorCode, Shared | 'INVALID_OPTION'>>();

// Each is a part of the codes of the package.
declare const code:
  | AllocateErrorCode
  | ByteMemoryErrorCode
  | CreateAllocatorErrorCode
  | CreateSharedErrorCode
  | FilePageErrorCode
  | FreeErrorCode
  | HeapErrorCode
  | IndexedPagesErrorCode
  | OwnedBlockErrorCode
  | PageCacheErrorCode
  | PageSourceErrorCode
  | ReserveErrorCode
  | SharedAllocateErrorCode
  | SharedFreeErrorCode
  | SharedStateErrorCode
  | SlabErrorCode;
code satisfies BuddyErrorCode;

// Around one group of operations, a switch over its codes needs no default.
export function explain(error: unknown): string {
  if (!isBuddyError<FilePageErrorCode>(error)) throw error;
  switch (error.code) {
    case 'OUTSIDE_REGION':
      return String(error.details.regions.length);
    case 'MISALIGNED_ADDRESS':
      return error.details.state;
    case 'NOT_FILE_PAGE':
      return String(error.details.kind);
    case 'TOO_MANY_REFERENCES':
      return String(error.details.references);
    case 'OUTSIDE_MEMORY':
      return String(error.details.available);
    case 'BUSY':
      return error.details.running;
    case 'CALLBACK_FAILED':
      return String(error.cause);
  }
}
