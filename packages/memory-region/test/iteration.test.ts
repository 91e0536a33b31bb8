import { Phys, physAddr, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { MemoryRegion, RegionMap, RegionSet, virtRegion, walkRanges } from '../src/index.ts';
import { regionError, untyped } from './support.ts';

const at = (from: number, size: number) => new MemoryRegion(Phys, physAddr(from), size);
const bounds = ({ start, end }: MemoryRegion<ReturnType<typeof physAddr>>) => [Number(start), Number(end)];
const ten = () => Array.from({ length: 10 }, (_, i) => at(16 * i, 8));
const tenEntries = () => ten().map((region, i) => [region, i] as const);

describe('a loop that removes what it is given', () => {
  test('from a set, removes every region', () => {
    const set = new RegionSet(Phys, ten());
    for (const region of set) set.remove(region);
    expect(set.isEmpty).toBe(true);
  });

  test('from a map, deletes every entry', () => {
    const map = new RegionMap(Phys, tenEntries());
    const deleted: number[] = [];
    for (const [region] of map) deleted.push(map.delete(region));
    expect(deleted).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(map.size).toBe(0);
  });

  test('that overlaps a region, removes all of these', () => {
    const set = new RegionSet(Phys, ten());
    for (const region of set.overlapping(at(20, 100))) set.remove(region);
    expect([...set].map(bounds)).toEqual([
      [0, 8],
      [128, 136],
      [144, 152],
    ]);
    const map = new RegionMap(Phys, tenEntries());
    for (const [region] of map.overlapping(at(20, 100))) map.delete(region);
    expect([...map].map(([, value]) => value)).toEqual([0, 8, 9]);
  });

  test('fills every gap', () => {
    const set = new RegionSet(Phys, ten());
    for (const gap of set.gaps(at(4, 140))) set.add(gap);
    expect([...set].map(bounds)).toEqual([[0, 152]]);
    const map = new RegionMap(Phys, tenEntries());
    for (const gap of map.gaps(at(4, 140))) map.set(gap, -1);
    expect(map.size).toBe(19);
    expect([...map.gaps(at(0, 152))]).toEqual([]);
  });

  test('joined from a map, deletes every entry', () => {
    const map = new RegionMap(Phys, [
      [at(0, 1), 'a'],
      [at(1, 1), 'a'],
      [at(2, 1), 'b'],
      [at(4, 1), 'b'],
    ]);
    const joined: string[] = [];
    for (const [region, value] of map.coalesced()) {
      joined.push(`${bounds(region)} ${value}`);
      for (const [entry] of map.overlapping(region)) map.delete(entry);
    }
    expect(joined).toEqual(['0,2 a', '2,3 b', '4,5 b']);
    expect(map.size).toBe(0);
  });
});

describe('an iterator of a set that changes', () => {
  test('returns what is added after the place reached, and nothing before it', () => {
    const set = new RegionSet(Phys, [at(16, 8), at(64, 8)]);
    const regions = set[Symbol.iterator]();
    expect(regions.next().value).toEqual(at(16, 8));
    set.add(at(0, 8)).add(at(32, 8));
    expect([...regions].map(bounds)).toEqual([
      [32, 40],
      [64, 72],
    ]);
  });

  test('does not return what is removed before its turn', () => {
    const set = new RegionSet(Phys, ten());
    const regions = set[Symbol.iterator]();
    regions.next();
    set.remove(at(12, 120));
    expect([...regions].map(bounds)).toEqual([
      [132, 136],
      [144, 152],
    ]);
  });

  test('returns the rest of a region that has grown over the place reached', () => {
    const set = new RegionSet(Phys, [at(16, 8), at(64, 8)]);
    const regions = set[Symbol.iterator]();
    regions.next();
    set.add(at(0, 32));
    expect([...regions].map(bounds)).toEqual([
      [24, 32],
      [64, 72],
    ]);
  });

  test('returns each address at most once, whatever is joined and split', () => {
    const set = new RegionSet(Phys, [at(0, 8), at(16, 8)]);
    const seen: number[][] = [];
    for (const region of set) {
      seen.push(bounds(region));
      set.add(at(0, 30)).remove(at(2, 1));
    }
    expect(seen).toEqual([
      [0, 8],
      [8, 30],
    ]);
  });

  test('stays done, even if more is added', () => {
    const set = new RegionSet(Phys, [at(0, 8)]);
    const regions = set[Symbol.iterator]();
    expect([...regions]).toHaveLength(1);
    set.add(at(16, 8));
    expect(regions.next()).toEqual({ done: true, value: undefined });
  });

  test('begins with what is there at the first next', () => {
    const set = new RegionSet(Phys, [at(0, 8)]);
    const [regions, overlapping, gaps] = [
      set[Symbol.iterator](),
      set.overlapping(at(4, 8)),
      set.gaps(at(0, 16)),
    ];
    set.remove(at(0, 16)).add(at(10, 20));
    expect([...regions].map(bounds)).toEqual([[10, 30]]);
    expect([...overlapping].map(bounds)).toEqual([[10, 30]]);
    expect([...gaps].map(bounds)).toEqual([[0, 10]]);
  });

  test('ends at the last region of a space that ends at 2^64', () => {
    const last = virtRegion(virtAddr(0xffff_ffff_ffff_f000n), 0x1000);
    const set = new RegionSet(last.kind, [virtRegion(virtAddr(0), 0x1000), last]);
    let steps = 0;
    for (const region of set) {
      set.remove(region).add(region);
      steps += 1;
      if (steps > 2) break;
    }
    expect(steps).toBe(2);
  });
});

describe('an iterator of a map that changes', () => {
  test('passes over an entry that begins before the place reached', () => {
    const map = new RegionMap(Phys, [
      [at(0, 8), 'a'],
      [at(16, 8), 'b'],
      [at(32, 8), 'c'],
    ]);
    const entries = map[Symbol.iterator]();
    entries.next();
    map.overlay(at(4, 16), 'new');
    expect([...entries].map(([region, value]) => [...bounds(region), value])).toEqual([
      [20, 24, 'b'],
      [32, 40, 'c'],
    ]);
  });

  test('returns an entry that replaces one after the place reached', () => {
    const map = new RegionMap(Phys, [
      [at(0, 8), 'a'],
      [at(16, 8), 'b'],
    ]);
    const seen: string[] = [];
    for (const [, value] of map) {
      seen.push(value);
      if (value === 'a') map.overlay(at(12, 12), 'new');
    }
    expect(seen).toEqual(['a', 'new']);
  });

  test('goes on when the comparison of `coalesced` changes the map', () => {
    const map = new RegionMap(Phys, [
      [at(0, 1), 1],
      [at(1, 1), 1],
      [at(2, 1), 1],
      [at(3, 1), 1],
    ]);
    const joined = map.coalesced((left, right) => {
      map.overlay(at(2, 1), 2);
      return left === right;
    });
    expect([...joined].map(([region, value]) => [...bounds(region), value])).toEqual([
      [0, 2, 1],
      [2, 3, 2],
      [3, 4, 1],
    ]);
  });
});

describe('walkRanges over a map and a set that change', () => {
  test('has read one entry of each list ahead, and reads the others when their turn comes', () => {
    const map = new RegionMap(Phys, tenEntries());
    const set = new RegionSet(Phys, [at(0, 4)]);
    const right = function* () {
      for (const region of set) yield [region, 'set'] as const;
    };
    const pieces = walkRanges(map, right());
    expect(pieces.next().value?.region).toEqual(at(0, 4));
    for (const [region] of map) map.delete(region);
    map.set(at(100, 8), 100);
    // The sweep had read [0, 8), and returns the rest of it.
    expect([...pieces].map(({ region, left }) => [...bounds(region), left?.[1]])).toEqual([
      [4, 8, 0],
      [100, 108, 100],
    ]);
  });
});

test('overlapping and gaps refuse a region of another kind at the call', () => {
  const other = untyped(virtRegion(virtAddr(0), 0x1000));
  for (const held of [new RegionSet(Phys), new RegionMap(Phys)]) {
    regionError('KIND_MISMATCH', () => held.overlapping(other));
    regionError('KIND_MISMATCH', () => held.gaps(other));
  }
});
