/**
 * The rule for iterators (docs/decisions/0016-iterators.md): sets and maps change while iterators run, and each iterator is
 * compared with a twin that searches plain arrays from the place reached, at every step.
 */
import { type Address, type AddressKind, Phys } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { MemoryRegion } from '../src/memory-region.ts';
import { RegionMap } from '../src/region-map.ts';
import { RegionSet } from '../src/region-set.ts';
import { regionOf, stretch, WINDOW, WINDOWS, type Window } from './region-model.ts';

/** An element of an iterator in places: from, to, and the value of an entry. */
type Element = readonly [from: number, to: number, value?: number];
type Entry = Required<Element>;
/** The next element if the places below `reached` are behind the iterator, or none yet; `undefined` at the end. */
type Search = (reached: number | undefined) => Element | undefined;

/** An iterator and its twin, side by side. */
class Pair {
  readonly #next: () => Element | undefined;
  readonly #search: Search;
  #reached: number | undefined;
  #isDone = false;

  constructor(next: () => Element | undefined, search: Search) {
    this.#next = next;
    this.#search = search;
  }

  /** Steps both, and returns whether there was an element. */
  step(): boolean {
    const expected = this.#isDone ? undefined : this.#search(this.#reached);
    const found = this.#next();
    // `expect` is slow: it is called for a difference only.
    if (String(found) !== String(expected)) expect(found).toEqual(expected);
    this.#isDone = expected === undefined;
    this.#reached = expected?.[1];
    return !this.#isDone;
  }
}

/** The first run of places at `from` or later, below `end`, for which `is` holds; its start is at least `least`. */
function firstRun(
  is: (place: number) => boolean,
  from: number,
  end: number,
  least = from,
): Element | undefined {
  let start = from;
  while (start < end && !is(start)) start += 1;
  if (start >= end) return undefined;
  let stop = start;
  while (is(stop)) stop += 1;
  while (start > least && is(start - 1)) start -= 1;
  return [start, stop];
}

/** A window of places, and the way from regions to them. */
class Space {
  readonly region: (from: number, to: number) => MemoryRegion<Address>;
  readonly #base: bigint;

  constructor(kind: AddressKind<Address>, base: bigint) {
    this.#base = base;
    this.region = (from, to) => regionOf({ name: '', kind, base }, [from, to - from]);
  }

