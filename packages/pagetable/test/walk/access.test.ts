import { PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { beforeEach, describe, expect, test } from 'vitest';
import { cpuState } from '../../src/entry/cpu-state.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { type PagingConfig, pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { type AccessKind, type AccessResult, PageFaultCode } from '../../src/walk/access.ts';
import { Tlb } from '../../src/walk/tlb.ts';
import { FramePool, snapshot } from '../support/frame-pool.ts';

const VA = virtAddr(0xffff_8000_0000_0000n);
const PA = physAddr(0x1_2340_0000n);
const { Present, Write, User, Reserved, Fetch, ProtectionKey } = PageFaultCode;

let memory: PhysMemory;
let pool: FramePool;
let table: PageTable;

function make(config: PagingConfig = pagingConfig({ cBit: 51 })): void {
  memory = createPhysMemory({ size: 0x40_0000 });
  pool = new FramePool(16, 64);
  table = PageTable.create({ memory, frames: pool, config });
}

/** The address of the entry of `level` for `VA`, even if entries are corrupted: all tables are in the first 4 MiB. */
function entryAt(level: number): PhysAddr {
  let paddr = table.root + 8n * 256n;
  for (let above = table.config.levels - 1; above > level; above -= 1) {
    paddr = readPhys64(memory, paddr as PhysAddr) & 0x3f_f000n;
  }
  return paddr as PhysAddr;
}

const change = (level: number, set: bigint, clear = 0n): void => {
  const paddr = entryAt(level);
  writePhys64(memory, paddr, (readPhys64(memory, paddr) | set) & ~clear);
};

const codeOf = (result: AccessResult): number | 'ok' | 'gp' => {
  if (result.type === 'page-fault') return result.errorCode;
  return result.type === 'translation' ? 'ok' : 'gp';
};

beforeEach(() => {
  make();
});

// All states of rights, keys, reserved bits and defects are in `access.rules.test.ts`.
describe('the mode of an access', () => {
  // P14, P16
  test('is supervisor at CPL 0 to 2, and at CPL 3 for an implicit access', () => {
    table.map4k(VA, PA, PteFlags.Writable);
    for (const cpl of [0, 1, 2] as const)
      expect(codeOf(table.access(VA, 'read', cpuState({ cpl })))).toBe('ok');
    const user = cpuState({ cpl: 3 });
    expect(codeOf(table.access(VA, 'read', user))).toBe(Present | User);
    expect(codeOf(table.access(VA, 'read', user, { implicit: true }))).toBe('ok');
    change(0, 4n);
    expect(codeOf(table.access(VA, 'read', cpuState({ cpl: 3, ac: true }), { implicit: true }))).toBe(
      Present,
    );
  });
});

// P17
describe('protection keys', () => {
  const KEY = 5;
  const DENY_ALL = 1 << (2 * KEY);
  const DENY_WRITES = 2 << (2 * KEY);
  const P = Present | ProtectionKey;

  // Columns: read, write with CR0.WP, write without, fetch.
  test.each([
    [
      'user page in user mode, access denied',
      3,
      true,
      { pkru: DENY_ALL },
      [P | User, P | User | Write, P | User | Write, 'ok'],
    ],
    [
      'user page in user mode, writes denied',
      3,
      true,
      { pkru: DENY_WRITES },
      ['ok', P | User | Write, P | User | Write, 'ok'],
    ],
    [
      'user page in supervisor mode, access denied',
      0,
      true,
      { pkru: DENY_ALL },
      [P, P | Write, P | Write, 'ok'],
    ],
    [
      'user page in supervisor mode, writes denied',
      0,
      true,
      { pkru: DENY_WRITES },
      ['ok', P | Write, 'ok', 'ok'],
    ],
    ['supervisor page, access denied', 0, false, { pkrs: DENY_ALL }, [P, P | Write, P | Write, 'ok']],
    ['supervisor page, writes denied', 0, false, { pkrs: DENY_WRITES }, ['ok', P | Write, 'ok', 'ok']],
    ['user page and the other register', 3, true, { pkrs: 0xffff_ffff }, ['ok', 'ok', 'ok', 'ok']],
    ['supervisor page and the other register', 0, false, { pkru: 0xffff_ffff }, ['ok', 'ok', 'ok', 'ok']],
    ['another key', 3, true, { pkru: ~(3 << (2 * KEY)) >>> 0 }, ['ok', 'ok', 'ok', 'ok']],
  ] as const)('%s', (_, cpl, userPage, keys, expected) => {
    const flags = PteFlags.Writable | (userPage ? PteFlags.User : 0) | (KEY << 27);
    table.map4k(VA, PA, flags);
    const cpu = (wp: boolean) => cpuState({ cpl, wp, smap: false, smep: false, ...keys });
    const codes = [
      table.access(VA, 'read', cpu(true)),
      table.access(VA, 'write', cpu(true)),
      table.access(VA, 'write', cpu(false)),
      table.access(VA, 'fetch', cpu(true)),
    ].map(codeOf);
    expect(codes).toEqual(expected);
  });

  test('use the key of the leaf, and are reported together with a violation of rights', () => {
    table.map4k(VA, PA, KEY << 27);
    change(1, 15n << 59n);
    const cpu = cpuState({ pkrs: DENY_ALL });
    expect(codeOf(table.access(VA, 'write', cpu))).toBe(P | Write);
    expect(codeOf(table.access(VA, 'write', cpuState({ pkrs: 3 * 2 ** 30 })))).toBe(Present | Write);
  });

  // P47
  test('are not consulted for a user access to a supervisor page', () => {
    // U/S is checked before the key, and IA32_PKRS is for supervisor accesses, implicit ones included (Intel SDM vol. 3A,
    // §4.6.1, §4.6.2; QEMU `mmu_translate`).
    table.map4k(VA, PA, PteFlags.Writable | (KEY << 27));
    const cpu = cpuState({ cpl: 3, pkrs: 0xffff_ffff });
    expect(codeOf(table.access(VA, 'read', cpu))).toBe(Present | User);
    expect(codeOf(table.access(VA, 'write', cpu))).toBe(Present | User | Write);
    expect(codeOf(table.access(VA, 'read', cpu, { implicit: true }))).toBe(P);
  });

  test('have key 15 in the last two bits', () => {
    table.map4k(VA, PA, PteFlags.Writable | PteFlags.ProtectionKey);
    expect(codeOf(table.access(VA, 'read', cpuState({ pkrs: 2 ** 30 })))).toBe(P);
    expect(codeOf(table.access(VA, 'write', cpuState({ pkrs: 2 ** 31 })))).toBe(P | Write);
  });
});

describe('which fault comes first', () => {
  // P2, P20
  test('#GP for an address that is not canonical, before any table is read', () => {
    table = PageTable.open(table.root, { memory });
    for (const address of [0x8000_0000_0000n, 0xffff_7fff_ffff_ffffn]) {
      expect(table.access(address as VirtAddr, 'read')).toEqual({ type: 'general-protection', errorCode: 0 });
    }
    make(pagingConfig({ levels: 5 }));
    expect(codeOf(table.access(0x8000_0000_0000n as VirtAddr, 'read'))).toBe(0);
    expect(codeOf(table.access(0x0100_0000_0000_0000n as VirtAddr, 'read'))).toBe('gp');
    expect(codeOf(table.access(0xfeff_ffff_ffff_ffffn as VirtAddr, 'read'))).toBe('gp');
  });

  // P20
  test('a lower entry that is not present or has reserved bits set, before the rights of an upper entry', () => {
    table.map4k(VA, PA, 0);
    change(3, 0n, 2n);
    change(0, 0n, 1n);
    expect(table.access(VA, 'write')).toEqual({ type: 'page-fault', errorCode: Write, cr2: VA, level: 0 });
    change(1, 1n << 63n);
    make(pagingConfig({ physicalBits: 40 }));
    table.map4k(VA, PA, 0);
    change(3, 0n, 4n);
    change(0, 1n << 40n);
    const cpu = cpuState({ cpl: 3 });
    expect(table.access(VA, 'read', cpu)).toMatchObject({ errorCode: Present | Reserved | User, level: 0 });
    change(1, 1n << 45n);
    expect(table.access(VA, 'read', cpu)).toMatchObject({ errorCode: Present | Reserved | User, level: 1 });
    change(1, 0n, 1n);
    expect(table.access(VA, 'read', cpu)).toMatchObject({ errorCode: User, level: 1 });
  });

  test('I/D is set for a fetch only with NXE or SMEP', () => {
    for (const noExecute of [false, true]) {
      for (const smep of [false, true]) {
        make(pagingConfig({ noExecute }));
        expect(codeOf(table.access(VA, 'fetch', cpuState({ smep })))).toBe(noExecute || smep ? Fetch : 0);
      }
    }
  });

  // P7, P9
  test('NX without NXE is reserved, and so is PS of a 1 GiB page without support', () => {
    make(pagingConfig({ noExecute: false, giantPages: false }));
    table.map4k(VA, PA, 0);
    change(1, 1n << 63n);
    expect(codeOf(table.access(VA, 'read'))).toBe(Present | Reserved);
    change(2, 0x80n);
    expect(table.access(VA, 'read')).toMatchObject({ errorCode: Present | Reserved, level: 2 });
  });

  // P7, P38, C3, C9
  test('the C-bit is neither address nor reserved, and the vTOM bit is an address bit', () => {
    table.map2m(VA, physAddr(0x20_0000), PtePreset.Data);
    expect(table.access((VA + 0x12345n) as VirtAddr, 'read')).toMatchObject({
      paddr: 0x21_2345n,
      size: PageSize.Huge,
      shared: false,
    });
    make(pagingConfig({ encryption: { mode: 'vtom', bit: 45 }, physicalBits: 46 }));
    table.map4k(VA, PA, 0, { shared: true });
    expect(table.access(VA, 'read')).toMatchObject({ paddr: PA, shared: true });
    change(0, 1n << 51n);
    expect(codeOf(table.access(VA, 'read'))).toBe(Present | Reserved);
  });

  // C9
  test('every address at or above vTOM is shared, whichever bit makes it so', () => {
    // The whole address is compared, not one bit of it (APM vol. 2, §15.36.8).
    make(pagingConfig({ encryption: { mode: 'vtom', bit: 45 }, physicalBits: 48 }));
    table.map4k(VA, PA, 0);
    expect(table.access(VA, 'read')).toMatchObject({ shared: false });
    for (const bit of [45n, 46n, 47n]) {
      change(0, 1n << bit);
      expect(table.access(VA, 'read')).toMatchObject({ shared: true });
      change(0, 0n, 1n << bit);
    }
    change(0, 1n << 44n);
    expect(table.access(VA, 'read')).toMatchObject({ shared: false });
  });

  test('a table outside memory is BUS_ERROR', () => {
    table.map4k(VA, PA, 0);
    change(1, 0x7_0000_0000n);
    let error: unknown;
    try {
      table.access(VA, 'read');
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error, 'BUS_ERROR')).toBe(true);
  });

  test.each([
    ['INVALID_ACCESS', () => table.access(VA, 'execute' as AccessKind)],
    ['INVALID_ACCESS', () => table.access(VA, 'read', cpuState(), { shadowStack: 'current' })],
    ['INVALID_ACCESS', () => table.access(VA, 'fetch', cpuState({ cet: true }), { shadowStack: 'user' })],
    [
      'INVALID_ACCESS',
      () => table.access(VA, 'read', cpuState({ cet: true }), { shadowStack: true as unknown as 'user' }),
    ],
    ['NON_CANONICAL', () => table.access(-1n as VirtAddr, 'read')],
    ['NON_CANONICAL', () => table.access((1n << 64n) as VirtAddr, 'read')],
    ['NON_CANONICAL', () => table.access(0x1000 as unknown as VirtAddr, 'read')],
  ] as const)('a value that is not an access is %s', (code, operation) => {
    let error: unknown;
    try {
      operation();
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error, code)).toBe(true);
  });
});

