import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { pagingConfig } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { executeInGuest } from '../../src/cpu/instruction-registers.ts';
import type { RunnableVmsa } from '../../src/cpu/platform.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { INIT_REGISTERS } from '../../src/cpu/vcpu-registers.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { Guest } from '../../src/guest/guest.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { type NestedPage, NestedTable } from '../../src/memory/nested-table.ts';
import { codeOf, MiB, thrownBy } from '../support/world.ts';

const AT = physAddr(0x7000);
const GVA = virtAddr(0x7000);

function machine(options: { cBit?: number } = {}) {
  const made = new SnpMachine({
    memorySize: 32 * MiB,
    hypervisor: (it) => new HostileHypervisor(it),
    ...options,
  });
  return { made, host: made.hypervisor as HostileHypervisor, firmware: made.firmware };
}

type Made = ReturnType<typeof machine>;

/** A guest with the ASID, in state LAUNCH or RUNNING, behind a nested table of the host. */
function guestOf({ made, host, firmware }: Made, asid: number, nested: NestedTable, finish = true): Guest {
  const context = host.givePageToFirmware();
  firmware.guestContextCreate(context);
  firmware.launchStart(context);
  firmware.activate(context, asid);
  if (finish) firmware.launchFinish(context);
  const { memory } = host.launch({ size: 2 * MiB });
  return new Guest(made, { context, nested, memory });
}

function tableOf({ made, host }: Made, type: typeof NestedTable = NestedTable): NestedTable {
  const frames = {
    allocateFrame: () => host.allocatePage() as bigint as PhysAddr,
    freeFrame: () => {},
  };
  const config = pagingConfig({ physicalBits: made.hostPhysicalBits });
  return new type({ memory: host.memory, frames, config });
}

/** A page of the guest at `gpa` that is not validated. */
function give({ host }: Made, guest: Guest, gpa: PhysAddr): SysPhysAddr {
  const spa = host.allocatePage();
  expect(host.rmpupdate(spa, { assigned: true, asid: guest.asid, gpa })).toBe(RmpResult.SUCCESS);
  guest.nested.map(gpa, spa, PAGE_SIZE);
  return spa;
}

/** The code of each instruction on the page. */
function instructionsOf(vcpu: Vcpu): (string | undefined)[] {
  return [
    () => vcpu.pvalidate(GVA, PAGE_SIZE, true),
    () => vcpu.rmpadjust(GVA, PAGE_SIZE, { vmpl: 1, permissions: 15, vmsa: true }),
    () => vcpu.rmpquery(GVA, 1),
    () => vcpu.vmgexit(),
    () => vcpu.read(GVA, 1),
    () => vcpu.write(GVA, Uint8Array.of(1)),
  ].map(codeOf);
}

const REFUSED = Array.from({ length: 6 }, () => 'VMRUN');

