import {
  formatAddress,
  isPageAligned,
  PageSize,
  Phys,
  type PhysAddr,
  pageNumber,
  type VirtAddr,
} from '@svsm/address';
import {
  byteAt,
  EntryFormat,
  frameAddress,
  frameHigh,
  frameLow,
  type PageTableEntry,
} from './entry-format.ts';
import type { FrameAllocator } from './frame-allocator.ts';
import { PageTableError } from './page-table-error.ts';
import { type PagingConfig, pagingConfig } from './paging-config.ts';
import type { PhysMemory } from './phys-memory.ts';
import { PteFlags } from './pte-flags.ts';
import { TableCursor } from './table-cursor.ts';
import type { TlbListener } from './tlb-listener.ts';

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
}

/** How a page is mapped, beside its flags. */
export interface MapOptions {
  /** Shared with the hypervisor instead of private. Needs a configuration with encryption. */
  readonly shared?: boolean;
}

/** One step of a walk: the entry that it used at one level. */
export interface WalkStep {
  /** 0 (PT) to 4 (PML5). */
  readonly level: number;
  /** The table. */
  readonly table: PhysAddr;
  /** The entry's index in it, 0 to 511. */
  readonly index: number;
  /** What it says. */
  readonly entry: PageTableEntry;
}

/** The page that a walk has found. */
export interface MappedPage {
  /** Its size in bytes. */
  readonly size: PageSize;
  /** Its first physical address. */
  readonly frame: PhysAddr;
  /** Where the address that was walked for lies in it. */
  readonly paddr: PhysAddr;
  /** Whether it is shared with the hypervisor. */
  readonly shared: boolean;
  /** The flags of its leaf. */
  readonly flags: number;
  /** R/W of all levels. */
  readonly writable: boolean;
  /** U/S of all levels. */
  readonly user: boolean;
  /** No level has NX. */
  readonly executable: boolean;
}

/** A walk: every entry that it used, and the page at its end if there is one. */
export interface Walk {
  /** What was walked for. */
  readonly vaddr: VirtAddr;
  /** From the root down; the last one is the leaf, or the entry that is not present. */
  readonly path: readonly WalkStep[];
  /** `undefined` if the last entry is not present. */
  readonly page: MappedPage | undefined;
}

const PAGE_SIZES: readonly PageSize[] = [PageSize.Regular, PageSize.Huge, PageSize.Giant];
// A table must never restrict what its leaves allow: present, writable, user, accessed.
const TABLE_FLAGS = PteFlags.Present | PteFlags.Writable | PteFlags.User | PteFlags.Accessed;
const ENTRIES = 512;

/**
 * A page table of x86-64: 4 or 5 levels, pages of 4 KiB, 2 MiB and 1 GiB, with or without memory encryption.
 *
 * It holds no state but where its root is: all of it lies in the physical memory, bit for bit as a processor reads it.
 * Every operation on a page is O(levels), and a split O(512) more. An operation that throws has changed nothing.
 *
 * All methods that take a virtual address throw `PageTableError` `NON_CANONICAL` if it is none for the table's levels,
 * `RESERVED_BITS` if an entry on the way is corrupted, and `BUS_ERROR` if it leads outside memory.
 */
export class PageTable {
  /** The physical address of its top-level table. */
  readonly root: PhysAddr;
  /** How its entries are laid out. */
  readonly config: PagingConfig;
  readonly #memory: PhysMemory;
  readonly #frames: FrameAllocator | undefined;
  readonly #tlb: TlbListener | undefined;
  readonly #format: EntryFormat;
  readonly #cursor: TableCursor;

  private constructor(root: PhysAddr, options: PageTableOptions) {
    this.root = root;
    this.config = options.config ?? pagingConfig();
    this.#memory = options.memory;
    this.#frames = options.frames;
    this.#tlb = options.tlb;
    this.#format = new EntryFormat(this.config);
    this.#requireTableFrame(root);
    this.#cursor = new TableCursor(this.#memory, this.#format, pageNumber(root), this.config.levels);
  }

