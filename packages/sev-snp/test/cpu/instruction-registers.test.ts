import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import {
  executeInGuest,
  executeInHost,
  ResultFlag,
  RMP_INSTRUCTIONS,
  type RmpInstruction,
  rmpInstructionOf,
} from '../../src/cpu/instruction-registers.ts';
import { encodeRmpState } from '../../src/formats/rmp-state.ts';
import { codeOf, gvaOf, MiB, snapshot, spaOf, world } from '../support/world.ts';

const PAGE = 2 * MiB + 0x1000;
const { Carry, Parity, Zero } = ResultFlag;
/** All flags that are written, and two that are not. */
const FLAGS = 0x8d5n | 0x202n;

test.each<[RmpInstruction, number[]]>([
  ['RMPUPDATE', [0xf2, 0x0f, 0x01, 0xfe]],
  ['PSMASH', [0xf3, 0x0f, 0x01, 0xff]],
  ['RMPREAD', [0xf2, 0x0f, 0x01, 0xfd]],
  ['PVALIDATE', [0xf2, 0x0f, 0x01, 0xff]],
  ['RMPADJUST', [0xf3, 0x0f, 0x01, 0xfe]],
  ['RMPQUERY', [0xf3, 0x0f, 0x01, 0xfd]],
])('%s is found by its bytes', (name, bytes) => {
  expect(rmpInstructionOf(Uint8Array.from(bytes))).toBe(name);
  expect(rmpInstructionOf(Uint8Array.from([...bytes.slice(0, 3), 0x00]))).toBeUndefined();
  expect(RMP_INSTRUCTIONS[name].bytes).toEqual(bytes);
});

describe('PVALIDATE', () => {
  const run = (rcx: bigint, rdx: bigint, at = PAGE) => {
    const { vcpu } = world();
    return executeInGuest(vcpu, 'PVALIDATE', { rax: gvaOf(at), rcx, rdx, rflags: FLAGS });
  };

  // I1
  test('that changes something sets EAX 0, ZF and not CF, and leaves the other registers', () => {
    expect(run(0n, 0n)).toEqual({ rax: 0n, rcx: 0n, rdx: 0n, rflags: 0x202n | Zero | Parity });
  });

  // I1, I10
  test('that changes nothing sets CF', () => {
    expect(run(1n, 1n, 2 * MiB)).toMatchObject({ rax: 0n, rflags: 0x202n | Zero | Parity | Carry });
  });

  // I1
  test('that fails sets EAX to the code and clears ZF; bits 31:1 of ECX and EDX do not matter', () => {
    expect(run(0xff01n, 0xffffn)).toMatchObject({ rax: 1n, rflags: 0x202n });
  });

  test('in 32-bit mode uses EAX alone as the address', () => {
    const { vcpu, table } = world();
    table.map4k(0x5000_0000n as never, physAddr(PAGE), 2);
    const registers = { rax: 0xffff_ffff_5000_0000n, rcx: 0n, rdx: 0n, rflags: 0n };
    expect(executeInGuest(vcpu, 'PVALIDATE', registers, { bits: 32 }).rax).toBe(0n);
  });
});

describe('RMPADJUST and RMPQUERY', () => {
  // V9, RMPADJUST step 1, RMPQUERY step 4
  test('take and return level, mask and VMSA bit in RDX', () => {
    const { vcpu } = world();
    const rax = gvaOf(2 * MiB);
    const adjust = (rdx: bigint) => executeInGuest(vcpu, 'RMPADJUST', { rax, rcx: 1n, rdx, rflags: 0n }).rax;
    expect(adjust(0x1_0702n)).toBe(0n);
    const query = { rax, rcx: 0xaa0n, rdx: 0xff00_0002n, rflags: 0n };
    expect(executeInGuest(vcpu, 'RMPQUERY', query)).toMatchObject({
      rax: 0n,
      rcx: 0xaa1n,
      rdx: 0xff01_0702n,
      rflags: Zero | Parity,
    });
    expect(adjust(0x700n)).toBe(2n);
    expect(adjust(0x2_0701n)).toBe(1n);
    expect(adjust(0x704n)).toBe(1n);
    const lower = { ...query, rdx: 3n };
    // The VMSA bit belongs to the page, whatever level is asked for.
    expect(executeInGuest(vcpu, 'RMPQUERY', lower).rdx).toBe(0x1_0003n);
  });
});

