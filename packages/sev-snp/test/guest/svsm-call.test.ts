import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { SvsmCall, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import {
  callSvsm,
  configureSvsmVtom,
  createVcpuBySvsm,
  deleteVcpuBySvsm,
  depositToSvsm,
  pvalidateBySvsm,
  querySvsmProtocol,
  querySvsmVtom,
  remapCallingArea,
  SVSM_MAX_ATTEMPTS,
  withdrawFromSvsm,
} from '../../src/guest/svsm-call.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { CAA, entryOf, svsmWorld } from '../support/svsm-world.ts';
import { bytesOf, codeOf, gvaOf, MiB, textOf, thrownBy } from '../support/world.ts';

const A = 6 * MiB;

class Withholding extends Hypervisor {
  withheld = 0;
  override vmgexit(...args: Parameters<Hypervisor['vmgexit']>): bigint {
    if (this.withheld === 0) return super.vmgexit(...args);
    this.withheld -= 1;
    return 0x017n;
  }
}
const withholding = () => svsmWorld({}, { hypervisor: (machine) => new Withholding(machine) });

// V5, SVSM call 1
test('a guest at VMPL2 validates its memory through the SVSM, since hardware refuses its own PVALIDATE', () => {
  const it = svsmWorld();
  const { guestCpu, area } = it;
  expect(codeOf(() => guestCpu.pvalidate(gvaOf(A), PAGE_SIZE, false))).toBe('GP');
  const pages = Array.from({ length: 512 }, (_, k) => A + k * PAGE_SIZE);
  pvalidateBySvsm(
    guestCpu,
    area,
    pages.map((gpa) => entryOf(gpa, { validate: false })),
  );
  expect(codeOf(() => guestCpu.read(gvaOf(A), 1))).toBe('VC_NOT_VALIDATED');
  pvalidateBySvsm(
    guestCpu,
    area,
    pages.map((gpa) => entryOf(gpa)),
  );
  guestCpu.write(gvaOf(A + 511 * PAGE_SIZE), bytesOf('mine'));
  expect(it.events.filter(({ type }) => type === 'vmgexit').length).toBe(4);
});

// S8
test('an SVSM that processes a few entries at a time is called until it is done', () => {
  const it = svsmWorld({ entriesPerCall: 1 });
  pvalidateBySvsm(
    it.guestCpu,
    it.area,
    [0, 1, 2].map((k) => entryOf(A + k * PAGE_SIZE, { validate: false })),
  );
  expect(it.events.filter(({ type }) => type === 'vmgexit').length).toBe(3);
  const stuck = svsmWorld({ entriesPerCall: 0 });
  expect(thrownBy(() => pvalidateBySvsm(stuck.guestCpu, stuck.area, [entryOf(A)]))).toMatchObject({
    code: 'SVSM_REFUSED',
    details: { result: SvsmResult.Incomplete },
  });
});

// S8
test('a refusal names the entry', () => {
  const it = svsmWorld();
  const list = [entryOf(A, { validate: false }), entryOf(0)];
  expect(thrownBy(() => pvalidateBySvsm(it.guestCpu, it.area, list))).toMatchObject({
    code: 'SVSM_REFUSED',
    details: { result: SvsmResult.InvalidAddress, entry: 1 },
  });
});

describe('against a hypervisor that', () => {
  // S3, A15
  test('answers without running the SVSM, the call is repeated', () => {
    const it = withholding();
    (it.machine.hypervisor as Withholding).withheld = 3;
    const query = { rax: BigInt(SvsmCall.QueryProtocol), rcx: 1n };
    expect(callSvsm(it.guestCpu, it.area, query)).toMatchObject({ rax: 0n, rcx: 0x1_0000_0001n });
  });

  // S3
  test('never runs the SVSM, the guest gives up', () => {
    const it = withholding();
    (it.machine.hypervisor as Withholding).withheld = Number.POSITIVE_INFINITY;
    expect(thrownBy(() => callSvsm(it.guestCpu, it.area, {}))?.details).toEqual({
      attempts: SVSM_MAX_ATTEMPTS,
    });
  });

  // Found by the central law: the page was validated, and so cleared, after the guest had given the call up.
  // S3, A15
  test('answers nonsense, the call does not stay pending for a later run', () => {
    const it = svsmWorld({}, { hypervisor: (machine) => new HostileHypervisor(machine) });
    const host = it.machine.hypervisor as HostileHypervisor;
    host.answers.msr = () => 0x666n;
    const clears = [entryOf(A, { ignoreUnchanged: true })];
    expect(codeOf(() => pvalidateBySvsm(it.guestCpu, it.area, clears))).toBe('INVALID_RESPONSE');
    it.guestCpu.write(gvaOf(A), bytesOf('kept'));
    host.enter(it.guest, 0, it.guestCpu);
    expect(textOf(it.guestCpu.read(gvaOf(A), 4))).toBe('kept');
  });

  // S5, A15
  test('enters the SVSM without a call, nothing happens', () => {
    const it = svsmWorld();
    Object.assign(it.guestCpu.registers, { rax: BigInt(SvsmCall.QueryProtocol), rcx: 1n });
    expect(it.guest.enterVmpl(0, it.guestCpu)).toBe(true);
    expect(it.svsm.enter(it.guestCpu)).toBe(false);
    expect(it.guestCpu.registers.rcx).toBe(1n);
    expect(it.svsm.enter(it.guest.createVcpu({ vmpl: 2 }))).toBe(false);
  });

  test('takes the calling area away, the SVSM does not fail', () => {
    const it = svsmWorld();
    it.machine.hypervisor.splitPage(it.guest, physAddr(CAA));
    it.guest.nested.unmap(physAddr(CAA));
    expect(it.svsm.enter(it.guestCpu)).toBe(false);
  });
});

// V10
test('a level without software, or a processor of another guest, is not entered', () => {
  const it = svsmWorld();
  expect(it.guest.enterVmpl(1, it.guestCpu)).toBe(false);
  const other = it.machine.hypervisor.launch({ size: 2 * MiB });
  expect(it.guest.enterVmpl(0, other.createVcpu())).toBe(false);
});

describe('a guest', () => {
  const PAGES = [A, A + 0x1000].map((gpa) => ({ gpa: physAddr(gpa), size: 0 as const }));

  // SVSM call 4, SVSM call 5
  test('deposits pages, and withdraws them cleared', () => {
    const it = svsmWorld();
    it.guestCpu.write(gvaOf(A), bytesOf('kept?'));
    depositToSvsm(it.guestCpu, it.area, PAGES);
    expect(codeOf(() => it.guestCpu.read(gvaOf(A), 1))).toBe('NPF');
    expect(withdrawFromSvsm(it.guestCpu, it.area)).toEqual(PAGES.map(({ gpa }) => gpa));
    expect(it.guestCpu.read(gvaOf(A), 5)).toEqual(new Uint8Array(5));
    expect(withdrawFromSvsm(it.guestCpu, it.area)).toEqual([]);
  });

  // SVSM call 6, SVSM call 7
  test('queries protocols and virtual tops of memory', () => {
    const it = svsmWorld();
    expect(querySvsmProtocol(it.guestCpu, it.area, 0, 1)).toEqual({ min: 1, max: 1 });
    expect(querySvsmProtocol(it.guestCpu, it.area, 2, 1)).toBeUndefined();
    expect(querySvsmVtom(it.guestCpu, it.area)).toBeUndefined();
    const offering = svsmWorld({ vtom: { min: 1n << 40n, max: 1n << 46n } });
    expect(querySvsmVtom(offering.guestCpu, offering.area)).toEqual({
      min: 1n << 40n,
      max: 1n << 46n,
      alignment: 1n << 21n,
    });
    // The caller has no VMSA that the SVSM could change.
    expect(
      thrownBy(() => configureSvsmVtom(it.guestCpu, it.area, { virtualTom: 1n << 40n }))?.details,
    ).toMatchObject({
      result: SvsmResult.InvalidRequest,
    });
  });

  // SVSM call 0, SVSM call 2, SVSM call 3
  test('creates processors, deletes them, and moves its calling area', () => {
    const it = svsmWorld();
    const vmsa = physAddr(A);
    it.guestCpu.write(gvaOf(A), createVmsa({ vmpl: 2 }));
    createVcpuBySvsm(it.guestCpu, it.area, { vmsa, caa: physAddr(A + 0x1000), apicId: 3 });
    expect(it.state.vcpus).toMatchObject([{ vmsa, apicId: 3, vmpl: 2 }]);
    deleteVcpuBySvsm(it.guestCpu, it.area, vmsa);
    expect(it.state.vcpus).toEqual([]);
    expect(thrownBy(() => deleteVcpuBySvsm(it.guestCpu, it.area, vmsa))?.details).toMatchObject({
      call: SvsmCall.DeleteVcpu,
      result: SvsmResult.InvalidParameter,
    });
    const next = { gva: gvaOf(A + 0x2000), gpa: physAddr(A + 0x2000) };
    remapCallingArea(it.guestCpu, it.area, next);
    expect(it.svsm.callingArea(it.guestCpu)).toBe(next.gpa);
    expect(querySvsmProtocol(it.guestCpu, next, 0, 1)).toEqual({ min: 1, max: 1 });
  });

  test('repeats a call while the SVSM is busy', () => {
    const it = svsmWorld();
    let busy = 3;
    const { svsm } = it;
    it.guest.onEnter(0, (caller) => {
      if (busy === 0) return void svsm.enter(caller);
      busy -= 1;
      caller.registers.rax = BigInt(SvsmResult.Busy);
      it.vcpu.write(gvaOf(CAA), new Uint8Array(1));
    });
    expect(querySvsmProtocol(it.guestCpu, it.area, 0, 1)).toEqual({ min: 1, max: 1 });
    expect(busy).toBe(0);
  });
});

describe('a call that the hypervisor runs while the guest withdraws it', () => {
  /** A world whose hypervisor withholds the next call, and runs it at the exit of the access that withdraws it. */
  function late() {
    const it = svsmWorld({}, { hypervisor: (machine) => new HostileHypervisor(machine) });
    const host = it.machine.hypervisor as HostileHypervisor;
    const caa = physAddr(CAA);
    host.splitPage(it.guest, caa);
    const { spa } = it.guest.nested.lookup(caa)!;
    let entries = 0;
    const arm = (): void => {
      host.answers = {
        msr: () => {
          host.hide(it.guest, caa);
          it.guest.nested.map(caa, spa, PageSize.Regular, { writable: false });
          return 0x17n;
        },
        fault: () => {
          host.answers = {};
          host.remap(it.guest, caa, spa);
          entries += 1;
          return host.enter(it.guest, 0, it.guestCpu);
        },
      };
    };
    return { it, arm, entries: () => entries };
  }

  test('returns the pages of WITHDRAW_MEM', () => {
    const { it, arm, entries } = late();
    const pages = [A + 0x3000, A + 0x5000].map((gpa) => physAddr(gpa));
    depositToSvsm(
      it.guestCpu,
      it.area,
      pages.map((gpa) => ({ gpa, size: 0 })),
    );
    arm();
    expect([...withdrawFromSvsm(it.guestCpu, it.area)].sort()).toEqual(pages);
    expect(entries()).toBe(1);
  });

  test('makes the processor of CREATE_VCPU', () => {
    const { it, arm, entries } = late();
    it.guestCpu.write(gvaOf(A + 0x7000), createVmsa({ vmpl: 2 }));
    arm();
    const created = { vmsa: physAddr(A + 0x7000), caa: physAddr(A + 0x8000), apicId: 1 };
    createVcpuBySvsm(it.guestCpu, it.area, created);
    expect([it.state.vcpus.length, entries()]).toEqual([1, 1]);
  });
});
