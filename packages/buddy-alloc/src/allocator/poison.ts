import { type Address, PAGE_SIZE } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { BuddyError } from '../pages/buddy-error.ts';
import { requireInteger } from '../pages/integers.ts';
import { readOptions, requireMethods } from '../pages/options.ts';
import { type PageMemory, requireCovered } from '../pages/page-memory.ts';
import type { PageRange } from '../pages/page-range.ts';
import { wholePages } from '../pages/region-pages.ts';
import { addressOfPage } from '../pages/words.ts';

/** The bytes with which `poison` fills pages. */
export interface PoisonPatterns {
  /** The byte in freed pages, 0 to 255; the default is 0xaa, as in Linux. */
  readonly freed?: number | undefined;
  /** The byte in allocated pages, 0 to 255; the default is 0x5a, as in Linux. */
  readonly allocated?: number | undefined;
}

// include/linux/poison.h of Linux: PAGE_POISON, and POISON_INUSE "for use-uninitialised poisoning" of SLUB.
const FREED = 0xaa;
const ALLOCATED = 0x5a;

/**
 * Fills pages with patterns, and finds freed pages that were written. It knows which free pages have the pattern: those
 * that were freed, not those that never were allocated. Every method is O(bytes), and throws what the memory throws.
 */
export class Poison<A extends Address> {
  readonly #bytes: (address: A, length: number) => Uint8Array;
  readonly #freed: number;
  readonly #allocated: number;
  /** The numbers of the free pages that have the pattern. */
  readonly #pages: Set<number> = new Set();

  constructor(memory: PageMemory<A>, { freed = FREED, allocated = ALLOCATED }: PoisonPatterns) {
    this.#bytes = (address, length) => memory.bytes!(address, length);
    this.#freed = freed;
    this.#allocated = allocated;
  }

  /** Fills pages that are about to be freed. */
  free(range: PageRange): void {
    this.#fill(range, this.#freed);
    for (let page = range.start; page < range.end; page += 1) this.#pages.add(page);
  }

  /** Checks pages that are about to be allocated, and then no longer knows them. @throws BuddyError `POISON_OVERWRITTEN` */
  take(range: PageRange): void {
    for (let page = range.start; page < range.end; page += 1) this.#check(page);
    for (let page = range.start; page < range.end; page += 1) this.#pages.delete(page);
  }

  /** Fills pages that have been taken. */
  fillNew(range: PageRange): void {
    this.#fill(range, this.#allocated);
  }

  /** No longer knows the pages of `region`, which are reserved or removed. O(known pages). */
  forget(region: MemoryRegion<A>): void {
    const { start, end } = wholePages(region) as PageRange;
    for (const page of this.#pages) if (page >= start && page < end) this.#pages.delete(page);
  }

  /** Checks all pages that have the pattern. @throws BuddyError `POISON_OVERWRITTEN` */
  checkAll(): void {
    for (const page of this.#pages) this.#check(page);
  }

  #fill({ start, end }: PageRange, value: number): void {
    // If the memory ends within the range, this fails before anything is written.
    for (let page = start; page < end; page += 1) this.#page(page);
    for (let page = start; page < end; page += 1) this.#page(page).fill(value);
  }

  #check(page: number): void {
    if (!this.#pages.has(page)) return;
    const bytes = this.#page(page);
    for (let at = 0; at < PAGE_SIZE; at += 1) {
      const found = bytes[at]!;
      if (found === this.#freed) continue;
      const address = addressOfPage(page) + BigInt(at);
      throw new BuddyError('POISON_OVERWRITTEN', { address, found, expected: this.#freed });
    }
  }

  /** The bytes of a page. @throws BuddyError `OUTSIDE_MEMORY` if the memory returns fewer */
  #page(page: number): Uint8Array {
    const address = addressOfPage(page) as A;
    const bytes = this.#bytes(address, PAGE_SIZE);
    if (bytes?.length === PAGE_SIZE) return bytes;
    throw new BuddyError('OUTSIDE_MEMORY', { address, bytes: PAGE_SIZE, available: bytes?.length ?? 0 });
  }
}

/**
 * The poison of the option `poison`.
 *
 * @param region - all pages of the allocator
 * @throws BuddyError `INVALID_OPTION`, `MEMORY_MISMATCH`
 */
export function poisonOf<A extends Address>(
  region: MemoryRegion<A>,
  memory: PageMemory<A> | undefined,
  poison: true | PoisonPatterns,
): Poison<A> {
  const patterns = poison === true ? {} : readOptions(poison, ['freed', 'allocated']);
  for (const name of ['freed', 'allocated'] as const) requireInteger(name, patterns[name] ?? 0, 0, 0xff);
  requireMethods('memory', memory, 'clearPage', 'bytes');
  requireCovered(memory as object, region);
  return new Poison(memory as PageMemory<A>, patterns);
}
