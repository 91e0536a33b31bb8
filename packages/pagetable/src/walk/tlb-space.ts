import type { VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { SPANS } from '../entry/page-range.ts';
import type { MappedPage } from './walk.ts';

/** A translation in a TLB. */
export interface TlbEntry {
  /** The virtual page. */
  readonly region: MemoryRegion<VirtAddr>;
  /** The page as the walk found it when the entry was filled. */
  readonly page: MappedPage;
  /** The PCID that was current when the entry was filled. */
  readonly pcid: number;
  /** Whether the entry matches every PCID. */
  readonly isGlobal: boolean;
  /** Whether the tables have changed since, so that a processor must not rely on the entry. */
  readonly isStale: boolean;
  /** The method whose change made the entry stale; `undefined` if it is not stale. */
  readonly staleBy: string | undefined;
}

/** An entry as the TLB itself sees it. */
export type HeldEntry = { -readonly [Key in keyof TlbEntry]: TlbEntry[Key] };

/**
 * The entries of one PCID, or the global ones. An entry is found by its page size and its page number, which counts from
 * address 0 in pages of that size: so an operation on a range of pages costs the smaller of those pages and the entries.
 */
export class TlbSpace {
  /** The maps from page numbers to entries, by the level of the leaf. */
  readonly #byLevel: readonly Map<number, HeldEntry>[] = [new Map(), new Map(), new Map()];

  /** The entry of `level` that holds the 4 KiB page `page`. O(1). */
  at(level: number, page: number): HeldEntry | undefined {
    const map = this.#byLevel[level]!;
    return map.size === 0 ? undefined : map.get(level === 0 ? page : Math.floor(page / SPANS[level]!));
  }

  set(level: number, page: number, entry: HeldEntry): void {
    this.#byLevel[level]!.set(Math.floor(page / SPANS[level]!), entry);
  }

  /** Removes the entry of `level` that holds `page`. Returns it. O(1). */
  remove(level: number, page: number): HeldEntry | undefined {
    const map = this.#byLevel[level]!;
    if (map.size === 0) return undefined;
    const unit = Math.floor(page / SPANS[level]!);
    const entry = map.get(unit);
    if (entry !== undefined) map.delete(unit);
    return entry;
  }

  /** Every entry that overlaps the pages `first` to `end`. The entry that was returned last may be removed. */
  *overlapping(first: number, end: number): Generator<HeldEntry, void, undefined> {
    if (first >= end) return;
    for (const [level, map] of this.#byLevel.entries()) {
      const from = Math.floor(first / SPANS[level]!);
      const to = Math.ceil(end / SPANS[level]!);
      if (to - from <= map.size) {
        for (let unit = from; unit < to; unit += 1) {
          const entry = map.get(unit);
          if (entry !== undefined) yield entry;
        }
      } else {
        for (const [unit, entry] of map) if (unit >= from && unit < to) yield entry;
      }
    }
  }

  clear(): void {
    for (const map of this.#byLevel) map.clear();
  }
}
