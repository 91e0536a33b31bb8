/** Changes of pages by a guest above an SVSM, each of whose steps fails in turn, on both sides. */
import type { VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { RmpResult, SnpFault, VMEXIT_NPF } from '@svsm/sev-snp';
import { isMmError } from '../../src/formats/mm-error.ts';
import { type Experiment, injectInto, type StepFailure } from './failing-steps.ts';
import {
  brokenGuestLaw,
  type GuestStep,
  type GuestVisibilityWorld,
  guestPictureOf,
  guestVisibilityWorld,
  hostBytes,
  isStopped,
  REGION,
  SMALL,
} from './guest-visibility-world.ts';

const SECRET = new TextEncoder().encode('attack at dawn');

interface Operation {
  readonly region: MemoryRegion<VirtAddr>;
  /** The entries of a list that the SVSM processes in a call: with 3, a change takes several calls. */
  readonly entriesPerCall?: number;
  readonly prepare?: (it: GuestVisibilityWorld) => void;
  readonly run: (it: GuestVisibilityWorld) => unknown;
}

const share =
  (region: MemoryRegion<VirtAddr>) =>
  (it: GuestVisibilityWorld): void =>
    it.visibility.makeShared(region);
const takeBack =
  (region: MemoryRegion<VirtAddr>) =>
  (it: GuestVisibilityWorld): void =>
    it.visibility.makePrivate(region);

/** Makes a change fail: the hypervisor refuses all page state changes, and pages are lost. */
function lose(region: MemoryRegion<VirtAddr>): (it: GuestVisibilityWorld) => void {
  return (it) => {
    const { answers } = it.hypervisor;
    it.hypervisor.answers = { ...answers, pageState: () => 1 };
    try {
      it.visibility.makeShared(region);
    } catch (error) {
      if (!isMmError(error, 'VISIBILITY_FAILED')) throw error;
    }
    it.hypervisor.answers = answers;
    if (it.visibility.lost.isEmpty) throw new Error('no page is lost');
  };
}

const retry = (it: GuestVisibilityWorld): void => {
  it.visibility.retryLost();
  if (!it.visibility.lost.isEmpty) throw new Error('pages are lost');
};

export const GUEST_OPERATIONS: Readonly<Record<string, Operation>> = {
  makeShared: { region: REGION, run: share(REGION) },
  'makeShared in several calls': { region: SMALL, entriesPerCall: 3, run: share(SMALL) },
  makePrivate: { region: REGION, prepare: share(REGION), run: takeBack(REGION) },
  'makePrivate in several calls': {
    region: SMALL,
    entriesPerCall: 3,
    prepare: share(SMALL),
    run: takeBack(SMALL),
  },
  retryLost: { region: REGION, prepare: lose(REGION), run: retry },
};

const refuse = (): never => {
  throw new RangeError('no');
};
const fault = (): never => {
  const at = { gpa: 0n, gva: 0n, spa: undefined, nestedSize: undefined };
  throw new SnpFault('NPF', { exitCode: VMEXIT_NPF, exitInfo1: 0n, check: 'nested-not-present', ...at });
};
const answering = (info1: bigint, info2: bigint) => (it: GuestVisibilityWorld) => {
  it.answer = { info1, info2 };
  return undefined;
};

export const GUEST_FAILURES: Readonly<Record<string, StepFailure<GuestVisibilityWorld, GuestStep>>> = {
  'a fault of the guest': { steps: ['read', 'write', 'clear', 'exchange', 'vmgexit'], before: fault },
  'a fault of the SVSM': {
    steps: ['svsm read', 'svsm write', 'svsm clear', 'svsm pvalidate', 'svsm rmpadjust', 'svsm rmpquery'],
    before: fault,
  },
  'an error': { steps: ['frame', 'table', 'shootdown', 'event'], before: refuse },
  'an error after the step': {
    steps: ['read', 'write', 'clear', 'exchange', 'vmgexit', 'shootdown'],
    after: refuse,
  },
  'a result of PVALIDATE': {
    steps: ['svsm pvalidate'],
    before: () => ({ result: RmpResult.FAIL_INPUT, unchanged: false }),
  },
  'no change by PVALIDATE': {
    steps: ['svsm pvalidate'],
    before: () => ({ result: RmpResult.SUCCESS, unchanged: true }),
  },
  'a result of RMPADJUST': { steps: ['svsm rmpadjust'], before: () => RmpResult.FAIL_PERMISSION },
  'no exit': { steps: ['vmgexit'], before: () => 'no exit' },
  'an SVSM that is not run': {
    steps: ['vmgexit'],
    before: (it) => void Object.assign(it.hypervisor.answers, { withhold: true }),
    after: (it) => void Object.assign(it.hypervisor.answers, { withhold: false }),
  },
  'a refusal': { steps: ['vmgexit'], before: answering(0n, 1n) },
  'an answer without sense': { steps: ['vmgexit'], before: answering(2n, 7n) },
  'a success that nothing has done': { steps: ['vmgexit'], before: answering(0n, 0n) },
};

function prepared({ region, prepare, entriesPerCall }: Operation): GuestVisibilityWorld {
  const it = guestVisibilityWorld(entriesPerCall);
  it.vcpu.write(region.start, SECRET);
  prepare?.(it);
  return it;
}

/** The picture of the guest before an operation, with all its pages private. */
function startOf({ entriesPerCall }: Operation): string {
  return guestPictureOf(guestVisibilityWorld(entriesPerCall));
}

/**
 * The broken law after an operation, or after a hypervisor without malice has given everything back. A processor that the SVSM has
 * stopped can call no more, so that its lost pages stay lost: it is named in `stopped`.
 */
function problemOf(
  it: GuestVisibilityWorld,
  operation: Operation,
  start: string,
  stopped: string[],
): string | undefined {
  const { visibility, vcpu } = it;
  it.answer = undefined;
  const broken = brokenGuestLaw(it);
  if (broken !== undefined) return broken;
  if (!visibility.lost.isEmpty && isStopped(it)) {
    stopped.push(String(visibility.lost));
    return undefined;
  }
  visibility.retryLost();
  if (!visibility.lost.isEmpty) return `${visibility.lost} is lost for ever`;
  const { region } = operation;
  if (visibility.isShared(region.start)) {
    if (hostBytes(it, region.start, SECRET.length).some((byte, k) => byte === SECRET[k]))
      return 'the host reads the secret';
    visibility.makePrivate(region);
  }
  const later = brokenGuestLaw(it);
  if (later !== undefined) return `at the end: ${later}`;
  const content = vcpu.read(region.start, SECRET.length);
  const isKept = content.every((byte, k) => byte === SECRET[k]);
  if (!isKept && content.some((byte) => byte !== 0)) return 'a page holds neither its content nor zeros';
  const end = guestPictureOf(it);
  return end === start ? undefined : `at the end: ${end}, not ${start}`;
}

/**
 * Injects a failure at each step of an operation in turn.
 *
 * @param most - the most points, spread over all
 * @returns `stopped`: the lost pages of each point after which the SVSM had stopped the processor
 */
export function injectIntoGuest(
  name: string,
  kind: string,
  most?: number,
): { readonly points: number; readonly broken: string[]; readonly stopped: string[] } {
  const operation = GUEST_OPERATIONS[name]!;
  const start = startOf(operation);
  const stopped: string[] = [];
  const experiment: Experiment<GuestVisibilityWorld> = {
    prepared: () => prepared(operation),
    run: operation.run,
    problemOf: (it) => problemOf(it, operation, start, stopped),
    most,
  };
  return { ...injectInto(experiment, GUEST_FAILURES[kind]!), stopped };
}
