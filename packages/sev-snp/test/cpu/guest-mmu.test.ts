import { PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import {
  cpuStateFromRegisters,
  PageFaultCode,
  PageTable,
  PteFlags,
  PtePreset,
  readPhys64,
  Tlb,
  writePhys64,
} from '@svsm/pagetable';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ControlBit, START_REGISTERS } from '../../src/cpu/vcpu-registers.ts';
import { NpfInfo } from '../../src/formats/exit-info.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { makePageShared } from '../../src/guest/page-visibility.ts';
import { isSnpFault } from '../../src/rmp/snp-fault.ts';
import {
  BASE,
  bytesOf,
  codeOf,
  gvaOf,
  MiB,
  spaOf,
  tableFrames,
  thrownBy,
  type World,
  world,
} from '../support/world.ts';

const PAGE = 2 * MiB + 0x1000;
const AT = gvaOf(64 * MiB);
const ONE = new Uint8Array(1);

/** The addresses and the raw values of the entries that translate `gva`, root first. */
function entries(it: World, gva: VirtAddr): [ReturnType<typeof physAddr>, bigint][] {
  return it.table.walk(gva).path.map(({ table, index, entry }) => {
    return [physAddr(table + BigInt(8 * index)), entry.raw];
  });
}

function clearBits(it: World, gva: VirtAddr, bits: bigint): void {
  for (const [at, raw] of entries(it, gva)) writePhys64(it.vcpu.memory, at, raw & ~bits);
}

const flags = (it: World, gva: VirtAddr) => entries(it, gva).map(([, raw]) => Number(raw & 0x60n));

describe('accessed and dirty bits', () => {
  const cleared = (): World => {
    const it = world();
    it.table.map4k(AT, physAddr(PAGE), PteFlags.Writable);
    clearBits(it, AT, 0x60n);
    return it;
  };

  // P23, P26
  test('a read sets accessed in each entry, a write sets dirty in the leaf, even if the page was cached clean', () => {
    const it = cleared();
    it.vcpu.read(AT, 1);
    expect(flags(it, AT)).toEqual([0x20, 0x20, 0x20, 0x20]);
    expect(it.tlb.lookup(AT)?.page.flags).toBe((it.table.walk(AT).page as { flags: number }).flags);
    it.vcpu.write(AT, ONE);
    expect(flags(it, AT)).toEqual([0x20, 0x20, 0x20, 0x60]);
    expect((it.tlb.lookup(AT)?.page.flags ?? 0) & PteFlags.Dirty).not.toBe(0);
    // A page that is cached dirty is written without a walk.
    clearBits(it, AT, 0x60n);
    it.vcpu.write(AT, ONE);
    expect(flags(it, AT)).toEqual([0, 0, 0, 0]);
  });

  // P23
  test('a fetch and an operand of an instruction set accessed bits; `translate` alone does not', () => {
    const it = cleared();
    it.vcpu.translate(AT);
    expect(flags(it, AT)).toEqual([0, 0, 0, 0]);
    expect(it.tlb.lookup(AT)).toBeUndefined();
    it.vcpu.rmpquery(AT, 1);
    expect(flags(it, AT)).toEqual([0x20, 0x20, 0x20, 0x20]);
    clearBits(it, AT, 0x60n);
    it.vcpu.flushTlb();
    it.vcpu.fetch(AT, 1);
    expect(flags(it, AT)).toEqual([0x20, 0x20, 0x20, 0x20]);
  });

  // P25, P29
  test('an access that faults sets no bit, and drops the page from the TLB', () => {
    const it = cleared();
    it.vcpu.cpl = 3;
    expect(codeOf(() => it.vcpu.read(AT, 1))).toBe('PF');
    expect(flags(it, AT)).toEqual([0, 0, 0, 0]);
    it.vcpu.cpl = 0;
    it.vcpu.read(AT, 1);
    it.vcpu.cpl = 3;
    // `translate` alone drops nothing.
    expect(codeOf(() => it.vcpu.translate(AT))).toBe('PF');
    expect(it.tlb.lookup(AT)).toBeDefined();
    codeOf(() => it.vcpu.read(AT, 1));
    expect(it.tlb.lookup(AT)).toBeUndefined();
  });

  // P27, R21
  test('the update is a write to the table, which the nested table and the RMP have to allow', () => {
    const it = cleared();
    it.vcpu.flushTlb();
    const { rmp } = it.machine;
    const at = (spaOf(it, 0) & -BigInt(2 * MiB)) as SysPhysAddr;
    const entry = rmp.entry(at) as RmpEntry;
    rmp.setRawEntry(at, { ...entry, vmplMasks: [0xd, 0, 0, 0] });
    const fault = thrownBy(() => it.vcpu.read(AT, 1));
    const { Present, Write, User, Rmp, GuestTable, Encrypted, Vmpl } = NpfInfo;
    expect(fault?.details).toMatchObject({
      exitInfo1: Present | Write | User | Rmp | GuestTable | Encrypted | Vmpl,
      gpa: it.table.root,
      gva: AT,
    });
    // With the bits set, a right to read is enough.
    rmp.setRawEntry(at, entry);
    it.vcpu.read(AT, 1);
    it.vcpu.flushTlb();
    rmp.setRawEntry(at, { ...entry, vmplMasks: [0xd, 0, 0, 0] });
    expect(it.vcpu.read(AT, 1)).toHaveLength(1);
  });
});

