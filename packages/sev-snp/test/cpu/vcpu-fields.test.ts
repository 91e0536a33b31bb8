import { PAGE_SIZE, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { Tlb } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { TranslationCache } from '../../src/cpu/translation-cache.ts';
import { START_REGISTERS } from '../../src/cpu/vcpu-registers.ts';
import { createVmsa, saveState } from '../../src/cpu/vcpu-state.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { codeOf, gvaOf, MiB, spaOf, thrownBy, world } from '../support/world.ts';

const UNMAPPED = virtAddr(0xffff_9000_0000_0000n);
const PAGE = 4 * MiB;
/** Pages that no cache by page number keeps in one place. */
const WARM = gvaOf(PAGE);
const OTHER = gvaOf(PAGE + PAGE_SIZE);

test('a processor with a VMSA does not run before it is resumed, and one without always runs', () => {
  const it = world();
  const vmsa = { spa: spaOf(it, PAGE), gpa: physAddr(PAGE) as PhysAddr, vmcb: sysPhysAddr(31 * MiB) };
  const vcpu = it.guest.createVcpu({ vmsa, nestedTlb: new NestedTlb() });
  expect([vcpu.isRunning, it.vcpu.isRunning]).toEqual([false, true]);
  expect(codeOf(() => vcpu.read(gvaOf(0), 1))).toBe('VMRUN');
});

test('a processor that is resumed has the registers of its VMSA', () => {
  const it = world();
  const registers = { rax: 1n, rcx: 2n, rdx: 3n, r8: 4n, r9: 5n };
  const control = { ...START_REGISTERS, cr3: it.vcpu.cr3 };
  const image = createVmsa();
  const exit = { exitCode: 0n, exitInfo1: 0n, exitInfo2: 0n };
  saveState(image, { registers, control, cr2: 7n, cpl: 0, csL: true }, exit);
  it.vcpu.resume(image, { spa: spaOf(it, PAGE), gpa: physAddr(PAGE), vmcb: sysPhysAddr(31 * MiB) });
  expect([it.vcpu.registers, it.vcpu.cr2, it.vcpu.isRunning]).toEqual([registers, 7n, true]);
});

test('the bit L of the code segment is what was set last', () => {
  const { vcpu } = world();
  const seen = [vcpu.csL];
  vcpu.csL = false;
  seen.push(vcpu.csL, vcpu.is64Bit);
  expect(seen).toEqual([true, false, false]);
});

test('a GHCB MSR that does not fit is named in the error', () => {
  const { vcpu } = world();
  const refusal = thrownBy(() => {
    vcpu.ghcbMsr = 1n << 64n;
  });
  expect(refusal).toMatchObject({ code: 'INVALID_ARGUMENT', details: { what: 'the GHCB MSR' } });
});

test('a clear and an exchange are writes to the handler of their page faults', () => {
  const { vcpu } = world();
  const kinds: string[] = [];
  vcpu.onPageFault = ({ kind }) => {
    kinds.push(kind);
    return 'deliver';
  };
  const accesses = [
    () => vcpu.clear(UNMAPPED, 8),
    () => vcpu.exchange(UNMAPPED, 1),
    () => vcpu.compareExchange(UNMAPPED, 0n, 1n),
  ];
  expect(accesses.map((access) => codeOf(access))).toEqual(['PF', 'PF', 'PF']);
  expect(kinds).toEqual(['write', 'write', 'write']);
});

test('options of an access count, also if the same access without them was allowed before', () => {
  const { vcpu } = world({}, {}, { nestedTlb: new NestedTlb() });
  for (let k = 0; k < 3; k += 1) vcpu.read(gvaOf(PAGE), 1);
  expect(codeOf(() => vcpu.read(gvaOf(PAGE), 1, { shadowStack: 'current' }))).toBe('UD');
});

test('the bit L of the code segment is a boolean', () => {
  const { vcpu } = world();
  const refusal = thrownBy(() => Object.assign(vcpu, { csL: 1 }));
  expect(refusal).toMatchObject({ code: 'INVALID_ARGUMENT', details: { what: 'csL' } });
});

test('a page that both TLBs have allowed is out of reach in the middle of a lookup, too', () => {
  const plain = new Tlb();
  let inLookup = (): void => {};
  const tlb: TranslationCache = {
    changes: 0,
    lookup: (gva) => {
      inLookup();
      return plain.lookup(gva);
    },
    insert: plain.insert.bind(plain),
    flushPage: plain.flushPage.bind(plain),
    flushAll: plain.flushAll.bind(plain),
  };
  const codes: unknown[] = [];
  const { vcpu } = world({}, {}, { tlb, nestedTlb: new NestedTlb() });
  for (let k = 0; k < 3; k += 1) for (const gva of [WARM, OTHER]) vcpu.read(gva, 1);
  inLookup = () => {
    try {
      vcpu.read(WARM, 1);
    } catch (error) {
      codes.push((error as { code?: unknown }).code);
    }
  };
  vcpu.read(OTHER, 1, {});
  expect(codes).toEqual(['BUSY']);
});