describe('accessed and dirty', () => {
  const cleared = (): void => {
    table.map4k(VA, PA, PteFlags.Writable);
    for (const level of [0, 1, 2, 3]) change(level, 0n, 0x60n);
  };

  // P23
  test('a read sets accessed in every entry used, a write also dirty in the leaf, and later accesses set nothing', () => {
    cleared();
    const read = table.access(VA, 'read');
    expect(read.type === 'translation' && read.updates.map(({ paddr }) => paddr)).toEqual(
      [3, 2, 1, 0].map((level) => entryAt(level)),
    );
    for (const level of [0, 1, 2, 3]) expect(readPhys64(memory, entryAt(level)) & 0x60n).toBe(0x20n);
    const write = table.access(VA, 'write');
    expect(write.type === 'translation' && write.updates).toEqual([
      { paddr: entryAt(0), entry: readPhys64(memory, entryAt(0)) },
    ]);
    expect(readPhys64(memory, entryAt(0)) & 0x60n).toBe(0x60n);
    expect(table.access(VA, 'write')).toMatchObject({ updates: [] });
  });

  // P25
  test('an access that only looks reports the same and sets nothing, and a fault sets nothing', () => {
    cleared();
    const before = snapshot(memory, pool);
    const looked = table.access(VA, 'write', cpuState(), { update: false });
    expect(looked.type === 'translation' && looked.updates).toHaveLength(4);
    table.access(VA, 'read', cpuState({ cpl: 3 }));
    expect(snapshot(memory, pool)).toEqual(before);
    expect(table.access(VA, 'write')).toEqual(looked);
  });

  test('an entry that is used at two levels is reported once, with dirty', () => {
    writePhys64(memory, table.root, table.root | 0x3n);
    const looked = table.access(virtAddr(0x10), 'write', cpuState(), { update: false });
    const result = table.access(virtAddr(0x10), 'write');
    expect(looked).toEqual(result);
    expect(result).toMatchObject({
      paddr: table.root + 0x10n,
      updates: [{ paddr: table.root, entry: table.root | 0x63n }],
    });
    expect(readPhys64(memory, table.root)).toBe(table.root | 0x63n);
  });

  // P24
  test('the walk starts again if an entry changes during it', () => {
    cleared();
    const [leaf] = [entryAt(0)];
    let armed = true;
    const racing: PhysMemory = {
      epoch: Number.NaN,
      words: (frame, write) => {
        // Just before the walk's first write, another processor maps the page elsewhere.
        if (write && armed) {
          armed = false;
          writePhys64(memory, leaf, 0x5000n | 0x3n);
        }
        return memory.words(frame, write);
      },
      wordOffset: (frame) => memory.wordOffset(frame),
    };
    const result = PageTable.open(table.root, { memory: racing, config: table.config }).access(VA, 'write');
    expect(result).toMatchObject({ paddr: 0x5000n });
    expect(readPhys64(memory, leaf)).toBe(0x5063n);
  });

  test('no table is written if one of them cannot be', () => {
    cleared();
    const before = snapshot(memory, pool);
    const leafTable = table.walk(VA).path.at(-1)?.table ?? 0n;
    const guarded: PhysMemory = {
      epoch: Number.NaN,
      words: (frame, write) => {
        if (write && BigInt(frame) << 12n === leafTable) throw new Error('read-only');
        return memory.words(frame, write);
      },
      wordOffset: (frame) => memory.wordOffset(frame),
    };
    expect(() =>
      PageTable.open(table.root, { memory: guarded, config: table.config }).access(VA, 'read'),
    ).toThrow('read-only');
    expect(snapshot(memory, pool)).toEqual(before);
  });
});

