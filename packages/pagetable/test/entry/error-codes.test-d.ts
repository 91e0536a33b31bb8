/** Compiled, never run: the codes by operation. */
import {
  type AccessErrorCode,
  type CollapseErrorCode,
  type ConfigErrorCode,
  type CpuStateErrorCode,
  type CreateTableErrorCode,
  type DestroyTableErrorCode,
  type EntryErrorCode,
  type FlushErrorCode,
  isPageTableError,
  type ListingErrorCode,
  type LookupErrorCode,
  type MapErrorCode,
  type MemoryTypeErrorCode,
  type PageTableErrorCode,
  type PartErrorCode,
  type PhysMemoryErrorCode,
  type ProtectErrorCode,
  type SelfMapErrorCode,
  type SetSharedErrorCode,
  type SplitErrorCode,
  type UnmapErrorCode,
} from '../../src/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function check<_ extends true>(): void {}

type Walk = 'NON_CANONICAL' | 'OUTSIDE_PART' | 'RESERVED_BITS' | 'BUS_ERROR' | 'DESTROYED' | 'BUSY';
type Frames = 'OUT_OF_MEMORY' | 'NO_FRAME_ALLOCATOR' | 'INVALID_FRAME';
type Region = 'CALLBACK_FAILED' | 'MISALIGNED' | 'ALIASED_TABLE' | 'PART_BOUNDARY' | 'INVALID_SELF_MAP';

check<
  Equal<
    MapErrorCode,
    | (Walk | Frames | Region)
    | ('OUTSIDE_PHYSICAL_RANGE' | 'INVALID_FLAGS' | 'NO_ENCRYPTION' | 'ALREADY_MAPPED' | 'READ_ONLY')
    | ('INVALID_PAGE_SIZE' | 'INVALID_ARGUMENT')
  >
>();
check<
  Equal<
    UnmapErrorCode,
    Walk | Frames | Region | 'NOT_MAPPED' | 'PAGE_SIZE_MISMATCH' | 'READ_ONLY' | 'INVALID_ARGUMENT'
  >
>();
check<
  Equal<
    ProtectErrorCode,
    Walk | Frames | Region | 'NOT_MAPPED' | 'INVALID_FLAGS' | 'READ_ONLY' | 'INVALID_ARGUMENT'
  >
>();
check<
  Equal<
    SetSharedErrorCode,
    | Walk
    | Frames
    | Region
    | ('NOT_MAPPED' | 'NO_ENCRYPTION' | 'OUTSIDE_PHYSICAL_RANGE' | 'READ_ONLY' | 'INVALID_ARGUMENT')
  >
>();
check<
  Equal<SplitErrorCode, Walk | Frames | 'CALLBACK_FAILED' | 'NOT_MAPPED' | 'READ_ONLY' | 'INVALID_SELF_MAP'>
>();
check<
  Equal<
    CollapseErrorCode,
    | Walk
    | 'CALLBACK_FAILED'
    | 'NOT_MAPPED'
    | 'NO_FRAME_ALLOCATOR'
    | 'READ_ONLY'
    | 'INVALID_PAGE_SIZE'
    | 'INVALID_SELF_MAP'
  >
>();
check<Equal<LookupErrorCode, Walk>>();
check<Equal<ListingErrorCode, Walk | 'MISALIGNED' | 'INVALID_ARGUMENT'>>();
check<
  Equal<
    AccessErrorCode,
    | (
        | 'BUSY'
        | 'CALLBACK_FAILED'
        | 'NON_CANONICAL'
        | 'INVALID_ACCESS'
        | 'BUS_ERROR'
        | 'READ_ONLY'
        | 'DESTROYED'
      )
    | ('INVALID_ARGUMENT' | 'INVALID_CPU_STATE' | 'INVALID_CONFIG')
  >
>();
check<
  Equal<
    CreateTableErrorCode,
    | (Frames | 'READ_ONLY' | 'INVALID_ROOT_ENTRY' | 'BUS_ERROR' | 'DESTROYED' | 'INVALID_SELF_MAP' | 'BUSY')
    | ('INVALID_ARGUMENT' | 'INVALID_CONFIG')
  >
>();
check<
  Equal<DestroyTableErrorCode, 'BUSY' | 'CALLBACK_FAILED' | 'NO_FRAME_ALLOCATOR' | 'BUS_ERROR' | 'DESTROYED'>
>();
check<
  Equal<
    PartErrorCode,
    | (Frames | 'READ_ONLY' | 'INVALID_ROOT_ENTRY' | 'BUS_ERROR' | 'DESTROYED' | 'ALREADY_MAPPED')
    | ('BUSY' | 'CALLBACK_FAILED' | 'INVALID_ARGUMENT' | 'INVALID_CONFIG')
    | ('PART_MISMATCH' | 'PART_NOT_ATTACHED' | 'PART_IN_USE')
  >
>();
check<Equal<SelfMapErrorCode, 'INVALID_SELF_MAP' | 'NON_CANONICAL'>>();
check<
  Equal<
    EntryErrorCode,
    | ('INVALID_ENTRY' | 'INVALID_FLAGS' | 'OUTSIDE_PHYSICAL_RANGE' | 'MISALIGNED' | 'NO_ENCRYPTION')
    | 'INVALID_CONFIG'
  >
>();
check<Equal<ConfigErrorCode, 'INVALID_CONFIG'>>();
check<Equal<CpuStateErrorCode, 'INVALID_CPU_STATE' | 'INVALID_CONFIG'>>();
check<
  Equal<
    MemoryTypeErrorCode,
    | ('INVALID_CPU_STATE' | 'INVALID_ENTRY' | 'INVALID_PAGE_SIZE' | 'OUTSIDE_PHYSICAL_RANGE')
    | ('INVALID_ARGUMENT' | 'INVALID_CONFIG')
  >
>();
check<Equal<PhysMemoryErrorCode, 'INVALID_ARGUMENT' | 'INVALID_MEMORY' | 'BUS_ERROR' | 'READ_ONLY'>>();
check<Equal<FlushErrorCode, 'INVALID_ARGUMENT' | 'INVALID_FLUSH' | 'NON_CANONICAL' | 'BUSY'>>();

// Each is a part of the codes of the package.
declare const code:
  | (MapErrorCode | UnmapErrorCode | ProtectErrorCode | SetSharedErrorCode | SplitErrorCode)
  | (CollapseErrorCode | LookupErrorCode | ListingErrorCode | AccessErrorCode | CreateTableErrorCode)
  | (DestroyTableErrorCode | PartErrorCode | SelfMapErrorCode | EntryErrorCode | ConfigErrorCode)
  | (CpuStateErrorCode | MemoryTypeErrorCode | PhysMemoryErrorCode | FlushErrorCode);
code satisfies PageTableErrorCode;

// Around one operation, a switch over its codes needs no default.
export function explain(error: unknown): string {
  if (!isPageTableError<LookupErrorCode>(error)) throw error;
  switch (error.code) {
    case 'NON_CANONICAL':
      return String(error.details.vaddr);
    case 'OUTSIDE_PART':
      return String(error.details.index);
    case 'RESERVED_BITS':
      return String(error.details.reserved);
    case 'BUS_ERROR':
      return error.details.memory;
    case 'DESTROYED':
      return String(error.details.root);
    case 'BUSY':
      return error.details.during;
  }
}
