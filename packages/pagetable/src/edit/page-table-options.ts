import type { PageSize } from '@svsm/address';
import { ANY, BOOLEAN, Fields, optional, withMethods } from '../entry/fields.ts';
import { invalidArgument } from '../entry/invalid-argument.ts';
import type { PagingConfig } from '../entry/paging-config.ts';
import type { EntryFlags } from '../entry/pte-flags.ts';
import type { FrameAllocator } from '../memory/frame-allocator.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import type { TlbListener } from '../walk/tlb-listener.ts';

/** Options of a page table. */
export interface PageTableOptions {
  /** The physical memory that holds the tables. */
  readonly memory: PhysMemory;
  /** The source of frames for new tables. Without it, an operation that needs a frame throws `NO_FRAME_ALLOCATOR`. */
  readonly frames?: FrameAllocator;
  /** The layout of entries. `pagingConfig()` if not given. */
  readonly config?: PagingConfig;
  /** The receiver of flush requests. None if not given. */
  readonly tlb?: TlbListener;
  /**
   * The index of the root entry that leads back to the root, 0 to 511: the self-map. `PageTable.create` writes the entry,
   * `PageTable.open` requires it. COCONUT-SVSM uses 493. None if not given.
   */
  readonly selfMap?: number;
  /** Whether a table that loses its last entry is given back to `frames`. `false` if not given: it stays, for later pages. */
  readonly freeEmptyTables?: boolean;
}

/** Options of mapping a page. */
export interface MapOptions {
  /** Whether the page is shared with the hypervisor. Needs memory encryption. `false` if not given: private. */
  readonly shared?: boolean;
  /**
   * Whether a page that is mapped there already is replaced; a larger page is split. If `false` or not given, such a page
   * is an error, `ALREADY_MAPPED`.
   */
  readonly remap?: boolean;
}

/** Options of mapping a region. */
export interface MapRegionOptions extends MapOptions {
  /** The size of all pages in bytes. If not given, each page is the largest that both addresses allow. */
  readonly pageSize?: PageSize;
}

/** Options of unmapping a region. */
export interface UnmapRegionOptions {
  /** Whether pages of the region may be unmapped already. If `false` or not given, such a page is an error, `NOT_MAPPED`. */
  readonly allowHoles?: boolean;
}

/** A change of flags. Flags that are in neither field stay. PAT is `PteFlags.Pat`, whatever the size of a page. */
export interface FlagChange {
  /** Flags to set. */
  readonly set?: EntryFlags<0>;
  /** Flags to clear. */
  readonly clear?: EntryFlags<0>;
}

const IS_SET = /* @__PURE__ */ optional(BOOLEAN);

/** The options of a page table. Those of a part lack `tlb` and `selfMap`; they may be the same object. */
export const TABLE_OPTIONS: Fields = /* @__PURE__ */ new Fields(
  'options',
  {
    memory: /* @__PURE__ */ withMethods('words', 'wordOffset'),
    frames: /* @__PURE__ */ optional(/* @__PURE__ */ withMethods('allocateFrame', 'freeFrame')),
    config: ANY,
    tlb: /* @__PURE__ */ optional(/* @__PURE__ */ withMethods('needsFlush')),
    selfMap: ANY,
    freeEmptyTables: IS_SET,
  },
  invalidArgument,
);
const MAP_OPTIONS: Fields = /* @__PURE__ */ new Fields(
  'options',
  { shared: IS_SET, remap: IS_SET },
  invalidArgument,
);
export const MAP_REGION_OPTIONS: Fields = /* @__PURE__ */ new Fields(
  'options',
  { shared: IS_SET, remap: IS_SET, pageSize: ANY },
  invalidArgument,
);
export const UNMAP_OPTIONS: Fields = /* @__PURE__ */ new Fields(
  'options',
  { allowHoles: IS_SET },
  invalidArgument,
);
/** `requireChange` checks the flags. */
export const CHANGE: Fields = /* @__PURE__ */ new Fields('change', { set: ANY, clear: ANY }, invalidArgument);

/** Requires the options of mapping a page. @throws PageTableError `INVALID_ARGUMENT` */
export function requireMapOptions(options: MapOptions): void {
  if (!areSound(options)) MAP_OPTIONS.require(options);
}

/** The check of each page. {@link MAP_OPTIONS} finds out what is wrong. */
function areSound(options: MapOptions): boolean {
  try {
    if (typeof options !== 'object' || options === null) return false;
    for (const name in options) {
      if (name !== 'shared' && name !== 'remap') return false;
    }
    const { shared, remap } = options;
    return (
      (shared === undefined || typeof shared === 'boolean') &&
      (remap === undefined || typeof remap === 'boolean')
    );
  } catch {
    return false;
  }
}