// P82
describe('without paging (AMD64 APM vol. 2, §15.34.5)', () => {
  const off = cpuState({ cpl: 0, paging: false });

  test('an address is a physical address, private, and every access goes ahead', () => {
    const memory = createPhysMemory({ size: 0x10_0000 });
    const table = PageTable.create({
      memory,
      frames: new FramePool(1, 8),
      config: pagingConfig({ cBit: 51 }),
    });
    for (const kind of ['read', 'write', 'fetch'] as const) {
      expect(table.access(virtAddr(0xffff_1234), kind, off)).toMatchObject({
        type: 'translation',
        paddr: 0xffff_1234n,
        shared: false,
        updates: [],
        page: { frame: 0xffff_1000n, size: 4096, writable: true, user: true, executable: true },
      });
    }
  });

  test('has no addresses of more than 32 bits, and fills no TLB', () => {
    const memory = createPhysMemory({ size: 0x10_0000 });
    const table = PageTable.create({ memory, frames: new FramePool(1, 8) });
    let error: unknown;
    try {
      table.access(virtAddr(0x1_0000_0000), 'read', off);
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error, 'INVALID_ACCESS')).toBe(true);
    const tlb = new Tlb();
    table.access(virtAddr(0x1000), 'read', off, { fill: tlb });
    expect(tlb.lookup(virtAddr(0x1000))).toBeUndefined();
  });
});