describe('a processor of a guest that does not run executes nothing', () => {
  test('after the guest is decommissioned, even on pages of another guest with the ASID', () => {
    const it = machine();
    const { firmware, made } = it;
    const first = guestOf(it, 9, tableOf(it));
    const old = first.createVcpu({ registers: INIT_REGISTERS });
    firmware.decommission(first.context);
    firmware.wbinvd();
    firmware.dfFlush();
    const second = guestOf(it, 9, first.nested);
    const spa = give(it, second, AT);
    const before = made.rmp.entry(spa);
    expect(instructionsOf(old)).toEqual(REFUSED);
    expect(made.rmp.entry(spa)).toEqual(before);
    expect(second.createVcpu({ registers: INIT_REGISTERS }).pvalidate(GVA, PAGE_SIZE, true).result).toBe(0);
  });

  test('before its launch is finished', () => {
    const it = machine();
    const guest = guestOf(it, 9, tableOf(it), false);
    const spa = give(it, guest, AT);
    const before = it.made.rmp.entry(spa);
    expect(instructionsOf(guest.createVcpu({ registers: INIT_REGISTERS }))).toEqual(REFUSED);
    expect(it.made.rmp.entry(spa)).toEqual(before);
  });

  test('if it ends while the instruction walks a table of the hypervisor, or during an exit', () => {
    const it = machine();
    let hook: (() => void) | undefined;
    class Hooked extends NestedTable {
      override walk(gpa: PhysAddr): ReturnType<NestedTable['walk']> {
        hook?.();
        return super.walk(gpa);
      }
    }
    const guest = guestOf(it, 9, tableOf(it, Hooked));
    const spa = give(it, guest, AT);
    const vcpu = guest.createVcpu({ registers: INIT_REGISTERS });
    hook = () => {
      hook = undefined;
      it.firmware.decommission(guest.context);
    };
    expect(codeOf(() => vcpu.pvalidate(GVA, PAGE_SIZE, true))).toBe('VMRUN');
    expect(it.made.rmp.entry(spa)?.validated).toBe(false);
    const other = guestOf(it, 10, tableOf(it));
    const leaving = other.createVcpu({ registers: INIT_REGISTERS });
    leaving.ghcbMsr = 2n;
    it.host.answers.beforeResume = () => it.firmware.decommission(other.context);
    expect(codeOf(() => leaving.vmgexit())).toBe('VMRUN');
  });
});

describe('a hostile nested table', () => {
  test('whose walk answers differently on the second read of a field is read once', () => {
    const it = machine();
    let other: SysPhysAddr | undefined;
    class Getter extends NestedTable {
      override walk(gpa: PhysAddr): ReturnType<NestedTable['walk']> {
        const found = super.walk(gpa);
        if (typeof found !== 'object' || other === undefined) return found;
        let reads = 0;
        return {
          ...found,
          get spa() {
            reads += 1;
            return reads === 1 ? found.spa : (other as SysPhysAddr);
          },
        };
      }
    }
    const guest = guestOf(it, 9, tableOf(it, Getter));
    give(it, guest, AT);
    const vcpu = guest.createVcpu({ registers: INIT_REGISTERS });
    vcpu.pvalidate(GVA, PAGE_SIZE, true);
    vcpu.write(GVA, Uint8Array.of(77));
    other = it.host.allocatePage();
    expect(vcpu.read(GVA, 1)[0]).toBe(77);
  });

  test('that gives the first page of a write to another guest in the walk of the second changes nothing', () => {
    const it = machine();
    let hook: ((gpa: PhysAddr) => void) | undefined;
    class Hooked extends NestedTable {
      override walk(gpa: PhysAddr): ReturnType<NestedTable['walk']> {
        hook?.(gpa);
        return super.walk(gpa);
      }
    }
    const guest = guestOf(it, 9, tableOf(it, Hooked));
    const vcpu = guest.createVcpu({ registers: INIT_REGISTERS });
    const first = give(it, guest, AT);
    give(it, guest, physAddr(0x8000));
    for (const gva of [GVA, virtAddr(0x8000)]) vcpu.pvalidate(gva, PAGE_SIZE, true);
    const other = guestOf(it, 10, tableOf(it));
    const otherVcpu = other.createVcpu({ registers: INIT_REGISTERS });
    hook = (gpa) => {
      if (gpa >> 12n !== 8n) return;
      hook = undefined;
      it.host.rmpupdate(first, { assigned: true, asid: 10, gpa: AT });
      other.nested.map(AT, first, PAGE_SIZE);
      otherVcpu.pvalidate(GVA, PAGE_SIZE, true);
      otherVcpu.write(GVA, new Uint8Array(PAGE_SIZE).fill(0x42));
    };
    expect(codeOf(() => vcpu.write(virtAddr(0x7ff0), new Uint8Array(32).fill(2)))).toBe('NPF');
    expect(otherVcpu.read(GVA, PAGE_SIZE)).toEqual(new Uint8Array(PAGE_SIZE).fill(0x42));
    expect(vcpu.read(virtAddr(0x8000), 16)).not.toContain(2);
  });
});

