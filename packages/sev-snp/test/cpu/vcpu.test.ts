import { PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { PageFaultCode, PageTable, writePhys64 } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { NpfInfo } from '../../src/formats/exit-info.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { bytesOf, codeOf, gvaOf, MiB, spaOf, textOf, thrownBy, type World, world } from '../support/world.ts';

const SECRET = bytesOf('attack at dawn');
const PAGE = 2 * MiB + 0x1000;

/** A hypervisor that resolves no fault. */
class Idle extends Hypervisor {
  override handleNestedPageFault(): boolean {
    return false;
  }
}
const idle = () => world({ hypervisor: (machine) => new Idle(machine) });

function change(it: World, gpa: number, fields: Partial<RmpEntry>): void {
  const { rmp } = it.machine;
  const spa = spaOf(it, gpa);
  const entry = rmp.entry(spa) as RmpEntry;
  rmp.setRawEntry((spa & -BigInt(entry.pageSize)) as SysPhysAddr, { ...entry, ...fields });
}

/** EXITINFO1 of the fault, as the names of its bits. */
function exitBits(action: () => unknown): string {
  const { exitInfo1 } = thrownBy(action)!.details as { exitInfo1: bigint };
  return Object.entries(NpfInfo)
    .filter(([, bit]) => (exitInfo1 & bit) !== 0n)
    .map(([name]) => name)
    .join(' ');
}

describe('private memory', () => {
  // C15
  test('is read back by the guest, across pages, and is ciphertext to the host', () => {
    const it = world();
    const at = gvaOf(4 * MiB - 5);
    it.vcpu.write(at, SECRET);
    expect(textOf(it.vcpu.read(at, SECRET.length))).toBe('attack at dawn');
    expect(textOf(it.machine.hypervisor.read(spaOf(it, 4 * MiB), 9))).not.toBe('k at dawn');
    expect(it.machine.hypervisor.read(spaOf(it, 4 * MiB), 9)).not.toEqual(SECRET.subarray(5));
  });

  // C1
  test('is fetched as it is read', () => {
    const it = world();
    it.vcpu.write(gvaOf(PAGE), SECRET);
    expect(it.vcpu.fetch(gvaOf(PAGE), 14)).toEqual(SECRET);
  });

  test('a read of 0 bytes needs no mapping', () => {
    expect(world().vcpu.read(gvaOf(512 * MiB), 0)).toEqual(new Uint8Array(0));
  });

  // R36
  test('of one guest cannot be read by another', () => {
    const it = world();
    const other = it.machine.hypervisor;
    const second = other.launch({ size: 2 * MiB });
    it.vcpu.write(gvaOf(PAGE), SECRET);
    it.guest.nested.unmap(physAddr(2 * MiB));
    it.guest.nested.map(physAddr(2 * MiB), second.nested.lookup(physAddr(0))!.spa, PageSize.Huge);
    expect(thrownBy(() => it.vcpu.read(gvaOf(PAGE), 1))).toMatchObject({
      code: 'NPF',
      details: { check: 'guest-owned' },
    });
  });
});

describe('a shared mapping', () => {
  // C8, C2, A22
  test('sees the same bytes as the host, in shared and in private pages', () => {
    const it = world();
    it.vcpu.write(gvaOf(PAGE), SECRET);
    it.table.setShared4k(gvaOf(PAGE));
    it.vcpu.invlpg(gvaOf(PAGE));
    const spa = spaOf(it, PAGE);
    expect(it.vcpu.read(gvaOf(PAGE), 14)).toEqual(it.machine.hypervisor.read(spa, 14));
    expect(exitBits(() => it.vcpu.write(gvaOf(PAGE), SECRET))).toBe('Present Write User Rmp FinalAddress');
    change(it, PAGE, { assigned: false, asid: 0 });
    it.vcpu.write(gvaOf(PAGE), SECRET);
    expect(it.machine.hypervisor.read(spa, 14)).toEqual(SECRET);
  });

  // C1
  test('is private to a fetch', () => {
    const it = world();
    it.vcpu.write(gvaOf(PAGE), SECRET);
    it.table.setShared4k(gvaOf(PAGE));
    it.vcpu.flushTlb();
    expect(it.vcpu.fetch(gvaOf(PAGE), 14)).toEqual(SECRET);
  });
});

describe('faults of the guest', () => {
  const { Present, Write, User, Reserved, Fetch } = PageFaultCode;
  const withPages = () => {
    const it = world();
    const user = gvaOf(256 * MiB);
    it.table.map4k(user, physAddr(0x5000), 0x4 | 0x8000_0000); // user, read-only, not executable
    return { it, user };
  };

  // P20
  test.each<[string, 'read' | 'write' | 'fetch', number, number, number]>([
    ['nothing mapped', 'read', 512 * MiB, 0, 0],
    ['nothing mapped, by a user', 'write', 512 * MiB, 3, Write | User],
    ['nothing mapped, to fetch', 'fetch', 512 * MiB, 0, Fetch],
    ['read-only', 'write', 256 * MiB, 0, Present | Write],
    ['not executable', 'fetch', 256 * MiB, 3, Present | Fetch | User],
    ['a supervisor page', 'read', 0, 3, Present | User],
  ])('%s: #PF', (_, kind, gpa, cpl, errorCode) => {
    const { it } = withPages();
    it.vcpu.cpl = cpl;
    const fault = thrownBy(() =>
      kind === 'write' ? it.vcpu.write(gvaOf(gpa), SECRET) : it.vcpu[kind](gvaOf(gpa), 1),
    );
    expect(fault).toMatchObject({ code: 'PF', details: { errorCode, gva: gvaOf(gpa) } });
  });

  test('an access that the page allows succeeds', () => {
    const { it, user } = withPages();
    it.vcpu.cpl = 3;
    expect(it.vcpu.read(user, 4)).toEqual(new Uint8Array(4));
  });

  // P7, P19
  test('a reserved bit in an entry', () => {
    const { it, user } = withPages();
    const { path } = it.table.walk(user);
    const pd = path[2]!;
    writePhys64(it.vcpu.memory, physAddr(pd.table + BigInt(8 * pd.index)), 0x20_00a1n | (1n << 13n));
    expect(thrownBy(() => it.vcpu.read(user, 1))?.details['errorCode']).toBe(Present | Reserved);
  });

  // P2
  test('an address that is not canonical, or leads into the hole', () => {
    const { vcpu } = world();
    expect(codeOf(() => vcpu.read(0x8000_0000_0000n as VirtAddr, 1))).toBe('GP');
    expect(codeOf(() => vcpu.translate(-1n as VirtAddr))).toBe('GP');
    expect(codeOf(() => vcpu.read(virtAddr(0xffff_ffff_ffff_ffffn), 2))).toBe('PF');
  });
});

describe('faults of the nested page table', () => {
  // P22, P27a
  test('nothing mapped, for data and for a page table', () => {
    const it = idle();
    it.table.map4k(gvaOf(256 * MiB), physAddr(64 * MiB), 2);
    expect(exitBits(() => it.vcpu.write(gvaOf(256 * MiB), SECRET))).toBe('Write User FinalAddress Encrypted');
    it.vcpu.flushTlb();
    it.guest.nested.unmap(physAddr(0)); // where the guest's page tables lie
    expect(exitBits(() => it.vcpu.read(gvaOf(PAGE), 1))).toBe('Write User GuestTable Encrypted');
    const { details } = thrownBy(() => it.vcpu.read(gvaOf(PAGE), 1))!;
    expect(details).toMatchObject({
      gva: gvaOf(PAGE),
      gpa: it.table.root,
      spa: undefined,
      check: 'nested-not-present',
    });
  });

  // P5, C3
  test('a CR3 that leads nowhere makes the access fault', () => {
    const it = idle();
    it.vcpu.loadCr3(0x7000_0000_0000n);
    expect(exitBits(() => it.vcpu.read(gvaOf(PAGE), 1))).toBe('Write User GuestTable Encrypted');
    it.vcpu.loadCr3(it.table.cr3);
    expect(it.vcpu.cr3).toBe(it.table.root | (1n << 51n));
    expect(it.vcpu.read(gvaOf(PAGE), 1)).toEqual(new Uint8Array(1));
  });
});

describe('a reserved bit in a nested entry', () => {
  /** Sets a reserved bit in the 2 MiB nested entry of `gpa`, which is found by a search of the hypervisor's memory. */
  const spoil = (it: World, gpa: number) => {
    const { memory } = it.machine.hypervisor;
    // A table of the launch is written when one of its pages changes.
    it.guest.nested.split4k(physAddr(0));
    const low = Number(spaOf(it, gpa) & -0x20_0000n);
    for (let frame = (32 * MiB) / 0x1000 - 1; ; frame -= 1) {
      const at = memory
        .words(frame, false)
        .findIndex((word) => (word & ~0xfff) >>> 0 === low && (word & 0x80) !== 0);
      if (at < 0) continue;
      memory.words(frame, true)[at]! |= 1 << 13;
      return;
    }
  };

  // C17
  test('raises #VC 0x400 in the guest, without an exit, as for MMIO', () => {
    const it = world();
    it.vcpu.read(gvaOf(PAGE), 1);
    spoil(it, PAGE);
    it.events.length = 0;
    const { Present, User, Reserved, FinalAddress, Encrypted, Write } = NpfInfo;
    const bits = Present | User | Reserved | FinalAddress | Encrypted;
    expect(thrownBy(() => it.vcpu.read(gvaOf(PAGE), 1))).toMatchObject({
      code: 'VC_MMIO',
      details: { errorCode: 0x400, exitInfo1: bits, gpa: BigInt(PAGE), gva: gvaOf(PAGE) },
    });
    expect(thrownBy(() => it.vcpu.write(gvaOf(PAGE), SECRET))?.details).toMatchObject({
      exitInfo1: bits | Write,
    });
    expect(it.events).toEqual([]);
    expect(it.guest.nested.lookup(physAddr(PAGE))).toBeUndefined();
    expect(it.guest.nested.walk(physAddr(PAGE))).toBe('reserved');
  });
});

describe('faults of the RMP', () => {
  // R26, V6
  test.each<[string, Partial<RmpEntry>, string]>([
    ['not owned', { asid: 9 }, 'Present User Rmp FinalAddress Encrypted'],
    ['another address', { gpa: physAddr(0) }, 'Present User Rmp FinalAddress Encrypted'],
    ['immutable', { immutable: true }, 'Present User Rmp FinalAddress Encrypted'],
    ['forbidden to the VMPL', { vmplMasks: [2, 0, 0, 0] }, 'Present User Rmp FinalAddress Encrypted Vmpl'],
  ])('%s: %s', (_, entry, bits) => {
    const it = idle();
    change(it, PAGE, entry);
    expect(exitBits(() => it.vcpu.read(gvaOf(PAGE), 1))).toBe(bits);
    expect(exitBits(() => it.vcpu.write(gvaOf(PAGE), SECRET))).toBe(bits.replace('Present', 'Present Write'));
    expect(exitBits(() => it.vcpu.fetch(gvaOf(PAGE), 1))).toBe(bits.replace('User', 'User Fetch'));
  });

  // R23
  test('not validated: #VC 0x404, for data and for the page table, which is read first', () => {
    const it = idle();
    change(it, PAGE, { validated: false });
    const details = { errorCode: 0x404, gva: gvaOf(PAGE), gpa: BigInt(PAGE), spa: spaOf(it, PAGE) };
    expect(thrownBy(() => it.vcpu.read(gvaOf(PAGE), 1))).toMatchObject({ code: 'VC_NOT_VALIDATED', details });
    it.vcpu.flushTlb();
    change(it, 0, { validated: false });
    expect(thrownBy(() => it.vcpu.read(gvaOf(PAGE), 1))?.details).toMatchObject({ gpa: it.table.root });
    expect(thrownBy(() => it.vcpu.memory.words(0x100, false))?.details).toMatchObject({ gva: undefined });
  });

  // C1, R2
  test('the pages of the page table are checked like every private page', () => {
    const it = idle();
    it.vcpu.flushTlb();
    change(it, 0, { asid: 9 });
    expect(exitBits(() => it.vcpu.read(gvaOf(PAGE), 1))).toBe('Present Write User Rmp GuestTable Encrypted');
  });

  test('a write across two pages of which one faults writes nothing', () => {
    const it = idle();
    change(it, 4 * MiB, { validated: false });
    expect(codeOf(() => it.vcpu.write(gvaOf(4 * MiB - 4), SECRET))).toBe('VC_NOT_VALIDATED');
    expect(it.vcpu.read(gvaOf(4 * MiB - 4), 4)).toEqual(new Uint8Array(4));
  });
});

describe('a nested page fault', () => {
  // R28, I12
  test('goes to the hypervisor, and the instruction runs again if it is resolved', () => {
    const it = world();
    expect(it.vcpu.pvalidate(gvaOf(PAGE), PageSize.Regular, false)).toEqual({ result: 0, unchanged: false });
    expect(it.events.map(({ type }) => type)).toEqual(['npf', 'psmash', 'pvalidate']);
    expect(it.events[0]).toMatchObject({ gpa: BigInt(PAGE) });
    expect(it.machine.rmp.entry(spaOf(it, PAGE))?.validated).toBe(false);
    expect(it.vcpu.read(gvaOf(PAGE + 0x1000), 1)).toEqual(new Uint8Array(1));
  });

  test('is thrown after 64 exits, if each is said to be resolved and the fault comes again', () => {
    let exits = 0;
    class Liar extends Hypervisor {
      override handleNestedPageFault(): boolean {
        exits += 1;
        return true;
      }
    }
    const it = world({ hypervisor: (machine) => new Liar(machine) });
    expect(codeOf(() => it.vcpu.read(gvaOf(512 * MiB), 1))).toBe('PF');
    expect(codeOf(() => it.vcpu.pvalidate(gvaOf(PAGE), PageSize.Regular, true))).toBe('NPF');
    expect(exits).toBe(64);
  });
});

describe('the TLB', () => {
  // P31, A9
  test('answers until it is flushed, even if the page table has changed', () => {
    const it = world();
    it.vcpu.write(gvaOf(PAGE), SECRET);
    it.table.setShared4k(gvaOf(PAGE));
    expect(it.vcpu.read(gvaOf(PAGE), 14)).toEqual(SECRET);
    it.vcpu.invlpg(gvaOf(PAGE));
    expect(it.vcpu.read(gvaOf(PAGE), 14)).not.toEqual(SECRET);
    it.table.setEncrypted4k(gvaOf(PAGE));
    expect(it.vcpu.read(gvaOf(PAGE), 14)).not.toEqual(SECRET);
    it.vcpu.flushTlb();
    expect(it.vcpu.read(gvaOf(PAGE), 14)).toEqual(SECRET);
  });

  // P35
  test('does not hide a change of the RMP', () => {
    const it = world();
    it.vcpu.read(gvaOf(PAGE), 1);
    change(it, PAGE, { validated: false });
    expect(codeOf(() => it.vcpu.read(gvaOf(PAGE), 1))).toBe('VC_NOT_VALIDATED');
  });

  // P29
  test('is ignored if the page that it holds does not allow the access', () => {
    const it = world();
    const at = gvaOf(256 * MiB);
    it.table.map4k(at, physAddr(0x5000), 0);
    it.vcpu.read(at, 1);
    it.table.unmap4k(at);
    it.table.map4k(at, physAddr(0x5000), 2);
    it.vcpu.write(at, SECRET);
    expect(it.vcpu.read(at, 14)).toEqual(SECRET);
  });

  test('is optional', () => {
    const it = world();
    const vcpu = it.guest.createVcpu();
    vcpu.loadCr3(it.table.cr3);
    vcpu.invlpg(gvaOf(PAGE));
    expect(vcpu.read(gvaOf(PAGE), 1)).toEqual(new Uint8Array(1));
  });
});

describe('privilege levels', () => {
  // V1, V6
  test('VMPL1 has the rights that RMPADJUST has given it', () => {
    const it = world();
    const low = it.guest.createVcpu({ vmpl: 1 });
    low.loadCr3(it.table.cr3);
    expect(thrownBy(() => low.read(gvaOf(PAGE), 1))?.details).toMatchObject({ check: 'vmpl' });
    for (const gpa of [0, 2 * MiB]) {
      expect(it.vcpu.rmpadjust(gvaOf(gpa), PageSize.Huge, { vmpl: 1, permissions: 1 })).toBe(0);
    }
    expect(low.read(gvaOf(PAGE), 1)).toEqual(new Uint8Array(1));
    expect(thrownBy(() => low.write(gvaOf(PAGE), SECRET))?.details).toMatchObject({ check: 'vmpl' });
    expect(it.vcpu.rmpquery(gvaOf(PAGE), 1)).toMatchObject({ permissions: 1, pageSize: PageSize.Huge });
    expect(codeOf(() => low.pvalidate(gvaOf(PAGE), PageSize.Regular, true))).toBe('GP');
  });

  // V4, C13
  test('a fifth one does not exist', () => {
    expect(codeOf(() => world().guest.createVcpu({ vmpl: 4 as never }))).toBe('INVALID_ARGUMENT');
  });
});

// C4
test('translate returns every step, and does not check the RMP', () => {
  const it = world();
  change(it, PAGE, { asid: 9 });
  expect(it.vcpu.translate(gvaOf(PAGE + 5))).toEqual({
    gva: gvaOf(PAGE + 5),
    gpa: BigInt(PAGE + 5),
    spa: spaOf(it, PAGE) + 5n,
    isPrivate: true,
    guestSize: PageSize.Huge,
    nested: expect.objectContaining({ size: PageSize.Huge }),
  });
});

// C1
test('the page tables of a guest lie in its private memory', () => {
  const it = world();
  const memory = it.vcpu.memory;
  const table = PageTable.open(it.table.root, { memory, config: it.guest.paging });
  expect(table.translate(gvaOf(PAGE))).toBe(BigInt(PAGE));
  const top = table.walk(gvaOf(PAGE)).path[0]!;
  const at = (spaOf(it, Number(top.table)) + BigInt(8 * top.index)) as SysPhysAddr;
  const entry = (bytes: Uint8Array): bigint => new BigUint64Array(bytes.buffer)[0]!;
  expect(entry(it.machine.memory.read(at, 8, it.guest.key))).toBe(top.entry.raw);
  expect(entry(it.machine.hypervisor.read(at, 8))).not.toBe(top.entry.raw);
});

// P28
test('a load of CR3 is reported as a flush, and one of another register is not', () => {
  const { vcpu, events } = world();
  events.length = 0;
  vcpu.load('cr4', vcpu.controlRegisters.cr4);
  vcpu.load('efer', vcpu.controlRegisters.efer);
  expect(events).toEqual([]);
  vcpu.load('cr3', vcpu.cr3);
  expect(events).toEqual([{ type: 'flush', gva: undefined }]);
});

test.each([undefined, 5, 'x'])(
  'a hypervisor that answers an exit with %s is refused, and the MSR is as it was',
  (answer) => {
    const { vcpu, machine } = world();
    vcpu.ghcbMsr = 2n;
    machine.hypervisor.vmgexit = () => answer as never;
    expect(thrownBy(() => vcpu.vmgexit())).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { what: 'the answer of the hypervisor', value: answer, expected: 'return a bigint' },
    });
    expect(vcpu.ghcbMsr).toBe(2n);
  },
);
