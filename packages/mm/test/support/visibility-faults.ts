/** Operations on the visibility of pages, each of whose steps fails in turn in each way in which it can. */
import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { RmpResult, SnpFault, VMEXIT_NPF } from '@svsm/sev-snp';
import { isMmError } from '../../src/formats/mm-error.ts';
import { SharedBox } from '../../src/visibility/shared-box.ts';
import { type Experiment, injectInto, type StepFailure } from './failing-steps.ts';
import {
  brokenLaw,
  gvaOf,
  HEAP,
  MiB,
  pictureOf,
  quietly,
  type Step,
  somePages,
  staleUses,
  type VisibilityWorld,
  visibilityWorld,
} from './visibility-world.ts';

/** Three pages of 4 KiB, of a page of 2 MiB that the region cuts, and then one of 2 MiB. */
const REGION = virtRegion(gvaOf(HEAP + 2 * MiB - 3 * PAGE_SIZE), 2 * MiB + 3 * PAGE_SIZE);
const SECRET = new TextEncoder().encode('attack at dawn');

interface Operation {
  /** Brings the world to the state before the operation. */
  readonly prepare: (it: VisibilityWorld) => void;
  readonly run: (it: VisibilityWorld) => unknown;
  /** Whether it has hundreds of steps that are alike, of which `npm test` takes some. */
  readonly isLong?: boolean;
  /** Splits the pages that the preparation has split by hand. */
  readonly splits?: (it: VisibilityWorld) => void;
  /** Takes back what the preparation has done by hand, if the operation has refused it. */
  readonly restore?: (it: VisibilityWorld) => void;
}

const allocate = (it: VisibilityWorld): void => void it.pages.allocateAt(REGION);
const share = (it: VisibilityWorld): void => it.visibility.makeShared(REGION);
const shared = (it: VisibilityWorld): void => {
  allocate(it);
  share(it);
};
const boxes = new WeakMap<VisibilityWorld, SharedBox>();

export const OPERATIONS: Readonly<Record<string, Operation>> = {
  makeShared: { prepare: allocate, run: share },
  'makeShared of pages whose entries are shared already': {
    prepare: (it) => {
      allocate(it);
      const small = virtRegion(REGION.start, 3 * PAGE_SIZE);
      for (const page of small.iterPages(PageSize.Regular)) it.kernel.setShared4k(page);
      it.shootDown.broadcast();
    },
    run: share,
    splits: (it) => it.kernel.split4k(REGION.start),
    restore: (it) => {
      if (it.visibility.isShared(REGION.start)) return;
      it.kernel.setEncryptedRegion(virtRegion(REGION.start, 3 * PAGE_SIZE));
      it.shootDown.broadcast();
    },
  },
  'makeShared of 4 KiB pages in the RMP': {
    prepare: (it) => {
      allocate(it);
      it.host.splitPage(it.guest, it.directMap.toPhys(gvaOf(HEAP + 2 * MiB)));
    },
    run: share,
    isLong: true,
  },
  makePrivate: { prepare: shared, run: (it) => it.visibility.makePrivate(REGION) },
  release: { prepare: shared, run: (it) => it.visibility.release(REGION) },
  allocateShared: { prepare: () => {}, run: (it) => it.visibility.allocateShared(5) },
  'SharedBox[Symbol.dispose]': {
    prepare: (it) => boxes.set(it, SharedBox.create(it, 3 * PAGE_SIZE)),
    run: (it) => boxes.get(it)![Symbol.dispose](),
  },
  retryLost: {
    prepare: (it) => {
      allocate(it);
      it.host.answers = { pageState: () => 1 };
      try {
        share(it);
      } catch (error) {
        if (!isMmError(error, 'VISIBILITY_FAILED')) throw error;
      }
      it.host.answers = {};
      if (it.visibility.lost.isEmpty) throw new Error('no page is lost');
    },
    run: (it) => {
      it.visibility.retryLost();
      if (!it.visibility.lost.isEmpty) throw new Error('pages are lost');
    },
  },
};