describe('a VMSA that the host keeps', () => {
  function launched(vmsas = [createVmsa()]) {
    const it = machine();
    const guest = it.host.launch({ size: 2 * MiB, pageSize: PAGE_SIZE, vmsas });
    const vmsa = it.host.vmsaOf(guest, 0) as RunnableVmsa;
    const victim = (guest.nested.lookup(physAddr(0x5000)) as NestedPage).spa;
    return { ...it, guest, vmsa, victim };
  }

  test('and changes while it runs does not move the place of its state', () => {
    const { made, guest, vmsa, victim } = launched();
    const given = { ...vmsa };
    const vcpu = guest.vmrun(given);
    const before = made.memory.read(victim, PAGE_SIZE, guest.key);
    given.spa = victim;
    vcpu.leave(0x78n);
    expect(made.memory.read(victim, PAGE_SIZE, guest.key)).toEqual(before);
    expect(made.rmp.isInUse(vmsa.spa, PageSize.Regular)).toBe(false);
    expect(Object.isFrozen(vcpu.vmsa)).toBe(true);
  });

  test('and answers differently on the second read of a field is read once', () => {
    const { made, guest, vmsa, victim } = launched();
    made.memory.write(victim, createVmsa({ rip: 0x1234n }), guest.key);
    let reads = 0;
    const given: RunnableVmsa = {
      ...vmsa,
      get spa() {
        reads += 1;
        return reads === 1 ? vmsa.spa : victim;
      },
    };
    expect(guest.vmrun(given).vmsa?.spa).toBe(vmsa.spa);
    expect([made.rmp.isInUse(vmsa.spa, PAGE_SIZE), made.rmp.isInUse(victim, PAGE_SIZE)]).toEqual([
      true,
      false,
    ]);
  });

  // R24
  test('shares its VMCB with another one: the VMCB is in use until both have left', () => {
    const { made, host, guest, vmsa } = launched([createVmsa(), createVmsa()]);
    const page = physAddr(0x5000);
    const { spa } = guest.nested.lookup(page) as NestedPage;
    made.memory.write(spa, createVmsa(), guest.key);
    made.rmp.setRawEntry(spa, { ...(made.rmp.entry(spa) as RmpEntry), vmsa: true });
    const first = guest.vmrun(vmsa);
    const second = guest.vmrun({ spa, gpa: page, vmcb: vmsa.vmcb });
    first.leave(0x78n);
    expect(host.rmpupdate(vmsa.vmcb, { assigned: true })).toBe(RmpResult.FAIL_INUSE);
    second.leave(0x78n);
    expect(host.rmpupdate(vmsa.vmcb, { assigned: true })).toBe(RmpResult.SUCCESS);
  });

  // R24
  test('leaves its pages even if the guest is decommissioned meanwhile', () => {
    const { made, firmware, guest, vmsa } = launched();
    const vcpu = guest.vmrun(vmsa);
    firmware.decommission(guest.context);
    vcpu.leave(0x78n);
    expect(vcpu.isRunning).toBe(false);
    for (const page of [vmsa.spa, vmsa.vmcb]) expect(made.rmp.isInUse(page, PAGE_SIZE)).toBe(false);
  });

  // R32
  test('with a CR3 beyond the addresses of the guest is refused, and not in use', () => {
    const it = machine({ cBit: 47 });
    const vmsas = [createVmsa({ control: { cr3: 1n << 48n } })];
    const guest = it.host.launch({ size: 2 * MiB, virtualTom: 1n << 46n, vmsas });
    const vmsa = it.host.vmsaOf(guest, 0) as RunnableVmsa;
    expect(thrownBy(() => it.host.run(guest))).toMatchObject({ code: 'VMRUN', details: { exitCode: -1n } });
    for (const page of [vmsa.spa, vmsa.vmcb]) expect(it.made.rmp.isInUse(page, PAGE_SIZE)).toBe(false);
  });

  // C9
  test.each<[string, (image: Uint8Array) => void]>([
    ['a CPL of 4', (image) => image.set([4], 0x0cb)],
    ['a CPL of 255', (image) => image.set([255], 0x0cb)],
    ['a VIRTUAL_TOM that is not a multiple of 2 MiB', (image) => image.set([0, 8, 0x20], 0x3c8)],
  ])('with %s is refused', (_, change) => {
    const image = createVmsa({ sevFeatures: 3n, virtualTom: BigInt(4 * MiB) });
    change(image);
    const { guest, vmsa } = launched([image]);
    expect(thrownBy(() => guest.vmrun(vmsa))?.details).toMatchObject({ exitCode: -1n });
  });
});

