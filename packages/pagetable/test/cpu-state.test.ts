import { describe, expect, test } from 'vitest';
import { type CpuState, cpuState, cpuStateFromRegisters } from '../src/cpu-state.ts';
import { isPageTableError } from '../src/page-table-error.ts';

const codeOf = (operation: () => unknown): string | undefined => {
  try {
    operation();
    return undefined;
  } catch (error) {
    return isPageTableError(error) ? error.code : 'another error';
  }
};

describe('cpuState', () => {
  test('is by default as a kernel runs, and frozen', () => {
    const state = cpuState();
    expect(state).toEqual({
      cpl: 0,
      wp: true,
      smep: true,
      smap: true,
      ac: false,
      pkru: undefined,
      pkrs: undefined,
    });
    expect(Object.isFrozen(state)).toBe(true);
  });

  test.each<[string, object]>([
    ['a CPL of 4', { cpl: 4 }],
    ['a bit that is a number', { wp: 1 }],
    ['a key register of 33 bits', { pkru: 2 ** 32 }],
    ['a negative key register', { pkrs: -1 }],
  ])('refuses %s', (_, options) => {
    expect(codeOf(() => cpuState(options as Partial<CpuState>))).toBe('INVALID_CPU_STATE');
  });
});

describe('cpuStateFromRegisters', () => {
  test.each([
    ['wp', { cr0: 1n << 16n }],
    ['smep', { cr4: 1n << 20n }],
    ['smap', { cr4: 1n << 21n }],
    ['ac', { rflags: 1n << 18n }],
  ] as const)('%s is its bit', (field, registers) => {
    const none = { cr0: 0, cr4: 0, cpl: 0 } as const;
    const all = (1n << 64n) - 1n;
    expect(cpuStateFromRegisters(none)[field]).toBe(false);
    expect(cpuStateFromRegisters({ ...none, ...registers })[field]).toBe(true);
    const [name, bit] = Object.entries(registers)[0] as [string, bigint];
    expect(
      cpuStateFromRegisters({ cr0: all, cr4: all, rflags: all, cpl: 0, [name]: all & ~bit })[field],
    ).toBe(false);
  });

  test('key registers count while CR4 says so', () => {
    const keys = { cr0: 0, cpl: 3, pkru: 0x5555_5554n, pkrs: 4 } as const;
    expect(cpuStateFromRegisters({ ...keys, cr4: 0 })).toMatchObject({ pkru: undefined, pkrs: undefined });
    expect(cpuStateFromRegisters({ ...keys, cr4: 1 << 22 })).toMatchObject({ pkru: 0x5555_5554 });
    expect(cpuStateFromRegisters({ ...keys, cr4: 1 << 24 })).toMatchObject({ pkru: undefined, pkrs: 4 });
  });

  test.each([
    ['more than 64 bits', { cr0: 1n << 64n }],
    ['a negative register', { cr4: -1n }],
    ['a fraction', { rflags: 0.5 }],
    ['a PKRU of 33 bits', { cr4: 1n << 22n, pkru: 1n << 32n }],
  ])('refuses %s', (_, registers) => {
    expect(codeOf(() => cpuStateFromRegisters({ cr0: 0, cr4: 0, cpl: 0, ...registers }))).toBe(
      'INVALID_CPU_STATE',
    );
  });
});
