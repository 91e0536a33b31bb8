import {
  PAGE_SIZE,
  PageSize,
  Phys,
  type PhysAddr,
  pageNumber,
  showInConsoles,
  Virt,
  Virt57,
  type VirtAddr,
} from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import {
  cpuState,
  type FrameAllocator,
  isPageTableError,
  type MappedPage,
  PageTable,
  type PagingConfig,
  type PhysMemory,
  PteFlags,
} from '@svsm/pagetable';
import {
  readArgument,
  refuseArgument,
  requireBoolean,
  requireInteger,
  requireMethods,
  requireOneOf,
} from '../formats/arguments.ts';
import { requireOptions } from '../formats/options.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { RunMap } from './run-map.ts';

/** The rights of a nested translation: those of all its entries (AMD64 APM vol. 2, §15.25.5, §15.25.13). */
export interface NestedRights {
  /** R/W: the guest can write, and its page tables can lie here. */
  readonly writable: boolean;
  /** U/S. Without it, every access of the guest faults. With GMET, it forbids supervisor fetches, and nothing else. */
  readonly user: boolean;
  /** Not NX: the guest can fetch instructions. */
  readonly executable: boolean;
}

/** The translation of a guest-physical address by the nested page table, and its rights. */
export interface NestedPage extends NestedRights {
  /** The translated address itself, not the start of its page. */
  readonly spa: SysPhysAddr;
  readonly size: PageSize;
  /** The accessed and the dirty bit of the entry that maps the page. */
  readonly accessed: boolean;
  readonly dirty: boolean;
}

/** Options of a {@link NestedTable}. */
export interface NestedTableOptions {
  /** The memory and the frames that hold the table. */
  readonly memory: PhysMemory;
  readonly frames: FrameAllocator;
  /** The format of its entries. */
  readonly config: PagingConfig;
  /**
   * Guest mode execute trap: bit 3 at offset 090h of the VMCBs of the guest (AMD64 APM vol. 2, §15.25.13). `false` if not
   * given.
   */
  readonly gmet?: boolean;
  /**
   * Whether processors set accessed and dirty bits in the entries, as hardware does (AMD64 APM vol. 2, §15.25.5): accessed for
   * every access, dirty for a write, and both for each walk of a guest's page table. If not given, {@link NestedTable.map}
   * sets the bits at once, so no walk has to: that is how a hypervisor turns them off that does not read them.
   */
  readonly accessedDirty?: boolean;
  /** Memory that it maps from the start, with all rights. Ranges do not overlap. None if not given. */
  readonly ranges?: readonly NestedRange[];
  /** The frames of the tables for {@link ranges}, if they are others: one for each 512 pages, and those above. */
  readonly rangeFrames?: FrameAllocator;
}

/** Consecutive pages of one size. */
export interface NestedRange {
  /** The addresses of the first page: multiples of the size. */
  readonly gpa: PhysAddr;
  readonly spa: SysPhysAddr;
  readonly size: PageSize;
  /** The number of pages. */
  readonly count: number;
}

/** The upper half of the addresses of 4 levels. */
const UPPER_HALF = 1n << 47n;

/** The pages of a range: the distance from each GPA to its SPA, and their size. */
interface Mapped {
  readonly offset: bigint;
  readonly size: PageSize;
}

const OPTIONS: readonly (keyof NestedTableOptions)[] = [
  ...(['memory', 'frames', 'config', 'gmet', 'accessedDirty', 'ranges', 'rangeFrames'] as const),
];
const RIGHTS: readonly (keyof NestedRights)[] = ['writable', 'user', 'executable'];

/** A nested walk that marks entries. Its rights have been checked. */
const MARKING = /* @__PURE__ */ cpuState({ smep: false, smap: false });

/**
 * A nested page table: a `PageTable` in system memory that translates guest-physical to system-physical addresses. The
 * hypervisor owns it and can change it at will.
 *
 * Only here the address kinds of `@svsm/pagetable` stand for other kinds: its virtual addresses are guest-physical here,
 * and its physical addresses are system-physical.
 */
export class NestedTable {
  static {
    showInConsoles(this, 'NestedTable', ({ end, gmet, accessedDirty }) => ({ end, gmet, accessedDirty }));
  }

  /** The exclusive end of the addresses that it can map: 2^48 with 4 levels, 2^52 with 5. */
  readonly end: bigint;
  /** Whether the processors trap supervisor fetches from user pages: see {@link NestedTableOptions.gmet}. */
  readonly gmet: boolean;
  /** Whether the processors set accessed and dirty bits: see {@link NestedTableOptions.accessedDirty}. */
  readonly accessedDirty: boolean;
  readonly #table: PageTable;
  /** By guest frame number, the part of a range that is not in the table yet. */
  readonly #ranges: RunMap<Mapped | undefined> = new RunMap<Mapped | undefined>(undefined);
  /** Whether a table for a range is made. */
  #isFilling = false;

