import { describe, expect, test } from 'vitest';
import { type CpuState, cpuState, cpuStateFromRegisters } from '../../src/entry/cpu-state.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';

/** Expects that `operation` throws `INVALID_CPU_STATE` with these words in the message. */
function refuses(operation: () => unknown, words: string): void {
  let error: unknown;
  try {
    operation();
  } catch (thrown) {
    error = thrown;
  }
  expect(isPageTableError(error, 'INVALID_CPU_STATE') && error.message).toContain(words);
}

describe('cpuState', () => {
  test('has the defaults of a running kernel, and is frozen', () => {
    const state = cpuState();
    expect(state).toEqual({
      cpl: 0,
      wp: true,
      smep: true,
      smap: true,
      cet: false,
      ac: false,
      pkru: undefined,
      pkrs: undefined,
      paging: true,
      lamUser: undefined,
      lamSupervisor: false,
      uai: false,
    });
    expect(Object.isFrozen(state)).toBe(true);
  });

  test.each<[object, string]>([
    [{ cpl: 4 }, 'cpl cannot be 4: pass 0, 1, 2 or 3'],
    [{ cpl: -1 }, 'cpl cannot be -1: pass 0, 1, 2 or 3'],
    [{ wp: 1 }, 'wp cannot be 1: pass true or false'],
    [{ smep: 'on' }, 'smep cannot be "on": pass true or false'],
    [{ smap: null }, 'smap cannot be null: pass true or false'],
    [{ cet: 1 }, 'cet cannot be 1: pass true or false'],
    [{ cet: true, wp: false }, 'cet cannot be true: pass wp: true as well: CR4.CET needs CR0.WP'],
    [{ paging: 0 }, 'paging cannot be 0: pass true or false'],
    [{ uai: 'on' }, 'uai cannot be "on": pass true or false'],
    [{ lamSupervisor: 57 }, 'lamSupervisor cannot be 57: pass true or false'],
    [{ lamUser: 56 }, 'lamUser cannot be 56: pass 48, 57 or undefined'],
    [{ ac: 0 }, 'ac cannot be 0: pass true or false'],
    [
      { pkru: 2 ** 32 },
      'pkru cannot be 4294967296: pass a number of 32 bits, or undefined if the register is off',
    ],
    [{ pkrs: -1 }, 'pkrs cannot be -1: pass a number of 32 bits, or undefined if the register is off'],
    [{ pkrs: 0.5 }, 'pkrs cannot be 0.5: pass a number of 32 bits, or undefined if the register is off'],
  ])('refuses %o', (options, words) => {
    refuses(() => cpuState(options as Partial<CpuState>), words);
  });

  test('accepts each privilege level, and the bounds of 32 bits for keys', () => {
    for (const cpl of [0, 1, 2, 3] as const) expect(cpuState({ cpl }).cpl).toBe(cpl);
    for (const pkru of [0, 0xffff_ffff]) {
      expect(cpuState({ pkru, pkrs: pkru })).toMatchObject({ pkru, pkrs: pkru });
    }
  });
});

describe('cpuStateFromRegisters', () => {
  // P39
  test.each([
    ['wp', { cr0: 1n << 16n }],
    ['paging', { cr0: 1n << 31n }],
    ['smep', { cr4: 1n << 20n }],
    ['smap', { cr4: 1n << 21n }],
    ['ac', { rflags: 1n << 18n }],
  ] as const)('reads %s from its bit', (field, registers) => {
    const none = { cr0: 0, cr4: 0, cpl: 0 } as const;
    const all = (1n << 64n) - 1n;
    // CR4.CET needs CR0.WP.
    const cr4 = all & ~(1n << 23n);
    expect(cpuStateFromRegisters(none)[field]).toBe(false);
    expect(cpuStateFromRegisters({ ...none, ...registers })[field]).toBe(true);
    const [name, bit] = Object.entries(registers)[0]!;
    expect(
      cpuStateFromRegisters({
        cr0: all,
        cr4,
        rflags: all,
        cpl: 0,
        [name]: (name === 'cr4' ? cr4 : all) & ~bit,
      })[field],
    ).toBe(false);
  });

  // P17, P39
  test('reads the key registers only if CR4 turns them on', () => {
    const keys = { cr0: 0, cpl: 3, pkru: 0x5555_5554n, pkrs: 4 } as const;
    expect(cpuStateFromRegisters({ ...keys, cr4: 0 })).toMatchObject({ pkru: undefined, pkrs: undefined });
    expect(cpuStateFromRegisters({ ...keys, cr4: 1 << 22 })).toMatchObject({ pkru: 0x5555_5554 });
    expect(cpuStateFromRegisters({ ...keys, cr4: 1 << 24 })).toMatchObject({ pkru: undefined, pkrs: 4 });
  });

  test.each<[object, string]>([
    [{ cr0: 1n << 64n }, 'cr0 cannot be 0x10000000000000000: pass a value of 64 bits'],
    [{ cr4: -1n }, 'cr4 cannot be -0x1: pass a value of 64 bits'],
    [{ rflags: 0.5 }, 'rflags cannot be 0.5: pass a value of 64 bits'],
    [{ cr4: 1n << 22n, pkru: -1 }, 'pkru cannot be -1: pass a value of 64 bits'],
    [{ cr4: 1n << 24n, pkrs: -1 }, 'pkrs cannot be -1: pass a value of 64 bits'],
    [{ cr4: 1n << 22n, pkru: 1n << 32n }, 'pkru cannot be 4294967296: pass a number of 32 bits'],
    [{ cpl: 5 }, 'cpl cannot be 5'],
    [{ cr4: 1n << 23n }, 'cet cannot be true: pass wp: true as well'],
  ])('refuses %o', (registers, words) => {
    refuses(() => cpuStateFromRegisters({ cr0: 0, cr4: 0, cpl: 0, ...registers }), words);
  });

  test('accepts registers with all 64 bits set', () => {
    const all = (1n << 64n) - 1n;
    expect(cpuStateFromRegisters({ cr0: all, cr4: all, rflags: all, cpl: 3 })).toEqual(
      cpuState({ cpl: 3, cet: true, ac: true, pkru: 0, pkrs: 0, lamSupervisor: true }),
    );
  });
});
