/** A refused call changes nothing: each step of each call fails in turn, and the whole state is compared. */
import { isDeepStrictEqual } from 'node:util';
import { physAddr } from '@svsm/address';
import { beforeAll, describe, expect, test } from 'vitest';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import {
  allDeposits,
  CALLS,
  HUGE_CALLS,
  onSteps,
  type Request,
  run,
  type StepName,
  stateOf,
  twoProcessors,
} from '../support/svsm-steps.ts';
import { CAA, entryOf, pvalidateList, type SvsmWorld, svsmWorld } from '../support/svsm-world.ts';
import { gvaOf, MiB, unresolvedFault } from '../support/world.ts';

/** The failure of a step, in place of the step; `undefined` if the step cannot fail so. */
type Failure = (name: StepName) => unknown;

/** INVLPGB has no operand in memory. */
const fault: Failure = (name) => (name === 'invlpgb' ? undefined : unresolvedFault());

const FAILURES: Readonly<Record<string, Failure>> = {
  'a fault': fault,
  'a result': (name) => {
    if (name === 'pvalidate') return { result: RmpResult.FAIL_SIZEMISMATCH, unchanged: false };
    if (name === 'rmpadjust') return RmpResult.FAIL_PERMISSION;
    if (name === 'rmpquery')
      return { result: RmpResult.FAIL_PERMISSION, permissions: 0, vmsa: false, pageSize: 4096 };
    return undefined;
  },
  'an unchanged page': (name) =>
    name === 'pvalidate' ? { result: RmpResult.SUCCESS, unchanged: true } : undefined,
  'a callback that throws': () => {
    throw new CallbackError('a callback');
  },
  'an error that `trace` has thrown before': () => {
    throw SAME;
  },
};

class CallbackError extends Error {}

/** One error object for all calls: it says nothing about the instruction that throws it. */
const SAME = new CallbackError('the same');

/** The error that `trace` throws after an instruction: a fault too can be one. */
const AFTER: Readonly<Record<string, () => unknown>> = {
  'a fault': () => thrownBy(unresolvedFault),
  'another error': () => new CallbackError('a callback'),
  'the same error each time': () => SAME,
  'a primitive': () => 'the same',
};

function thrownBy(action: () => never): unknown {
  try {
    return action();
  } catch (error) {
    return error;
  }
}

/** A guest with pages of 2 MiB. The one at 2 MiB is not validated. */
function hugeWorld(): SvsmWorld {
  const it = svsmWorld();
  it.guestCpu.write(gvaOf(6 * MiB + 0x5000), Uint8Array.of(1, 2, 3));
  return it;
}

const WORLDS: Readonly<Record<string, () => SvsmWorld>> = {
  'of 4 KiB': twoProcessors,
  'of 2 MiB': hugeWorld,
  'of 2 MiB, on 4 KiB pages in the RMP': () => {
    const it = hugeWorld();
    it.machine.hypervisor.splitPage(it.guest, physAddr(6 * MiB));
    return it;
  },
};

/** At how many steps at each end of a long call, and at how many between them, the call fails; more in a deep run. */
const PLACES = Number(process.env['FC_NUM_RUNS']) > 100 ? 6 : 3;

/** The steps to fail: all of them, or some at each end and between. */
function chosen(count: number): number[] {
  const all = Array.from({ length: count }, (_, k) => k);
  if (count <= 24) return all;
  return all.filter((k) => k < PLACES || k >= count - PLACES || k % Math.ceil(count / PLACES) === 0);
}

