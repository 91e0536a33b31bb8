import type { PageSize } from '@svsm/address';
import type { PagingConfig } from '../entry/paging-config.ts';
import type { EntryFlags } from '../entry/pte-flags.ts';
import type { FrameAllocator } from '../memory/frame-allocator.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import type { TlbListener } from '../walk/tlb-listener.ts';

/** What a page table works on. */
export interface PageTableOptions {
  /** Where its tables lie. */
  readonly memory: PhysMemory;
  /** Where frames for new tables come from. Without it, an operation that needs one fails. */
  readonly frames?: FrameAllocator;
  /** How its entries are laid out; `pagingConfig()` if not given. */
  readonly config?: PagingConfig;
  /** Who is told what must be flushed. */
  readonly tlb?: TlbListener;
  /** Whether a table that loses its last entry is given back to `frames`. `false` if not given: it stays for the next. */
  readonly freeEmptyTables?: boolean;
}

/** How a page is mapped, beside its flags. */
export interface MapOptions {
  /** Shared with the hypervisor instead of private. Needs a configuration with encryption. */
  readonly shared?: boolean;
  /** Whether what is mapped there is replaced. Without it, that is an error. A larger page is split at the edges. */
  readonly remap?: boolean;
}

/** How a region is mapped, beside its flags. */
export interface MapRegionOptions extends MapOptions {
  /** The size of all its pages; the largest that both addresses allow if not given. */
  readonly pageSize?: PageSize;
}

/** What is unmapped. */
export interface UnmapRegionOptions {
  /** Whether pages of the region may be unmapped already. Without it, that is an error. */
  readonly allowHoles?: boolean;
}

/** A change of flags; what is in neither stays as it is. PAT is `PteFlags.Pat` whatever the size of a page. */
export interface FlagChange {
  /** Flags to set. */
  readonly set?: EntryFlags<0>;
  /** Flags to clear. */
  readonly clear?: EntryFlags<0>;
}
