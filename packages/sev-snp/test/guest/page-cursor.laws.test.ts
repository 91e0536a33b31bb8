/** Pages and frames may be cursors: every step on a page does the same by cursor as by address. */
import { PAGE_SIZE, PageSize, physAddr, Virt } from '@svsm/address';
import { isRegionError, MemoryRegion, type PhysPage, physRegion, type VirtPage } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pvalidate, rmpadjust, rmpquery } from '../../src/cpu/guest-instructions.ts';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { makeVmsa, unmakeVmsa } from '../../src/guest/ap-creation.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { requestPageState } from '../../src/guest/msr-protocol.ts';
import { acceptPage, makePagePrivate, makePageShared, releasePage } from '../../src/guest/page-visibility.ts';
import { gvaOf, MiB, snapshot, type World, world } from '../support/world.ts';

const FIRST = 4 * MiB;
const PAGES = 4;
const REGION = new MemoryRegion(Virt, gvaOf(FIRST), PAGES * PAGE_SIZE);
const FRAMES = physRegion(physAddr(FIRST), PAGES * PAGE_SIZE);

/** Every function that takes a page. */
const OPERATIONS = {
  makePageShared: ({ vcpu, table }, page) => makePageShared(vcpu, table, page),
  makePagePrivate: ({ vcpu, table }, page) => makePagePrivate(vcpu, table, page),
  releasePage: ({ vcpu, table }, page) => releasePage(vcpu, table, page),
  acceptPage: ({ vcpu, table }, page) => acceptPage(vcpu, table, page),
  createGhcb: ({ vcpu, table }, page) => Ghcb.create(vcpu, table, page).gpa,
  makeVmsa: ({ vcpu }, page) => makeVmsa(vcpu, page, new Uint8Array(PAGE_SIZE)),
  unmakeVmsa: ({ vcpu }, page) => unmakeVmsa(vcpu, page),
  validate: ({ vcpu }, page) => vcpu.pvalidate(page, PageSize.Regular, true),
  rescind: ({ vcpu }, page) => pvalidate(vcpu, page, PageSize.Regular, false),
  adjust: ({ vcpu }, page) => vcpu.rmpadjust(page, PageSize.Regular, { vmpl: 1, permissions: 1 }),
  adjustAgain: ({ vcpu }, page) => rmpadjust(vcpu, page, PageSize.Regular, { vmpl: 2, permissions: 3 }),
  query: ({ vcpu }, page) => vcpu.rmpquery(page, 1),
  queryAgain: ({ vcpu }, page) => rmpquery(vcpu, page, 2),
  invlpg: ({ vcpu }, page) => vcpu.invlpg(page),
  read: ({ vcpu }, page) => vcpu.read(page, 8),
  readAcross: ({ vcpu }, page) => vcpu.read(page, PAGE_SIZE + 8),
  fetch: ({ vcpu }, page) => vcpu.fetch(page, 4),
  write: ({ vcpu }, page) => vcpu.write(page, Uint8Array.of(1, 2, 3)),
  clear: ({ vcpu }, page) => vcpu.clear(page, 2),
  exchange: ({ vcpu }, page) => vcpu.exchange(page, 7),
  compareExchange: ({ vcpu }, page) => vcpu.compareExchange(page, 0x30201n, 9n),
  translate: ({ vcpu }, page) => vcpu.translate(page, 'write'),
  translateAndUpdate: ({ vcpu }, page) => vcpu.translate(page, 'write', true),
  requestPageState: ({ vcpu }, _, frame) => requestPageState(vcpu, frame, PageOperation.Shared),
} satisfies Record<string, (it: World, page: VirtPage, frame: PhysPage) => unknown>;
type Operation = keyof typeof OPERATIONS;
const NAMES = Object.keys(OPERATIONS) as Operation[];

function outcome(operation: () => unknown): unknown {
  try {
    return operation();
  } catch (error) {
    const { name, code, details, message } = error as Record<string, unknown>;
    if (typeof code !== 'string') throw error;
    return [name, code, details, message];
  }
}

/** The RMP, and what the guest has mapped. */
function stateOf({ machine, table }: World): unknown {
  return [snapshot(machine.rmp), [...table.leaves()]];
}

const steps = fc.array(fc.tuple(fc.constantFrom(...NAMES), fc.nat(PAGES - 1)), {
  minLength: 1,
  maxLength: 8,
});

describe('a page by cursor equals the page by address', () => {
  test('in every step of a guest', () => {
    fc.assert(
      fc.property(steps, (steps) => {
        const [left, right] = [world(), world()];
        const page = REGION.cursor(PageSize.Regular);
        const frame = FRAMES.cursor(PageSize.Regular);
        for (const [name, index] of steps) {
          const byCursor = outcome(() => OPERATIONS[name](left, page.goTo(index), frame.goTo(index)));
          const address = gvaOf(FIRST + index * PAGE_SIZE);
          const byAddress = outcome(() =>
            OPERATIONS[name](right, address, physAddr(FIRST + index * PAGE_SIZE)),
          );
          expect(byCursor).toEqual(byAddress);
        }
        expect(stateOf(left)).toEqual(stateOf(right));
      }),
      { numRuns: 30 },
    );
  });

  test('in a loop that shares pages, and takes them back', () => {
    const [left, right] = [world(), world()];
    for (const page of REGION.cursor(PageSize.Regular)) makePageShared(left.vcpu, left.table, page);
    for (const page of REGION.iterPages(PageSize.Regular)) makePageShared(right.vcpu, right.table, page);
    expect(stateOf(left)).toEqual(stateOf(right));
    for (const page of REGION.cursor(PageSize.Regular)) makePagePrivate(left.vcpu, left.table, page);
    for (const page of REGION.iterPages(PageSize.Regular)) makePagePrivate(right.vcpu, right.table, page);
    expect(stateOf(left)).toEqual(stateOf(right));
  });
});

test.each(NAMES)('%s refuses a cursor that is not on a page, and changes nothing', (name) => {
  const it = world();
  const before = stateOf(it);
  const page = REGION.cursor(PageSize.Regular);
  const frame = FRAMES.cursor(PageSize.Regular);
  let thrown: unknown;
  try {
    OPERATIONS[name](it, page, frame);
  } catch (error) {
    thrown = error;
  }
  expect(isRegionError(thrown, 'NOT_ON_PAGE')).toBe(true);
  expect(stateOf(it)).toEqual(before);
});