type Failure = StepFailure<VisibilityWorld, Step>;

const refuse = (): never => {
  throw new RangeError('no');
};
const fault = (): never => {
  const at = { gpa: 0n, gva: 0n, spa: undefined, nestedSize: undefined };
  throw new SnpFault('NPF', { exitCode: VMEXIT_NPF, exitInfo1: 0n, check: 'nested-not-present', ...at });
};
const answering = (info1: bigint, info2: bigint) => (it: VisibilityWorld) => {
  it.answer = { info1, info2 };
  return undefined;
};

export const FAILURES: Readonly<Record<string, Failure>> = {
  'a fault': { steps: ['read', 'write', 'clear', 'pvalidate', 'vmgexit'], before: fault },
  'an error': { steps: ['frame', 'table', 'shootdown', 'event'], before: refuse },
  'an error after the step': {
    steps: ['read', 'write', 'clear', 'vmgexit', 'shootdown'],
    after: refuse,
  },
  'a result of PVALIDATE': {
    steps: ['pvalidate'],
    before: () => ({ result: RmpResult.FAIL_INPUT, unchanged: false }),
  },
  'no change by PVALIDATE': {
    steps: ['pvalidate'],
    before: () => ({ result: RmpResult.SUCCESS, unchanged: true }),
  },
  'no exit': { steps: ['vmgexit'], before: () => 'no exit' },
  'a refusal': { steps: ['vmgexit'], before: answering(0n, 1n) },
  'an answer without sense': { steps: ['vmgexit'], before: answering(2n, 7n) },
  'a success that nothing has done': { steps: ['vmgexit'], before: answering(0n, 0n) },
};

const world = (): VisibilityWorld => visibilityWorld({ mib: 4 });
const looked = (it: VisibilityWorld): PhysAddr[] =>
  somePages(it, REGION, virtRegion(gvaOf(HEAP), 3 * PAGE_SIZE));

function prepared({ prepare }: Operation): VisibilityWorld {
  const it = world();
  it.cpus[0]!.vcpu.write(REGION.start, SECRET);
  prepare(it);
  staleUses(it, looked(it));
  return it;
}

/** The broken law after an operation, or after a hypervisor without malice has given everything back; `undefined` if none is. */
function problemOf(it: VisibilityWorld, start: string): string | undefined {
  const { visibility, pages } = it;
  const gpas = looked(it);
  const law = () => brokenLaw(it, gpas) ?? staleUses(it, gpas)[0];
  it.host.answers = {};
  const broken = law();
  if (broken !== undefined) return broken;
  visibility.retryLost();
  if (!visibility.lost.isEmpty) return `${visibility.lost} is lost for ever`;
  for (const part of visibility.sharedIn(it.directMap.virt)) visibility.makePrivate(part);
  const later = law();
  if (later !== undefined) return `at the end: ${later}`;
  for (const { region, state } of pages.blocks()) if (state === 'allocated') pages.freePages(region);
  pages.checkInvariants();
  if (pages.memoryInfo().freePages !== pages.region.pageCount()) return 'pages are not free';
  const end = pictureOf(it);
  return end === start ? undefined : `at the end: ${end}, not ${start}`;
}

/** The picture of the heap before an operation, with all its pages free. */
function startOf(operation: Operation): string {
  const it = world();
  operation.splits?.(it);
  return pictureOf(it);
}

/** Injects a failure at each step of an operation in turn. Returns the number of points, and the laws that were broken. */
export function inject(name: string, kind: string, isDeep = false): ReturnType<typeof injectInto> {
  const operation = OPERATIONS[name]!;
  const start = startOf(operation);
  const experiment: Experiment<VisibilityWorld> = {
    prepared: () => prepared(operation),
    run: operation.run,
    problemOf: (it) =>
      quietly(it, () => {
        operation.restore?.(it);
        return problemOf(it, start);
      }),
    most: operation.isLong === true && !isDeep ? 20 : undefined,
  };
  return injectInto(experiment, FAILURES[kind]!);
}