describe('RMPUPDATE, PSMASH and RMPREAD', () => {
  // R10, RMPREAD step 1
  test('take the page from RAX and the state from memory', () => {
    const it = world();
    const { hypervisor } = it.machine;
    const operand = hypervisor.allocatePage();
    const page = hypervisor.allocatePage();
    const state = {
      gpa: physAddr(0x7000),
      assigned: true,
      pageSize: PageSize.Regular,
      immutable: false,
      asid: 1,
    };
    hypervisor.write(operand, encodeRmpState({ ...state, regionStatus: false }));
    const registers = { rax: page, rcx: operand, rdx: 7n, rflags: FLAGS };
    expect(executeInHost(hypervisor, 'RMPUPDATE', registers)).toEqual({
      ...registers,
      rax: 0n,
      rflags: 0x202n | Zero | Parity | Carry,
    });
    hypervisor.write(operand, new Uint8Array(16));
    expect(executeInHost(hypervisor, 'RMPREAD', registers).rax).toBe(0n);
    expect(hypervisor.read(operand, 16)).toEqual(encodeRmpState({ ...state, regionStatus: false }));
    expect(executeInHost(hypervisor, 'PSMASH', { ...registers, rax: spaOf(it, 2 * MiB) }).rax).toBe(0n);
    expect(executeInHost(hypervisor, 'PSMASH', registers)).toMatchObject({ rax: 1n, rflags: 0x202n | Carry });
    expect(executeInHost(hypervisor, 'RMPREAD', { ...registers, rax: 1n << 40n }).rax).toBe(1n);
    // RMPREAD writes to a page of the host only.
    expect(codeOf(() => executeInHost(hypervisor, 'RMPREAD', { ...registers, rcx: spaOf(it, PAGE) }))).toBe(
      'HOST_PF',
    );
  });
});

// I2
describe('where it cannot be executed', () => {
  const registers = { rax: gvaOf(PAGE), rcx: 0n, rdx: 1n, rflags: 0n };
  test.each(['PVALIDATE', 'RMPADJUST', 'RMPQUERY'] as const)('%s', (name) => {
    const { vcpu } = world();
    expect(codeOf(() => executeInGuest(vcpu, name, registers, { snp: false }))).toBe('UD');
    const in32 = codeOf(() => executeInGuest(vcpu, name, registers, { bits: 32 }));
    expect(in32).toBe(name === 'PVALIDATE' ? 'PF' : 'UD');
    vcpu.cpl = 1;
    expect(codeOf(() => executeInGuest(vcpu, name, registers))).toBe('GP');
    expect(codeOf(() => executeInGuest(vcpu, name, registers, { snp: false }))).toBe('UD');
  });

  test.each(['RMPUPDATE', 'PSMASH', 'RMPREAD'] as const)('%s', (name) => {
    const { hypervisor } = world().machine;
    expect(codeOf(() => executeInHost(hypervisor, name, registers, { snp: false }))).toBe('UD');
    expect(codeOf(() => executeInHost(hypervisor, name, registers, { bits: 32 }))).toBe('UD');
    expect(codeOf(() => executeInHost(hypervisor, name, registers, { cpl: 3 }))).toBe('GP');
  });
});

// I2, RMPUPDATE preconditions, PSMASH preconditions, RMPREAD preconditions
describe('an instruction of the other side', () => {
  const registers = { rax: 0x20_0000n, rcx: 0x1000n, rdx: 0n, rflags: 2n };

  test.each(['RMPUPDATE', 'PSMASH', 'RMPREAD'] as const)(
    '%s in a guest returns FAIL_PERMISSION',
    (instruction) => {
      const it = world();
      const before = snapshot(it.machine.rmp);
      expect(executeInGuest(it.vcpu, instruction, registers).rax).toBe(2n);
      expect(snapshot(it.machine.rmp)).toBe(before);
      it.vcpu.cpl = 3;
      expect(codeOf(() => executeInGuest(it.vcpu, instruction, registers))).toBe('GP');
      it.vcpu.cpl = 0;
      expect(codeOf(() => executeInGuest(it.vcpu, instruction, registers, { bits: 32 }))).toBe('UD');
    },
  );

  test.each(['PVALIDATE', 'RMPADJUST', 'RMPQUERY'] as const)('%s in a host raises #UD', (instruction) => {
    const it = world();
    const before = snapshot(it.machine.rmp);
    for (const mode of [{}, { snp: true, bits: 64 as const }, { bits: 32 as const }]) {
      expect(codeOf(() => executeInHost(it.machine.hypervisor, instruction, registers, mode))).toBe('UD');
    }
    expect(snapshot(it.machine.rmp)).toBe(before);
  });

  test('a name that is not an instruction raises #UD on both sides', () => {
    const it = world();
    const name = 'VMRUN' as 'PSMASH';
    expect(codeOf(() => executeInGuest(it.vcpu, name, registers))).toBe('UD');
    expect(codeOf(() => executeInHost(it.machine.hypervisor, name, registers))).toBe('UD');
  });

  // RMPQUERY step 1
  test.each([
    ['FAIL_INPUT', 1n],
    ['FAIL_PERMISSION', 2n],
  ] as const)('RMPQUERY of a level that does not exist: %s', (rmpadjustVmplRange, code) => {
    const it = world({ assumptions: { rmpadjustVmplRange } });
    for (const level of [4n, 0xffn]) {
      const query = { ...registers, rax: gvaOf(0x5000) as bigint, rdx: level };
      expect(executeInGuest(it.vcpu, 'RMPQUERY', query)).toMatchObject({
        rax: code,
        rdx: level,
        rcx: 0x1000n,
      });
    }
  });
});
