/** Entries into an SVSM that the hypervisor chooses: a second one, one for a processor that runs, one in the middle. */
import { physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { SvsmCall, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { readVmsa } from '../../src/formats/vmsa.ts';
import { pvalidateBySvsm } from '../../src/guest/svsm-call.ts';
import {
  CALLS,
  OTHER_CAA,
  onSteps,
  prepareOther,
  run,
  twoProcessors,
  V,
  vmsaImage,
  W,
  X,
} from '../support/svsm-steps.ts';
import { CAA, call, entryOf, pvalidateList, svsmWorld, writeList } from '../support/svsm-world.ts';
import { codeOf, gvaOf, MiB, spaOf, unresolvedFault } from '../support/world.ts';

const { Success, Busy, InvalidAddress } = SvsmResult;

describe('CREATE_VCPU', () => {
  // A14, S13
  test('holds its page while it reads the image: no other processor has it opened, or writes to it', () => {
    const it = twoProcessors();
    const seen: unknown[] = [];
    const clear = prepareOther(CALLS['clearX']!, it);
    onSteps(it.vcpu, (_, name, [gva, length]) => {
      if (name !== 'read' || gva !== gvaOf(X) || length !== 0x1000) return undefined;
      seen.push(
        clear(),
        codeOf(() => it.other.guestCpu.write(gvaOf(X + 0xca), Uint8Array.of(0))),
      );
      return undefined;
    });
    expect(run(CALLS['createX']!, it)).toBe(Success);
    expect(seen).toEqual([Busy, 'NPF']);
    expect(readVmsa(it.vcpu.read(gvaOf(X), 0x1000), 'vmpl')).toBe(2n);
    expect(it.machine.rmp.entry(spaOf(it, X))).toMatchObject({ vmsa: true, vmplMasks: [0x1f, 0, 0, 0] });
  });

  // A14, S13
  test('that fails gives the page back, and not what another processor has put there meanwhile', () => {
    const it = twoProcessors();
    it.guestCpu.write(gvaOf(X), vmsaImage(0n));
    const results: number[] = [];
    const rescind = prepareOther(CALLS['rescindX']!, it);
    onSteps(it.vcpu, () => {
      results.push(rescind());
      return undefined;
    });
    expect(run(CALLS['createX']!, it)).toBe(SvsmResult.InvalidParameter);
    expect(new Set(results)).toEqual(new Set([Busy]));
    expect(it.machine.rmp.entry(spaOf(it, X))).toMatchObject({
      validated: true,
      vmplMasks: [0x1f, 0xf, 0xf, 0],
    });
  });
});

// A14
test('DELETE_VCPU that fails makes the VMSA again as it was, whatever the guest has written to the open page', () => {
  const it = twoProcessors();
  const image = it.vcpu.read(gvaOf(V), 0x1000);
  let adjusts = 0;
  onSteps(it.vcpu, (_, name) => {
    if (name !== 'rmpadjust' || ++adjusts !== 4) return undefined;
    // VMPL2 has its rights back already. It makes a VMSA of VMPL0.
    it.other.guestCpu.write(gvaOf(V), vmsaImage(0n));
    return 2;
  });
  expect(call(it, SvsmCall.DeleteVcpu, { rcx: BigInt(V) })).toBe(0x8000_1002);
  expect(it.vcpu.read(gvaOf(V), 0x1000)).toEqual(image);
  expect(it.machine.rmp.entry(spaOf(it, V))).toMatchObject({ vmsa: true, vmplMasks: [0x1f, 0, 0, 0] });
});

// A14
test('DELETE_VCPU of a page that the hypervisor hides in the middle forgets the processor', () => {
  const it = twoProcessors();
  it.machine.hypervisor.splitPage(it.guest, physAddr(V));
  let adjusts = 0;
  onSteps(it.vcpu, (_, name) => {
    // VMPL1 has its rights back already.
    if (name === 'rmpadjust' && ++adjusts === 3) it.guest.nested.unmap(physAddr(V));
    return undefined;
  });
  const spa = spaOf(it, V);
  // The processor is gone: a refusal would say that nothing has changed.
  expect(call(it, SvsmCall.DeleteVcpu, { rcx: BigInt(V) })).toBe(SvsmResult.Success);
  expect(it.machine.rmp.entry(spa)).toMatchObject({ vmsa: false, vmplMasks: [0x1f, 0xf, 0, 0] });
  expect(it.state.vcpus).toEqual([]);
});

// A14, A19
test.each<[string, boolean[], number]>([
  ['already', [true], 0],
  ['at the exit of the exchange that would stop it', [false, true], 2],
])('DELETE_VCPU of a VMSA that runs %s is refused, and leaves the VMSA', (_, answers, writes) => {
  let isPrepared = false;
  const running = [...answers];
  const it = twoProcessors({ isRunning: () => isPrepared && (running.shift() ?? true) });
  isPrepared = true;
  const image = it.vcpu.read(gvaOf(V), 0x1000);
  let written = 0;
  onSteps(it.vcpu, (_step, name) => {
    if (name === 'compareExchange') written += 1;
    return undefined;
  });
  expect(call(it, SvsmCall.DeleteVcpu, { rcx: BigInt(V) })).toBe(0x8000_1003);
  expect(written).toBe(writes);
  expect(it.vcpu.read(gvaOf(V), 0x1000)).toEqual(image);
  expect(it.machine.rmp.entry(spaOf(it, V))).toMatchObject({ vmsa: true, vmplMasks: [0x1f, 0, 0, 0] });
  expect(it.state.vcpus.length).toBe(1);
});

describe('a refused call of 2 MiB', () => {
  // S11
  test('that rescinds leaves the rights on all 512 pages', () => {
    const it = svsmWorld();
    it.machine.hypervisor.splitPage(it.guest, physAddr(6 * MiB));
    expect(pvalidateList(it, [entryOf(6 * MiB, { validate: false, size: 1 })])).toEqual([0x8000_1006, 0]);
    const masks = Array.from(
      { length: 512 },
      (_, k) => it.machine.rmp.entry(spaOf(it, 6 * MiB + k * 0x1000))!.vmplMasks,
    );
    expect(new Set(masks.map(String))).toEqual(new Set(['31,15,15,0']));
  });

  // SVSM call 4
  test('that deposits leaves the rights on the first part', () => {
    const it = svsmWorld();
    it.machine.hypervisor.splitPage(it.guest, physAddr(6 * MiB));
    let adjusts = 0;
    onSteps(it.vcpu, (_, name) => {
      if (name === 'rmpadjust' && ++adjusts === 300) unresolvedFault();
      return undefined;
    });
    writeList(it, [entryOf(6 * MiB, { validate: false, size: 1 })]);
    expect(call(it, SvsmCall.DepositMem, { rcx: BigInt(CAA + 8) })).toBe(InvalidAddress);
    const masks = Array.from(
      { length: 512 },
      (_, k) => it.machine.rmp.entry(spaOf(it, 6 * MiB + k * 0x1000))!.vmplMasks,
    );
    expect(new Set(masks.map(String))).toEqual(new Set(['31,15,15,0']));
    expect(pvalidateList(it, [entryOf(6 * MiB, { validate: false })])).toEqual([Success, 1]);
  });
});

describe('the registers of a caller', () => {
  const pending = (it: ReturnType<typeof twoProcessors>): void => {
    writeList(it, [entryOf(W, { validate: false })]);
    it.guestCpu.write(gvaOf(CAA), Uint8Array.of(1));
    Object.assign(it.guestCpu.registers, { rax: BigInt(SvsmCall.Pvalidate), rcx: BigInt(CAA + 8) });
  };

  // A15, S13
  test('are used once: an entry in the middle of the call serves nothing', () => {
    const it = twoProcessors();
    pending(it);
    const entries: boolean[] = [];
    const direct: number[] = [];
    onSteps(it.vcpu, () => {
      entries.push(it.other.svsm.enter(it.guestCpu));
      const registers = { rax: 6n, rcx: 1n, rdx: 0n, r8: 0n, r9: 0n };
      it.other.svsm.call(it.guestCpu, registers);
      direct.push(Number(registers.rax));
      return undefined;
    });
    expect(it.svsm.enter(it.guestCpu)).toBe(true);
    expect(it.guestCpu.registers.rax).toBe(0n);
    expect(entries.length).toBeGreaterThan(5);
    expect([new Set(entries), new Set(direct)]).toEqual([new Set([false]), new Set([Busy])]);
    expect(it.svsm.enter(it.guestCpu)).toBe(false);
  });

  // A15
  test('are not used again if the hypervisor keeps CALL_PENDING from being cleared', () => {
    const it = twoProcessors();
    pending(it);
    it.guestCpu.registers.rax = BigInt(SvsmCall.QueryProtocol);
    let isKept = true;
    onSteps(it.vcpu, (_, name, [gva]) =>
      isKept && name === 'write' && gva === gvaOf(CAA) ? unresolvedFault() : undefined,
    );
    expect(it.svsm.enter(it.guestCpu)).toBe(true);
    isKept = false;
    // RAX is the result now: as a call it would be REMAP_CA.
    expect(it.guestCpu.registers.rax).toBe(0n);
    expect(it.svsm.enter(it.guestCpu)).toBe(false);
    expect(it.other.svsm.enter(it.guestCpu)).toBe(false);
    expect(it.svsm.callingArea(it.guestCpu)).toBe(BigInt(CAA));
  });

  // A15
  test('are not used while the processor runs', () => {
    const it = twoProcessors();
    pending(it);
    const { guestCpu } = it;
    const before = { ...guestCpu.registers };
    const at = 6 * MiB + 0x8000;
    const vmsa = { spa: spaOf(it, at), gpa: physAddr(at), vmcb: sysPhysAddr(31 * MiB) };
    guestCpu.resume(createVmsa({ vmpl: 2, control: { cr3: guestCpu.cr3 } }), vmsa);
    Object.assign(guestCpu.registers, before);
    expect([it.svsm.enter(guestCpu), it.other.svsm.enter(guestCpu)]).toEqual([false, false]);
    expect([guestCpu.registers, guestCpu.read(gvaOf(CAA), 1)]).toEqual([before, Uint8Array.of(1)]);
    expect(it.state.validated.has(physAddr(W))).toBe(true);
    guestCpu.leave(0x403n);
    expect(it.svsm.enter(guestCpu)).toBe(true);
    expect([guestCpu.registers.rax, it.state.validated.has(physAddr(W))]).toEqual([0n, false]);
  });

  // A15
  test('of a call that a callback ends stay, and the call can be made again', () => {
    const it = twoProcessors();
    pending(it);
    let isThrown = false;
    onSteps(it.vcpu, (step) => {
      if (step !== 4 || isThrown) return undefined;
      isThrown = true;
      throw new Error('a callback');
    });
    expect(() => it.svsm.enter(it.guestCpu)).toThrow('a callback');
    expect(it.svsm.enter(it.guestCpu)).toBe(true);
    expect([it.guestCpu.registers.rax, it.state.validated.has(physAddr(W))]).toEqual([0n, false]);
  });
});

// S13
test('a list that is BUSY is repeated by the guest', () => {
  const it = twoProcessors();
  const area = { gva: gvaOf(CAA), gpa: physAddr(CAA) };
  const busy: number[] = [];
  onSteps(it.other.svsmCpu, (step) => {
    if (step !== 3) return undefined;
    // In the middle of the second processor's call, the first one asks for the same page.
    pvalidateList(it, [entryOf(X, { validate: false })]);
    busy.push(call(it, SvsmCall.Pvalidate, { rcx: BigInt(CAA + 8) }));
    return undefined;
  });
  expect(prepareOther(CALLS['clearX']!, it)()).toBe(Success);
  expect(busy).toEqual([Busy]);
  let attempts = 0;
  it.guest.onEnter(0, (caller) => {
    attempts += 1;
    if (attempts > 2) it.svsm.enter(caller as never);
    else {
      caller.registers.rax = BigInt(Busy);
      it.vcpu.write(gvaOf(CAA), new Uint8Array(1));
    }
  });
  pvalidateBySvsm(it.guestCpu, area, [entryOf(X, { validate: false })]);
  expect([attempts, it.state.validated.has(physAddr(X))]).toEqual([3, false]);
});

// S13
test('two processors of one SVSM have one record: a page is not validated twice', () => {
  const it = twoProcessors();
  expect(it.svsm.callingArea(it.other.guestCpu)).toBe(BigInt(OTHER_CAA));
  expect(prepareOther(CALLS['rescindX']!, it)()).toBe(Success);
  expect(pvalidateList(it, [entryOf(X)])).toEqual([Success, 1]);
  expect(prepareOther(CALLS['validateY']!, it)()).toBe(Success);
  expect(pvalidateList(it, [entryOf(W), entryOf(X)])).toEqual([SvsmResult.PvalidateUnchanged, 0]);
});
