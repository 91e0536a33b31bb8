/**
 * The rules of an access, each written out from the manuals as a table, against all states that the rule depends on: no
 * sampling. There is one table for each level and its entry is at index 0, so the address is 0.
 */
import { type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { beforeEach, describe, expect, test } from 'vitest';
import { type CpuState, cpuState } from '../../src/entry/cpu-state.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { type PagingOptions, pagingConfig } from '../../src/entry/paging-config.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import type { AccessKind, AccessResult } from '../../src/walk/access.ts';

const BOOLEANS = [false, true] as const;
const KINDS = ['read', 'write', 'fetch'] as const;
/** The mode of an access: user, supervisor, or implicit from CPL 3, which is supervisor mode too. */
const MODES = ['user', 'supervisor', 'implicit'] as const;
const ADDRESS = 0n as VirtAddr;
const P = 1n;
const W = 2n;
const U = 4n;
const A = 0x20n;
const D = 0x40n;
const PS = 0x80n;
const NX = 1n << 63n;
/** The bits of an entry that allows everything. */
const SOUND = P | W | U | A | D;

type Mode = (typeof MODES)[number];

let memory: PhysMemory;

beforeEach(() => {
  memory = createPhysMemory({ size: 0x6000 });
});

/** The address of the entry of `level`: the PT is frame 1, the PD frame 2, and so on. */
const place = (level: number): PhysAddr => physAddr(0x1000 * (level + 1));

/** An entry that leads to the table below, or at level 0 to frame 0. */
const entry = (level: number, bits: bigint): bigint => BigInt(0x1000 * level) | bits;

const open = (options: PagingOptions = {}): PageTable => {
  const config = pagingConfig(options);
  return PageTable.open(place(config.levels - 1), { memory, config });
};

const put = (level: number, bits: bigint): void => writePhys64(memory, place(level), entry(level, bits));

/** The error code; -1 for a translation, since 0 is a supervisor read of a page that is not present. */
const codeOf = (result: AccessResult): number => (result.type === 'page-fault' ? result.errorCode : -1);

const cpus = (states: Partial<CpuState> = {}): Record<Mode, CpuState> => {
  return {
    user: cpuState({ cpl: 3, ...states }),
    supervisor: cpuState({ cpl: 0, ...states }),
    implicit: cpuState({ cpl: 3, ...states }),
  };
};

const look = (mode: Mode) => ({ update: false, implicit: mode === 'implicit' });
const OPTIONS = { user: look('user'), supervisor: look('supervisor'), implicit: look('implicit') };

/** The error code bits that describe the access: W/R, U/S, and I/D with NXE or SMEP. */
const accessBits = (kind: AccessKind, mode: Mode, tellsFetch: boolean): number =>
  (kind === 'write' ? 2 : 0) | (mode === 'user' ? 4 : 0) | (kind === 'fetch' && tellsFetch ? 16 : 0);

// P13, P14, P15, P16
describe('rights of all levels (Intel SDM vol. 3A, §4.6.1; AMD64 APM vol. 2, §5.6)', () => {
  /** The conditions in the cells of the table. */
  const CONDITIONS = {
    never: () => false,
    always: () => true,
    'nx=0': ({ nx }) => !nx,
    writable: ({ writable }) => writable,
    'wp=0 or writable': ({ writable, cpu }) => !cpu.wp || writable,
    'smep=0': ({ cpu }) => !cpu.smep,
    'smap=0, or ac=1 and explicit': ({ cpu, implicit }) => !cpu.smap || (cpu.ac && !implicit),
  } satisfies Record<string, (state: State) => boolean>;
  interface State {
    readonly writable: boolean;
    readonly nx: boolean;
    readonly implicit: boolean;
    readonly cpu: CpuState;
  }
  const TABLE: readonly (readonly [
    kind: AccessKind,
    mode: 'user' | 'supervisor',
    page: 'user' | 'supervisor',
    all: readonly (keyof typeof CONDITIONS)[],
  ])[] = [
    ['read', 'supervisor', 'supervisor', ['always']],
    ['read', 'supervisor', 'user', ['smap=0, or ac=1 and explicit']],
    ['write', 'supervisor', 'supervisor', ['wp=0 or writable']],
    ['write', 'supervisor', 'user', ['smap=0, or ac=1 and explicit', 'wp=0 or writable']],
    ['fetch', 'supervisor', 'supervisor', ['nx=0']],
    ['fetch', 'supervisor', 'user', ['smep=0', 'nx=0']],
    ['read', 'user', 'supervisor', ['never']],
    ['read', 'user', 'user', ['always']],
    ['write', 'user', 'supervisor', ['never']],
    ['write', 'user', 'user', ['writable']],
    ['fetch', 'user', 'supervisor', ['never']],
    ['fetch', 'user', 'user', ['nx=0']],
  ];
  const allowed = (kind: AccessKind, mode: Mode, user: boolean, state: Omit<State, 'implicit'>): boolean => {
    const row = TABLE.find(
      ([k, m, page]) => k === kind && (m === 'user') === (mode === 'user') && (page === 'user') === user,
    );
    return (row?.[3] ?? []).every((name) => CONDITIONS[name]({ ...state, implicit: mode === 'implicit' }));
  };

  /** Every setting of CR0.WP, CR4.SMEP, CR4.SMAP and EFLAGS.AC. */
  const STATES = Array.from({ length: 16 }, (_, i) => {
    const has = (bit: number): boolean => ((i >> bit) & 1) === 1;
    return cpus({ wp: has(0), smep: has(1), smap: has(2), ac: has(3) });
  });
  /** Every access by every processor, and its error code on each of eight kinds of page. */
  const accesses = (noExecute: boolean) =>
    STATES.flatMap((state) =>
      MODES.flatMap((mode) =>
        KINDS.map((kind) => {
          const cpu = state[mode];
          const codes = Array.from({ length: 8 }, (_, page) => {
            const rights = { writable: (page & 1) !== 0, nx: (page & 4) !== 0, cpu };
            if (allowed(kind, mode, (page & 2) !== 0, rights)) return -1;
            return accessBits(kind, mode, noExecute || cpu.smep) | 1;
          });
          return { kind, mode, cpu, codes };
        }),
      ),
    );

  test.each([
    ['4 KiB', 0, 4],
    ['2 MiB', 1, 4],
    ['1 GiB', 2, 4],
    ['2 MiB of five levels', 1, 5],
  ] as const)(
    'R/W, U/S and NX at each level above and in a page of %s, by every access',
    (_, leaf, levels) => {
      const table = open({ levels });
      const all = accesses(true);
      const used = levels - leaf;
      const wrong: unknown[] = [];
      for (let bits = 0; bits < 8 ** used; bits += 1) {
        // User and writable are ANDed over the levels, NX is ORed.
        let page = 3;
        for (let i = 0; i < used; i += 1) {
          const own = (bits >> (3 * i)) & 7;
          const rights =
            ((own & 1) !== 0 ? W : 0n) | ((own & 2) !== 0 ? U : 0n) | ((own & 4) !== 0 ? NX : 0n);
          if (i > 0 || leaf === 0) put(leaf + i, P | A | rights);
          else writePhys64(memory, place(leaf), P | A | PS | rights);
          page = (page & own & 3) | ((page | own) & 4);
        }
        for (const { kind, mode, cpu, codes } of all) {
          const code = codeOf(table.access(ADDRESS, kind, cpu, OPTIONS[mode]));
          if (code !== codes[page]) wrong.push({ bits, kind, mode, cpu, code, expected: codes[page] });
        }
      }
      expect(wrong.slice(0, 3)).toEqual([]);
    },
  );

  // P15
  test('without EFER.NXE, I/D is set for a fetch only with SMEP', () => {
    const table = open({ noExecute: false });
    const all = accesses(false);
    for (let bits = 0; bits < 4 ** 4; bits += 1) {
      let page = 3;
      for (let level = 0; level < 4; level += 1) {
        const own = (bits >> (2 * level)) & 3;
        put(level, P | A | ((own & 1) !== 0 ? W : 0n) | ((own & 2) !== 0 ? U : 0n));
        page &= own;
      }
      for (const { kind, mode, cpu, codes } of all) {
        expect(codeOf(table.access(ADDRESS, kind, cpu, OPTIONS[mode]))).toBe(codes[page]);
      }
    }
  });
});

// P17, P47
describe('protection keys (Intel SDM vol. 3A, §4.6.2)', () => {
  /** The register that an access consults, and whether write-disable counts. Fetches and refused accesses consult none. */
  const TABLE: readonly (readonly [
    kind: AccessKind,
    mode: 'user' | 'supervisor',
    page: 'user' | 'supervisor',
    denied: 'never' | 'pkru' | 'pkrs',
    byWriteDisable: 'never' | 'always' | 'wp=1',
  ])[] = [
    ['read', 'user', 'user', 'pkru', 'never'],
    ['write', 'user', 'user', 'pkru', 'always'],
    ['read', 'supervisor', 'user', 'pkru', 'never'],
    ['write', 'supervisor', 'user', 'pkru', 'wp=1'],
    ['read', 'supervisor', 'supervisor', 'pkrs', 'never'],
    ['write', 'supervisor', 'supervisor', 'pkrs', 'wp=1'],
    ['read', 'user', 'supervisor', 'never', 'never'],
    ['write', 'user', 'supervisor', 'never', 'never'],
    ['fetch', 'user', 'user', 'never', 'never'],
    ['fetch', 'user', 'supervisor', 'never', 'never'],
    ['fetch', 'supervisor', 'user', 'never', 'never'],
    ['fetch', 'supervisor', 'supervisor', 'never', 'never'],
  ];
  /** A register: off, or with rights for one key and the opposite rights for all others. */
  const SETTINGS = [undefined, 0, 1, 2, 3] as const;
  const register = (setting: (typeof SETTINGS)[number], key: number): number | undefined => {
    if (setting === undefined) return undefined;
    const others = setting === 0 ? 0xffff_ffff : 0;
    return ((others & ~(3 << (2 * key))) | (setting << (2 * key))) >>> 0;
  };

  test.each([
    ['4 KiB', 0],
    ['2 MiB', 1],
    ['1 GiB', 2],
  ] as const)('every key and every setting of PKRU and PKRS, for pages of %s', (_, leaf) => {
    const table = open();
    const wrong: unknown[] = [];
    for (let level = 3; level > leaf; level -= 1) put(level, SOUND | (15n << 59n));
    for (let key = 0; key < 16; key += 1) {
      for (const userPage of BOOLEANS) {
        for (const writable of BOOLEANS) {
          const rights = (userPage ? U : 0n) | (writable ? W : 0n);
          writePhys64(memory, place(leaf), P | A | (leaf > 0 ? PS : 0n) | rights | (BigInt(key) << 59n));
          for (const pkru of SETTINGS) {
            for (const pkrs of SETTINGS) {
              for (const wp of BOOLEANS) {
                const keys = { pkru: register(pkru, key), pkrs: register(pkrs, key) };
                const state = cpus({ wp, smap: false, smep: false, ...keys });
                for (const mode of MODES) {
                  for (const kind of KINDS) {
                    const row = TABLE.find(
                      ([k, m, page]) =>
                        k === kind && (m === 'user') === (mode === 'user') && (page === 'user') === userPage,
                    );
                    const [, , , denied = 'never', byWriteDisable] = row ?? [];
                    const setting = denied === 'never' ? 0 : ({ pkru, pkrs }[denied] ?? 0);
                    const minds = byWriteDisable === 'always' || (byWriteDisable === 'wp=1' && wp);
                    const byKey = (setting & 1) !== 0 || ((setting & 2) !== 0 && minds);
                    const plain =
                      (mode === 'user' && !userPage) ||
                      (kind === 'write' && !writable && (wp || mode === 'user'));
                    // P and PK are set together if rights and key both deny the access.
                    const fault = accessBits(kind, mode, true) | 1 | (byKey ? 32 : 0);
                    const expected = byKey || plain ? fault : -1;
                    const code = codeOf(table.access(ADDRESS, kind, state[mode], OPTIONS[mode]));
                    if (code !== expected) wrong.push({ key, rights, keys, mode, kind, wp, code, expected });
                  }
                }
              }
            }
          }
        }
      }
    }
    expect(wrong.slice(0, 3)).toEqual([]);
  });
});

// P6, P7, P8, P9, P37
describe('reserved bits (Intel SDM vol. 3A, tables 4-14 to 4-19; AMD64 APM vol. 2, §5.3)', () => {
  type Bits = readonly (readonly [from: number, to: number])[];
  /** Entries, with the bits that are reserved on every processor, and those reserved on AMD. Also reserved: 63 without NXE, and 51:M. */
  const FORMATS: readonly (readonly [
    name: string,
    level: number,
    isLeaf: boolean,
    reserved: Bits,
    onAmd: Bits,
  ])[] = [
    ['PML5E', 4, false, [[7, 7]], [[8, 8]]],
    ['PML4E', 3, false, [[7, 7]], [[8, 8]]],
    ['PDPTE of a table', 2, false, [], []],
    ['PDPTE of a 1 GiB page', 2, true, [[13, 29]], []],
    ['PDE of a table', 1, false, [], []],
    ['PDE of a 2 MiB page', 1, true, [[13, 20]], []],
    ['PTE', 0, true, [], []],
  ];
  const has = (bits: Bits, bit: number): boolean => bits.some(([from, to]) => from <= bit && bit <= to);

  const reader = cpuState({ smap: false });
  /** The error code and the level of the fault of a read, if it faults. */
  const faultAt = (table: PageTable): string => {
    try {
      const result = table.access(ADDRESS, 'read', reader, { update: false });
      return result.type === 'page-fault' ? `${result.errorCode} at level ${result.level}` : result.type;
    } catch (error) {
      // An address bit: the entry leads elsewhere.
      if (isPageTableError(error, 'BUS_ERROR')) return error.code;
      throw error;
    }
  };

  test.each(FORMATS)('each bit of a %s', (_, level, isLeaf, reserved, onAmd) => {
    const wrong: unknown[] = [];
    for (const vendor of ['amd', 'intel'] as const) {
      for (const noExecute of BOOLEANS) {
        for (const physicalBits of [32, 36, 39, 40, 46, 51, 52]) {
          for (const cBit of [undefined, 36, 47, 51]) {
            const encryption = cBit === undefined ? {} : { cBit };
            const table = open({ levels: 5, vendor, noExecute, physicalBits, ...encryption });
            for (let upper = 4; upper > level; upper -= 1) put(upper, SOUND & ~D);
            for (let bit = 1; bit < 64; bit += 1) {
              // PS changes the format.
              if (bit === 7 && (level === 1 || level === 2)) continue;
              // An address bit of a table entry leads to another table, which this test leaves out.
              const base = isLeaf ? P | W | U | (level > 0 ? PS : 0n) : entry(level, P | W | U);
              writePhys64(memory, place(level), base | (1n << BigInt(bit)));
              for (let lower = level - 1; lower >= 0; lower -= 1) put(lower, 0n);
              const isReserved =
                has(reserved, bit) ||
                (vendor === 'amd' && has(onAmd, bit)) ||
                (bit === 63 && !noExecute) ||
                (bit >= physicalBits && bit <= 51 && bit !== cBit);
              const told = faultAt(table);
              const expected = isReserved ? `9 at level ${level}` : 'another';
              const found = told === `9 at level ${level}` ? told : 'another';
              if (found !== expected)
                wrong.push({ bit, vendor, noExecute, physicalBits, cBit, told, expected });
              // An entry that is not present has no format.
              writePhys64(memory, place(level), (base | (1n << BigInt(bit))) & ~P);
              if (faultAt(table) !== `0 at level ${level}`) wrong.push({ bit, told: faultAt(table) });
            }
          }
        }
      }
    }
    expect(wrong.slice(0, 3)).toEqual([]);
  });

  test('PS of a PDPTE without 1 GiB pages, and no bit that a 1 GiB page reserves', () => {
    const table = open({ giantPages: false });
    put(3, SOUND & ~D);
    for (const bits of [PS, PS | (0x1_ffffn << 13n)]) {
      writePhys64(memory, place(2), P | W | bits);
      expect(table.access(ADDRESS, 'read')).toMatchObject({ errorCode: 9, level: 2 });
    }
    writePhys64(memory, place(2), 0x2000n | (0x1_fff8n << 13n) | P);
    expect(() => table.access(ADDRESS, 'read')).toThrow(/no memory at physical address/);
  });
});

// P19, P20
describe('which fault wins (Intel SDM vol. 3A, §4.7)', () => {
  const DEFECTS = ['none', 'not present', 'reserved', 'no rights'] as const;
  const bitsOf = (defect: (typeof DEFECTS)[number], level: number): bigint => {
    if (defect === 'not present') return entry(level, (1n << 51n) | W | U | NX) & ~P;
    if (defect === 'reserved') return entry(level, P | (1n << 51n) | NX);
    if (defect === 'no rights') return entry(level, P | NX);
    return entry(level, P | W | U);
  };

  test.each([4, 5] as const)(
    'any defects at any of %i levels: from the top down, and rights last',
    (levels) => {
      const table = open({ levels, physicalBits: 40 });
      const cpu = cpuState({ cpl: 3, pkru: 0xffff_ffff });
      for (let which = 0; which < 4 ** levels; which += 1) {
        const defects = Array.from({ length: levels }, (_, level) => DEFECTS[(which >> (2 * level)) & 3]);
        defects.forEach((defect = 'none', level) => {
          writePhys64(memory, place(level), bitsOf(defect, level));
        });
        for (const kind of KINDS) {
          const base = accessBits(kind, 'user', true);
          const level = defects.findLastIndex((defect) => defect === 'not present' || defect === 'reserved');
          const denied = defects.includes('no rights');
          let expected: object = { errorCode: base | 1 | 32, level: 0 };
          if (kind === 'fetch')
            expected = denied ? { errorCode: base | 1, level: 0 } : { type: 'translation' };
          else if (denied) expected = { errorCode: base | 1, level: 0 };
          if (level >= 0) expected = { errorCode: defects[level] === 'reserved' ? base | 9 : base, level };
          expect(table.access(ADDRESS, kind, cpu, { update: false })).toMatchObject(expected);
        }
      }
    },
  );
});

// P23, P25
describe('accessed and dirty (Intel SDM vol. 3A, §4.8)', () => {
  test.each([
    ['4 KiB', 0],
    ['2 MiB', 1],
    ['1 GiB', 2],
  ] as const)('of a page of %s, in every state of the entries', (_, leaf) => {
    const table = open();
    for (let state = 0; state < 4 ** (4 - leaf); state += 1) {
      const before = Array.from({ length: 4 - leaf }, (_, i) => {
        const used = ((state >> (2 * i)) & 1 ? A : 0n) | ((state >> (2 * i)) & 2 ? D : 0n);
        const bits = P | W | used | (i === 0 && leaf > 0 ? PS : 0n);
        return i === 0 && leaf > 0 ? bits : entry(leaf + i, bits);
      });
      for (const kind of KINDS) {
        for (const update of BOOLEANS) {
          before.forEach((value, i) => {
            writePhys64(memory, place(leaf + i), value);
          });
          // Accessed in every entry; dirty only in the leaf, by a write.
          const after = before.map((value, i) => value | A | (i === 0 && kind === 'write' ? D : 0n));
          const result = table.access(ADDRESS, kind, cpuState(), { update });
          const set = result.type === 'translation' ? result.updates : undefined;
          const wanted = after.flatMap((value, i) =>
            value === before[i] ? [] : [{ paddr: place(leaf + i), entry: value }],
          );
          expect(set).toEqual(wanted.reverse());
          const found = before.map((_, i) => readPhys64(memory, place(leaf + i)));
          expect(found).toEqual(update ? after : before);
        }
      }
    }
  });
});
