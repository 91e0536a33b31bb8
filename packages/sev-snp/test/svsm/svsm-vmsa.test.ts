/** An SVSM and its guest, both run by VMSAs: the use of the caller's EFER.SVME and exit code. */

import { PageSize, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import type { RunnableVmsa } from '../../src/cpu/platform.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { vmrun } from '../../src/cpu/vmrun.ts';
import { SvsmCall, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { EFER_SVME, readVmsa, writeVmsa } from '../../src/formats/vmsa.ts';
import { makeVmsa, requestAp } from '../../src/guest/ap-creation.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { requestGhcbMsr } from '../../src/guest/msr-protocol.ts';
import { type CallingArea, callSvsm, pvalidateBySvsm } from '../../src/guest/svsm-call.ts';
import type { Hypervisor } from '../../src/host/hypervisor.ts';
import type { SvsmCore } from '../../src/svsm/svsm-core.ts';
import type { SvsmStateOptions } from '../../src/svsm/svsm-options.ts';
import { SvsmState } from '../../src/svsm/svsm-state.ts';
import { entryOf } from '../support/svsm-world.ts';
import { codeOf, gvaOf, MiB, mapAll, unresolvedFault, WHOLE, world } from '../support/world.ts';

const CAA = 5 * MiB;
/** In the SVSM's memory. */
const VMSA = physAddr(MiB - 0x1000);
const area: CallingArea = { gva: gvaOf(CAA), gpa: physAddr(CAA) };

interface Scene {
  readonly state: SvsmState;
  readonly svsm: SvsmCore;
  readonly svsmCpu: Vcpu;
  readonly table: PageTable;
  /** The VMSA of the caller. */
  readonly caller: RunnableVmsa;
  tryToRun(vmsa?: RunnableVmsa): bigint | undefined;
  image(): Uint8Array;
  patchEfer(efer: bigint): void;
  onEvent: ((event: MachineEvent) => void) | undefined;
}

/** Launches an SVSM with a VMSA. It makes a VMSA at VMPL2 for its guest, whose software is `guestStarts`. */
function scene(guestStarts: (vcpu: Vcpu, it: Scene) => void, options: Partial<SvsmStateOptions> = {}): void {
  let onEvent: Scene['onEvent'];
  const { guest, machine } = world({ trace: (event) => onEvent?.(event) }, { vmsas: [createVmsa()] });
  const host = machine.hypervisor;
  guest.onStart((svsmCpu) => {
    const table = mapAll(guest, svsmCpu);
    for (const gpa of [2 * MiB, 4 * MiB]) {
      for (const vmpl of [1, 2]) svsmCpu.rmpadjust(gvaOf(gpa), PageSize.Huge, { vmpl, permissions: 0xf });
    }
    const own = [physRegion(physAddr(0), 2 * MiB)];
    const state = new SvsmState({ memory: guest.memory, own, ...options });
    const svsm = state.on(svsmCpu, WHOLE);
    guest.onEnter(0, (caller) => {
      svsm.enter(caller);
    });
    // The guest uses the SVSM's page table here, and may read its pages.
    svsmCpu.pvalidate(gvaOf(0), PageSize.Regular, true);
    for (let gpa = MiB; gpa < MiB + 0x10_000; gpa += 0x1000)
      svsmCpu.rmpadjust(gvaOf(gpa), PageSize.Regular, { vmpl: 2, permissions: 0x3 });
    makeVmsa(svsmCpu, gvaOf(Number(VMSA)), createVmsa({ vmpl: 2, control: { cr3: svsmCpu.cr3 } }));
    const ghcb = Ghcb.create(svsmCpu, table, gvaOf(6 * MiB));
    requestAp(ghcb, { request: 1, apicId: 0, vmpl: 2, vmsa: VMSA, sevFeatures: 1n });
    guest.onStart((lower) => {
      svsm.register(lower, area.gpa, VMSA);
      const caller = lower.vmsa as RunnableVmsa;
      guestStarts(lower, {
        state,
        svsm,
        svsmCpu,
        table,
        caller,
        tryToRun: (vmsa = caller) => vmrun(machine, vmsa, guest),
        image: () => machine.memory.read(caller.spa, 0x1000, guest.key),
        patchEfer: (efer) => {
          const image = machine.memory.read(caller.spa, 0x1000, guest.key);
          writeVmsa(image, 'efer', efer);
          machine.memory.write(caller.spa, image, guest.key);
        },
        get onEvent() {
          return onEvent;
        },
        set onEvent(value) {
          onEvent = value;
        },
      });
    });
    requestGhcbMsr(svsmCpu, { type: 'run-vmpl-request', vmpl: 2 }, 'run-vmpl');
  });
  host.run(guest);
}

/** Runs the guest's software, and checks that it has run. */
function inGuest(software: (vcpu: Vcpu, it: Scene) => void, options: Partial<SvsmStateOptions> = {}): void {
  let ran = 0;
  scene((vcpu, it) => {
    software(vcpu, it);
    ran += 1;
  }, options);
  expect(ran).toBe(1);
}

/** Makes the hypervisor run the SVSM for a caller that does not run. */
function entered({ svsm, svsmCpu }: Scene, caller: Vcpu): boolean {
  svsmCpu.guest.vmrun(svsmCpu.vmsa as RunnableVmsa);
  const hasRun = svsm.enter(caller);
  svsmCpu.leave(0x403n);
  return hasRun;
}

describe('a call by VMSAs', () => {
  // S3
  test('has its arguments and results in the caller’s VMSA', () => {
    inGuest((vcpu) => {
      expect(vcpu.vmpl).toBe(2);
      const after = callSvsm(vcpu, area, { rax: BigInt(SvsmCall.QueryProtocol), rcx: 1n });
      expect(after).toMatchObject({ rax: 0n, rcx: 0x1_0000_0001n });
    });
  });

  // S5, A15
  test('clears the caller’s EFER.SVME: a hypervisor that runs the caller meanwhile gets VMEXIT_INVALID', () => {
    inGuest((vcpu, it) => {
      const seen: unknown[] = [];
      it.onEvent = ({ type }) => {
        if (type === 'pvalidate') seen.push(it.tryToRun(), readVmsa(it.image(), 'efer') & EFER_SVME);
      };
      pvalidateBySvsm(vcpu, area, [entryOf(2 * MiB, { size: 1, validate: false })]);
      expect(seen).toEqual([-1n, 0n]);
      expect(vcpu.controlRegisters.efer & EFER_SVME).toBe(EFER_SVME);
      expect(codeOf(() => vcpu.read(gvaOf(2 * MiB), 1))).toBe('VC_NOT_VALIDATED');
    });
  });

  // S5, A15
  test('entering the SVSM without a call changes nothing, and the caller continues', () => {
    inGuest((vcpu, { state }) => {
      vcpu.registers.rax = 5n;
      requestGhcbMsr(vcpu, { type: 'run-vmpl-request', vmpl: 0 }, 'run-vmpl');
      expect(vcpu.registers.rax).toBe(5n);
      expect(state.validated.size).toBe(8n * BigInt(MiB));
    });
  });

  // S5, A15
  test('does not happen if the caller has exited for another reason', () => {
    inGuest((vcpu, it) => {
      vcpu.write(area.gva, Uint8Array.of(1));
      vcpu.registers.rax = BigInt(SvsmCall.QueryProtocol);
      vcpu.leave(0x400n, 0n, 0n);
      expect(entered(it, vcpu)).toBe(false);
      expect(readVmsa(it.image(), 'efer') & EFER_SVME).toBe(EFER_SVME);
      vcpu.guest.vmrun(vcpu.vmsa as RunnableVmsa);
      expect([vcpu.registers.rax, vcpu.read(area.gva, 1)[0]]).toEqual([6n, 1]);
    });
  });
});

describe('an entry of the hypervisor', () => {
  // S5, A15
  test('for a processor that runs serves nothing, and leaves its VMSA', () => {
    inGuest((vcpu, it) => {
      vcpu.write(area.gva, Uint8Array.of(1));
      vcpu.registers.rax = BigInt(SvsmCall.QueryProtocol);
      vcpu.leave(0x403n);
      vcpu.guest.vmrun(vcpu.vmsa as RunnableVmsa);
      // Its VMSA has the exit code and the registers of a call, but it has gone on since.
      expect(entered(it, vcpu)).toBe(false);
      expect(readVmsa(it.image(), 'efer') & EFER_SVME).toBe(EFER_SVME);
      expect(readVmsa(it.image(), 'rax')).toBe(BigInt(SvsmCall.QueryProtocol));
    });
  });

  // S5, A15
  test('after one whose results the hypervisor has kept back serves nothing, and the processor stays stopped', () => {
    inGuest((vcpu, it) => {
      vcpu.write(area.gva, Uint8Array.of(1));
      Object.assign(vcpu.registers, { rax: BigInt(SvsmCall.QueryProtocol), rcx: 1n });
      vcpu.leave(0x403n);
      const write = it.svsmCpu.write.bind(it.svsmCpu);
      it.svsmCpu.write = (gva, bytes) => {
        if (bytes.length === 0x1000) unresolvedFault();
        write(gva, bytes);
      };
      expect(entered(it, vcpu)).toBe(true);
      it.svsmCpu.write = write;
      expect(entered(it, vcpu)).toBe(false);
      expect(it.tryToRun()).toBe(-1n);
      expect(readVmsa(it.image(), 'rcx')).toBe(1n);
      // For the end of the scene.
      const efer = readVmsa(it.image(), 'efer');
      it.patchEfer(efer | EFER_SVME);
      vcpu.guest.vmrun(vcpu.vmsa as RunnableVmsa);
    });
  });
});

describe('CONFIGURE_VTOM', () => {
  const vtom = { min: 1n << 40n, max: 1n << 46n };

  // SVSM call 7
  test('gives the caller’s VMSA a virtual top of memory, CR3, RIP and RSP', () => {
    inGuest(
      (vcpu, { image }) => {
        const after = callSvsm(vcpu, area, {
          rax: BigInt(SvsmCall.ConfigureVtom),
          rcx: (1n << 46n) | 0x1en,
          rdx: vcpu.cr3 & ~(1n << 51n),
          r8: 0x1111n,
          r9: 0x2222n,
        });
        // The C-bit is reserved from here on, so the caller would need another page table.
        expect(after.rax).toBe(0n);
        const fields = (['rip', 'rsp', 'virtualTom', 'sevFeatures'] as const).map((name) =>
          readVmsa(image(), name),
        );
        expect(fields).toEqual([0x1111n, 0x2222n, 1n << 46n, 3n]);
      },
      { vtom },
    );
  });

  // SVSM call 7
  test.each<[string, bigint, number]>([
    ['below the offered range', (1n << 39n) | 2n, SvsmResult.InvalidAddress],
    ['above the offered range', (1n << 46n) | 0x20_0002n, SvsmResult.InvalidAddress],
    ['misaligned', (1n << 46n) | 0x1002n, SvsmResult.InvalidParameter],
    ['with a reserved bit', (1n << 46n) | 0x22n, SvsmResult.InvalidParameter],
    ['without the enable bit', 1n << 46n, SvsmResult.InvalidParameter],
    ['in a query', (1n << 46n) | 1n, SvsmResult.InvalidParameter],
  ])('refuses a vTOM %s, and changes nothing', (_, rcx, result) => {
    inGuest(
      (vcpu, { image }) => {
        const { rax } = callSvsm(vcpu, area, { rax: BigInt(SvsmCall.ConfigureVtom), rcx });
        expect(rax).toBe(BigInt(result));
        expect([readVmsa(image(), 'virtualTom'), readVmsa(image(), 'sevFeatures')]).toEqual([0n, 1n]);
      },
      { vtom },
    );
  });
});

describe('CREATE_VCPU and DELETE_VCPU', () => {
  const AP_VMSA = 3 * MiB;
  const AP_CAA = 3 * MiB + 0x1000;
  /** Makes the SVSM create a VMSA. */
  const created = (vcpu: Vcpu, at = AP_VMSA): bigint => {
    vcpu.write(gvaOf(at), createVmsa({ vmpl: 2, control: { cr3: vcpu.cr3 } }));
    const registers = { rcx: BigInt(at), rdx: BigInt(AP_CAA), r8: 1n };
    return callSvsm(vcpu, area, { rax: BigInt(SvsmCall.CreateVcpu), ...registers }).rax;
  };

  // SVSM call 2, SVSM call 3, S5
  test('make a processor that runs, can call at once, and cannot be deleted while it runs', () => {
    inGuest((vcpu, it) => {
      const { guest } = vcpu;
      const host = guest.machine.hypervisor as Hypervisor;
      expect(created(vcpu)).toBe(0n);
      const ghcb = { request: 1, apicId: 1, vmpl: 2, vmsa: physAddr(AP_VMSA), sevFeatures: 1n } as const;
      // The hypervisor runs it, as it would after an AP creation.
      const spa = guest.nested.lookup(physAddr(AP_VMSA))!.spa;
      expect(guest.machine.rmp.entry(spa)).toMatchObject({ vmsa: true, pageSize: PageSize.Regular });
      const ap = { gpa: ghcb.vmsa, spa, vmcb: host.allocatePage() };
      const remove = (): bigint =>
        callSvsm(vcpu, area, { rax: BigInt(SvsmCall.DeleteVcpu), rcx: BigInt(AP_VMSA) }).rax;
      const runs = guest.vmrun(ap) as Vcpu;
      expect(it.svsm.callingArea(runs)).toBe(BigInt(AP_CAA));
      expect(remove()).toBe(BigInt(SvsmResult.InstructionFailed + 3));
      runs.write(gvaOf(AP_CAA), Uint8Array.of(1));
      Object.assign(runs.registers, { rax: BigInt(SvsmCall.QueryProtocol), rcx: 1n });
      runs.leave(0x403n);
      expect(entered(it, runs)).toBe(true);
      guest.vmrun(ap);
      expect(runs.registers.rcx).toBe(0x1_0000_0001n);
      runs.leave(0x78n);
      expect(remove()).toBe(0n);
      expect(codeOf(() => guest.vmrun(ap))).toBe('VMRUN');
    });
  });

  // R25
  test('a VMSA at a multiple of 2 MiB is created, but the hypervisor does not run it', () => {
    inGuest((vcpu) => {
      expect(created(vcpu, 4 * MiB)).toBe(0n);
      const host = vcpu.guest.machine.hypervisor as Hypervisor;
      expect(host.vmsaOf(vcpu.guest, 1, 2)).toBeUndefined();
    });
  });
});
