import { PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { createPhysMemory } from '../src/create-phys-memory.ts';
import { PageTable } from '../src/page-table.ts';
import { pagingConfig } from '../src/paging-config.ts';
import { PtePreset } from '../src/pte-flags.ts';
import { Tlb } from '../src/tlb.ts';
import { FramePool } from './support.ts';

const VA = virtAddr(0xffff_8000_0000_0000n);
const at = (offset: number): VirtAddr => (VA + BigInt(offset)) as VirtAddr;

function make() {
  const staleUses: VirtAddr[] = [];
  const tlb = new Tlb({ onStaleUse: (_, vaddr) => staleUses.push(vaddr) });
  const memory = createPhysMemory({ size: 0x10_0000 });
  const frames = new FramePool(1, 32);
  const table = PageTable.create({ memory, frames, tlb, config: pagingConfig({ cBit: 51 }) });
  /** What a processor does: the TLB, else a walk, which fills it. */
  const isShared = (vaddr: VirtAddr): boolean | undefined => {
    const held = tlb.lookup(vaddr);
    if (held !== undefined) return held.page.shared;
    const { page } = table.walk(vaddr);
    if (page !== undefined) tlb.insert(vaddr, page);
    return page?.shared;
  };
  return { tlb, table, isShared, staleUses };
}

describe('Tlb', () => {
  test('holds a page for each of its addresses, and nothing that was not filled in', () => {
    const { tlb, table, isShared } = make();
    table.map2m(VA, physAddr(0x20_0000), PtePreset.Data);
    expect(isShared(at(0x1234))).toBe(false);
    expect(tlb.lookup(at(0x1f_ffff))?.page.size).toBe(PageSize.Huge);
    expect(tlb.lookup(at(0x20_0000))).toBeUndefined();
  });

  test('keeps a stale translation until it is flushed, and reports each use', () => {
    const { tlb, table, isShared, staleUses } = make();
    table.map2m(VA, physAddr(0x20_0000), PtePreset.Data);
    isShared(at(0x3000));
    table.setShared4k(at(0x3000));
    expect(isShared(at(0x3000))).toBe(false);
    expect(staleUses).toEqual([at(0x3000)]);
    expect(tlb.pending.map(String)).toEqual(['[0xffff800000000000-0xffff800000200000)']);
    tlb.flushPending();
    expect(tlb.pending).toEqual([]);
    expect(isShared(at(0x3000))).toBe(true);
    expect(isShared(at(0x4000))).toBe(false);
    expect(staleUses).toHaveLength(1);
  });

  test('flushPage drops the page of any size that holds the address', () => {
    const { tlb, table, isShared } = make();
    table.map2m(VA, physAddr(0x20_0000), PtePreset.Data);
    table.map4k(at(0x20_0000), physAddr(0x1000), PtePreset.Data);
    isShared(VA);
    isShared(at(0x20_0000));
    tlb.flushPage(at(0x1f_f123));
    expect(tlb.lookup(VA)).toBeUndefined();
    expect(tlb.lookup(at(0x20_0000))).toBeDefined();
  });

  test('flushPage takes its page off what is pending', () => {
    const { tlb, table } = make();
    for (const offset of [0, 0x1000, 0x2000]) table.map4k(at(offset), physAddr(offset), PtePreset.Data);
    for (const offset of [0, 0x1000, 0x2000]) table.setShared4k(at(offset));
    expect(tlb.pending.map(String)).toEqual(['[0xffff800000000000-0xffff800000003000)']);
    tlb.flushPage(at(0x1fff));
    expect(tlb.pending.map(({ size }) => size)).toEqual([0x1000n, 0x1000n]);
    tlb.flushAll();
    expect(tlb.pending).toEqual([]);
  });

  test('flushPending leaves alone what has not changed', () => {
    const { tlb, table, isShared } = make();
    table.map4k(VA, physAddr(0), PtePreset.Data);
    table.map4k(at(0x1000), physAddr(0x1000), PtePreset.Data);
    isShared(VA);
    isShared(at(0x1000));
    table.unmap4k(VA);
    tlb.flushPending();
    expect(tlb.lookup(VA)).toBeUndefined();
    expect(tlb.lookup(at(0x1000))?.isStale).toBe(false);
    tlb.flushAll();
    expect(tlb.lookup(at(0x1000))).toBeUndefined();
  });
});
