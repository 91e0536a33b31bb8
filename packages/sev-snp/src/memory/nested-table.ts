import { PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import {
  type FrameAllocator,
  isPageTableError,
  type MappedPage,
  PageTable,
  type PagingConfig,
  type PhysMemory,
  PteFlags,
} from '@svsm/pagetable';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';

/** The translation of a guest-physical address by the nested page table, and its rights. */
export interface NestedPage {
  /** The translated address itself, not the start of its page. */
  readonly spa: SysPhysAddr;
  readonly size: PageSize;
  readonly writable: boolean;
  readonly executable: boolean;
}

/** Nested walks are user accesses, so every entry has U/S set. The hypervisor restricts nothing else by default. */
const FLAGS = PteFlags.Writable | PteFlags.User | PteFlags.Accessed | PteFlags.Dirty;

/**
 * A nested page table: a `PageTable` in system memory that translates guest-physical to system-physical addresses. The
 * hypervisor owns it and can change it at will.
 *
 * Only here the address kinds of `@svsm/pagetable` stand for other kinds: its virtual addresses are guest-physical here,
 * and its physical addresses are system-physical.
 */
export class NestedTable {
  /** The exclusive end of the addresses that four levels reach without sign extension. */
  static readonly end: bigint = 1n << 47n;
  readonly #table: PageTable;

  constructor(options: { memory: PhysMemory; frames: FrameAllocator; config: PagingConfig }) {
    this.#table = PageTable.create({ ...options, freeEmptyTables: true });
  }

  /**
   * Maps the page at `gpa` to `spa`. O(levels).
   *
   * @throws PageTableError as `PageTable.map4k`
   */
  map(gpa: PhysAddr, spa: SysPhysAddr, size: PageSize): void {
    const from = asVirt(gpa);
    const to = asPhys(spa);
    if (size === PageSize.Regular) this.#table.map4k(from, to, FLAGS);
    else if (size === PageSize.Huge) this.#table.map2m(from, to, FLAGS);
    else this.#table.map1g(from, to, FLAGS);
  }

  /**
   * Unmaps the page at `gpa`, of any size.
   *
   * @throws PageTableError `NOT_MAPPED`, or `MISALIGNED` if `gpa` is not the start of its page
   */
  unmap(gpa: PhysAddr): void {
    const size = this.lookup(gpa)?.size;
    if (size === PageSize.Giant) this.#table.unmap1g(asVirt(gpa));
    else if (size === PageSize.Huge) this.#table.unmap2m(asVirt(gpa));
    else this.#table.unmap4k(asVirt(gpa));
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
    if (gpa >= NestedTable.end) return undefined;
    let page: MappedPage | undefined;
    try {
      page = this.#table.lookup(asVirt(gpa));
    } catch (error) {
      if (isPageTableError(error, 'RESERVED_BITS')) return 'reserved';
      throw error;
    }
    if (page === undefined) return undefined;
    const { size, writable, executable } = page;
    return { spa: page.paddr as bigint as SysPhysAddr, size, writable, executable };
  }

  /**
   * Splits the page that maps `gpa` until a 4 KiB page maps it. No translation changes.
   *
   * @throws PageTableError `NOT_MAPPED`, `OUT_OF_MEMORY`
   */
  split4k(gpa: PhysAddr): void {
    this.#table.split4k(asVirt(gpa));
  }
}

function asVirt(gpa: PhysAddr): VirtAddr {
  return gpa as bigint as VirtAddr;
}

function asPhys(spa: SysPhysAddr): PhysAddr {
  return spa as bigint as PhysAddr;
}
