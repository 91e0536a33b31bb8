/** Changes of regions: each step fails in turn, the whole state is compared, and the region is brought to one state. */
import { PAGE_SIZE, physAddr, type VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import {
  acceptRegion,
  makeRegionPrivate,
  makeRegionShared,
  releaseRegion,
  settleRegion,
} from '../../src/guest/region-visibility.ts';
import {
  failureOf,
  type RegionWorld,
  regionOf,
  regionWorld,
  requireAll,
  requireState,
  type Step,
} from '../support/region-worlds.ts';

import { bytesOf, gvaOf, MiB, spaOf, unresolvedFault } from '../support/world.ts';

/** Three pages and then one of 2 MiB: all sizes, and a page that the region cuts. */
const REGION = regionOf(6 * MiB - 3 * PAGE_SIZE, 2 * MiB + 3 * PAGE_SIZE);

type Change = (it: RegionWorld) => void;
const share: Change = (it) => makeRegionShared(it.ghcb, it.pages, REGION, it.options);
const shareCleared: Change = (it) =>
  makeRegionShared(it.ghcb, it.pages, REGION, { ...it.options, clear: true });
const take: Change = (it) => makeRegionPrivate(it.ghcb, it.pages, REGION, it.options);

interface Subject {
  readonly prepare: Change;
  readonly change: Change;
  readonly to: 'private' | 'shared';
  /** Whether the pages that it reports as shared are still mapped private. */
  readonly isHalf?: boolean;
}

const none: Change = () => {};
const SUBJECTS: Readonly<Record<string, Subject>> = {
  makeRegionShared: { prepare: none, change: share, to: 'shared' },
  'makeRegionShared that clears': { prepare: none, change: shareCleared, to: 'shared' },
  makeRegionPrivate: { prepare: share, change: take, to: 'private' },
  releaseRegion: {
    prepare: none,
    change: (it) => releaseRegion(it.ghcb, it.pages, REGION, it.options),
    to: 'shared',
    isHalf: true,
  },
  acceptRegion: {
    prepare: (it) => {
      share(it);
      it.pages.setEncryptedRegion(REGION);
      it.options.flush!(REGION);
    },
    change: (it) => acceptRegion(it.ghcb, it.pages, REGION, it.options),
    to: 'private',
  },
  'makeRegionShared of 4 KiB pages in the RMP': {
    prepare: (it) => it.host.splitPage(it.guest, physAddr(6 * MiB)),
    change: share,
    to: 'shared',
  },
};

type Failure = (step: Step, it: RegionWorld) => unknown;

/** The failures of a step. One that returns `undefined`, and sets nothing, does not belong to the step. */
const FAILURES: Readonly<Record<string, { readonly steps: readonly Step[]; readonly fail: Failure }>> = {
  'a fault': { steps: ['read', 'write', 'clear', 'pvalidate', 'vmgexit', 'table'], fail: unresolvedFault },
  'an error': {
    steps: ['frame', 'shootdown'],
    fail: () => {
      throw new Error('no');
    },
  },
  'a result': { steps: ['pvalidate'], fail: () => ({ result: RmpResult.FAIL_INPUT, unchanged: false }) },
  'no change': { steps: ['pvalidate'], fail: () => ({ result: RmpResult.SUCCESS, unchanged: true }) },
  'no exit': { steps: ['vmgexit'], fail: () => 'no exit' },
  'a refusal': {
    steps: ['vmgexit'],
    fail: (_, { host }) => {
      host.answer = { info1: 0n, info2: 1n };
      return undefined;
    },
  },
  'an answer without sense': {
    steps: ['vmgexit'],
    fail: (_, { host }) => {
      host.answer = { info1: 2n, info2: 7n };
      return undefined;
    },
  },
};

/** Of many steps, as many at each end and between; more in a deep run. */
const PLACES = Number(process.env['FC_NUM_RUNS']) > 100 ? 3 : 2;

/** Some of the steps of one kind: all if there are few. The first and the last of many are the ones that differ. */
function some(steps: readonly number[]): readonly number[] {
  if (steps.length <= 4 * PLACES) return steps;
  const stride = Math.ceil(steps.length / PLACES);
  return steps.filter((_, k) => k < PLACES || k >= steps.length - PLACES || k % stride === 0);
}

function prepared({ prepare }: Subject, isAbove: boolean): RegionWorld {
  const it = regionWorld(isAbove);
  it.cpu.write(REGION.start, bytesOf('secret'));
  prepare(it);
  return it;
}

describe.each(['by itself', 'above an SVSM'])('a guest %s', (which) => {
  const isAbove = which !== 'by itself';
  describe.each(Object.entries(SUBJECTS))('%s', (_, subject) => {
    // G9, G11, G12, A4
    test.each(Object.entries(FAILURES))(
      'says where each page is after %s at any step, and the region can be settled',
      (_kind, { steps, fail }) => {
        const names: Step[] = [];
        const dry = prepared(subject, isAbove);
        dry.onStep = (step) => {
          names.push(step);
          return undefined;
        };
        subject.change(dry);
        const places = steps.flatMap((name) => some([...names.keys()].filter((k) => names[k] === name)));
        for (const at of places) {
          const it = prepared(subject, isAbove);
          let step = 0;
          it.onStep = (name) => (step++ === at ? fail(name, it) : undefined);
          const state = failureOf(() => subject.change(it));
          it.onStep = () => undefined;
          it.host.answer = undefined;
          const why = `${names[at]}, step ${at}`;
          if (state === undefined) continue;
          check(it, subject, state, at % 2 === 0 ? 'private' : 'shared', why);
        }
      },
      120_000,
    );
  });
});

/** Compares the state with what the failed change reports, and brings the region to one state. */
function check(
  it: RegionWorld,
  { to, isHalf = false, change }: Subject,
  state: NonNullable<ReturnType<typeof failureOf>>,
  end: 'private' | 'shared',
  why: string,
): void {
  if (state === 'unchanged') {
    // Nothing has changed: the same change succeeds.
    change(it);
    if (isHalf) it.pages.setSharedRegion(REGION);
    it.options.flush!(REGION);
    requireAll(it, REGION, to, why);
    return;
  }
  // `releaseRegion` leaves the entries alone.
  const found = isHalf ? { ...state, shared: [], lost: [...state.lost, ...state.shared] } : state;
  requireState(it, REGION, found, why);
  settleRegion(it.ghcb, it.pages, state, end, it.options);
  requireAll(it, REGION, end, why);
}

// A11
test.each(['private', 'shared'] as const)('a settlement that fails can be settled: to %s', (end) => {
  const it = regionWorld();
  it.cpu.write(REGION.start, bytesOf('secret'));
  it.host.refuses = (gpa) => gpa >= physAddr(6 * MiB);
  let state = failureOf(() => share(it));
  for (let k = 0; k < 3; k += 1) {
    if (state === undefined || state === 'unchanged') throw new Error('it has to fail');
    requireState(it, REGION, state, `attempt ${k}`);
    const last = state;
    const target = k % 2 === 0 ? end : 'private';
    state = failureOf(() => settleRegion(it.ghcb, it.pages, last, target, it.options));
  }
  it.host.refuses = () => false;
  settleRegion(it.ghcb, it.pages, state as never, end, it.options);
  requireAll(it, REGION, end, 'in the end');
});

// A4, I10
test('a page that another one has replaced is brought back only once the validated one is there again', () => {
  const it = regionWorld();
  const gpa = physAddr(6 * MiB - PAGE_SIZE);
  it.host.splitPage(it.guest, gpa);
  const mine = spaOf(it, Number(gpa));
  const put = (spa: typeof mine): void => {
    it.guest.nested.unmap(gpa);
    it.guest.nested.map(gpa, spa, PAGE_SIZE);
    it.host.flushTlbs(it.guest);
  };
  const spare = 0x1a0_0000n as typeof mine;
  it.host.rmpupdate(spare, { assigned: true, asid: it.guest.asid, gpa });
  put(spare);
  const state = failureOf(() => share(it));
  if (state === undefined || state === 'unchanged') throw new Error('it has to fail');
  expect(state.validated?.map(String)).toEqual([String(regionOf(Number(gpa), PAGE_SIZE))]);
  const again = failureOf(() => settleRegion(it.ghcb, it.pages, state, 'private', it.options));
  expect(again).toMatchObject({ validated: [expect.anything()] });
  expect(it.validated.has(gpa)).toBe(true);
  put(mine);
  settleRegion(it.ghcb, it.pages, again as never, 'private', it.options);
  requireAll(it, REGION, 'private', 'in the end');
});

// A4
test('without a record, the state alone tells which pages have to be rescinded first', () => {
  const it = regionWorld();
  const { flush } = it.options;
  const options = flush === undefined ? {} : { flush };
  makeRegionShared(it.ghcb, it.pages, REGION, options);
  // The pages cannot be cleared, and their validation cannot be rescinded.
  let isHidden = false;
  it.onStep = (name) => {
    isHidden ||= name === 'clear' && it.machine.rmp.entry(spaOf(it, 6 * MiB))?.validated === true;
    return isHidden && (name === 'clear' || name === 'pvalidate') ? unresolvedFault() : undefined;
  };
  const state = failureOf(() => makeRegionPrivate(it.ghcb, it.pages, REGION, options));
  it.onStep = () => undefined;
  if (state === undefined || state === 'unchanged') throw new Error('it has to fail');
  expect(state.validated?.length).toBeGreaterThan(0);
  settleRegion(it.ghcb, it.pages, state, 'private', options);
  const bytes = it.cpu.read(REGION.start, Number(REGION.size));
  expect(bytes.every((byte) => byte === 0)).toBe(true);
});

describe('the flush', () => {
  const wanted = [String(REGION)];

  // G12, A9
  test('comes once for a region: after the entries, and before its pages are requested or used', () => {
    const it = regionWorld();
    it.onStep = (step) => {
      const shared = step === 'shootdown' ? it.events.filter(({ type }) => type === 'vmgexit').length : 0;
      if (step === 'shootdown') it.flushes.push(`after ${shared} exits`);
      return undefined;
    };
    it.events.length = 0;
    share(it);
    expect(it.flushes).toEqual(['after 1 exits', ...wanted]);
    it.flushes.length = 0;
    take(it);
    expect(it.flushes).toEqual(['after 1 exits', ...wanted]);
  });

  test('does not come if no entry has changed', () => {
    const it = regionWorld();
    it.host.refuses = () => true;
    expect(failureOf(() => share(it))).toMatchObject({ shared: [] });
    releaseRegionOf(it);
    expect(it.flushes).toEqual([]);
  });

  function releaseRegionOf(it: RegionWorld): void {
    const free: MemoryRegion<VirtAddr> = regionOf(2 * MiB, PAGE_SIZE);
    it.host.refuses = () => false;
    releaseRegion(it.ghcb, it.pages, free, it.options);
    it.pages.setSharedRegion(free);
    it.cpu.invlpg(gvaOf(2 * MiB));
  }
});