// I2
test('RMPADJUST and RMPQUERY do not exist outside 64-bit mode, and PVALIDATE does', () => {
  const it = machine();
  const guest = guestOf(it, 9, tableOf(it));
  give(it, guest, AT);
  const vcpu = guest.createVcpu({ registers: INIT_REGISTERS });
  const registers = { rax: GVA as bigint, rcx: 0n, rdx: 1n, rflags: 2n };
  expect(executeInGuest(vcpu, 'PVALIDATE', registers).rax).toBe(0n);
  expect(codeOf(() => executeInGuest(vcpu, 'RMPADJUST', registers))).toBe('UD');
  expect(codeOf(() => executeInGuest(vcpu, 'RMPADJUST', registers, { bits: 64 }))).toBe('UD');
  expect(codeOf(() => vcpu.rmpadjust(GVA, PAGE_SIZE, { vmpl: 1, permissions: 1 }))).toBe('UD');
  expect(codeOf(() => vcpu.rmpquery(GVA, 1))).toBe('UD');
  vcpu.cpl = 3;
  expect(codeOf(() => vcpu.rmpquery(GVA, 1))).toBe('UD');
});

describe('a value of the wrong type is refused before anything changes', () => {
  const untyped = (value: unknown): never => value as never;

  test('flags of RMPUPDATE, RMPADJUST and PVALIDATE', () => {
    const it = machine();
    const guest = guestOf(it, 9, tableOf(it));
    const spa = give(it, guest, AT);
    const first = (spa & -BigInt(PageSize.Huge)) as SysPhysAddr;
    const before = [it.made.rmp.rawEntry(spa), it.made.rmp.rawEntry(first)];
    const vcpu = guest.createVcpu({ registers: INIT_REGISTERS });
    for (const flag of [-1, 'x', {}, Number.NaN, 2, 1n, 1, null, undefined]) {
      const value = untyped(flag);
      expect(codeOf(() => it.host.rmpupdate(spa, { assigned: value }))).toBe('INVALID_ARGUMENT');
      expect(codeOf(() => vcpu.pvalidate(GVA, PAGE_SIZE, value))).toBe('INVALID_ARGUMENT');
      if (flag === undefined) continue;
      const state = { assigned: true, immutable: value };
      expect(codeOf(() => it.host.rmpupdate(spa, state))).toBe('INVALID_ARGUMENT');
      const adjustment = { vmpl: 1, permissions: 0, vmsa: value };
      expect(codeOf(() => vcpu.rmpadjust(GVA, PAGE_SIZE, adjustment))).toBe('INVALID_ARGUMENT');
    }
    expect([it.made.rmp.rawEntry(spa), it.made.rmp.rawEntry(first)]).toEqual(before);
  });

  test('fields of a VMSA', () => {
    for (const vmpl of [4, 255, -1]) expect(codeOf(() => createVmsa({ vmpl }))).toBe('INVALID_MESSAGE');
    expect(codeOf(() => createVmsa({ csL: untyped('1') }))).toBe('INVALID_MESSAGE');
    expect(codeOf(() => createVmsa({ virtualTom: 1n }))).toBe('INVALID_MESSAGE');
  });
});