describe('rights', () => {
  // Every combination of registers, compared with what @svsm/pagetable decides for the same table.
  // P13, P14, P15, P16, P17
  test('are those of @svsm/pagetable, by CPL, WP, SMEP, SMAP, AC and protection keys, with and without a TLB', () => {
    const it = world();
    const plain = it.guest.createVcpu();
    plain.loadCr3(it.table.cr3);
    const twin = PageTable.open(it.table.root, { memory: it.vcpu.memory, config: it.guest.paging });
    const state = fc.record({
      leaf: fc.integer({ min: 0, max: 7 }),
      key: fc.integer({ min: 0, max: 15 }),
      cpl: fc.constantFrom(0, 1, 2, 3),
      bits: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
      keys: fc.tuple(fc.bigInt({ min: 0n, max: 0xffff_ffffn }), fc.bigInt({ min: 0n, max: 0xffff_ffffn })),
      implicit: fc.boolean(),
      kinds: fc.array(fc.constantFrom('read', 'write', 'fetch'), { minLength: 1, maxLength: 3 }),
    });
    fc.assert(
      fc.property(state, ({ leaf, key, cpl, bits, keys, implicit, kinds }) => {
        const set = (leaf & 6) | ((leaf & 1) << 31) | (key << 27);
        if (it.table.walk(AT).page !== undefined) it.table.unmap4k(AT);
        it.table.map4k(AT, physAddr(PAGE), set >>> 0);
        it.vcpu.invlpg(AT);
        const [wp, smep, smap, ac, pke, pks] = bits as [boolean, boolean, boolean, boolean, boolean, boolean];
        const registers = {
          cr0: START_REGISTERS.cr0 & (wp ? -1n : ~ControlBit.Cr0Wp),
          cr4:
            (it.vcpu.controlRegisters.cr4 & ~0x170_0000n) |
            (smep ? ControlBit.Cr4Smep : 0n) |
            (smap ? ControlBit.Cr4Smap : 0n) |
            (pke ? ControlBit.Cr4Pke : 0n) |
            (pks ? ControlBit.Cr4Pks : 0n),
          rflags: ac ? ControlBit.RflagsAc : 0n,
          pkru: keys[0],
          pkrs: keys[1],
        };
        const cpu = cpuStateFromRegisters({ ...registers, cpl: cpl as 0 | 3 });
        for (const vcpu of [it.vcpu, plain]) {
          for (const [name, value] of Object.entries(registers)) vcpu.load(name as 'cr0', value);
          vcpu.cpl = cpl;
        }
        for (const kind of kinds) {
          const how = kind === 'fetch' ? {} : { implicit };
          const expected = twin.access(AT, kind, cpu, { update: false, ...how });
          for (const vcpu of [it.vcpu, plain]) {
            let code = -1;
            try {
              if (kind === 'write') vcpu.write(AT, ONE, how);
              else if (kind === 'read') vcpu.read(AT, 1, how);
              else vcpu.fetch(AT, 1);
            } catch (error) {
              if (!isSnpFault(error, 'PF')) throw error;
              code = error.details.errorCode;
              expect(vcpu.cr2).toBe(AT);
            }
            expect(code).toBe(expected.type === 'page-fault' ? expected.errorCode : -1);
          }
        }
      }),
    );
  });
});

