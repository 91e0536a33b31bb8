/** Calls that the hypervisor disturbs: it hides pages between the steps, keeps a stale translation, and throws from `trace`. */
import { PAGE_SIZE, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { ControlBit } from '../../src/cpu/vcpu-registers.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { SvsmCall, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { readVmsa, writeVmsa } from '../../src/formats/vmsa.ts';
import type { Guest } from '../../src/guest/guest.ts';
import type { SvsmCore } from '../../src/svsm/svsm-core.ts';
import type { SvsmStateOptions } from '../../src/svsm/svsm-options.ts';
import { SvsmState } from '../../src/svsm/svsm-state.ts';
import {
  CAA,
  call,
  entryOf,
  OWN_END,
  pvalidateList,
  type SvsmWorld,
  svsmWorld,
  writeList,
} from '../support/svsm-world.ts';
import { codeOf, gvaOf, MiB, spaOf, unresolvedFault, WHOLE } from '../support/world.ts';

const { Success, InvalidAddress, InstructionFailed } = SvsmResult;
const P = 6 * MiB + 0x1000;
const AREA = 6 * MiB + 0x2000;
const OTHER = 6 * MiB + 0x4000;
const AREA1 = 4 * MiB + 0x8000;

interface Disturbed extends SvsmWorld {
  readonly vmpl1: Vcpu;
  /** Called for each event; the test sets it. */
  onEvent: ((event: MachineEvent) => void) | undefined;
}

/** A guest whose last 2 MiB are 4 KiB pages in the RMP, with a processor at VMPL1 and one at VMPL2. */
function disturbed(): Disturbed {
  const hooks: { onEvent: Disturbed['onEvent'] } = { onEvent: undefined };
  const it = svsmWorld({}, { trace: (event) => hooks.onEvent?.(event) });
  it.machine.hypervisor.splitPage(it.guest, physAddr(P));
  const vmpl1 = it.guest.createVcpu({ vmpl: 1 });
  vmpl1.loadCr3(it.guestCpu.cr3);
  it.svsm.register(vmpl1, physAddr(AREA1));
  return Object.assign(hooks, { ...it, vmpl1 });
}

function hide({ guest }: { guest: Guest }, ...pages: readonly number[]): () => void {
  const held = pages.map((gpa) => [physAddr(gpa), guest.nested.lookup(physAddr(gpa))!.spa] as const);
  for (const [gpa] of held) guest.nested.unmap(gpa);
  guest.flushTlbs();
  return () => {
    for (const [gpa, spa] of held) guest.nested.map(gpa, spa, PAGE_SIZE);
  };
}

// S9, A14
test('a page that is cleared again, and hidden meanwhile, gives no level a right that it did not have', () => {
  for (const hiddenAt of ['never', 'first', 'second'] as const) {
    const it = disturbed();
    it.vcpu.rmpadjust(gvaOf(P), PAGE_SIZE, { vmpl: 1, permissions: 0 });
    it.guestCpu.write(gvaOf(P), Uint8Array.of(0x5a));
    const spa = spaOf(it, P);
    let steps = 0;
    let show = (): void => {};
    it.onEvent = ({ type }) => {
      if (type === 'rmpadjust') steps += 1;
    };
    if (hiddenAt !== 'never') {
      const { clear, rmpadjust } = it.vcpu;
      let count = 0;
      const step = (): void => {
        count += 1;
        if (count === (hiddenAt === 'first' ? 1 : 2)) show = hide(it, P);
      };
      it.vcpu.clear = (...args) => {
        step();
        clear.apply(it.vcpu, args);
      };
      it.vcpu.rmpadjust = (...args) => {
        step();
        return rmpadjust.apply(it.vcpu, args);
      };
    }
    const [result] = pvalidateList(it, [entryOf(P, { ignoreUnchanged: true })]);
    show();
    expect(result).toBe(hiddenAt === 'first' ? InvalidAddress : Success);
    expect(rmp(it, spa).vmplMasks).toEqual([0x1f, 0, 0xf, 0]);
    expect([steps, it.vcpu.read(gvaOf(P), 1)[0]]).toEqual([0, hiddenAt === 'first' ? 0x5a : 0]);
  }
});

// S5, S12
test('a calling area that VMPL1 takes during a call is not written, and the caller is stopped', () => {
  const it = disturbed();
  it.machine.hypervisor.splitPage(it.guest, physAddr(CAA));
  it.guestCpu.write(it.area.gva, Uint8Array.of(1));
  writeList(it, [entryOf(OTHER, { validate: false })], P);
  Object.assign(it.guestCpu.registers, { rax: 1n, rcx: BigInt(P) });
  it.onEvent = ({ type }) => {
    if (type !== 'pvalidate') return;
    it.onEvent = undefined;
    it.vcpu.rmpadjust(it.area.gva, PAGE_SIZE, { vmpl: 2, permissions: 0 });
    it.vmpl1.write(it.area.gva, Uint8Array.of(0x77));
  };
  expect(it.svsm.enter(it.guestCpu)).toBe(true);
  expect(it.vmpl1.read(it.area.gva, 1)).toEqual(Uint8Array.of(0x77));
  expect(it.svsm.enter(it.guestCpu)).toBe(false);
});

const rmp = (it: SvsmWorld, spa: SysPhysAddr) => it.machine.rmp.entry(spa)!;

// S5, A14
test('a VMSA that the hypervisor hides while DELETE_VCPU opens it has no record: a forged call of it is not served', () => {
  const it = disturbed();
  it.vmpl1.write(gvaOf(P), createVmsa({ vmpl: 1 }));
  const registers = { rcx: BigInt(P), rdx: BigInt(AREA), r8: 1n };
  expect(call(it, SvsmCall.CreateVcpu, registers, it.vmpl1)).toBe(Success);
  const spa = spaOf(it, P);
  const vmsa = { spa, gpa: physAddr(P), vmcb: it.machine.hypervisor.allocatePage() };
  const ap = it.guest.vmrun(vmsa) as Vcpu;
  ap.leave(0x78n);
  let count = 0;
  let show: (() => void) | undefined;
  it.onEvent = ({ type }) => {
    if (type === 'rmpadjust' && rmp(it, spa).vmplMasks[2] !== 0 && count++ === 0) show = hide(it, P);
  };
  expect(call(it, SvsmCall.DeleteVcpu, { rcx: BigInt(P) }, it.vmpl1)).toBe(Success);
  it.onEvent = undefined;
  show!();
  expect(rmp(it, spa)).toMatchObject({ vmsa: false, vmplMasks: [0x1f, 0xf, 0xf, 0] });
  expect(it.state.vcpus).toEqual([]);

  const forged = createVmsa({ vmpl: 1 });
  writeVmsa(forged, 'exitCode', 0x403n);
  writeVmsa(forged, 'rax', BigInt(SvsmCall.CreateVcpu));
  writeVmsa(forged, 'rcx', BigInt(OTHER));
  writeVmsa(forged, 'rdx', BigInt(OTHER + 0x1000));
  it.guestCpu.write(gvaOf(P), forged);
  it.guestCpu.write(gvaOf(OTHER), createVmsa({ vmpl: 1 }));
  it.guestCpu.write(gvaOf(AREA), Uint8Array.of(1));
  expect(it.svsm.enter(ap)).toBe(false);
  expect(it.state.vcpus).toEqual([]);
});

// S5, A14
test('a page whose VMSA bit is clear is not served as a VMSA', () => {
  const it = disturbed();
  const image = createVmsa({ vmpl: 2 });
  writeVmsa(image, 'exitCode', 0x403n);
  writeVmsa(image, 'rax', BigInt(SvsmCall.QueryProtocol));
  it.guestCpu.write(gvaOf(P), image);
  const registers = { rcx: BigInt(P), rdx: BigInt(AREA), r8: 1n };
  expect(call(it, SvsmCall.CreateVcpu, registers)).toBe(Success);
  const ap = it.guest.createVcpu({
    vmpl: 2,
    vmsa: { spa: spaOf(it, P), gpa: physAddr(P), vmcb: it.machine.hypervisor.allocatePage() },
  });
  ap.leave(0x78n);
  const setBit = (vmsa: boolean) => it.vcpu.rmpadjust(gvaOf(P), PAGE_SIZE, { vmpl: 1, permissions: 0, vmsa });
  const serve = (): boolean => {
    it.vcpu.write(gvaOf(P), image);
    it.guestCpu.write(gvaOf(AREA), Uint8Array.of(1));
    return it.svsm.enter(ap);
  };
  expect(setBit(false)).toBe(0);
  expect(serve()).toBe(false);
  expect(setBit(true)).toBe(0);
  expect(serve()).toBe(true);
});

// S9, A14
test('a page of 2 MiB that is split and hidden in part after PVALIDATE is taken back in pages of 4 KiB', () => {
  const it = disturbed();
  const huge = 4 * MiB;
  const hidden = huge + 3 * PAGE_SIZE;
  const area = P + 8;
  const validate = (isOn: boolean): number => {
    writeList(it, [entryOf(huge, { size: 1, validate: isOn })], area);
    return call(it, SvsmCall.Pvalidate, { rcx: BigInt(area) });
  };
  it.svsm.register(it.guestCpu, physAddr(AREA));
  it.svsm.register(it.vmpl1, physAddr(OTHER));
  expect(validate(false)).toBe(Success);
  let show: (() => void) | undefined;
  it.onEvent = () => {
    it.onEvent = undefined;
    it.machine.hypervisor.splitPage(it.guest, physAddr(huge));
    show = hide(it, hidden);
  };
  expect(validate(true)).toBe(InvalidAddress);
  show!();
  for (let gpa = huge; gpa < huge + 2 * MiB; gpa += PAGE_SIZE) {
    const { validated, vmplMasks } = rmp(it, spaOf(it, gpa));
    const isKept = gpa === hidden;
    expect([gpa, validated, it.state.validated.has(physAddr(gpa))]).toEqual([gpa, isKept, isKept]);
    expect(vmplMasks.slice(1)).toEqual([0, 0, 0]);
  }
});

describe('a page that VMPL1 has taken from VMPL2 and rescinded', () => {
  const validateAt1 = (it: Disturbed, validate: boolean): number => {
    writeList(it, [entryOf(P, { validate })], AREA1 + 8);
    return call(it, SvsmCall.Pvalidate, { rcx: BigInt(AREA1 + 8) }, it.vmpl1);
  };

  // S12
  test.each<[string, (it: Disturbed, show: (show: () => void) => void) => void]>([
    [
      'hides it after PVALIDATE',
      (it, keep) => {
        const spa = spaOf(it, P);
        it.machine.hypervisor.handleNestedPageFault = (_, gpa) => {
          if (it.guest.nested.lookup(gpa) !== undefined) return false;
          it.guest.nested.map(gpa, spa, PAGE_SIZE);
          return false;
        };
        it.onEvent = ({ type }) => {
          it.onEvent = undefined;
          if (type === 'pvalidate') keep(hide(it, P));
        };
      },
    ],
    [
      'throws a fault after PVALIDATE',
      (it) => {
        it.onEvent = () => {
          it.onEvent = undefined;
          unresolvedFault();
        };
      },
    ],
  ])('is not validated for VMPL2, even if the hypervisor %s for VMPL1', (_, disturb) => {
    const it = disturbed();
    it.vmpl1.rmpadjust(gvaOf(P), PAGE_SIZE, { vmpl: 2, permissions: 0 });
    expect(validateAt1(it, false)).toBe(Success);
    expect(pvalidateList(it, [entryOf(P)])).toEqual([InvalidAddress, 0]);
    const spa = spaOf(it, P);
    disturb(it, () => {});
    const end = (() => {
      try {
        return validateAt1(it, true);
      } catch {
        return 'thrown';
      }
    })();
    expect(end).not.toBe(Success);
    expect(it.state.validated.has(physAddr(P))).toBe(rmp(it, spa).validated);
    expect(it.state.validated.has(physAddr(P))).toBe(false);
    expect(pvalidateList(it, [entryOf(P)])).toEqual([InvalidAddress, 0]);
    expect(validateAt1(it, true)).toBe(Success);
    expect(rmp(it, spa).vmplMasks).toEqual([0x1f, 0xf, 0, 0]);
  });
});

// SVSM call 4, SVSM call 5
test('WITHDRAW_MEM that is disturbed reports each page on which the caller has rights, and no other', () => {
  const it = disturbed();
  const pages = [P, OTHER, OTHER + 0x1000];
  writeList(
    it,
    pages.map((gpa) => entryOf(gpa, { validate: false })),
  );
  expect(call(it, SvsmCall.DepositMem, { rcx: BigInt(CAA + 8) })).toBe(Success);
  const spas = pages.map((gpa) => spaOf(it, gpa));
  let adjusts = 0;
  let show: (() => void) | undefined;
  it.onEvent = ({ type }) => {
    if (type === 'rmpadjust' && ++adjusts === 3) show = hide(it, P, OTHER);
  };
  const buffer = CAA + 0x2ff0 - 0x1000;
  const withdraw = (): bigint[] => {
    expect(call(it, SvsmCall.WithdrawMem, { rcx: BigInt(buffer - 0x100) })).toBe(Success);
    const words = new BigUint64Array(it.guestCpu.read(gvaOf(buffer - 0x100), 0x100).slice().buffer);
    return [...words.subarray(1, 1 + Number(words[0]))];
  };
  const reported = withdraw();
  it.onEvent = undefined;
  show!();
  expect(reported).toEqual([BigInt(P), BigInt(OTHER)]);
  expect(spas.map((spa) => rmp(it, spa).vmplMasks.slice(1))).toEqual([
    [0xf, 0xf, 0],
    [0xf, 0, 0],
    [0, 0, 0],
  ]);
  expect(withdraw()).toEqual([BigInt(pages[2]!)]);
  // The pages are the guest's.
  expect(pvalidateList(it, [entryOf(P, { validate: false })])).toEqual([Success, 1]);
});

describe('an SVSM with a stale translation of a VMSA that runs', () => {
  /** The SVSM's processor has a nested TLB; the hypervisor remaps the VMSA, and does not flush. */
  const stale = () => {
    const it = disturbed();
    it.guestCpu.write(gvaOf(P), createVmsa({ vmpl: 2, control: { cr3: it.guestCpu.cr3 } }));
    const svsmCpu = it.guest.createVcpu({ nestedTlb: new NestedTlb() });
    svsmCpu.loadCr3(it.vcpu.cr3);
    const other = it.state.on(svsmCpu, WHOLE);
    const registers = { rcx: BigInt(P), rdx: BigInt(AREA), r8: 1n };
    expect(call({ ...it, svsm: other }, SvsmCall.CreateVcpu, registers)).toBe(Success);
    const spa = spaOf(it, P);
    const vmsa = { spa, gpa: physAddr(P), vmcb: it.machine.hypervisor.allocatePage() };
    let ap = it.guest.vmrun(vmsa) as Vcpu;
    ap.leave(0x78n);
    other.enter(ap);
    ap = it.guest.vmrun(vmsa) as Vcpu;
    expect(svsmCpu.translate(gvaOf(P)).spa).toBe(spa);
    const spare = it.machine.hypervisor.allocatePage();
    it.guest.nested.unmap(physAddr(P));
    it.guest.nested.map(physAddr(P), spare, PAGE_SIZE);
    return { it, ap, other, spa };
  };

  // S5
  test('does not delete it', () => {
    const { it, ap, other, spa } = stale();
    const result = call({ ...it, svsm: other }, SvsmCall.DeleteVcpu, { rcx: BigInt(P) });
    expect(result).toBe(InstructionFailed + 3);
    expect(rmp(it, spa)).toMatchObject({ vmsa: true, vmplMasks: [0x1f, 0, 0, 0] });
    expect([ap.isRunning, it.state.vcpus.length]).toEqual([true, 1]);
  });

  // S5, A15
  test('does not serve its call', () => {
    const { it, ap, other } = stale();
    it.guestCpu.write(gvaOf(AREA), Uint8Array.of(1));
    expect(other.enter(ap)).toBe(false);
    expect(it.guestCpu.read(gvaOf(AREA), 1)).toEqual(Uint8Array.of(1));
  });
});

// S5, A15
test('a VMSA that runs between the read of its EFER and the write keeps the EFER of the processor', () => {
  const it = disturbed();
  const image = createVmsa({ vmpl: 2, control: { cr3: it.guestCpu.cr3 } });
  it.guestCpu.write(gvaOf(P), image);
  expect(call(it, SvsmCall.CreateVcpu, { rcx: BigInt(P), rdx: BigInt(AREA), r8: 1n })).toBe(Success);
  const vmsa = { spa: spaOf(it, P), gpa: physAddr(P), vmcb: it.machine.hypervisor.allocatePage() };
  const efer = (): bigint => readVmsa(it.vcpu.read(gvaOf(P), PAGE_SIZE), 'efer');
  const before = efer();
  const exchange = it.vcpu.compareExchange.bind(it.vcpu);
  it.vcpu.compareExchange = (...operands) => {
    it.vcpu.compareExchange = exchange;
    const ap = it.guest.vmrun(vmsa) as Vcpu;
    ap.load('efer', before ^ ControlBit.EferNxe);
    ap.leave(0x78n);
    return exchange(...operands);
  };
  expect(call(it, SvsmCall.DeleteVcpu, { rcx: BigInt(P) })).toBe(InstructionFailed + 3);
  expect([efer(), it.state.vcpus.length]).toEqual([before ^ ControlBit.EferNxe, 1]);
  expect(call(it, SvsmCall.DeleteVcpu, { rcx: BigInt(P) })).toBe(Success);
});

// S9, A4
test.each([true, false])(
  'a fault that `trace` throws after PVALIDATE (%s) goes on to the caller, and the record is as the RMP',
  (validate) => {
    const it = disturbed();
    if (validate) pvalidateList(it, [entryOf(P, { validate: false })]);
    const spa = spaOf(it, P);
    it.onEvent = ({ type }) => {
      if (type !== 'pvalidate') return;
      it.onEvent = undefined;
      it.machine.hypervisor.write(spa, Uint8Array.of(1));
    };
    expect(codeOf(() => pvalidateList(it, [entryOf(P, { validate })]))).toBe('HOST_PF');
    expect([it.state.validated.has(physAddr(P)), rmp(it, spa).validated]).toEqual([false, false]);
    expect(pvalidateList(it, [entryOf(P)])).toEqual([Success, 1]);
  },
);

// I14
test.each<[string, (it: SvsmWorld) => unknown]>([
  ['entriesPerCall NaN', (it) => coreOf(it, { entriesPerCall: Number.NaN })],
  ['entriesPerCall 1.5', (it) => coreOf(it, { entriesPerCall: 1.5 })],
  ['entriesPerCall -1', (it) => coreOf(it, { entriesPerCall: -1 })],
  ['a processor at VMPL2', (it) => coreOf(it, {}, it.guestCpu)],
  ['no access', (it) => it.state.on(it.vcpu, undefined as never)],
])('an SVSM with %s is INVALID_ARGUMENT', (_, make) => {
  expect(codeOf(() => make(svsmWorld()))).toBe('INVALID_ARGUMENT');
});

function coreOf(it: SvsmWorld, options: Partial<SvsmStateOptions>, vcpu = it.vcpu): SvsmCore {
  const own = [physRegion(physAddr(0), OWN_END)];
  return new SvsmState({ memory: it.guest.memory, own, ...options }).on(vcpu, WHOLE);
}
