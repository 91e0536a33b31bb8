/** Changes of regions, exactly: the lists after a refusal, the pages that the hypervisor is asked for, and the flushes. */
import { PAGE_SIZE, type VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import type { RegionState } from '../../src/guest/region-state.ts';
import {
  makeRegionPrivate,
  makeRegionShared,
  releaseRegion,
  settleRegion,
} from '../../src/guest/region-visibility.ts';
import { type RegionWorld, regionOf, regionWorld } from '../support/region-worlds.ts';
import { codeOf, MiB, thrownBy } from '../support/world.ts';

const START = 6 * MiB + PAGE_SIZE;
/** The entries of one list of page state changes. */
const LIST = 253;
const pagesOf = (first: number, count: number) => regionOf(START + first * PAGE_SIZE, count * PAGE_SIZE);
/** 4 KiB pages for two lists and a few of a third one. */
const ALL = pagesOf(0, 2 * LIST + 4);
const REST = 4;

const texts = (regions: readonly MemoryRegion<VirtAddr>[] = []): string[] => regions.map(String);
const listsOf = (state: Partial<RegionState> = {}) => ({
  private: texts(state.private),
  shared: texts(state.shared),
  lost: texts(state.lost),
});

/** The page numbers that the hypervisor is asked for, from `START` on; it refuses `refused`. */
function asking(it: RegionWorld, refused?: number): number[] {
  const asked: number[] = [];
  it.host.refuses = (gpa) => {
    const page = (Number(gpa) - START) / PAGE_SIZE;
    asked.push(page);
    return page === refused;
  };
  it.flushes.length = 0;
  return asked;
}

test('a refusal in the second list on the way to shared leaves the first shared and the third private', () => {
  const it = regionWorld();
  asking(it, LIST + 5);
  const error = thrownBy(() => makeRegionShared(it.ghcb, it.pages, ALL, it.options));
  expect(error).toMatchObject({ code: 'REGION_CHANGE_FAILED', details: { to: 'shared' } });
  expect(listsOf(error?.details as never)).toEqual({
    private: texts([pagesOf(2 * LIST, REST)]),
    shared: texts([pagesOf(0, LIST)]),
    lost: texts([pagesOf(LIST, LIST)]),
  });
  expect(it.flushes).toEqual(texts([pagesOf(0, LIST)]));
});

test('a refusal in the second list on the way to private keeps of the third what was shared, and no lost page', () => {
  const it = regionWorld();
  makeRegionShared(it.ghcb, it.pages, ALL, it.options);
  asking(it, LIST + 5);
  const state = { private: [], shared: [pagesOf(0, 2 * LIST + 2)], lost: [pagesOf(2 * LIST + 2, 2)] };
  const error = thrownBy(() => settleRegion(it.ghcb, it.pages, state, 'private', it.options));
  expect(error).toMatchObject({ code: 'REGION_CHANGE_FAILED', details: { to: 'private' } });
  expect(listsOf(error?.details as never)).toEqual({
    private: texts([pagesOf(0, LIST)]),
    shared: texts([pagesOf(2 * LIST, 2)]),
    lost: texts([pagesOf(LIST, LIST), pagesOf(2 * LIST + 2, 2)]),
  });
  // All were mapped shared; those that stay shared are mapped so again.
  expect(it.flushes).toEqual(texts([ALL, pagesOf(2 * LIST, 2)]));
});

test('settling asks for the pages that are not done, and flushes no others', () => {
  const it = regionWorld();
  makeRegionShared(it.ghcb, it.pages, pagesOf(0, 3), it.options);
  const half = { private: [pagesOf(3, 3)], shared: [pagesOf(0, 3)], lost: [] };
  let asked = asking(it);
  settleRegion(it.ghcb, it.pages, half, 'shared', it.options);
  expect([asked, it.flushes]).toEqual([[3, 4, 5], texts([pagesOf(3, 3)])]);
  makeRegionPrivate(it.ghcb, it.pages, pagesOf(3, 3), it.options);
  asked = asking(it);
  settleRegion(it.ghcb, it.pages, half, 'private', it.options);
  expect([asked, it.flushes]).toEqual([[0, 1, 2], texts([pagesOf(0, 3)])]);
});

test('a region of one page is changed by the MSR protocol, one of two by a list', () => {
  for (const pages of [1, 2]) {
    const it = regionWorld();
    const before = it.events.length;
    makeRegionShared(it.ghcb, it.pages, pagesOf(0, pages), it.options);
    const requests = it.events
      .slice(before)
      .flatMap((event) => (event.type === 'vmgexit' ? [event.request] : []));
    expect(requests.map((request) => request & 0xfffn)).toEqual([pages === 1 ? 0x14n : 0n]);
  }
});

test('a page that the record has as validated is not taken for a shared one', () => {
  const it = regionWorld();
  const state = { private: [], shared: [pagesOf(0, 1)], lost: [] };
  const settle = () => settleRegion(it.ghcb, it.pages, state, 'shared', it.options);
  expect(codeOf(settle)).toBe('ALREADY_VALIDATED');
});

test('with `clear`, only the private parts of a page of 2 MiB are cleared', () => {
  const it = regionWorld();
  const whole = regionOf(6 * MiB, 2 * MiB);
  const [kept, lost] = [regionOf(6 * MiB, MiB), regionOf(7 * MiB, MiB)];
  let clears = 0;
  it.onStep = (step) => {
    if (step === 'clear') clears += 1;
    return undefined;
  };
  const options = { ...it.options, clear: true };
  settleRegion(it.ghcb, it.pages, { private: [kept], shared: [], lost: [lost] }, 'shared', options);
  expect([clears, it.pages.lookup(whole.start)?.shared]).toEqual([MiB / PAGE_SIZE, true]);
});

test('on the way to private, lost pages are flushed, and those that were mapped private all the time are not', () => {
  const it = regionWorld();
  const released = pagesOf(0, 2);
  const lost = pagesOf(2, 2);
  releaseRegion(it.ghcb, it.pages, released, it.options);
  it.flushes.length = 0;
  const state = { private: [], shared: [released], lost: [lost] };
  settleRegion(it.ghcb, it.pages, state, 'private', it.options);
  expect(it.flushes).toEqual(texts([lost]));
});

test('the record decides whether the validation of a lost page stands, whatever the list says', () => {
  const it = regionWorld();
  const page = pagesOf(0, 1);
  makeRegionShared(it.ghcb, it.pages, page, it.options);
  const state = { private: [], shared: [], lost: [page], validated: [page] };
  settleRegion(it.ghcb, it.pages, state, 'private', it.options);
  expect(it.validated.has(it.pages.lookup(page.start)!.paddr)).toBe(true);
});