  /**
   * A table with the root and nothing else in memory. Whoever looks at it from outside sees the {@link NestedTableOptions.ranges}
   * mapped. Their entries are written when one of the same table is changed or marked. O(ranges).
   *
   * @throws SnpError `INVALID_ARGUMENT` for an option of another type, or that does not exist; as `PageTable.create`
   */
  constructor(options: NestedTableOptions) {
    requireOptions('the options of a nested table', options, OPTIONS);
    const { memory, frames, config, gmet = false, accessedDirty = false } = options;
    if (config === undefined) refuseArgument('config', config, 'pass a PagingConfig');
    requireBoolean('gmet', gmet);
    requireBoolean('accessedDirty', accessedDirty);
    const { rangeFrames = frames, ranges: given = [] } = options;
    const ranges = rangesOf(given);
    for (const allocator of [frames, rangeFrames])
      requireMethods('an allocator of frames', allocator, ['allocateFrame', 'freeFrame']);
    this.gmet = gmet;
    this.accessedDirty = accessedDirty;
    const allocator: FrameAllocator = {
      allocateFrame: () => (this.#isFilling ? rangeFrames : frames).allocateFrame(),
      freeFrame: (frame) => frames.freeFrame(frame),
    };
    this.#table = PageTable.create({ memory, frames: allocator, config, freeEmptyTables: true });
    this.end = nestedEnd(config.levels);
    for (const { gpa, spa, size, count } of ranges) {
      const first = pageNumber(gpa);
      const offset = spa - gpa;
      this.#ranges.set(first, first + (count * size) / PAGE_SIZE, { offset, size });
    }
  }

  /**
   * Maps the page at `gpa` to `spa`. O(levels).
   *
   * @param rights - rights that differ from those of ordinary memory, which has all of them
   * @throws SnpError `INVALID_ARGUMENT` for a size or a right of another type, or a right that does not exist; PageTableError
   *   as `PageTable.map4k`
   */
  map(gpa: PhysAddr, spa: SysPhysAddr, size: PageSize, rights: Partial<NestedRights> = {}): void {
    requireOptions('the rights', rights, RIGHTS);
    requireOneOf('the page size', size, Object.values(PageSize));
    Phys.assertIsAddress(gpa);
    const flags = flagsOf(rights, this.accessedDirty);
    for (let at = pageNumber(gpa), end = at + size / PAGE_SIZE; at < end; at = this.#ranges.endOf(at)) {
      this.#fill(at);
    }
    const from = this.#asVirt(gpa);
    const to = asPhys(spa);
    if (size === PageSize.Regular) this.#table.map4k(from, to, flags);
    else if (size === PageSize.Huge) this.#table.map2m(from, to, flags);
    else this.#table.map1g(from, to, flags);
  }

  /**
   * Unmaps the page at `gpa`, of any size.
   *
   * @throws PageTableError `NOT_MAPPED`, or `MISALIGNED` if `gpa` is not the start of its page
   */
  unmap(gpa: PhysAddr): void {
    const size = this.lookup(gpa)?.size;
    this.#fill(pageNumber(gpa));
    if (size === PageSize.Giant) this.#table.unmap1g(this.#asVirt(gpa));
    else if (size === PageSize.Huge) this.#table.unmap2m(this.#asVirt(gpa));
    else this.#table.unmap4k(this.#asVirt(gpa));
  }

  /**
   * The page that maps `gpa`. `undefined` if nothing is mapped there, or an entry of the walk has a reserved bit set.
   * O(levels).
   */
  lookup(gpa: PhysAddr): NestedPage | undefined {
    const found = this.walk(gpa);
    return found === 'reserved' ? undefined : found;
  }

  /**
   * As {@link lookup}, but `'reserved'` if an entry of the walk has a reserved bit set, as processors need it.
   * O(levels).
   */
  walk(gpa: PhysAddr): NestedPage | 'reserved' | undefined {
    Phys.assertIsAddress(gpa);
    if (gpa >= this.end) return undefined;
    const range = this.#ranges.get(pageNumber(gpa));
    if (range !== undefined) {
      const isMarked = !this.accessedDirty;
      return {
        spa: (gpa + range.offset) as SysPhysAddr,
        size: range.size,
        writable: true,
        user: true,
        executable: true,
        accessed: isMarked,
        dirty: isMarked,
      };
    }
    let page: MappedPage | undefined;
    try {
      page = this.#table.lookup(this.#asVirt(gpa));
    } catch (error) {
      if (isPageTableError(error, 'RESERVED_BITS')) return 'reserved';
      throw error;
    }
    if (page === undefined) return undefined;
    const { size, writable, user, executable, flags } = page;
    const accessed = (flags & PteFlags.Accessed) !== 0;
    const dirty = (flags & PteFlags.Dirty) !== 0;
    return {
      spa: page.paddr as bigint as SysPhysAddr,
      size,
      writable,
      user,
      executable,
      accessed,
      dirty,
    };
  }

  /**
   * Sets accessed in the entries that translate `gpa`, and dirty in the last one if `isWrite`. Does nothing unless
   * {@link accessedDirty} is on. O(levels).
   *
   * @throws SnpError `INVALID_ARGUMENT` if `isWrite` is not a boolean; PageTableError `BUS_ERROR`, `READ_ONLY`
   */
  markUsed(gpa: PhysAddr, isWrite: boolean): void {
    requireBoolean('isWrite', isWrite);
    Phys.assertIsAddress(gpa);
    if (!this.accessedDirty) return;
    this.#fill(pageNumber(gpa));
    this.#table.access(this.#asVirt(gpa), isWrite ? 'write' : 'read', MARKING);
  }

  /**
   * Splits the page that maps `gpa` until a 4 KiB page maps it. No translation changes.
   *
   * @throws PageTableError `NOT_MAPPED`, `OUT_OF_MEMORY`
   */
  split4k(gpa: PhysAddr): void {
    this.#fill(pageNumber(gpa));
    this.#table.split4k(this.#asVirt(gpa));
  }

  /**
   * Writes the entries of the table around a guest frame that lies in a range: 512 of them, or as many as the range has
   * there.
   */
  #fill(frame: number): void {
    const range = this.#ranges.get(frame);
    if (range === undefined) return;
    const table = (512 * range.size) / PAGE_SIZE;
    const first = frame - (frame % table);
    const start = Math.max(first, this.#ranges.startOf(frame));
    const end = Math.min(first + table, this.#ranges.endOf(frame));
    const gpa = (BigInt(start) * BigInt(PAGE_SIZE)) as PhysAddr;
    const kind = this.end === nestedEnd(4) ? Virt : Virt57;
    const region = new MemoryRegion(kind, this.#asVirt(gpa), (end - start) * PAGE_SIZE);
    this.#isFilling = true;
    try {
      const to = asPhys((gpa + range.offset) as SysPhysAddr);
      this.#table.mapRegion(region, to, flagsOf({}, this.accessedDirty), { pageSize: range.size });
    } finally {
      this.#isFilling = false;
    }
    this.#ranges.set(start, end, undefined);
  }

  /**
   * The address for the `PageTable`, whose addresses are sign-extended: the upper half of 48 bits becomes the upper half of
   * the virtual addresses, with the same indices. Addresses of 52 bits with 5 levels are all in the lower half.
   */
  #asVirt(gpa: PhysAddr): VirtAddr {
    const isUpper = gpa >= UPPER_HALF && gpa < this.end && this.end === nestedEnd(4);
    return (isUpper ? BigInt.asUintN(64, gpa - this.end) : gpa) as bigint as VirtAddr;
  }
}

/**
 * The exclusive end of the guest-physical addresses that a nested page table with so many levels can map. A nested walk does
 * not check for a canonical form: 4 levels have all addresses of 48 bits. 5 levels have all that exist, of 52 bits.
 */
export function nestedEnd(levels: 4 | 5): bigint {
  return 1n << (levels === 4 ? 48n : 52n);
}

/** A copy of the ranges. @throws SnpError `INVALID_ARGUMENT`; AddressError */
function rangesOf(ranges: readonly NestedRange[]): readonly NestedRange[] {
  const copy = readArgument('ranges', ranges, 'pass an array of ranges', () =>
    ranges.map(({ gpa, spa, size, count }) => ({ gpa, spa, size, count })),
  );
  for (const { gpa, spa, size, count } of copy) {
    Phys.assertIsAddress(gpa);
    SysPhys.assertIsAddress(spa);
    requireOneOf('the page size', size, Object.values(PageSize));
    requireInteger('the number of pages', count, 0);
  }
  return copy;
}

/** The flags of an entry. Processors that do not mark entries find them marked. */
function flagsOf(
  { writable = true, user = true, executable = true }: Partial<NestedRights>,
  accessedDirty: boolean,
): number {
  for (const right of [writable, user, executable]) requireBoolean('a right', right);
  return (
    (writable ? PteFlags.Writable : 0) +
    (user ? PteFlags.User : 0) +
    (executable ? 0 : PteFlags.NoExecute) +
    (accessedDirty ? 0 : PteFlags.Accessed + PteFlags.Dirty)
  );
}

function asPhys(spa: SysPhysAddr): PhysAddr {
  return spa as bigint as PhysAddr;
}
