import { Virt, type VirtAddr } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { ALL_PCIDS, FlushDebts } from '../../src/walk/flush-debts.ts';
import type { HeldEntry } from '../../src/walk/tlb-space.ts';
import { callsOf } from '../support/counted.ts';

/** The pages that are due, as `first..end` for each region. */
function due(debts: FlushDebts): string[] {
  return debts.regions.map(({ start, size }) => `${start / 4096n}..${(start + size) / 4096n}`);
}

/** Entries of a TLB for pages `first` to `end`. */
function entries(...runs: readonly [first: number, end: number][]): HeldEntry[] {
  return runs.map(([first, end]) => {
    const start = BigInt(first * 4096) as VirtAddr;
    return { region: MemoryRegion.unchecked(Virt, start, BigInt((end - first) * 4096)) } as HeldEntry;
  });
}

describe('the last run of pages, which is in no set yet,', () => {
  test('is listed with its scope', () => {
    const debts = new FlushDebts(Virt);
    debts.add(3, 5, 7);
    expect([...debts.entries()].map(([region, scope]) => [String(region), scope])).toEqual([
      ['[0x0000000000003000-0x0000000000005000)', 7],
    ]);
  });

  test('is paid', () => {
    const debts = new FlushDebts(Virt);
    debts.add(3, 5, 7);
    debts.pay(3, 7);
    expect(due(debts)).toEqual(['4..5']);
    debts.pay(4, 6);
    expect(due(debts)).toEqual(['4..5']);
    debts.pay(4, 7);
    expect(due(debts)).toEqual([]);
  });

  test('is cleared with the others', () => {
    const debts = new FlushDebts(Virt);
    debts.add(3, 5, 7);
    debts.add(9, 10, 7);
    debts.clear();
    expect([due(debts), debts.scopes, debts.bytes]).toEqual([[], [], 0n]);
  });
});

test('two runs grow in turn, and a third one ends the older of them', () => {
  const debts = new FlushDebts(Virt);
  for (let k = 0; k < 4; k += 1) {
    debts.add(10 + k, 11 + k, 7);
    debts.add(100 + k, 101 + k, 7);
  }
  debts.add(50, 51, 7);
  debts.add(104, 105, 7);
  debts.pay(11, 7);
  debts.pay(102, 7);
  expect(due(debts)).toEqual(['10..11', '12..14', '50..51', '100..102', '103..105']);
  debts.add(14, 15, 7);
  debts.clear();
  expect(due(debts)).toEqual([]);
});

test('nothing is due, and nothing is paid, of a scope that has nothing', () => {
  const debts = new FlushDebts(Virt);
  debts.pay(3, 7);
  debts.reduceTo(entries([0, 9]), 7);
  debts.reduceWithin(0, 9, entries([0, 9]), 7);
  expect([due(debts), debts.scopes]).toEqual([[], []]);
});

test('a scope whose rest is empty is gone, and an empty range changes nothing', () => {
  const debts = new FlushDebts(Virt);
  debts.add(3, 5, 7);
  debts.add(3, 5, 8);
  debts.reduceWithin(4, 4, [], 7);
  expect([due(debts), debts.scopes]).toEqual([
    ['3..5', '3..5'],
    [7, 8],
  ]);
  debts.reduceTo(entries([20, 30]), 7);
  expect(debts.scopes).toEqual([8]);
  debts.reduceWithin(0, 9, [], 8);
  expect([due(debts), debts.scopes]).toEqual([[], []]);
});

test('1024 separate regions are noted; with one more, the whole space is due', () => {
  const debts = new FlushDebts(Virt);
  for (let k = 0; k < 1024; k += 1) debts.add(2 * k, 2 * k + 1, 7);
  expect(debts.regions).toHaveLength(1024);
  debts.add(5000, 5001, 7);
  expect(debts.regions.map(String)).toEqual([
    '[0x0000000000000000-0x0000800000000000)',
    '[0xffff800000000000-0x10000000000000000)',
  ]);
});

test('pages that follow each other, or lie in the last run, are noted as one run', () => {
  const debts = new FlushDebts(Virt);
  const stored = callsOf(RegionSet.prototype as never, 'add', () => {
    for (let page = 0; page < 1000; page += 1) debts.add(page, page + 1, 7);
    debts.add(0, 10, 7);
    debts.add(999, 1001, 7);
    expect(due(debts)).toEqual(['0..1001']);
  });
  expect(stored).toBe(1);
});

test('of a scope, what its entries overlap stays due, in the last run as well', () => {
  const debts = new FlushDebts(Virt);
  debts.add(3, 9, 7);
  debts.reduceTo(entries([0, 4], [8, 20], [30, 40]), 7);
  expect([due(debts), debts.scopes]).toEqual([['3..4', '8..9'], [7]]);
  debts.add(5, 6, 8);
  expect(debts.scopes).toEqual([7, 8]);
  debts.reduceTo(entries([0, 4]), 7);
  expect(due(debts)).toEqual(['3..4', '5..6']);
});

test('scopes share the 1024 regions', () => {
  const debts = new FlushDebts(Virt);
  for (const scope of [7, 8]) for (let k = 0; k < 512; k += 1) debts.add(2 * k, 2 * k + 1, scope);
  expect(debts.regions).toHaveLength(1024);
  debts.add(5000, 5001, 8);
  expect(debts.regions).toHaveLength(512 + 2);
});

test('the scope of every PCID is not a PCID', () => {
  expect(ALL_PCIDS).toBeLessThan(0);
});
