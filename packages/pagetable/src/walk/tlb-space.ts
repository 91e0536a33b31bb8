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
  readonly #stale: Set<HeldEntry> = new Set();

  /** The entries that are stale. */
  get stale(): ReadonlySet<HeldEntry> {
    return this.#stale;
  }

  /** The number of entries. */
  get size(): number {
    return this.#byLevel.reduce((sum, map) => sum + map.size, 0);
  }

  /** The entry of `level` that holds the 4 KiB page `page`. O(1). */
  at(level: number, page: number): HeldEntry | undefined {
    const map = this.#byLevel[level]!;
    return map.size === 0 ? undefined : map.get(level === 0 ? page : Math.floor(page / SPANS[level]!));
  }

  set(level: number, page: number, entry: HeldEntry): void {
    this.#byLevel[level]!.set(Math.floor(page / SPANS[level]!), entry);
  }

  /** Whether an entry of any page size that holds `page` is stale. O(1). */
  isStale(page: number): boolean {
    return this.#stale.size > 0 && this.#byLevel.some((_, level) => this.at(level, page)?.isStale === true);
  }

  /** Marks the entries that overlap the pages `first` to `end` as stale. */
  mark(first: number, end: number, operation: string | undefined): void {
    if (end - first > 1) {
      this.#visit(first, end, (_, __, entry) => this.#markOne(entry, operation));
      return;
    }
    for (let level = 0; level < this.#byLevel.length; level += 1) {
      const entry = this.at(level, first);
      if (entry !== undefined) this.#markOne(entry, operation);
    }
  }

  /** Removes the entry of `level` that holds `page`. O(1). */
  remove(level: number, page: number): void {
    this.#delete(this.#byLevel[level]!, Math.floor(page / SPANS[level]!));
  }

  /** Removes the entries of every page size that hold `page`. O(1). */
  drop(page: number): void {
    for (let level = 0; level < this.#byLevel.length; level += 1) this.remove(level, page);
  }

  /** Removes the entries that overlap the pages `first` to `end`. */
  dropAll(first: number, end: number): void {
    this.#visit(first, end, (map, unit) => this.#delete(map, unit));
  }

  /** Removes the entries that hold one of `count` pages, `step` apart. O(count), or O(entries) if there are fewer. */
  dropEach(first: number, count: number, step: number): void {
    if (step === 1) this.dropAll(first, first + count);
    else if (count <= this.size) for (let i = 0; i < count; i += 1) this.drop(first + i * step);
    else {
      this.#visit(first, first + count * step, (map, unit, _, span) => {
        const next = Math.max(0, Math.ceil((unit * span - first) / step));
        if (next < count && first + next * step < (unit + 1) * span) this.#delete(map, unit);
      });
    }
  }

  /** The stale entries that overlap the pages `first` to `end`. */
  staleWithin(first: number, end: number): HeldEntry[] {
    const found: HeldEntry[] = [];
    if (this.#stale.size === 0) return found;
    this.#visit(first, end, (_, __, entry) => {
      if (entry.isStale) found.push(entry);
    });
    return found;
  }

  /** Calls `use` for every entry that overlaps the pages `first` to `end`. `use` may remove it. */
  #visit(
    first: number,
    end: number,
    use: (map: Map<number, HeldEntry>, unit: number, entry: HeldEntry, span: number) => void,
  ): void {
    if (first >= end) return;
    for (let level = 0; level < this.#byLevel.length; level += 1) {
      const map = this.#byLevel[level]!;
      if (map.size === 0) continue;
      const span = SPANS[level]!;
      const from = Math.floor(first / span);
      const to = Math.ceil(end / span);
      if (to - from <= map.size) {
        for (let unit = from; unit < to; unit += 1) {
          const entry = map.get(unit);
          if (entry !== undefined) use(map, unit, entry, span);
        }
      } else {
        for (const [unit, entry] of map) if (unit >= from && unit < to) use(map, unit, entry, span);
      }
    }
  }

  #markOne(entry: HeldEntry, operation: string | undefined): void {
    if (entry.isStale) return;
    entry.isStale = true;
    entry.staleBy = operation;
    this.#stale.add(entry);
  }

  #delete(map: Map<number, HeldEntry>, unit: number): void {
    const entry = map.get(unit);
    if (entry === undefined) return;
    map.delete(unit);
    this.#stale.delete(entry);
  }

  clear(): void {
    for (const map of this.#byLevel) map.clear();
    this.#stale.clear();
  }
}
