import type { VirtAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CpuState, cpuState, cpuStateFromRegisters } from '../../src/entry/cpu-state.ts';
import { maskAddress } from '../../src/entry/masked-address.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';

const mask = (vaddr: bigint, cpu: Partial<CpuState>, levels: 4 | 5 = 4) =>
  maskAddress(vaddr as VirtAddr, cpuState(cpu), levels);

// P80
describe('LAM (Intel SDM vol. 3A, §4.4)', () => {
  test.each<[string, Partial<CpuState>, 4 | 5, bigint, bigint | undefined]>([
    ['off: a tag is #GP', {}, 4, 0x0100_0000_0000_1000n, undefined],
    ['off: what is canonical stays', {}, 4, 0x7fff_ffff_f000n, 0x7fff_ffff_f000n],
    ['LAM_U48 masks bits 62:48', { lamUser: 48 }, 4, 0x7fff_1234_5678_9000n, 0x1234_5678_9000n],
    ['LAM_U48: bit 63 must be bit 47', { lamUser: 48 }, 4, 0x0000_8000_0000_0000n, undefined],
    ['LAM_U48 of 5 levels: bit 63 must be bit 47', { lamUser: 48 }, 5, 0x0000_8000_0000_0000n, undefined],
    ['LAM_U57 masks bits 62:57', { lamUser: 57 }, 4, 0x7e00_1234_5678_9000n, 0x1234_5678_9000n],
    ['LAM_U57 of 4 levels keeps bits 56:48', { lamUser: 57 }, 4, 0x7e01_1234_5678_9000n, undefined],
    ['LAM_U57 of 5 levels', { lamUser: 57 }, 5, 0x7e12_3456_789a_b000n, 0x0012_3456_789a_b000n],
    ['LAM_U57: bit 63 must be bit 56', { lamUser: 57 }, 5, 0x0100_0000_0000_0000n, undefined],
    ['LAM_U of a supervisor address: none', { lamUser: 57 }, 4, 0x80ff_8000_0000_0000n, undefined],
    [
      'LAM_SUP of 4 levels masks bits 62:48',
      { lamSupervisor: true },
      4,
      0x8000_8000_0000_1000n,
      0xffff_8000_0000_1000n,
    ],
    [
      'LAM_SUP of 4 levels: bit 63 must be bit 47',
      { lamSupervisor: true },
      4,
      0xffff_0000_0000_0000n,
      undefined,
    ],
    [
      'LAM_SUP of 5 levels masks bits 62:57',
      { lamSupervisor: true },
      5,
      0x81ff_8000_0000_1000n,
      0xffff_8000_0000_1000n,
    ],
    ['LAM_SUP of 5 levels keeps bit 56', { lamSupervisor: true }, 5, 0xfeff_8000_0000_1000n, undefined],
    ['LAM_SUP of a user address: none', { lamSupervisor: true }, 4, 0x7f00_0000_0000_1000n, undefined],
    ['bit 63 decides, not the CPL', { lamUser: 48, cpl: 0 }, 4, 0x7fff_0000_0000_1000n, 0x1000n],
  ])('%s', (_, cpu, levels, pointer, linear) => {
    expect(mask(pointer, cpu, levels)).toBe(linear);
  });
});

// P81
describe('UAI (AMD64 APM vol. 2, §5.10)', () => {
  test.each<[string, 4 | 5, bigint, bigint | undefined]>([
    ['masks bits 63:57', 4, 0xfe00_1234_5678_9000n, 0x1234_5678_9000n],
    ['masks bits 63:57 of an upper address', 4, 0x01ff_8000_0000_0000n, 0xffff_8000_0000_0000n],
    ['keeps bits 56:48 of 4 levels', 4, 0x0001_0000_0000_0000n, undefined],
    ['takes bit 56 for the sign of 5 levels', 5, 0x0100_0000_0000_0000n, 0xff00_0000_0000_0000n],
  ])('%s', (_, levels, pointer, linear) => {
    expect(mask(pointer, { uai: true }, levels)).toBe(linear);
  });
});

test('a masked address is canonical, masked again it is itself, and a canonical one is never changed', () => {
  const cpu = fc.record({
    lamUser: fc.constantFrom(undefined, 48, 57) as fc.Arbitrary<48 | 57 | undefined>,
    lamSupervisor: fc.boolean(),
    uai: fc.boolean(),
  });
  fc.assert(
    fc.property(
      cpu,
      fc.constantFrom(4, 5) as fc.Arbitrary<4 | 5>,
      fc.bigInt(0n, 2n ** 64n - 1n),
      (cpu, levels, pointer) => {
        const bits = levels === 5 ? 57 : 48;
        const canonical = BigInt.asUintN(64, BigInt.asIntN(bits, pointer));
        const linear = mask(pointer, cpu, levels);
        if (linear !== undefined) {
          expect(BigInt.asUintN(64, BigInt.asIntN(bits, linear))).toBe(linear);
          expect(mask(linear, cpu, levels)).toBe(linear);
        }
        // Only LAM48 on 5 levels has less addresses than there are without it.
        if (cpu.lamUser !== 48 || levels === 4 || cpu.uai)
          expect(mask(canonical, cpu, levels)).toBe(canonical);
      },
    ),
  );
});

test('the registers that turn it on', () => {
  const registers = { cr0: 0x8000_0000n, cr4: 0, cpl: 0 } as const;
  expect(cpuStateFromRegisters({ ...registers, cr3: 1n << 61n })).toMatchObject({ lamUser: 57 });
  expect(cpuStateFromRegisters({ ...registers, cr3: 1n << 62n })).toMatchObject({ lamUser: 48 });
  expect(cpuStateFromRegisters({ ...registers, cr3: 3n << 61n })).toMatchObject({ lamUser: 57 });
  expect(cpuStateFromRegisters({ ...registers, cr4: 1n << 28n })).toMatchObject({ lamSupervisor: true });
  expect(cpuStateFromRegisters({ ...registers, efer: 1n << 20n })).toMatchObject({ uai: true });
  expect(cpuStateFromRegisters(registers)).toMatchObject({ lamUser: undefined, uai: false, paging: true });
});

test.each([-1n, 1n << 64n, 0x1000, undefined])('%s is NON_CANONICAL', (vaddr) => {
  let error: unknown;
  try {
    mask(vaddr as bigint, { uai: true });
  } catch (thrown) {
    error = thrown;
  }
  expect(isPageTableError(error, 'NON_CANONICAL')).toBe(true);
});

test.each<[string, () => unknown]>([
  ['levels cannot be 3: pass 4 or 5', () => maskAddress(0n as VirtAddr, cpuState({}), 3 as never)],
  ['0x10000000000000000', () => mask(1n << 64n, {})],
  ['cpu', () => maskAddress(0n as VirtAddr, undefined as never, 4)],
  ['cpl', () => maskAddress(0n as VirtAddr, { lamUser: 12 } as never, 4)],
])('the error for a wrong argument says “%s”', (words, operation) => {
  expect(operation).toThrow(words);
});
