/** Each step of the SVSM in CREATE_VCPU and DELETE_VCPU fails in turn: a call that is refused leaves everything as it was. */
import { PAGE_SIZE, physAddr, virtAddr } from '@svsm/address';
import {
  createVmsa,
  EFER_SVME,
  RmpResult,
  SnpFault,
  SvsmCall,
  SvsmResult,
  VMEXIT_NPF,
  writeVmsa,
} from '@svsm/sev-snp';
import { expect, test } from 'vitest';
import { hookInstructions, injectInto, type StepFailure } from '../support/failing-steps.ts';
import { GUEST_START, type GuestWorld, guestWorld } from '../support/guest-world.ts';
import { MIB } from '../support/world.ts';

const STEPS = ['read', 'write', 'rmpadjust', 'rmpquery'] as const;
type Step = (typeof STEPS)[number];
type VcpuWorld = GuestWorld & {
  before: (step: Step) => unknown;
  after: (step: Step) => void;
  result: number;
  start: string;
};

const VMSA = GUEST_START + 8 * MIB;
const CAA = VMSA + PAGE_SIZE;

/** The processors, the rights on both pages and the mappings of the SVSM. */
function stateOf({ svsm, guest, machine }: GuestWorld): string {
  const rights = [VMSA, CAA].map((gpa) => {
    const { vmplMasks, vmsa, validated } = machine.rmp.entry(guest.nested.lookup(physAddr(gpa))!.spa)!;
    return [...vmplMasks, vmsa, validated].join();
  });
  const mapped = svsm.cpus.map(({ part, temp4k }) => [[...part.leaves()].length, temp4k.allocations]);
  const processors = svsm.state.vcpus.map(({ vmsa, apicId, vmpl }) => `${vmsa} ${apicId} ${vmpl}`);
  return JSON.stringify({ rights, mapped, processors, free: svsm.pages.memoryInfo().freePages });
}

function call(it: VcpuWorld, number: number): void {
  const registers = { rax: BigInt(number), rcx: BigInt(VMSA), rdx: BigInt(CAA), r8: 1n, r9: 0n };
  it.result = it.svsm.serve(it.callers[0]!.vcpu, registers);
}

function prepared(prepare: (it: VcpuWorld) => void): VcpuWorld {
  const hooks = {
    before: (_: Step): unknown => undefined,
    after: (_: Step): void => {},
    result: 0,
    start: '',
  };
  const it: VcpuWorld = Object.assign(hooks, guestWorld());
  const image = createVmsa({ vmpl: 2 });
  writeVmsa(image, 'efer', EFER_SVME | 0xd00n);
  it.callers[0]!.vcpu.write(virtAddr(VMSA), image);
  prepare(it);
  it.start = stateOf(it);
  hookInstructions<Step>(it.svsm.cpus[0]!.vcpu, STEPS, it);
  return it;
}

const fault = (): never => {
  const at = { gpa: 0n, gva: 0n, spa: undefined, nestedSize: undefined };
  throw new SnpFault('NPF', { exitCode: VMEXIT_NPF, exitInfo1: 0n, check: 'nested-not-present', ...at });
};
const FAILURES: Readonly<Record<string, StepFailure<VcpuWorld, Step>>> = {
  'a fault': { steps: STEPS, before: fault },
  'a result of RMPADJUST': { steps: ['rmpadjust'], before: () => RmpResult.FAIL_PERMISSION },
};

/** A refused call has changed nothing, and works when it is repeated. */
function problemOf(it: VcpuWorld, number: number): string | undefined {
  if (it.result === SvsmResult.Success) return undefined;
  const state = stateOf(it);
  if (state !== it.start) return `${state}, not ${it.start}`;
  call(it, number);
  return it.result === SvsmResult.Success ? undefined : `the second call: 0x${it.result.toString(16)}`;
}

test.each(Object.keys(FAILURES))('CREATE_VCPU with %s at any step', (kind) => {
  const { broken, points } = injectInto<Step, VcpuWorld>(
    {
      prepared: () => prepared(() => {}),
      run: (it) => call(it, SvsmCall.CreateVcpu),
      problemOf: (it) => problemOf(it, SvsmCall.CreateVcpu),
    },
    FAILURES[kind]!,
  );
  expect(broken).toEqual([]);
  expect(points).toBeGreaterThan(2);
});

test.each(Object.keys(FAILURES))('DELETE_VCPU with %s at any step', (kind) => {
  const { broken, points } = injectInto<Step, VcpuWorld>(
    {
      prepared: () => prepared((it) => call(it, SvsmCall.CreateVcpu)),
      run: (it) => call(it, SvsmCall.DeleteVcpu),
      problemOf: (it) => problemOf(it, SvsmCall.DeleteVcpu),
    },
    FAILURES[kind]!,
  );
  expect(broken).toEqual([]);
  expect(points).toBeGreaterThan(2);
});
