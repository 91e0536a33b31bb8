/** How a TLB follows the state that VMRUN loads, and loads of registers. */
import { Tlb } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { GuestMmu } from '../../src/cpu/guest-mmu.ts';
import type { TranslationCache } from '../../src/cpu/translation-cache.ts';
import { ControlBit } from '../../src/cpu/vcpu-registers.ts';
import { MiB, world } from '../support/world.ts';

const GVA = 0xffff_8000_0020_0000n as never;

/** A TLB that notes each flush and each change of mode. */
function noting() {
  const own = new Tlb();
  const calls: string[] = [];
  const note =
    <Args extends unknown[]>(name: string, call: (...args: Args) => void) =>
    (...args: Args): void => {
      calls.push(
        [name, ...args.map((arg) => (typeof arg === 'bigint' ? String(arg) : JSON.stringify(arg)))].join(' '),
      );
      call(...args);
    };
  const cache: TranslationCache = {
    lookup: (vaddr) => {
      during?.();
      return own.lookup(vaddr);
    },
    insert: own.insert.bind(own),
    flushPage: note('flushPage', own.flushPage.bind(own)),
    flushAll: note('flushAll', own.flushAll.bind(own)),
    loadCr3: note('loadCr3', own.loadCr3.bind(own)),
    setGlobalPages: note('setGlobalPages', own.setGlobalPages.bind(own)),
    setPcids: note('setPcids', own.setPcids.bind(own)),
  };
  let during: (() => void) | undefined;
  const setDuring = (act: (() => void) | undefined): void => {
    during = act;
  };
  return { cache, calls, setDuring };
}

/** Two MMUs of one guest, with the registers of its processor and one TLB. */
function two() {
  const it = world();
  const { cache, calls, setDuring } = noting();
  const registers = it.vcpu.controlRegisters;
  const options = { vmpl: 0, cpl: 0, tlb: cache, nestedTlb: undefined, registers, csL: true } as const;
  const [one, other] = [0, 1].map(() => new GuestMmu(it.guest, { ...options, vmplSss: false }));
  one!.translate(GVA, 'read');
  calls.length = 0;
  const state = { registers, csL: true, virtualTom: undefined, vmplSss: false };
  return { ...it, one: one!, other: other!, calls, setDuring, state };
}

test('VMRUN of the processor that has used the TLB last flushes nothing, and follows CR4', () => {
  const { one, calls, state } = two();
  one.reset(state);
  expect(calls).toEqual([]);
  const { registers } = state;
  one.reset({ ...state, registers: { ...registers, cr4: registers.cr4 ^ ControlBit.Cr4Pge } });
  expect(calls).toEqual([`setGlobalPages ${(registers.cr4 & ControlBit.Cr4Pge) === 0n}`]);
  calls.length = 0;
  one.reset({ ...state, registers: { ...registers, cr4: registers.cr4 | ControlBit.Cr4Pcide } });
  expect(calls).toContain('setPcids true');
});

test('VMRUN of another processor drops the translations of the last one, and sets the modes anew', () => {
  const { one, other, calls, state } = two();
  other.reset(state);
  expect(calls[0]).toBe('flushAll');
  expect(calls).toContain('loadCr3 {}');
  calls.length = 0;
  other.reset(state);
  expect(calls).toEqual([]);
  one.load('cr3', state.registers.cr3);
  expect(calls[0]).toBe('flushAll');
});

test('VMRUN in the middle of a lookup is refused, and changes nothing', () => {
  const { one, setDuring, state, calls } = two();
  const changes: unknown[] = [];
  setDuring(() => {
    for (const act of [
      () => one.reset({ ...state, csL: false }),
      () => one.load('cr3', state.registers.cr3),
    ]) {
      try {
        act();
      } catch (error) {
        changes.push((error as { code: string }).code);
      }
    }
  });
  one.translate(GVA, 'read');
  expect(changes).toEqual(['BUSY', 'BUSY']);
  expect([one.csL, one.is64Bit, calls]).toEqual([true, true, []]);
});

test('VMRUN with a virtual top of memory reads the tables in its format from then on', () => {
  const { one, state, guest } = two();
  expect(one.translate(GVA, 'read').isPrivate).toBe(true);
  one.reset({
    ...state,
    registers: { ...state.registers, cr3: state.registers.cr3 & ~(1n << 51n) },
    virtualTom: 0x20_0000n,
  });
  // With a virtual top of memory, the C-bit in the entries of the guest is a reserved bit.
  const code = (): unknown => {
    try {
      return one.translate((GVA + 0x20_0000n) as never, 'read').gpa;
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  expect(code()).toBe('PF');
  one.reset(state);
  expect(code()).toBe(BigInt(4 * MiB));
  expect(guest.virtualTom).toBeUndefined();
});

test('a load of CR3 with a PCID keeps what bit 63 says, and drops the PCID else', () => {
  const { one, calls, state } = two();
  one.load('cr4', state.registers.cr4 | ControlBit.Cr4Pcide);
  calls.length = 0;
  one.load('cr3', state.registers.cr3 | 5n);
  one.load('cr3', state.registers.cr3 | 5n | (1n << 63n));
  expect(calls).toEqual(['loadCr3 {"pcid":5,"keep":false}', 'loadCr3 {"pcid":5,"keep":true}']);
  calls.length = 0;
  one.load('cr0', state.registers.cr0 ^ ControlBit.Cr0Wp);
  expect(calls).toEqual([]);
});