  /**
   * A new page table with nothing mapped. Takes one frame, which it clears.
   *
   * @throws PageTableError `OUT_OF_FRAMES`, `NO_FRAME_ALLOCATOR`, `BAD_FRAME`
   */
  static create(options: PageTableOptions): PageTable {
    if (options.frames === undefined) throw new PageTableError('NO_FRAME_ALLOCATOR', { operation: 'create' });
    const root = takeFrame(options.frames, 1);
    try {
      // `this`: a class that names itself is renamed by the bundler.
      const table = new this(root, options);
      clearTable(options.memory, root);
      return table;
    } catch (error) {
      options.frames.freeFrame(root);
      throw error;
    }
  }

  /**
   * The page table whose root lies at `root`: that of a dump, or of another owner. Reads nothing yet.
   *
   * @param root - bits 51:12 of CR3, without the encryption bit
   * @throws PageTableError `BAD_FRAME` if `root` cannot be a table
   */
  static open(root: PhysAddr, options: PageTableOptions): PageTable {
    return new this(root, options);
  }

  /** CR3 for this table: the root, with the C-bit by convention. */
  get cr3(): bigint {
    return this.root | (BigInt(this.#format.privateHi >>> 0) << 32n);
  }

  /**
   * Maps the 4 KiB page at `vaddr` to `paddr`, private unless told otherwise.
   *
   * @param flags - {@link PteFlags}; present is set for you
   * @throws PageTableError `MISALIGNED`, `PHYSICAL_RANGE`, `INVALID_FLAGS`, `NO_ENCRYPTION`, `ALREADY_MAPPED`,
   *   `OUT_OF_FRAMES`, `NO_FRAME_ALLOCATOR`
   */
  map4k(vaddr: VirtAddr, paddr: PhysAddr, flags: number, options?: MapOptions): void {
    this.#map(0, vaddr, paddr, flags, options);
  }

  /** As {@link map4k}, for a 2 MiB page. */
  map2m(vaddr: VirtAddr, paddr: PhysAddr, flags: number, options?: MapOptions): void {
    this.#map(1, vaddr, paddr, flags, options);
  }

  /** As {@link map4k}, for a 1 GiB page. `INVALID_FLAGS` if the configuration has none. */
  map1g(vaddr: VirtAddr, paddr: PhysAddr, flags: number, options?: MapOptions): void {
    this.#map(2, vaddr, paddr, flags, options);
  }

  /**
   * Unmaps the 4 KiB page at `vaddr`. Returns the entry that was there.
   *
   * @throws PageTableError `MISALIGNED`, `NOT_MAPPED`, `PAGE_SIZE_MISMATCH` if a larger page maps it
   */
  unmap4k(vaddr: VirtAddr): PageTableEntry {
    return this.#unmap(0, vaddr);
  }

  /** As {@link unmap4k}, for a 2 MiB page. */
  unmap2m(vaddr: VirtAddr): PageTableEntry {
    return this.#unmap(1, vaddr);
  }

  /** As {@link unmap4k}, for a 1 GiB page. */
  unmap1g(vaddr: VirtAddr): PageTableEntry {
    return this.#unmap(2, vaddr);
  }

  /**
   * Makes the 4 KiB page at `vaddr` shared with the hypervisor. If a larger page maps it, that is split first; all else
   * about it, and all of its other pages, stay as they were. A page that is shared already stays so.
   *
   * This is the entry alone: what makes memory really shared is in `@svsm/sev-snp`.
   *
   * @param vaddr - a multiple of 4096
   * @throws PageTableError `MISALIGNED`, `NOT_MAPPED`, `NO_ENCRYPTION`, and if it splits, `OUT_OF_FRAMES` and
   *   `NO_FRAME_ALLOCATOR`
   */
  setShared4k(vaddr: VirtAddr): void {
    this.#setVisibility(vaddr, true);
  }

  /** As {@link setShared4k}, the other way: the page becomes private, encrypted with the guest's key. */
  setEncrypted4k(vaddr: VirtAddr): void {
    this.#setVisibility(vaddr, false);
  }

  /**
   * Splits the large page that maps `vaddr` until a 4 KiB page does. Every translation, right, memory type, software bit
   * and shared-ness stays as it was. Does nothing if a 4 KiB page maps it already.
   *
   * @throws PageTableError `NOT_MAPPED`, `OUT_OF_FRAMES`, `NO_FRAME_ALLOCATOR`
   */
  split4k(vaddr: VirtAddr): void {
    this.#cursor.seek(vaddr);
    this.#requirePresent(vaddr);
    this.#split(vaddr);
  }

  /** The physical address that `vaddr` translates to, or `undefined` if nothing is mapped there. Judges no rights. */
  translate(vaddr: VirtAddr): PhysAddr | undefined {
    const cursor = this.#cursor;
    cursor.seek(vaddr);
    if (!cursor.isPresent) return undefined;
    const frame = this.#format.frame(cursor.entryLow, cursor.entryHigh, cursor.level);
    return byteAt(frame, cursor.low & ((PAGE_SIZES[cursor.level] as number) - 1));
  }

  /** The walk for `vaddr`, entry by entry, with the rights that all of them leave. */
  walk(vaddr: VirtAddr): Walk {
    const cursor = this.#cursor;
    const path: WalkStep[] = [];
    const note = (): void => {
      const { level, index, entry } = cursor;
      path.push(Object.freeze({ level, table: frameAddress(cursor.table), index, entry }));
    };
    cursor.start(vaddr);
    note();
    while (cursor.isTable) {
      cursor.descend();
      note();
    }
    const leaf = (path[path.length - 1] as WalkStep).entry;
    if (!leaf.present) return Object.freeze({ vaddr, path: Object.freeze(path), page: undefined });
    const size = PAGE_SIZES[cursor.level] as PageSize;
    const every = (flag: number): boolean => path.every(({ entry }) => (entry.flags & flag) !== 0);
    const page = Object.freeze({
      size,
      frame: leaf.address,
      paddr: (leaf.address + (vaddr & BigInt(size - 1))) as PhysAddr,
      shared: leaf.shared,
      flags: leaf.flags,
      writable: every(PteFlags.Writable),
      user: every(PteFlags.User),
      executable: path.every(({ entry }) => (entry.flags & PteFlags.NoExecute) === 0),
    });
    return Object.freeze({ vaddr, path: Object.freeze(path), page });
  }

  #map(
    level: number,
    vaddr: VirtAddr,
    paddr: PhysAddr,
    flags: number,
    options: MapOptions | undefined,
  ): void {
    const cursor = this.#cursor;
    const shared = options?.shared ?? false;
    if (shared) this.#requireEncryption('a shared mapping');
    this.#requireFlags(flags, level);
    this.#requirePhysical(paddr, level);
    cursor.seek(vaddr, level);
    this.#requireAligned(vaddr, level);
    if (cursor.isPresent) {
      throw new PageTableError('ALREADY_MAPPED', { vaddr, level: cursor.level, entry: cursor.entry.raw });
    }
    const frame = pageNumber(paddr);
    const low = frameLow(frame) | (flags & 0x1fff) | PteFlags.Present | (level > 0 ? PteFlags.Large : 0);
    const { sharedHi, privateHi } = this.#format;
    const high = frameHigh(frame) | (flags & 0xfff0_0000) | (shared ? sharedHi : privateHi);
    if (cursor.level === level) cursor.store(low, high);
    else this.#mapInNewTables(level, low, high);
  }

  /** Builds the tables that are missing between the entry found and `level`, the leaf in the last, and links them in. */
  #mapInNewTables(level: number, leafLow: number, leafHigh: number): void {
    const cursor = this.#cursor;
    let low = leafLow;
    let high = leafHigh;
    this.#takeTables(cursor.level - level).forEach((table, i) => {
      const words = this.#memory.words(table, true);
      const at = this.#memory.wordOffset(table) + 2 * cursor.indexAt(level + i);
      words[at] = low;
      words[at + 1] = high;
      low = frameLow(table) | TABLE_FLAGS;
      high = frameHigh(table) | this.#format.privateHi;
    });
    cursor.store(low, high);
  }

  #unmap(level: number, vaddr: VirtAddr): PageTableEntry {
    const cursor = this.#cursor;
    cursor.seek(vaddr);
    this.#requireAligned(vaddr, level);
    this.#requirePresent(vaddr);
    const expected = PAGE_SIZES[level] as PageSize;
    if (cursor.level !== level) {
      const found = PAGE_SIZES[cursor.level] as PageSize;
      throw new PageTableError('PAGE_SIZE_MISMATCH', { vaddr, expected, found });
    }
    const { entry } = cursor;
    cursor.store(0, 0);
    this.#tlb?.needsFlush(vaddr, expected);
    return entry;
  }

  #setVisibility(vaddr: VirtAddr, shared: boolean): void {
    const cursor = this.#cursor;
    const { privateHi, sharedHi } = this.#format;
    if ((privateHi | sharedHi) === 0) this.#requireEncryption(shared ? 'setShared4k' : 'setEncrypted4k');
    cursor.seek(vaddr);
    if ((cursor.low & 0xfff) !== 0) this.#requireAligned(vaddr, 0);
    if (!cursor.isPresent) this.#requirePresent(vaddr);
    const wanted = (cursor.entryHigh & ~(privateHi | sharedHi)) | (shared ? sharedHi : privateHi);
    if (wanted === cursor.entryHigh) return;
    if (cursor.level > 0) this.#split(vaddr);
    cursor.storeVisibility(wanted);
    this.#tlb?.needsFlush(vaddr, PageSize.Regular);
  }

  /** Splits the page found until one of 4 KiB maps `vaddr`, and leaves the cursor there. */
  #split(vaddr: VirtAddr): void {
    const cursor = this.#cursor;
    if (cursor.level === 0) return;
    const size = PAGE_SIZES[cursor.level] as PageSize;
    const tables = this.#takeTables(cursor.level);
    while (cursor.level > 0) {
      const table = tables.pop() as number;
      fillWithParts(this.#memory, table, cursor);
      cursor.store(frameLow(table) | TABLE_FLAGS, frameHigh(table) | this.#format.privateHi);
      cursor.descend();
    }
    this.#tlb?.needsFlush((vaddr - (vaddr & BigInt(size - 1))) as VirtAddr, size);
  }

  /** Takes and clears `count` frames, all or none; makes sure first that the entry found can be written. */
  #takeTables(count: number): number[] {
    const allocator = this.#frames;
    if (allocator === undefined) throw new PageTableError('NO_FRAME_ALLOCATOR', { operation: 'a new table' });
    this.#memory.words(this.#cursor.table, true);
    const taken: PhysAddr[] = [];
    try {
      for (let i = 0; i < count; i += 1) {
        const frame = takeFrame(allocator, count);
        taken.push(frame);
        this.#requireTableFrame(frame);
        clearTable(this.#memory, frame);
      }
    } catch (error) {
      for (const frame of taken) allocator.freeFrame(frame);
      throw error;
    }
    return taken.map(pageNumber);
  }

  #requireTableFrame(frame: PhysAddr): void {
    const { physicalEnd } = this.#format;
    let problem: string;
    if (!Phys.isAddress(frame)) problem = 'it is no physical address';
    else if (!isPageAligned(frame)) problem = 'it is no multiple of 4096';
    else if (frame >= physicalEnd)
      problem = `physical addresses of this table end at ${formatAddress(physicalEnd)}`;
    else {
      try {
        this.#memory.words(pageNumber(frame), false);
        return;
      } catch (cause) {
        throw new PageTableError('BAD_FRAME', { frame, problem: 'there is no memory' }, { cause });
      }
    }
    throw new PageTableError('BAD_FRAME', { frame, problem });
  }

  #requireAligned(vaddr: VirtAddr, level: number): void {
    const pageSize = PAGE_SIZES[level] as PageSize;
    if ((this.#cursor.low & (pageSize - 1)) !== 0) {
      throw new PageTableError('MISALIGNED', { what: 'virtual', address: vaddr, pageSize });
    }
  }

  #requirePhysical(paddr: PhysAddr, level: number): void {
    const pageSize = PAGE_SIZES[level] as PageSize;
    if (!Phys.isAddress(paddr) || paddr >= this.#format.physicalEnd) {
      throw new PageTableError('PHYSICAL_RANGE', { paddr, end: this.#format.physicalEnd });
    }
    if (pageNumber(paddr) % (pageSize / PageSize.Regular) !== 0 || !isPageAligned(paddr)) {
      throw new PageTableError('MISALIGNED', { what: 'physical', address: paddr, pageSize });
    }
  }

  #requireFlags(flags: number, level: number): void {
    const refuse = (refused: number, reason: string): never => {
      throw new PageTableError('INVALID_FLAGS', { flags, refused, reason });
    };
    // `|` of NoExecute gives a negative number: that is the same 32 bits.
    if (!Number.isInteger(flags) || flags < -0x8000_0000 || flags > 0xffff_ffff)
      refuse(0, 'pass PteFlags, or-ed');
    if (level === 2 && !this.config.giantPages) refuse(PteFlags.Large, 'there are no 1 GiB pages');
    const address = flags & (level === 0 ? 0xf_f000 : 0xf_e000);
    if (address !== 0) refuse(address, 'bits of the address are set');
    if ((flags & this.#format.reservedHi & 0xfff0_0000) !== 0)
      refuse(PteFlags.NoExecute, 'NX is off, which reserves it');
  }

  #requirePresent(vaddr: VirtAddr): void {
    if (!this.#cursor.isPresent) throw new PageTableError('NOT_MAPPED', { vaddr, level: this.#cursor.level });
  }

  #requireEncryption(operation: string): void {
    if (!this.#format.hasEncryption) throw new PageTableError('NO_ENCRYPTION', { operation });
  }
}

/** Fills `table` with the 512 parts of the large page found: all its bits, PAT moved to where the smaller page has it. */
function fillWithParts(memory: PhysMemory, table: number, { entryLow, entryHigh, level }: TableCursor): void {
  const words = memory.words(table, true);
  const at = memory.wordOffset(table);
  const toRegular = level === 1;
  const address = entryLow & (toRegular ? 0xffe0_0000 : 0xc000_0000);
  const flags = toRegular
    ? (entryLow & 0xfff & ~PteFlags.Large) | ((entryLow & PteFlags.PatLarge) !== 0 ? PteFlags.Pat : 0)
    : entryLow & 0x1fff;
  const step = toRegular ? PageSize.Regular : PageSize.Huge;
  for (let i = 0; i < ENTRIES; i += 1) {
    words[at + 2 * i] = address | flags | (i * step);
    words[at + 2 * i + 1] = entryHigh;
  }
}

function clearTable(memory: PhysMemory, table: PhysAddr): void {
  const frame = pageNumber(table);
  const at = memory.wordOffset(frame);
  memory.words(frame, true).fill(0, at, at + 2 * ENTRIES);
}

function takeFrame(allocator: FrameAllocator, needed: number): PhysAddr {
  try {
    return allocator.allocateFrame();
  } catch (cause) {
    throw new PageTableError('OUT_OF_FRAMES', { needed }, { cause });
  }
}
