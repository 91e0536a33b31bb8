import { alignDown, PageSize, type VirtAddr } from '@svsm/address';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import type { MappedPage } from './page-table.ts';
import type { TlbListener } from './tlb-listener.ts';

/** A translation that the TLB holds. */
export interface TlbEntry {
  /** The virtual page. */
  readonly region: MemoryRegion<VirtAddr>;
  /** What it was found to be mapped to when it was filled in. */
  readonly page: MappedPage;
  /** Whether the tables have changed since, so that a processor must not rely on it. */
  readonly isStale: boolean;
}

/** How a {@link Tlb} is made. */
export interface TlbOptions {
  /** Called for each {@link Tlb.lookup} that a stale entry has answered: a flush was forgotten. */
  readonly onStaleUse?: (entry: TlbEntry, vaddr: VirtAddr) => void;
}

const SIZES: readonly PageSize[] = [PageSize.Regular, PageSize.Huge, PageSize.Giant];

/**
 * A TLB that keeps what it was given until it is told to drop it, as hardware may (AMD64 APM vol. 2, §5.5.2). Given to a
 * page table as its `tlb`, it learns which entries have gone stale, goes on answering with them, and reports each use.
 *
 * One address space, no global pages, no capacity limit.
 */
export class Tlb implements TlbListener {
  readonly #bySize: readonly { readonly size: PageSize; readonly entries: Map<VirtAddr, Held> }[] = SIZES.map(
    (size) => ({
      size,
      entries: new Map(),
    }),
  );
  readonly #onStaleUse: TlbOptions['onStaleUse'];
  #pending: MemoryRegion<VirtAddr>[] = [];

  constructor(options: TlbOptions = {}) {
    this.#onStaleUse = options.onStaleUse;
  }

  /** What it holds for `vaddr`, the smallest page first; stale or not. O(1). */
  lookup(vaddr: VirtAddr): TlbEntry | undefined {
    for (const { size, entries } of this.#bySize) {
      const held = entries.get(alignDown(vaddr, size));
      if (held !== undefined) {
        if (held.isStale) this.#onStaleUse?.(held, vaddr);
        return held;
      }
    }
    return undefined;
  }

  /** Fills in what a walk for `vaddr` has found, in place of what it holds for that page. O(1). */
  insert(vaddr: VirtAddr, page: MappedPage): void {
    const start = alignDown(vaddr, page.size);
    this.#entriesOf(page.size).set(start, { region: virtRegion(start, page.size), page, isStale: false });
  }

  /** What has changed and was not flushed yet, in the order of the changes; neighbours are one region. */
  get pending(): readonly MemoryRegion<VirtAddr>[] {
    return [...this.#pending];
  }

  /** Marks what it holds of these bytes as stale. It is kept, and used, until it is flushed. O(entries). */
  needsFlush(start: VirtAddr, bytes: number): void {
    const region = virtRegion(start, bytes);
    for (const held of this.#heldIn(region)) held.isStale = true;
    const before = this.#pending.at(-1);
    if (before?.contiguous(region) === true) this.#pending.splice(-1, 1, before.merge(region));
    else this.#pending.push(region);
  }

  /**
   * INVLPG: drops every page that holds `vaddr`, of any size (AMD64 APM vol. 3, INVLPG), and takes its 4 KiB off what is
   * {@link pending}. O(pending).
   */
  flushPage(vaddr: VirtAddr): void {
    for (const { size, entries } of this.#bySize) entries.delete(alignDown(vaddr, size));
    const page = virtRegion(alignDown(vaddr, PageSize.Regular), PageSize.Regular);
    this.#pending = this.#pending.flatMap((region) => region.subtract(page));
  }

  /** Drops what it holds of everything that is {@link pending}, whole pages, and forgets that. O(pending × entries). */
  flushPending(): void {
    for (const region of this.#pending) {
      for (const held of [...this.#heldIn(region)]) this.#entriesOf(held.page.size).delete(held.region.start);
    }
    this.#pending = [];
  }

  /** Drops everything. */
  flushAll(): void {
    for (const { entries } of this.#bySize) entries.clear();
    this.#pending = [];
  }

  *#heldIn(region: MemoryRegion<VirtAddr>): Generator<Held, void, undefined> {
    for (const { entries } of this.#bySize) {
      for (const held of entries.values()) if (held.region.overlaps(region)) yield held;
    }
  }

  #entriesOf(size: PageSize): Map<VirtAddr, Held> {
    return (this.#bySize[SIZES.indexOf(size)] as { entries: Map<VirtAddr, Held> }).entries;
  }
}

interface Held extends TlbEntry {
  isStale: boolean;
}
