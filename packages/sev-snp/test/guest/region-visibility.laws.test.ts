/** The exits of changes of regions and of their way back, and what a second processor sees at each exit. */
import { PAGE_SIZE, PageSize, physAddr, type VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { makePagePrivate, makePageShared } from '../../src/guest/page-visibility.ts';
import type { RegionState } from '../../src/guest/region-state.ts';
import { makeRegionPrivate, makeRegionShared, settleRegion } from '../../src/guest/region-visibility.ts';
import {
  exitsOf,
  failureOf,
  type RegionWorld,
  regionOf,
  regionWorld,
  requireAll,
  requireState,
} from '../support/region-worlds.ts';
import { bytesOf, codeOf, gvaOf, MiB, spaOf, textOf } from '../support/world.ts';

const IS_DEEP = Number(process.env['FC_NUM_RUNS']) > 100;

/** Regions, each with the size of its entries, and the entries that are refused. */
const REGIONS: readonly [string, MemoryRegion<VirtAddr>, PageSize, readonly number[]][] = [
  [
    'six pages of 2 MiB',
    regionOf(8 * MiB, 12 * MiB),
    PageSize.Huge,
    IS_DEEP ? [0, 1, 2, 3, 4, 5] : [0, 3, 5],
  ],
  [
    '1000 pages of 4 KiB',
    regionOf(4 * MiB + 0x1_0000, 1000 * PAGE_SIZE),
    PageSize.Regular,
    IS_DEEP ? [0, 252, 253, 600, 999] : [252, 253, 999],
  ],
];

type Refusal = (start: number, size: number) => RegionWorld['host']['refuses'];
const REFUSALS: readonly [string, Refusal][] = [
  ['the entry', (start, size) => (gpa) => gpa >= start && gpa < start + size],
  [
    'the last page of the entry, after it has split it',
    (start, size) => (gpa, asked) => asked > PAGE_SIZE || Number(gpa) === start + size - PAGE_SIZE,
  ],
];

function ready(to: 'private' | 'shared', region: MemoryRegion<VirtAddr>): RegionWorld {
  const it = regionWorld(false, 24 * MiB);
  it.cpu.write(region.start, bytesOf('secret'));
  if (to === 'private') makeRegionShared(it.ghcb, it.pages, region, it.options);
  return it;
}

describe.each(REGIONS)('a region of %s', (_, region, size, entries) => {
  const refusals = size === PageSize.Huge ? REFUSALS : REFUSALS.slice(0, 1);
  describe.each(refusals)('of which the hypervisor refuses %s', (_name, refusal) => {
    // G7, G9, G12
    test.each([
      ['shared', 'private'],
      ['shared', 'shared'],
      ['private', 'shared'],
      ['private', 'private'],
    ] as const)(
      'on the way to %s, is %s after no more exits than it took',
      (to, end) => {
        const change = to === 'shared' ? makeRegionShared : makeRegionPrivate;
        for (const k of entries) {
          const it = ready(to, region);
          const start = Number(region.start - gvaOf(0)) + k * size;
          it.host.refuses = refusal(start, size);
          let state: ReturnType<typeof failureOf>;
          const taken = exitsOf(it, () => {
            state = failureOf(() => change(it.ghcb, it.pages, region, it.options));
          });
          const list = Math.floor(k / 253);
          expect(taken).toBe(list + 1);
          requireState(it, region, state as RegionState, `entry ${k}`);
          requireUntouched(it, state as RegionState, to, region, (list + 1) * 253 * size, `entry ${k}`);
          it.host.refuses = () => false;
          const back = exitsOf(it, () =>
            settleRegion(it.ghcb, it.pages, state as RegionState, end, it.options),
          );
          const forward = Math.ceil(Number(region.size) / size / 253);
          expect(back, `entry ${k}`).toBeLessThanOrEqual(end === to ? forward - list : taken);
          requireAll(it, region, end, `entry ${k}`);
        }
      },
      120_000,
    );
  });
});

/** Checks that the pages of lists that were not requested are as they were. */
function requireUntouched(
  it: RegionWorld,
  state: RegionState,
  to: 'private' | 'shared',
  region: MemoryRegion<VirtAddr>,
  requested: number,
  why: string,
): void {
  if (BigInt(requested) >= region.size) return;
  const rest = state[to === 'shared' ? 'private' : 'shared'];
  const wanted = regionOf(Number(region.start - gvaOf(0)) + requested, Number(region.size) - requested);
  expect(rest.map(String), why).toEqual([String(wanted)]);
  it.other.write(wanted.start, bytesOf('usable'));
}

// I12
test('settled pages of 2 MiB are 2 MiB in the RMP', () => {
  const [, region] = REGIONS[0]!;
  const it = ready('shared', region);
  it.host.refuses = (gpa) => gpa >= physAddr(12 * MiB);
  const state = failureOf(() => makeRegionShared(it.ghcb, it.pages, region, it.options)) as RegionState;
  it.host.refuses = () => false;
  settleRegion(it.ghcb, it.pages, state, 'private', it.options);
  for (const gva of region.iterPages(PageSize.Huge)) {
    const entry = it.machine.rmp.entry(spaOf(it, Number(gva - gvaOf(0))));
    expect(entry).toMatchObject({ pageSize: PageSize.Huge, validated: true });
  }
});

describe('on two processors', () => {
  const REGION = regionOf(6 * MiB - 3 * PAGE_SIZE, 2 * MiB + 3 * PAGE_SIZE);
  const PAGES = [6 * MiB - 2 * PAGE_SIZE, 6 * MiB, 7 * MiB].map(gvaOf);
  const FREE = regionOf(2 * MiB, 3 * PAGE_SIZE);

  /** Runs `act` on the other processor at each exit and each step of a change. */
  function atEachStep(it: RegionWorld, act: (step: string) => void): void {
    let isActing = false;
    it.onStep = (step) => {
      if (isActing) return undefined;
      isActing = true;
      act(step);
      isActing = false;
      return undefined;
    };
  }

  // A4, A9, G12
  test.each(['shared', 'private'] as const)(
    'whatever the other does at each step of a change to %s, no page is validated twice or seen by the host',
    (to) => {
      const it = ready(to, REGION);
      const ghcb = Ghcb.create(it.other, it.pages, gvaOf(4 * MiB + 0x4000), it.options);
      const seen = new Map<string, number>();
      const note = (what: string, code: string | undefined): void => {
        const key = `${what}: ${code}`;
        seen.set(key, (seen.get(key) ?? 0) + 1);
      };
      const change = to === 'shared' ? makeRegionShared : makeRegionPrivate;
      let turn = 0;
      atEachStep(it, (step) => {
        // An access to the page table is not a place at which another processor can take the lock of the table.
        if (step === 'table' || step === 'frame') return;
        for (const gva of PAGES)
          note(
            'read',
            codeOf(() => it.other.read(gva, 8)),
          );
        turn += 1;
        if (step !== 'vmgexit' && step !== 'pvalidate') return;
        note(
          'same',
          codeOf(() => change(ghcb, it.pages, REGION, it.options)),
        );
        const back = to === 'shared' ? makeRegionPrivate : makeRegionShared;
        note(
          'back',
          codeOf(() => back(ghcb, it.pages, REGION, it.options)),
        );
        const gva = PAGES[0]!;
        note(
          'page',
          codeOf(() => makePagePrivate(it.other, it.pages, gva, it.options)),
        );
        // Other pages can change meanwhile.
        makeRegionShared(ghcb, it.pages, FREE, it.options);
        makePageShared(it.other, it.pages, gvaOf(4 * MiB + 0x9000), it.options);
        makePagePrivate(it.other, it.pages, gvaOf(4 * MiB + 0x9000), it.options);
        makeRegionPrivate(ghcb, it.pages, FREE, it.options);
      });
      change(it.ghcb, it.pages, REGION, it.options);
      it.onStep = () => undefined;
      expect(turn).toBeGreaterThan(5);
      const refused = [...seen.keys()].filter((key) => /^(same|back)/.test(key));
      expect(refused.sort()).toEqual(['back: PAGE_IN_USE', 'same: PAGE_IN_USE']);
      requireAll(it, REGION, to, [...seen.keys()].join());
      for (const gva of PAGES) {
        const inside = textOf(it.host.read(spaOf(it, Number(gva - gvaOf(0))), 6));
        expect(inside).not.toBe('secret');
      }
    },
  );
});
