import { PageSize, type VirtAddr, virtAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { Tlb } from '../../src/walk/tlb.ts';

const start = virtAddr(0x1000);

test.each<[string, (tlb: Tlb) => unknown]>([
  ['a threshold below 0', () => new Tlb({ fullFlushThreshold: -1 })],
  ['NaN as threshold', () => new Tlb({ fullFlushThreshold: Number.NaN })],
  ['PCID 4096', (tlb) => tlb.loadCr3({ pcid: 4096 })],
  ['PCID -1', (tlb) => tlb.forPcid(-1)],
  ['half a PCID', (tlb) => tlb.flushRange({ start, pages: 1, pcid: 0.5 })],
  ['endless pages', (tlb) => tlb.flushRange({ start, pages: Number.POSITIVE_INFINITY })],
  ['65537 pages', (tlb) => tlb.flushRange({ start, pages: 65_537 })],
  ['NaN pages', (tlb) => tlb.flushRange({ start, pages: Number.NaN })],
  ['a stride of 1 GiB', (tlb) => tlb.flushRange({ start, pages: 1, stride: PageSize.Giant })],
  ['an address that is not canonical', (tlb) => tlb.flushRange({ start: (1n << 47n) as VirtAddr, pages: 1 })],
])('%s is INVALID_FLUSH, and changes nothing', (_, operation) => {
  const tlb = new Tlb();
  tlb.loadCr3({ pcid: 7 });
  tlb.needsFlush(start, 0x1000, 'unmap4k');
  let error: unknown;
  try {
    operation(tlb);
  } catch (thrown) {
    error = thrown;
  }
  expect(isPageTableError(error, 'INVALID_FLUSH')).toBe(true);
  expect(tlb.pcid).toBe(7);
  expect(tlb.pending).toHaveLength(1);
});