  /** A step of an iterator over regions, in places. */
  regions(iterator: Iterator<MemoryRegion<Address>, undefined>): () => Element | undefined {
    return () => {
      const { value } = iterator.next();
      return value && [Number(value.start - this.#base), Number(value.end - this.#base)];
    };
  }

  /** A step of an iterator over entries, in places. */
  entries(
    iterator: Iterator<readonly [MemoryRegion<Address>, number], undefined>,
  ): () => Element | undefined {
    return () => {
      const { value } = iterator.next();
      return value && [Number(value[0].start - this.#base), Number(value[0].end - this.#base), value[1]];
    };
  }
}

/** A set, with an array of its places as its twin. */
class SetModel {
  readonly space: Space;
  readonly set: RegionSet<Address>;
  readonly #places: boolean[];

  constructor(kind: AddressKind<Address>, base: bigint, size: number) {
    this.space = new Space(kind, base);
    this.set = new RegionSet(kind);
    this.#places = Array.from({ length: size }, () => false);
  }

  change(add: boolean, from: number, to: number): void {
    if (add) this.set.add(this.space.region(from, to));
    else this.set.remove(this.space.region(from, to));
    this.#places.fill(add, from, to);
  }

  all(): Pair {
    const search: Search = (reached = 0) => firstRun(this.#has, reached, this.#places.length);
    return new Pair(this.space.regions(this.set[Symbol.iterator]()), search);
  }

  overlapping(from: number, to: number): Pair {
    // The first region is uncut: it may begin before `from`.
    const search: Search = (reached) =>
      reached === undefined ? firstRun(this.#has, from, to, 0) : firstRun(this.#has, reached, to);
    return new Pair(this.space.regions(this.set.overlapping(this.space.region(from, to))), search);
  }

  gaps(from: number, to: number): Pair {
    const isFree = (place: number): boolean => place < to && !this.#has(place);
    const search: Search = (reached = from) => firstRun(isFree, reached, to);
    return new Pair(this.space.regions(this.set.gaps(this.space.region(from, to))), search);
  }

  readonly #has = (place: number): boolean => this.#places[place] === true;
}

/** A map, with a sorted array of its entries as its twin. */
class MapModel {
  readonly space: Space;
  readonly map: RegionMap<Address, number>;
  #entries: Entry[] = [];

  constructor(kind: AddressKind<Address>, base: bigint) {
    this.space = new Space(kind, base);
    this.map = new RegionMap(kind);
  }

  /** Adds an entry in place of everything that it covers. */
  overlay(from: number, to: number, value: number): void {
    if (from === to) return;
    this.map.overlay(this.space.region(from, to), value);
    this.#entries = this.#entries.flatMap(([first, end, held]): Entry[] => {
      if (end <= from || to <= first) return [[first, end, held]];
      const rest: Entry[] = [];
      if (first < from) rest.push([first, from, held]);
      if (to < end) rest.push([to, end, held]);
      return rest;
    });
    this.#entries.push([from, to, value]);
    this.#entries.sort(([a], [b]) => a - b);
  }

  /** Deletes the entry that covers `place`, if one does. */
  delete(place: number): void {
    const i = this.#entries.findIndex(([from, to]) => from <= place && place < to);
    if (i < 0) return;
    const [[from, to, value]] = this.#entries.splice(i, 1) as [Entry];
    expect(this.map.delete(this.space.region(from, to))).toBe(value);
  }

  all(): Pair {
    const search: Search = (reached = 0) => this.#entries.find(([from]) => from >= reached);
    return new Pair(this.space.entries(this.map[Symbol.iterator]()), search);
  }

  overlapping(from: number, to: number): Pair {
    const search: Search = (reached) =>
      this.#entries.find(
        (entry) =>
          from < to && entry[0] < to && (reached === undefined ? entry[1] > from : entry[0] >= reached),
      );
    return new Pair(this.space.entries(this.map.overlapping(this.space.region(from, to))), search);
  }

  coalesced(): Pair {
    const search: Search = (reached = 0) => {
      const i = this.#entries.findIndex(([from]) => from >= reached);
      if (i < 0) return undefined;
      const [from, , value] = this.#entries[i] as Entry;
      let last = i;
      while (
        this.#entries[last + 1]?.[0] === this.#entries[last]?.[1] &&
        this.#entries[last + 1]?.[2] === value
      )
        last += 1;
      return [from, this.#entries[last]![1], value];
    };
    return new Pair(this.space.entries(this.map.coalesced()), search);
  }

  gaps(from: number, to: number): Pair {
    const isFree = (place: number): boolean =>
      place < to && !this.#entries.some(([first, end]) => first <= place && place < end);
    const search: Search = (reached = from) => firstRun(isFree, reached, to);
    return new Pair(this.space.regions(this.map.gaps(this.space.region(from, to))), search);
  }
}

/** A change, or a step of one of four iterators. Two of three are steps. */
const action = fc.record({
  step: fc.integer({ min: 0, max: 11 }),
  add: fc.boolean(),
  given: stretch.map(([from, count]) => [from, from + count] as const),
  value: fc.integer({ min: 0, max: 2 }),
});

describe.each(WINDOWS.map((window) => [window.name, window] as const))('at %s', (_, window: Window) => {
  const bounds = stretch.map(([from, count]) => [from, Math.min(from + 3 * count, WINDOW)] as const);

  test('the iterators of a set go on with the addresses that are in the set then', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), bounds, bounds, (actions, some, others) => {
        const model = new SetModel(window.kind, window.base, WINDOW);
        for (let place = 0; place < WINDOW; place += 7) model.change(true, place, place + 3);
        const pairs = [model.all(), model.overlapping(...some), model.gaps(...others), model.all()] as const;
        for (const { step, add, given } of actions) {
          if (step < 8) pairs[(step % 4) as 0].step();
          else model.change(add, ...given);
        }
        for (const pair of pairs) while (pair.step());
      }),
    );
  });

  test('the iterators of a map go on with the entries that begin at the place reached or later', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), bounds, bounds, (actions, some, others) => {
        const model = new MapModel(window.kind, window.base);
        for (let place = 0; place < WINDOW; place += 4) model.overlay(place, place + 3, place % 3);
        const pairs = [
          model.all(),
          model.overlapping(...some),
          model.gaps(...others),
          model.coalesced(),
        ] as const;
        for (const { step, add, given, value } of actions) {
          if (step < 8) pairs[(step % 4) as 0].step();
          else if (add) model.overlay(...given, value);
          else model.delete(given[0]);
        }
        for (const pair of pairs) while (pair.step());
      }),
    );
  });
});

test('the iterators of a set of many regions find their place again while chunks split and vanish', () => {
  const SIZE = 4096;
  const place = fc.nat(SIZE - 1);
  const actions = fc.record({
    step: fc.integer({ min: 0, max: 5 }),
    count: fc.integer({ min: 1, max: 300 }),
    from: place,
    length: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: SIZE / 2 })),
  });
  fc.assert(
    fc.property(fc.array(actions, { maxLength: 30 }), place, (given, from) => {
      const model = new SetModel(Phys, 0n, SIZE);
      const add = (first: number, end: number): void => {
        for (let at = first; at < end; at += 2) model.change(true, at, at + 1);
      };
      add(0, SIZE);
      const pairs = [
        model.all(),
        model.overlapping(from, SIZE),
        model.gaps(from, SIZE),
        model.all(),
      ] as const;
      for (const { step, count, from, length } of given) {
        const to = Math.min(from + length, SIZE);
        if (step < 4) for (let i = 0; i < count; i += 1) pairs[step as 0].step();
        else if (step === 4) model.change(false, from, to);
        else add(from, to);
      }
      for (const pair of pairs) while (pair.step());
    }),
  );
});
