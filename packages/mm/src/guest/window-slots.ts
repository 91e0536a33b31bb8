import { PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { type EntryFlags, isPageTableError, type PageMapper, PtePreset } from '@svsm/pagetable';
import type { VirtualRange } from '../cpu/virtual-range.ts';
import { MmError } from '../formats/mm-error.ts';

/** The addresses of a {@link WindowSlots}, and how they are mapped. */
export interface WindowPlace {
  readonly mapper: Pick<PageMapper, 'map4k' | 'unmap4k' | 'map2m' | 'unmap2m' | 'mapRegion' | 'unmapRegion'>;
  readonly range: VirtualRange;
  /** Drops translations of the processor that uses the addresses. */
  readonly flush: (region: MemoryRegion<VirtAddr>, pageSize: PageSize) => void;
}

/**
 * Addresses at which pages of one size are mapped for a moment. A page is unmapped at once. Its address is used again only after
 * a flush, and one flush makes all addresses usable again that wait for it.
 */
export class WindowSlots {
  /** The addresses. */
  readonly region: MemoryRegion<VirtAddr>;
  readonly #place: WindowPlace;
  /** All addresses, ascending. */
  readonly #pages: readonly VirtAddr[];
  /** Addresses that no TLB holds. */
  #clean: VirtAddr[];
  /** Addresses that have been used since the last flush. */
  #used: VirtAddr[] = [];

  /** @throws MmError `NO_VIRTUAL_RANGE` if the range has no room */
  constructor(place: WindowPlace, slots: number) {
    this.#place = place;
    this.region = place.range.allocate(slots);
    this.#pages = [...this.region.iterPages(place.range.pageSize)];
    this.#clean = [...this.#pages].reverse();
  }

  /**
   * Maps a page, private and writable, runs `use` with its address, and unmaps it.
   *
   * @throws MmError `NO_VIRTUAL_RANGE` if all addresses are in use; PageTableError as `map4k`; the errors of the flush, and of
   *   `use`
   */
  with<T>(gpa: PhysAddr, use: (gva: VirtAddr) => T): T {
    const page = this.#take();
    try {
      this.#map(page, gpa);
    } catch (error) {
      this.#clean.push(page);
      throw error;
    }
    try {
      return use(page);
    } finally {
      this.#used.push(page);
      this.#unmap(page);
    }
  }

  /**
   * Maps `count` consecutive pages, private and writable, runs `use` with the first address, and unmaps them. Does nothing if there are
   * fewer addresses, or one is in use.
   *
   * @throws PageTableError as `mapRegion`; the errors of the flush, and of `use`
   */
  withRun(gpa: PhysAddr, count: number, use: (gva: VirtAddr) => void): void {
    const { mapper, range } = this.#place;
    const { pageSize } = range;
    const isFree = this.#clean.length + this.#used.length === this.#pages.length;
    if (!isFree || count > this.#pages.length) return;
    this.#flush();
    const first = this.#pages[0]!;
    const region = MemoryRegion.unchecked(this.region.kind, first, BigInt(count) * BigInt(pageSize));
    mapper.mapRegion(region, gpa, PtePreset.Data, { pageSize });
    this.#clean = this.#pages.slice(count).reverse();
    try {
      use(first);
    } finally {
      this.#used.push(...this.#pages.slice(0, count));
      mapper.unmapRegion(region, { allowHoles: true });
    }
  }

  #map(page: VirtAddr, gpa: PhysAddr): void {
    const { mapper, range } = this.#place;
    if (range.pageSize === PageSize.Huge) mapper.map2m(page, gpa, PtePreset.Data as EntryFlags<1>);
    else mapper.map4k(page, gpa, PtePreset.Data);
  }

  /** Unmaps a page, unless its use has done so. */
  #unmap(page: VirtAddr): void {
    const { mapper, range } = this.#place;
    try {
      if (range.pageSize === PageSize.Huge) mapper.unmap2m(page);
      else mapper.unmap4k(page);
    } catch (error) {
      if (!isPageTableError(error, 'NOT_MAPPED')) throw error;
    }
  }

  /** Gives the addresses back, after a flush of those that have been used. */
  release(): void {
    this.#flush();
    this.#place.range.free(this.region);
  }

  #take(): VirtAddr {
    const page = this.#clean.pop();
    if (page !== undefined) return page;
    this.#flush();
    const again = this.#clean.pop();
    if (again !== undefined) return again;
    const { pageSize, region } = this.#place.range;
    throw new MmError('NO_VIRTUAL_RANGE', { pages: 1, alignment: pageSize, range: String(region) });
  }

  #flush(): void {
    const used = this.#used;
    if (used.length === 0) return;
    const { pageSize } = this.#place.range;
    const first = used.reduce((least, page) => (page < least ? page : least));
    const last = used.reduce((most, page) => (page > most ? page : most));
    const bytes = last - first + BigInt(pageSize);
    this.#place.flush(MemoryRegion.unchecked(this.region.kind, first, bytes), pageSize);
    this.#clean = [...this.#clean, ...used.reverse()];
    this.#used = [];
  }
}