// P18, P2
test('CR2 is the first byte in the page that faults; #GP leaves it as it was', () => {
  const { vcpu } = world();
  codeOf(() => vcpu.read(gvaOf(8 * MiB - 2), 4));
  expect(vcpu.cr2).toBe(gvaOf(8 * MiB));
  codeOf(() => vcpu.read(0x8000_0000_0000n as VirtAddr, 1));
  expect(vcpu.cr2).toBe(gvaOf(8 * MiB));
});

describe('five levels', () => {
  // P1, P2
  test('have 57-bit addresses, and four levels do not', () => {
    const five = world({}, { levels: 5 }, { tlb: new Tlb({ levels: 5 }) });
    const far = 0x00ff_8000_0000_0000n as VirtAddr;
    expect(five.guest.paging.levels).toBe(5);
    expect(five.vcpu.controlRegisters.cr4 & ControlBit.Cr4La57).not.toBe(0n);
    five.table.map4k(far, physAddr(PAGE), PteFlags.Writable);
    five.vcpu.write(far, bytesOf('deep'));
    expect(five.vcpu.read(gvaOf(PAGE), 4)).toEqual(bytesOf('deep'));
    expect(codeOf(() => five.vcpu.read(0x0100_0000_0000_0000n as VirtAddr, 1))).toBe('GP');
    expect(codeOf(() => world().vcpu.read(far, 1))).toBe('GP');
    expect(five.vcpu.pvalidate(far, PageSize.Regular, true)).toEqual({ result: 0, unchanged: true });
  });
});

