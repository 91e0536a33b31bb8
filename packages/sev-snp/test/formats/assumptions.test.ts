import { PageSize, physAddr } from '@svsm/address';
import { writePhys64 } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { executeInGuest } from '../../src/cpu/instruction-registers.ts';
import { ControlBit } from '../../src/cpu/vcpu-registers.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import {
  ASSUMPTIONS,
  type Assumptions,
  assumptionsOf,
  DEFAULT_ASSUMPTIONS,
} from '../../src/formats/assumptions.ts';
import { encodePageInfo } from '../../src/formats/launch-digest.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { segmentedRmpEntryAddress } from '../../src/formats/rmp-location.ts';
import { type SysPhysAddr, sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';
import { writeVmsa } from '../../src/formats/vmsa.ts';
import { requestGhcbMsr } from '../../src/guest/msr-protocol.ts';
import { psmash, rmpread, rmpupdate } from '../../src/rmp/host-instructions.ts';
import { Rmp } from '../../src/rmp/rmp.ts';
import { failedRmpCheck } from '../../src/rmp/rmp-check.ts';
import { OBSERVED } from '../support/observed.ts';
import { call, svsmWorld } from '../support/svsm-world.ts';
import { gvaOf, MiB, spaOf, thrownBy, type World, world } from '../support/world.ts';

const spa = sysPhysAddr;
const HUGE = { assigned: true, asid: 1, pageSize: PageSize.Huge, gpa: physAddr(4 * MiB) } as const;
const SMALL = { assigned: true, asid: 1, gpa: physAddr(0x5000) } as const;
const PAGE = 2 * MiB + 0x1000;

/** An RMP of 4 MiB in which the second region is a 2 MiB page of a guest. */
function rmpWith(assumptions: Partial<Assumptions>): Rmp {
  const rmp = new Rmp(sysPhysRegion(spa(0), 4 * MiB), { assumptions });
  rmpupdate(rmp, spa(2 * MiB), HUGE);
  return rmp;
}

function change(it: World, gpa: number, fields: Partial<RmpEntry>): void {
  const { rmp } = it.machine;
  const at = spaOf(it, gpa);
  const entry = rmp.entry(at) as RmpEntry;
  rmp.setRawEntry((at & -BigInt(entry.pageSize)) as SysPhysAddr, { ...entry, ...fields });
}

/** The result of `action`, or the fault that it raises. */
function outcome(action: () => unknown): unknown {
  let value: unknown;
  const fault = thrownBy(() => {
    value = action();
  });
  return fault === undefined ? value : [fault.code, fault.details];
}

// What each assumption decides: one observation of a machine, made with each of its choices. The comment is its rule.
const OBSERVATIONS: Record<keyof Assumptions, (assumptions: Partial<Assumptions>) => unknown> = {
  // I2
  exceptionOrder: (assumptions) => {
    const { vcpu } = world({ assumptions });
    vcpu.cpl = 3;
    const registers = { rax: gvaOf(PAGE), rcx: 0n, rdx: 0n, rflags: 0n };
    return outcome(() => executeInGuest(vcpu, 'RMPQUERY', registers, { bits: 32 }));
  },
  // I1
  resultFlags: (assumptions) => {
    const { vcpu } = world({ assumptions });
    const registers = { rax: gvaOf(PAGE), rcx: 0n, rdx: 1n, rflags: 0n };
    return executeInGuest(vcpu, 'PVALIDATE', registers).rflags;
  },
  // V5, PVALIDATE preconditions
  pvalidateAboveVmpl0: (assumptions) => {
    const it = svsmWorld({}, { assumptions });
    return outcome(() => it.guestCpu.pvalidate(gvaOf(PAGE), PageSize.Regular, true));
  },
  // I10
  carryOnFailure: (assumptions) => world({ assumptions }).vcpu.pvalidate(gvaOf(PAGE), PageSize.Huge, true),
  // I3
  lowAddressBits: (assumptions) => [
    rmpupdate(rmpWith(assumptions), spa(0x1008), SMALL),
    psmash(rmpWith(assumptions), spa(2 * MiB + 8)),
    world({ assumptions }).vcpu.pvalidate(gvaOf(2 * MiB + 8), PageSize.Huge, false),
  ],
  // PVALIDATE step 2
  operandAccess: (assumptions) => {
    const it = world({ assumptions });
    it.table.map4k(gvaOf(64 * MiB), physAddr(PAGE), 0);
    return outcome(() => it.vcpu.rmpquery(gvaOf(64 * MiB), 1));
  },
  // PVALIDATE step 2
  sharedOperand: (assumptions) => {
    const it = world({ assumptions });
    it.table.setShared4k(gvaOf(PAGE));
    it.vcpu.invlpg(gvaOf(PAGE));
    return outcome(() => it.vcpu.rmpquery(gvaOf(PAGE), 1));
  },
  // I13
  guestSizeMatters: (assumptions) => {
    const it = world({ assumptions });
    it.table.split4k(gvaOf(2 * MiB));
    it.vcpu.invlpg(gvaOf(2 * MiB));
    return it.vcpu.pvalidate(gvaOf(2 * MiB), PageSize.Huge, false);
  },
  // V2
  defaultMasks: (assumptions) => {
    const it = world({ assumptions });
    it.machine.hypervisor.rmpupdate(spaOf(it, 2 * MiB), { assigned: false, pageSize: PageSize.Huge });
    it.machine.hypervisor.rmpupdate(spaOf(it, 2 * MiB), {
      assigned: true,
      asid: 1,
      pageSize: PageSize.Huge,
      gpa: physAddr(2 * MiB),
    });
    const fresh = it.machine.rmp.entry(spaOf(it, PAGE))?.vmplMasks;
    it.vcpu.pvalidate(gvaOf(2 * MiB), PageSize.Huge, true);
    // Once the page is validated, both choices agree.
    expect(it.machine.rmp.entry(spaOf(it, PAGE))?.vmplMasks).toEqual([0x1f, 0, 0, 0]);
    return fresh;
  },
  // V2
  resetMaskOfVmpl0: (assumptions) => rmpWith(assumptions).entry(spa(2 * MiB))?.vmplMasks,
  // RMPUPDATE step 4
  inUseTest: (assumptions) => {
    const rmp = rmpWith(assumptions);
    rmpupdate(rmp, spa(0x1000), { assigned: true, immutable: true });
    rmp.setInUse(spa(0x1000), true);
    return [
      rmpupdate(rmp, spa(0x1000), { assigned: false, asid: 1 }),
      rmpupdate(rmp, spa(0x1000), { assigned: false }),
    ];
  },
  // I6
  alignedPageBlocksHuge: (assumptions) => {
    const rmp = rmpWith(assumptions);
    rmpupdate(rmp, spa(0), SMALL);
    return rmpupdate(rmp, spa(0), HUGE);
  },
  // I4
  rmpupdateReset: (assumptions) => {
    const it = world({ assumptions });
    const state = { ...HUGE, gpa: physAddr(2 * MiB), immutable: true };
    it.machine.hypervisor.rmpupdate(spaOf(it, 2 * MiB), state);
    return it.machine.rmp.entry(spaOf(it, 2 * MiB))?.validated;
  },
  // RMPUPDATE step 6
  smallUpdateInHuge: (assumptions) => rmpupdate(rmpWith(assumptions), spa(2 * MiB + 0x1000), SMALL),
  // PSMASH step 3
  psmashBadPage: (assumptions) => psmash(rmpWith(assumptions), spa(0)),
  // PSMASH step 4
  psmashImmutable: (assumptions) => {
    const rmp = rmpWith(assumptions);
    rmpupdate(rmp, spa(2 * MiB), { ...HUGE, immutable: true });
    return psmash(rmp, spa(2 * MiB));
  },
  // R13
  subpageCount: (assumptions) => {
    const rmp = rmpWith(assumptions);
    rmpupdate(rmp, spa(0x1000), SMALL);
    psmash(rmp, spa(2 * MiB));
    // What is derived from the count is the same.
    expect(rmpupdate(rmp, spa(0), { ...HUGE, gpa: physAddr(0) })).toBe(4);
    expect(rmpread(rmp, spa(0)).state?.regionStatus).toBe(true);
    expect([rmp.isRegionUnassigned(spa(0)), rmp.hasSubpages(spa(2 * MiB))]).toEqual([false, true]);
    const before = [rmp.rawEntry(spa(0))?.subpageCount, rmp.rawEntry(spa(2 * MiB))?.subpageCount];
    rmpupdate(rmp, spa(0x1000), { assigned: false });
    expect([rmp.hasSubpages(spa(0)), rmp.isRegionUnassigned(spa(0))]).toEqual([false, true]);
    return before;
  },
  // T8, T9
  sourceVmsa: (assumptions) => {
    const { machine, guest } = world({ assumptions }, { vmsas: [createVmsa()] });
    const { firmware, hypervisor: host } = machine;
    const vmsa = host.vmsaOf(guest, 0)!;
    const { spa: source, gpa } = vmsa;
    host.rmpupdate(source, { assigned: true, immutable: true, asid: guest.asid, gpa });
    firmware.swapOut(guest.context, { source, destination: host.givePageToFirmware() });
    // The page is not valid any more. VMRUN does not ask for that.
    firmware.pageReclaim(source);
    return outcome(() => guest.vmrun(vmsa).vmpl);
  },
  // RMPQUERY step 1
  rmpqueryLevels: (assumptions) => {
    const it = svsmWorld({}, { assumptions });
    return ([1, 2, 3] as const).map((vmpl) => it.guestCpu.rmpquery(gvaOf(PAGE), vmpl).result);
  },
  // RMPQUERY step 3
  rmpqueryNeedsValidated: (assumptions) => {
    const it = world({ assumptions });
    it.vcpu.pvalidate(gvaOf(2 * MiB), PageSize.Huge, false);
    return outcome(() => it.vcpu.rmpquery(gvaOf(PAGE), 1));
  },
  // RMPADJUST step 1
  rmpadjustReservedBits: (assumptions) =>
    world({ assumptions }).vcpu.rmpadjust(gvaOf(2 * MiB), PageSize.Huge, { vmpl: 1, permissions: 0x21 }),
  // RMPADJUST step 1
  rmpadjustVmplRange: (assumptions) =>
    world({ assumptions }).vcpu.rmpadjust(gvaOf(2 * MiB), PageSize.Huge, { vmpl: 4, permissions: 1 }),
  // R25
  inUseErratum: (assumptions) => {
    const { machine } = world({ assumptions });
    machine.rmp.setInUse(spa(30 * MiB), true);
    const write = (at: number, size: PageSize) =>
      outcome(() => machine.hypervisor.write(spa(at), new Uint8Array(1), size));
    expect(write(30 * MiB, PageSize.Regular)).toBeUndefined();
    expect(write(28 * MiB, PageSize.Huge)).toBeUndefined();
    return write(30 * MiB + 0x5000, PageSize.Huge);
  },
  // R2
  hostTableReads: (assumptions) =>
    failedRmpCheck(rmpWith(assumptions), {
      accessor: 'host',
      kind: 'table',
      spa: spa(2 * MiB),
      translationSize: PageSize.Regular,
      gpa: physAddr(0),
      asid: 0,
      vmpl: 0,
      cpl: 0,
    }),
  // R26
  exitInfo2: (assumptions) => {
    const it = world({ assumptions });
    change(it, PAGE, { asid: 9 });
    return outcome(() => it.vcpu.read(gvaOf(PAGE + 5), 1));
  },
  // P18
  cr2OnCrossing: (assumptions) => {
    const it = world({ assumptions });
    outcome(() => it.vcpu.read(gvaOf(8 * MiB - 4), 8));
    return it.vcpu.cr2;
  },
  // P19
  reservedFaultPresent: (assumptions) => {
    const it = world({ assumptions });
    const { table, index, entry } = it.table.walk(gvaOf(PAGE)).path[2]!;
    writePhys64(it.vcpu.memory, physAddr(table + BigInt(8 * index)), entry.raw | (1n << 13n));
    // The second fault is one of rights: a write through an entry that allows none.
    it.table.map4k(gvaOf(64 * MiB), physAddr(PAGE), 0);
    return [gvaOf(PAGE), gvaOf(64 * MiB)].map((gva) => outcome(() => it.vcpu.write(gva, Uint8Array.of(1))));
  },
  // P25
  accessedOnFault: (assumptions) => {
    const it = world({ assumptions });
    const { path } = it.table.walk(gvaOf(8 * MiB));
    for (const { table, index, entry } of path)
      writePhys64(it.vcpu.memory, physAddr(table + BigInt(8 * index)), entry.raw & ~0x20n);
    outcome(() => it.vcpu.read(gvaOf(8 * MiB), 1));
    return it.table.walk(gvaOf(8 * MiB)).path.map(({ entry }) => entry.flags & 0x20);
  },
  // P50
  eferLmaWrites: (assumptions) => {
    const { vcpu } = world({ assumptions });
    const { EferLma } = ControlBit;
    return outcome(() => vcpu.load('efer', vcpu.controlRegisters.efer & ~EferLma));
  },
  // P8
  topLevelBit8: (assumptions) => {
    const it = world({ assumptions });
    const { table, index, entry } = it.table.walk(gvaOf(PAGE)).path[0]!;
    writePhys64(it.vcpu.memory, physAddr(table + BigInt(8 * index)), entry.raw | 0x100n);
    return outcome(() => it.vcpu.read(gvaOf(PAGE), 1));
  },
  // GHCB MSR 0x017
  runVmplError: (assumptions) =>
    requestGhcbMsr(world({ assumptions }).vcpu, { type: 'run-vmpl-request', vmpl: 3 }, 'run-vmpl').error,
  // L4
  pageInfoMasks: (assumptions) => {
    const digests = { digest: new Uint8Array(48), contents: new Uint8Array(48) };
    const info = { ...digests, type: 1, gpa: physAddr(0), permissions: [1, 2, 3] } as const;
    return encodePageInfo(info, assumptions).subarray(0x64, 0x68).join();
  },
  // R8
  rmpSegSizeUnit: ({ rmpSegSizeUnit }) => {
    const table = { base: 0n, segmentShift: 30, read: () => 0x1_0000_0000n | 64n };
    const unit = rmpSegSizeUnit === undefined ? {} : { unit: rmpSegSizeUnit };
    return segmentedRmpEntryAddress(spa(2 ** 30), { ...table, ...unit });
  },
  // SVSM call 7
  svsmVtomMinimum: (assumptions) => {
    const it = svsmWorld({ vtom: { min: 1n << 40n, max: 1n << 46n } }, { assumptions });
    const registers = { rcx: 1n, rdx: 0n };
    expect(call(it, 7, registers)).toBe(0);
    return [registers.rcx, registers.rdx];
  },
  // SVSM call 2
  svsmVmsaLevels: (assumptions) => {
    const it = svsmWorld({}, { assumptions });
    const vmsa = new Uint8Array(0x1000);
    writeVmsa(vmsa, 'vmpl', 3n);
    writeVmsa(vmsa, 'efer', 0x1000n);
    writeVmsa(vmsa, 'sevFeatures', 1n);
    it.guestCpu.write(gvaOf(6 * MiB), vmsa);
    return call(it, 2, { rcx: BigInt(6 * MiB), rdx: BigInt(6 * MiB + 0x1000) });
  },
  // SVSM call 2
  svsmSecondVmsa: (assumptions) => {
    const it = svsmWorld({}, { assumptions });
    const create = (gpa: number, vmpl: number, apicId: number): number => {
      it.guestCpu.write(gvaOf(gpa), createVmsa({ vmpl }));
      return call(it, 2, { rcx: BigInt(gpa), rdx: BigInt(gpa + 0x1000), r8: BigInt(apicId) });
    };
    const at = (k: number): number => 6 * MiB + 0x2000 * k;
    // The same processor and level; another level; another processor; no processor at all.
    return [
      create(at(0), 2, 1),
      create(at(1), 2, 1),
      create(at(2), 3, 1),
      create(at(3), 2, 5),
      create(at(4), 2, 0xffff_ffff),
    ];
  },
  // S2
  svsmCallPending: (assumptions) => {
    const it = svsmWorld({}, { assumptions });
    it.guestCpu.write(it.area.gva, Uint8Array.of(2));
    it.guestCpu.registers.rax = 6n;
    return [it.svsm.enter(it.guestCpu), it.guestCpu.registers.rax];
  },
};
const NAMES = Object.keys(ASSUMPTIONS) as (keyof Assumptions)[];

describe.each(NAMES)('%s', (name) => {
  const { choices, rule } = ASSUMPTIONS[name];

  test('has a rule and more than one choice, the default first', () => {
    expect(rule).toMatch(/\S/);
    expect(new Set<unknown>(choices).size).toBeGreaterThan(1);
    expect(DEFAULT_ASSUMPTIONS[name]).toBe(choices[0]);
  });

  test('makes a difference: what is observed differs with each choice, and is as the table has it', () => {
    const seen = choices.map((choice) => OBSERVATIONS[name]({ [name]: choice }));
    expect(OBSERVATIONS[name]({})).toEqual(seen[0]);
    expect(seen).toMatchObject(OBSERVED[name]);
    for (const [i, one] of seen.entries()) {
      for (const other of seen.slice(i + 1)) expect(one).not.toEqual(other);
    }
  });
});

test('the table is frozen, and an assumption that is not switched keeps its default', () => {
  expect(Object.isFrozen(DEFAULT_ASSUMPTIONS)).toBe(true);
  const rmp = new Rmp(sysPhysRegion(spa(0), 2 * MiB), { assumptions: { resetMaskOfVmpl0: 0xf } });
  expect(rmp.assumptions).toEqual({ ...DEFAULT_ASSUMPTIONS, resetMaskOfVmpl0: 0xf });
});

test('an unknown name, or a value that is not one of the choices, is refused', () => {
  expect(thrownBy(() => assumptionsOf({ vmplOfPvalidate: 1 } as never))?.details).toMatchObject({
    value: 'vmplOfPvalidate',
  });
  expect(thrownBy(() => assumptionsOf({ psmashBadPage: 'FAIL_INUSE' as never }))).toMatchObject({
    code: 'INVALID_ARGUMENT',
    details: { expected: 'pass FAIL_BADADDR or FAIL_OVERLAP' },
  });
});

test('assumptions that are not an object are refused', () => {
  for (const value of [undefined, null, 5, 'x']) {
    expect(thrownBy(() => assumptionsOf(value as never))?.code).toBe('INVALID_ARGUMENT');
  }
});