const CASES: [string, string, () => SvsmWorld, Request][] = [
  ...Object.entries(CALLS)
    .filter(([name]) => !['rescindY', 'depositD', 'createV'].includes(name))
    .map(([name, request]) => [name, 'of 4 KiB', WORLDS['of 4 KiB']!, request] as never),
  ...Object.entries(HUGE_CALLS)
    .filter(([name]) => name !== 'validate6')
    .map(([name, request]) => [name, 'of 2 MiB', WORLDS['of 2 MiB']!, request] as never),
  [
    'deposit',
    'of 2 MiB, on 4 KiB pages in the RMP',
    WORLDS['of 2 MiB, on 4 KiB pages in the RMP']!,
    HUGE_CALLS['deposit']!,
  ],
  [
    'clear',
    'of 2 MiB, on 4 KiB pages in the RMP',
    WORLDS['of 2 MiB, on 4 KiB pages in the RMP']!,
    HUGE_CALLS['clear']!,
  ],
  [
    'validate',
    'of 2 MiB that were rescinded',
    () => {
      const it = hugeWorld();
      pvalidateList(it, [entryOf(6 * MiB, { validate: false, size: 1 })]);
      return it;
    },
    (it, caa) => HUGE_CALLS['validate6']!(it, caa),
  ],
];

describe.each(CASES)('%s %s', (_, __, make, request) => {
  /** Runs the call in a new world. */
  const attempt = (failure?: Failure, at = -1, after?: [event: number, error: () => unknown]) => {
    const it = make();
    let events = 0;
    if (after !== undefined) {
      it.events.push = () => {
        if (events++ === after[0]) throw after[1]();
        return 0;
      };
    }
    const [id, registers] = request(it, CAA);
    let steps = 0;
    let isFailed = false;
    onSteps(it.vcpu, (_step, name) => {
      const isThis = steps++ === at;
      if (!isThis) return undefined;
      isFailed = true;
      const replaced = failure!(name);
      isFailed = replaced !== undefined;
      return replaced;
    });
    const all = { rax: BigInt(id), rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, ...registers };
    let thrown: unknown;
    try {
      it.svsm.call(it.guestCpu, all);
    } catch (error) {
      thrown = error;
    }
    const result = Number(all.rax);
    return { it, after: stateOf(it), result, thrown, steps, isFailed, events };
  };

  test('ends well if no step fails', () => {
    const { good, before } = ends;
    expect([good.result, good.steps > 0, isDeepStrictEqual(good.after, before)]).toEqual([0, true, false]);
  });

  /** The call that ends well, and the states before and after it: computed by the first test. */
  let ends: {
    good: ReturnType<typeof attempt>;
    before: unknown;
    final: { state: unknown; deposits: unknown };
  };
  beforeAll(() => {
    const good = attempt();
    const untouched = make();
    request(untouched, CAA);
    ends = {
      good,
      before: stateOf(untouched),
      final: { state: good.after, deposits: allDeposits(good.it) },
    };
  });

  // S5, S9
  test.each(Object.entries(AFTER))(
    'changes nothing, or ends, if `trace` throws %s after a step',
    (_name, error) => {
      const { before, final } = ends;
      const { events } = attempt(undefined, -1, [-1, error]);
      for (const at of chosen(events)) {
        const { after, thrown } = attempt(undefined, -1, [at, error]);
        expect(thrown, `event ${at}`).toBeDefined();
        const isOne = [before, final.state].some((state) => isDeepStrictEqual(after, state));
        expect(isOne, `event ${at}`).toBe(true);
      }
    },
  );

  // S5, S9
  test.each(Object.entries(FAILURES))('changes nothing if a step ends in %s', (_name, failure) => {
    const { good, before, final } = ends;
    for (const at of chosen(good.steps)) {
      const { it, after, result, thrown, isFailed } = attempt(failure, at);
      if (thrown !== undefined) expect(thrown).toBeInstanceOf(CallbackError);
      if (!isFailed) continue;
      // The last steps of a list flush, and write its progress: without one of them, the call is done all the same.
      const isLast = at >= good.steps - 2 && isDeepStrictEqual(after, final.state);
      const isDone = thrown === undefined ? result === 0 : isLast;
      expect(isDeepStrictEqual(after, isDone ? final.state : before), `step ${at}`).toBe(true);
      if (isDone) continue;
      // No claim and no half of a record is left: the same call ends well.
      expect(run(request, it), `step ${at}, again`).toBe(0);
      expect(isDeepStrictEqual(stateOf(it), final.state), `step ${at}, again`).toBe(true);
      expect(allDeposits(it)).toEqual(final.deposits);
    }
  });
});