describe('a virtual top of memory', () => {
  const TOM = 1n << 46n;
  const SHARED = virtAddr(BASE + 128n * BigInt(MiB));
  const tom = (virtualTom = TOM): World => {
    const it = world({}, { virtualTom });
    it.table.map4k(SHARED, physAddr(PAGE), PteFlags.Writable);
    return it;
  };
  const entryOf = (it: World, gva: VirtAddr) => entries(it, gva).at(-1)!;

  // C9
  test('memory below it is private without a C-bit, and the C-bit is reserved', () => {
    const it = tom();
    it.vcpu.write(gvaOf(PAGE), bytesOf('secret'));
    expect(it.machine.hypervisor.read(spaOf(it, PAGE), 6)).not.toEqual(bytesOf('secret'));
    const [at, raw] = entryOf(it, SHARED);
    expect(raw >> 51n).toBe(0n);
    writePhys64(it.vcpu.memory, at, raw | (1n << 51n));
    const { Present, Reserved } = PageFaultCode;
    expect(thrownBy(() => it.vcpu.read(SHARED, 1))?.details).toMatchObject({ errorCode: Present | Reserved });
  });

  // C9
  test('memory at or above it is shared: the page at the same offset from 0, once the guest has given it up', () => {
    const it = tom();
    it.table.setShared4k(SHARED);
    expect(readPhys64(it.vcpu.memory, entryOf(it, SHARED)[0]) & TOM).toBe(TOM);
    // The page is the guest's still, so the hypervisor maps nothing there.
    expect(thrownBy(() => it.vcpu.read(SHARED, 1))).toMatchObject({
      code: 'NPF',
      details: { gpa: TOM + BigInt(PAGE), check: 'nested-not-present' },
    });
    it.vcpu.pvalidate(gvaOf(PAGE), PageSize.Regular, false);
    it.machine.hypervisor.changePageState(it.guest, physAddr(PAGE), 2);
    it.vcpu.write(SHARED, bytesOf('hello'));
    expect(it.machine.hypervisor.read(spaOf(it, PAGE), 5)).toEqual(bytesOf('hello'));
    expect(codeOf(() => it.vcpu.read(gvaOf(PAGE), 1))).toBe('NPF');
    // A fetch is private at every address.
    expect(thrownBy(() => it.vcpu.fetch(SHARED, 1))).toMatchObject({ details: { check: 'guest-owned' } });
  });

  // C9
  test('the first byte at it is shared, and the last byte below it is private', () => {
    const it = tom();
    const zero = physAddr(0);
    it.vcpu.pvalidate(gvaOf(0), PageSize.Regular, false);
    it.machine.hypervisor.changePageState(it.guest, zero, 2);
    it.table.map4k(gvaOf(65 * MiB), zero, PteFlags.Writable);
    it.table.setShared4k(gvaOf(65 * MiB));
    it.vcpu.write(gvaOf(65 * MiB), bytesOf('hello'));
    expect(it.machine.hypervisor.read(spaOf(it, 0), 5)).toEqual(bytesOf('hello'));
    it.table.map4k(gvaOf(66 * MiB), physAddr(TOM - 0x1000n), PteFlags.Writable);
    const last = thrownBy(() => it.vcpu.read((gvaOf(66 * MiB) + 0xfffn) as VirtAddr, 1))?.details;
    expect(last).toMatchObject({ gpa: TOM - 1n, check: 'nested-not-present' });
    expect((last?.['exitInfo1'] as bigint) & NpfInfo.Encrypted).toBe(NpfInfo.Encrypted);
  });

  // C9
  test('it need not be a power of two', () => {
    const it = tom(0x6000_0020_0000n);
    it.vcpu.pvalidate(gvaOf(PAGE), PageSize.Regular, false);
    it.machine.hypervisor.changePageState(it.guest, physAddr(PAGE), 2);
    it.table.map4k(gvaOf(65 * MiB), physAddr(0x6000_0020_0000n + BigInt(PAGE)), PteFlags.Writable);
    it.vcpu.write(gvaOf(65 * MiB), ONE.fill(7));
    expect(it.machine.hypervisor.read(spaOf(it, PAGE), 1)).toEqual(Uint8Array.of(7));
  });

  // P85
  test.each([4, 5] as const)('it can be as high as %i nested levels allow', (nestedLevels) => {
    const it = world({}, { virtualTom: nestedLevels === 4 ? 1n << 47n : 1n << 50n, nestedLevels });
    makePageShared(it.vcpu, it.table, gvaOf(PAGE));
    it.vcpu.write(gvaOf(PAGE), ONE.fill(7));
    expect(it.machine.hypervisor.read(spaOf(it, PAGE), 1)).toEqual(Uint8Array.of(7));
  });

  test.each([0x20_0000n, TOM + 0x1000n, (1n << 48n) - 0x20_0000n])('%s is refused', (virtualTom) => {
    expect(codeOf(() => world({}, { virtualTom }))).toBe('INVALID_ARGUMENT');
  });
});

test('vCPUs have registers, page tables and TLBs of their own', () => {
  const it = world();
  const tlb = new Tlb();
  const other = it.guest.createVcpu({ tlb });
  const own = PageTable.create({
    memory: other.memory,
    frames: { ...tableFrames(), allocateFrame: () => physAddr(next.frame++ * 0x1000) },
    config: it.guest.paging,
    tlb,
  });
  own.map4k(AT, physAddr(PAGE), PtePreset.Data);
  other.loadCr3(own.cr3);
  other.write(AT, bytesOf('mine'));
  expect(it.vcpu.read(gvaOf(PAGE), 4)).toEqual(bytesOf('mine'));
  expect([codeOf(() => it.vcpu.read(AT, 1)), codeOf(() => other.read(gvaOf(PAGE), 1))]).toEqual(['PF', 'PF']);
  expect([it.tlb.lookup(AT), tlb.lookup(gvaOf(PAGE))]).toEqual([undefined, undefined]);
});
const next = { frame: 0x200 };
