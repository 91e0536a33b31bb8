/** Calls as on many processors: at each exit of a call, the hypervisor enters the SVSM for another processor. */
import { isDeepStrictEqual } from 'node:util';
import { expect, test } from 'vitest';
import { SvsmResult } from '../../src/formats/svsm-protocol.ts';
import {
  allDeposits,
  CALLS,
  onSteps,
  openPages,
  prepareOther,
  stateOf,
  type TwoProcessors,
  twoProcessors,
  vmsasOf,
} from '../support/svsm-steps.ts';
import { CAA } from '../support/svsm-world.ts';

interface End {
  /** The results of the first processor's call and of the second one's. */
  readonly results: readonly (number | undefined)[];
  readonly state: unknown;
  readonly deposits: unknown;
}

const NAMES = Object.keys(CALLS).filter((name) => !['rescindY', 'depositD', 'createV'].includes(name));

/** Both calls with their lists written; the ends of each are run by the functions. */
function pair(first: string, second: string): { it: TwoProcessors; runFirst(): number; runSecond(): number } {
  const it = twoProcessors();
  const runSecond = prepareOther(CALLS[second]!, it);
  const [id, registers] = CALLS[first]!(it, CAA);
  const all = { rax: BigInt(id), rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, ...registers };
  const runFirst = (): number => {
    it.svsm.call(it.guestCpu, all);
    return Number(all.rax);
  };
  return { it, runFirst, runSecond };
}

function endOf(it: TwoProcessors, results: readonly (number | undefined)[]): End {
  const state = stateOf(it, [it.other.guestCpu]);
  expect(openPages(it)).toEqual([]);
  expect(vmsasOf(it)).toEqual(it.state.vcpus.map(({ vmsa }) => vmsa).sort());
  return { results, state, deposits: allDeposits(it) };
}

/** The ends of one call after the other, of the first call alone, and of the second one alone. */
function serialEnds(first: string, second: string): readonly End[] {
  const one = pair(first, second);
  const firstThenSecond = [one.runFirst(), one.runSecond()];
  const two = pair(first, second);
  const b = two.runSecond();
  const secondThenFirst = [two.runFirst(), b];
  const three = pair(first, second);
  const alone = [three.runFirst(), SvsmResult.Busy];
  return [endOf(one.it, firstThenSecond), endOf(two.it, secondThenFirst), endOf(three.it, alone)];
}

/** The calls that are entered: `W` is to them what `X` is. */
const ENTERED = NAMES.filter((name) => name !== 'remapW' && name !== 'rescindW');

// S13, A14
test.each(ENTERED)(
  '%s, entered at each of its exits, ends as in a serial order, or the other call is BUSY',
  (first) => {
    let entries = 0;
    let busy = 0;
    for (const second of NAMES) {
      const serial = serialEnds(first, second);
      let isEntered = true;
      for (let at = 0; isEntered; at += 1) {
        const { it, runFirst, runSecond } = pair(first, second);
        isEntered = false;
        let b: number | undefined;
        const enter = (): void => {
          isEntered = true;
          b = runSecond();
          // Inside the first call, too, pages of the SVSM and VMSAs are closed.
          expect(openPages(it)).toEqual([]);
        };
        // Ahead of each step, as at a fault, and behind it, as in a trace.
        onSteps(
          it.vcpu,
          (step) => {
            if (2 * step === at) enter();
          },
          (step) => {
            if (2 * step + 1 === at) enter();
          },
        );
        const a = runFirst();
        if (!isEntered) break;
        entries += 1;
        const end = endOf(it, [a, b]);
        const isSerial = serial.some((other) => isDeepStrictEqual(other, end));
        expect(
          isSerial,
          `${second} at step ${at} of ${first}: ${end.results.map((r) => r?.toString(16))}`,
        ).toBe(true);
        if (b !== SvsmResult.Busy) continue;
        busy += 1;
      }
    }
    expect(entries).toBeGreaterThan(NAMES.length);
    expect(busy).toBeGreaterThan(0);
  },
);
