/**
 * `for (const page of region.iterPages(PageSize.Regular))` over 1 GiB, and by cursor, compared with hand-written iterators.
 *
 * Means over rounds in which every variant runs once over the whole region; garbage collections count.
 */
import { PageSize, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { compare } from './compare.ts';

const PAGES = 262_144;
const START = 0xffff_8000_0000_0000n;
const region = virtRegion(virtAddr(START), PAGES * PageSize.Regular);

/** The iterator of decision 2, and nothing else. */
class Bare {
  #next: bigint;
  #left: number;

  constructor(start: bigint, count: number) {
    this.#next = start;
    this.#left = count;
  }

  next(): IteratorResult<bigint, undefined> {
    if (this.#left === 0) return { done: true, value: undefined };
    this.#left -= 1;
    const value = this.#next;
    this.#next = BigInt.asUintN(64, value + 4096n);
    return { done: false, value };
  }

  [Symbol.iterator](): this {
    return this;
  }
}

function* generator(start: bigint, count: number): Generator<bigint, void, void> {
  for (let i = 0, at = start; i < count; i += 1, at += 4096n) yield at;
}

console.log(`iterPages over ${PAGES} pages of 4 KiB, counting them; Node ${process.versions.node}`);
compare(PAGES, 'a page', [
  {
    name: 'bare iterator (baseline)',
    run: () => {
      let pages = 0;
      for (const _ of new Bare(START, PAGES)) pages += 1;
      return pages;
    },
  },
  {
    name: 'iterPages',
    run: () => {
      let pages = 0;
      for (const _ of region.iterPages(PageSize.Regular)) pages += 1;
      return pages;
    },
  },
  {
    name: 'cursor',
    run: () => {
      let pages = 0;
      for (const _ of region.cursor(PageSize.Regular)) pages += 1;
      return pages;
    },
  },
  {
    name: 'a generator of bigints',
    run: () => {
      let pages = 0;
      for (const _ of generator(START, PAGES)) pages += 1;
      return pages;
    },
  },
  {
    name: 'a for over signed numbers',
    run: () => {
      let pages = 0;
      const start = -0x8000_0000_0000;
      for (let at = start; at < start + PAGES * 4096; at += 4096) pages += 1;
      return pages;
    },
  },
]);
