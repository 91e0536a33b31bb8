import { physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { Tlb } from '../../src/walk/tlb.ts';
import {
  applyTlbControl,
  InvlpgbFlag,
  type InvlpgbRegisters,
  invlpgb,
  invpcid,
  TlbControl,
} from '../../src/walk/tlb-instructions.ts';
import { FramePool } from '../support/frame-pool.ts';

const VA = virtAddr(0xffff_8000_0000_0000n);
const GLOBAL = virtAddr(0xffff_8000_0020_0000n);
const HUGE = virtAddr(0xffff_8000_0040_0000n);
const BEYOND = (VA + 0x1000n) as VirtAddr;
/** An object that cannot even be asked for its class. */
const UNREADABLE = new Proxy({} as Tlb, {
  getPrototypeOf() {
    throw new Error('unreadable');
  },
});
const GP = { type: 'general-protection', errorCode: 0 };
const { Va, Pcid, Asid, IncludeGlobal, FinalOnly, IncludeNested } = InvlpgbFlag;

/**
 * A TLB that holds four pages: of PCID 1 two of 4 KiB and one of 2 MiB, of PCID 2 one; and a global one. Without PCIDs, all are
 * of PCID 0.
 */
function filled(options: ConstructorParameters<typeof Tlb>[0] = {}) {
  const tlb = new Tlb(options);
  const memory = createPhysMemory({ size: 0x10_0000 });
  const table = PageTable.create({ memory, frames: new FramePool(1, 32), config: pagingConfig(), tlb });
  for (const vaddr of [VA, BEYOND]) table.map4k(vaddr, physAddr(0x1000), PteFlags.Writable);
  table.map4k(GLOBAL, physAddr(0x2000), PteFlags.Writable | PteFlags.Global);
  table.map2m(HUGE, physAddr(0x20_0000), PteFlags.Writable);
  for (const [pcid, vaddrs] of [
    [1, [VA, BEYOND, HUGE, GLOBAL]],
    [2, [VA]],
  ] as const) {
    if (tlb.pcids) tlb.loadCr3({ pcid, keep: true });
    for (const vaddr of vaddrs) tlb.insert(vaddr, table.lookup(vaddr)!);
  }
  return { tlb, table };
}

/** The entries that it holds: `1:0` is the page at VA of PCID 1, `+` the next, `H` the huge one, `G` the global one. */
function held(tlb: Tlb): string {
  const { pcid } = tlb;
  const seen = (tlb.pcids ? [1, 2] : [0]).flatMap((own) => {
    tlb.loadCr3({ pcid: own, keep: true });
    const names = [
      ['0', VA],
      ['+', BEYOND],
      ['H', HUGE],
    ] as const;
    return names.filter(([, vaddr]) => tlb.lookup(vaddr) !== undefined).map(([name]) => `${own}:${name}`);
  });
  if (tlb.lookup(GLOBAL) !== undefined) seen.push('G');
  tlb.loadCr3({ pcid, keep: true });
  return seen.join(' ');
}

describe('INVPCID (Intel SDM vol. 2A)', () => {
  test.each([
    [0, { pcid: 1, vaddr: VA }, '1:+ 1:H 2:0 G'],
    [0, { pcid: 1, vaddr: (HUGE + 0x5000n) as VirtAddr }, '1:0 1:+ 2:0 G'],
    [0, { pcid: 2, vaddr: GLOBAL }, '1:0 1:+ 1:H 2:0 G'],
    [1, { pcid: 1 }, '2:0 G'],
    [1, { pcid: 7 }, '1:0 1:+ 1:H 2:0 G'],
    [2, { pcid: 0 }, ''],
    [3, { pcid: 0 }, 'G'],
  ] as const)('type %i of %o leaves %s', (type, descriptor, rest) => {
    const { tlb } = filled();
    expect(held(tlb)).toBe('1:0 1:+ 1:H 2:0 G');
    expect(invpcid(tlb, type, descriptor)).toEqual({ type: 'done' });
    expect(held(tlb)).toBe(rest);
  });

  test.each([
    ['a type above 3', true, 4, { pcid: 0 }],
    ['a PCID above 4095', true, 1, { pcid: 0x1000 }],
    ['a PCID above 4095, of any type', true, 2, { pcid: 0x1000 }],
    ['an address that is not canonical', true, 0, { pcid: 1, vaddr: 0x8000_0000_0000n as VirtAddr }],
    ['PCID 1 without CR4.PCIDE, type 0', false, 0, { pcid: 1, vaddr: VA }],
    ['PCID 1 without CR4.PCIDE, type 1', false, 1, { pcid: 1 }],
  ] as const)('%s is #GP, and drops nothing', (_, pcids, type, descriptor) => {
    const { tlb } = filled({ pcids });
    expect(invpcid(tlb, type, descriptor)).toEqual(GP);
    expect(held(tlb)).toBe(pcids ? '1:0 1:+ 1:H 2:0 G' : '0:0 0:+ 0:H G');
  });

  test('types 2 and 3 do not look at the address, nor at the PCID without CR4.PCIDE', () => {
    const odd = 0x8000_0000_0000n as VirtAddr;
    expect(invpcid(filled({ pcids: false }).tlb, 2, { pcid: 3, vaddr: odd }).type).toBe('done');
    expect(invpcid(filled().tlb, 3, { pcid: 3, vaddr: odd }).type).toBe('done');
  });

  test('type 0 pays the page of that PCID, and the page of all once nobody holds it', () => {
    const { tlb, table } = filled();
    table.unmap4k(VA);
    invpcid(tlb, 0, { pcid: 1, vaddr: VA });
    expect(tlb.pending).toHaveLength(1);
    invpcid(tlb, 0, { pcid: 2, vaddr: VA });
    expect(tlb.pending).toEqual([]);
  });
});

test('the greatest operands that fit are accepted', () => {
  const { tlb } = filled();
  expect(invpcid(tlb, 1, { pcid: 0xfff })).toEqual({ type: 'done' });
  expect(invpcid(filled({ pcids: false }).tlb, 0, { pcid: 0, vaddr: VA })).toEqual({ type: 'done' });
  expect(invlpgb(tlb, { rax: Asid, ecx: 0, edx: 0xffff }, { asids: 0x1_0000 })).toEqual({ type: 'done' });
  expect(invlpgb(tlb, { rax: 0n, ecx: 0, edx: 0xffff_ffff })).toEqual(GP);
  expect(held(tlb)).toBe('1:0 1:+ 1:H 2:0 G');
});

describe('INVLPGB (docs/hardware.md, P33)', () => {
  const rax = (flags: bigint, vaddr: bigint = VA): bigint => vaddr | flags;

  test.each<[string, InvlpgbRegisters, string]>([
    ['no qualifier: all that is not global', { rax: 0n, ecx: 0, edx: 0 }, 'G'],
    ['all, and global ones', { rax: IncludeGlobal, ecx: 0, edx: 0 }, ''],
    ['an address, in every PCID', { rax: rax(Va), ecx: 0, edx: 0 }, '1:+ 1:H G'],
    ['an address and one more page', { rax: rax(Va), ecx: 1, edx: 0 }, '1:H G'],
    ['an address in a large page', { rax: rax(Va, HUGE + 0x1000n), ecx: 0, edx: 0 }, '1:0 1:+ 2:0 G'],
    ['three addresses, 2 MiB apart', { rax: rax(Va), ecx: 0x8000_0002, edx: 0 }, '1:+ G'],
    ['the same with global ones', { rax: rax(Va | IncludeGlobal), ecx: 0x8000_0002, edx: 0 }, '1:+'],
    ['an address in PCID 2', { rax: rax(Va | Pcid), ecx: 0, edx: 2 << 16 }, '1:0 1:+ 1:H G'],
    ['PCID 1', { rax: Pcid, ecx: 0, edx: 1 << 16 }, '2:0 G'],
    ['this ASID', { rax: Asid | FinalOnly | IncludeNested, ecx: 0, edx: 5 }, 'G'],
    ['another ASID', { rax: Asid, ecx: 0, edx: 6 }, '1:0 1:+ 1:H 2:0 G'],
  ])('%s', (_, registers, rest) => {
    const { tlb } = filled();
    expect(invlpgb(tlb, registers, { asid: 5 })).toEqual({ type: 'done' });
    expect(held(tlb)).toBe(rest);
  });

  test.each<[string, InvlpgbRegisters]>([
    ['more pages than the processor takes', { rax: rax(Va), ecx: 8, edx: 0 }],
    ['a reserved bit of RAX', { rax: rax(Va | 0x40n), ecx: 0, edx: 0 }],
    ['a reserved bit of ECX', { rax: rax(Va), ecx: 0x1_0000, edx: 0 }],
    ['a reserved bit of EDX', { rax: rax(Va), ecx: 0, edx: 0x1000_0000 }],
    ['an address that is not canonical', { rax: rax(Va, 0x8000_0000_0000n), ecx: 0, edx: 0 }],
    ['an ASID that does not exist', { rax: Asid, ecx: 0, edx: 16 }],
  ])('%s is #GP, and drops nothing', (_, registers) => {
    const { tlb } = filled();
    expect(invlpgb(tlb, registers, { asids: 16 })).toEqual(GP);
    expect(held(tlb)).toBe('1:0 1:+ 1:H 2:0 G');
  });

  test('an address that does not qualify may be anything', () => {
    expect(invlpgb(filled().tlb, { rax: rax(0n, 0x8000_0000_0000n), ecx: 0, edx: 0 }).type).toBe('done');
  });

  test('the maximum is the processor’s', () => {
    const many = { rax: rax(Va), ecx: 0xffff, edx: 0 };
    expect(invlpgb(filled().tlb, many, { maxCount: 0xffff })).toEqual({ type: 'done' });
  });
});

describe('TLB_CONTROL (AMD64 APM vol. 2, §15.16.1; docs/hardware.md, P34)', () => {
  test.each([
    [TlbControl.None, false, '1:0 1:+ 1:H 2:0 G'],
    [TlbControl.FlushAll, false, ''],
    [TlbControl.FlushGuest, false, ''],
    [TlbControl.FlushGuestNonGlobal, false, 'G'],
    [TlbControl.FlushGuestNonGlobal, true, ''],
  ])('%i, of an SNP guest: %s, leaves %s', (control, isSnpGuest, rest) => {
    const { tlb } = filled();
    expect(applyTlbControl(tlb, control, isSnpGuest)).toBe(true);
    expect(held(tlb)).toBe(rest);
  });

  test('a guest is not an SNP guest unless the caller says so', () => {
    const { tlb } = filled();
    applyTlbControl(tlb, TlbControl.FlushGuestNonGlobal);
    expect(held(tlb)).toBe('G');
  });

  test.each([2, 4, 5, 6, 8, -1])('%d does not exist', (control) => {
    const { tlb } = filled();
    expect(applyTlbControl(tlb, control)).toBe(false);
    expect(held(tlb)).toBe('1:0 1:+ 1:H 2:0 G');
  });
});

describe('CR4', () => {
  test('setting SMEP drops what is not global of the current PCID', () => {
    const { tlb } = filled({ smep: false });
    tlb.loadCr3({ pcid: 1, keep: true });
    tlb.setSmep(true);
    expect(held(tlb)).toBe('2:0 G');
    tlb.loadCr3({ pcid: 2, keep: true });
    tlb.setSmep(true);
    tlb.setSmep(false);
    expect(held(tlb)).toBe('2:0 G');
  });

  test('clearing PCIDE drops everything, and PCID 0 becomes current', () => {
    const { tlb } = filled();
    tlb.setPcids(true);
    expect(held(tlb)).toBe('1:0 1:+ 1:H 2:0 G');
    tlb.setPcids(false);
    expect([tlb.pcid, tlb.pcids, held(tlb)]).toEqual([0, false, '']);
    for (const use of [
      () => tlb.loadCr3({ pcid: 1 }),
      () => tlb.forPcid(1),
      () => tlb.flushRange({ pcid: 1 }),
      () => tlb.flushPageOf(1, VA),
      () => tlb.flushNonGlobal(1),
    ]) {
      expect(use).toThrow(/pcid cannot be 1: pass 0 while CR4.PCIDE is 0/);
    }
    expect(tlb.pcid).toBe(0);
  });
});

test.each<[string, (tlb: Tlb) => unknown]>([
  ['a type of -1', (tlb) => invpcid(tlb, -1, { pcid: 0 })],
  ['half a type', (tlb) => invpcid(tlb, 0.5, { pcid: 0 })],
  ['a PCID of -1', (tlb) => invpcid(tlb, 1, { pcid: -1 })],
  ['half a PCID', (tlb) => invpcid(tlb, 1, { pcid: 0.5 })],
  ['an address of 65 bits', (tlb) => invpcid(tlb, 0, { pcid: 0, vaddr: (1n << 64n) as VirtAddr })],
  ['no descriptor', (tlb) => invpcid(tlb, 2, undefined as never)],
  ['no registers', (tlb) => invlpgb(tlb, undefined as never)],
  ['an ASID of -1', (tlb) => invlpgb(tlb, { rax: 0n, ecx: 0, edx: 0 }, { asid: -1 })],
  ['ECX of -1', (tlb) => invlpgb(tlb, { rax: 0n, ecx: -1, edx: 0 })],
  ['half a control', (tlb) => applyTlbControl(tlb, 0.5)],
  ['a number for a flag', (tlb) => applyTlbControl(tlb, TlbControl.FlushAll, 1 as unknown as boolean)],
  ['an object that is not a TLB, to INVPCID', () => invpcid({} as Tlb, 2, { pcid: 0 })],
  ['an object that is not a TLB, to INVLPGB', () => invlpgb({} as Tlb, { rax: 0n, ecx: 0, edx: 0 })],
  ['an object that is not a TLB, to VMRUN', () => applyTlbControl({} as Tlb, 0)],
  ['a number for an address', (tlb) => invpcid(tlb, 0, { pcid: 0, vaddr: 0x1000 as unknown as VirtAddr })],
  ['a number for RAX', (tlb) => invlpgb(tlb, { rax: 1 as unknown as bigint, ecx: 0, edx: 0 })],
  ['RAX of 65 bits', (tlb) => invlpgb(tlb, { rax: 1n << 64n, ecx: 0, edx: 0 })],
  ['a bigint for ECX', (tlb) => invlpgb(tlb, { rax: 0n, ecx: 1n as unknown as number, edx: 0 })],
  ['EDX of 33 bits', (tlb) => invlpgb(tlb, { rax: 0n, ecx: 0, edx: 2 ** 32 })],
])('%s is INVALID_FLUSH, and changes nothing', (_, operation) => {
  const { tlb } = filled();
  let error: unknown;
  try {
    operation(tlb);
  } catch (thrown) {
    error = thrown;
  }
  expect(isPageTableError(error, 'INVALID_FLUSH')).toBe(true);
  expect(held(tlb)).toBe('1:0 1:+ 1:H 2:0 G');
});

test.each<[string, (tlb: Tlb) => unknown]>([
  ['type cannot be -1: pass an integer, 0 or more', (tlb) => invpcid(tlb, -1, { pcid: 0 })],
  ['pcid cannot be -1: pass an integer, 0 or more', (tlb) => invpcid(tlb, 1, { pcid: -1 })],
  ['pcid cannot be 0.5: pass an integer, 0 or more', (tlb) => invpcid(tlb, 1, { pcid: 0.5 })],
  ['pass a bigint of 64 bits', (tlb) => invpcid(tlb, 0, { pcid: 0, vaddr: (1n << 64n) as VirtAddr })],
  ['vaddr cannot be', (tlb) => invpcid(tlb, 0, { pcid: 0, vaddr: (1n << 64n) as VirtAddr })],
  ['rax cannot be', (tlb) => invlpgb(tlb, { rax: 1n << 64n, ecx: 0, edx: 0 })],
  ['pass a bigint of 64 bits', (tlb) => invlpgb(tlb, { rax: 1n << 64n, ecx: 0, edx: 0 })],
  ['ecx cannot be -1: pass an integer of 32 bits', (tlb) => invlpgb(tlb, { rax: 0n, ecx: -1, edx: 0 })],
  ['edx cannot be -1: pass an integer of 32 bits', (tlb) => invlpgb(tlb, { rax: 0n, ecx: 0, edx: -1 })],
  ['control cannot be 0.5: pass an integer', (tlb) => applyTlbControl(tlb, 0.5)],
  ['isSnpGuest cannot be 1: pass true or false', (tlb) => applyTlbControl(tlb, 0, 1 as unknown as boolean)],
  ['tlb cannot be', () => applyTlbControl({} as Tlb, 0)],
  ['pass a Tlb', () => applyTlbControl({} as Tlb, 0)],
  ['pass a Tlb', () => applyTlbControl(UNREADABLE, 0)],
])('the error says “%s”', (words, operation) => {
  expect(() => operation(filled().tlb)).toThrow(words);
});

test.each([
  ['a proxy of a Tlb', () => new Proxy(new Tlb(), {})],
  ['an object with its prototype', () => Object.create(Tlb.prototype) as Tlb],
  ['nothing', () => null as unknown as Tlb],
])('%s is not a Tlb', (_, make) => {
  for (const call of [
    () => invpcid(make(), 2, { pcid: 0 }),
    () => invlpgb(make(), { rax: 0n, ecx: 0, edx: 0 }),
    () => applyTlbControl(make(), 1),
  ]) {
    expect(call).toThrow(expect.objectContaining({ code: 'INVALID_FLUSH' }));
  }
});
