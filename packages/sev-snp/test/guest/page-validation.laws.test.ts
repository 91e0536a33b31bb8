/** The record of validated pages: each step of each change fails in turn, and the record is compared with the RMP. */
import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { SnpError } from '../../src/formats/snp-error.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import {
  acceptPage,
  makePagePrivate,
  makePageShared,
  releasePage,
  type VisibilityOptions,
} from '../../src/guest/page-visibility.ts';
import { makeRegionPrivate, makeRegionShared } from '../../src/guest/region-visibility.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import { onSteps, type StepName } from '../support/svsm-steps.ts';
import { bytesOf, gvaOf, MiB, spaOf, unresolvedFault, type World, world } from '../support/world.ts';

interface Guest extends World {
  readonly ghcb: Ghcb;
  readonly validated: ValidatedPages;
  readonly options: VisibilityOptions;
}

const START = 4 * MiB;
const PAGE = gvaOf(START);
const HUGE = virtRegion(gvaOf(START), 2 * MiB);
const FEW = virtRegion(gvaOf(START), 3 * PAGE_SIZE);

/** A guest with a record; `prepare` brings the pages to their first state. */
function guest(prepare: (it: Guest) => void, trace: () => void = () => {}): Guest {
  const it = world({ trace });
  const validated = new ValidatedPages(it.guest.memory, it.guest.memory);
  const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(2 * MiB), { validated });
  it.vcpu.write(PAGE, bytesOf('content'));
  const all = { ...it, ghcb, validated, options: { validated } };
  prepare(all);
  return all;
}

/** One error object for all changes: it says nothing about the instruction that throws it. */
const SAME = new Error('the same');

const none = (): void => {};
const shareRegion =
  (region = HUGE) =>
  (it: Guest): void =>
    makeRegionShared(it.ghcb, it.table, region, it.options);
const sharePage = (it: Guest): void => makePageShared(it.vcpu, it.table, PAGE, it.options);

/** Each change: its preparation, and whether it validates pages. */
const CHANGES: readonly [string, (it: Guest) => void, (it: Guest) => void, boolean][] = [
  ['makePageShared', none, sharePage, false],
  ['releasePage', none, (it) => releasePage(it.vcpu, it.table, PAGE, it.options), false],
  ['makePagePrivate', sharePage, (it) => makePagePrivate(it.vcpu, it.table, PAGE, it.options), true],
  [
    'acceptPage',
    (it) => {
      sharePage(it);
      it.table.setEncrypted4k(PAGE);
      it.vcpu.invlpg(PAGE);
    },
    (it) => acceptPage(it.vcpu, it.table, PAGE, it.options),
    true,
  ],
  ['makeRegionShared of 2 MiB', none, shareRegion(), false],
  ['makeRegionShared of 4 KiB', none, shareRegion(FEW), false],
  [
    'makeRegionPrivate of 2 MiB',
    shareRegion(),
    (it) => makeRegionPrivate(it.ghcb, it.table, HUGE, it.options),
    true,
  ],
  [
    'makeRegionPrivate of 4 KiB',
    shareRegion(FEW),
    (it) => makeRegionPrivate(it.ghcb, it.table, FEW, it.options),
    true,
  ],
  [
    'makeRegionPrivate of 2 MiB that the RMP has in 4 KiB pages',
    shareRegion(),
    (it) => {
      it.machine.hypervisor.splitPage(it.guest, physAddr(START));
      makeRegionPrivate(it.ghcb, it.table, HUGE, it.options);
    },
    true,
  ],
];

const FAILURES: Readonly<Record<string, (name: StepName) => unknown>> = {
  'a fault': unresolvedFault,
  'a result of PVALIDATE': (name) =>
    name === 'pvalidate' ? { result: RmpResult.FAIL_INPUT, unchanged: false } : undefined,
  'a wrong answer': (name) => (name === 'vmgexit' ? 'no answer' : undefined),
  'a callback that throws': () => {
    throw new Error('a callback');
  },
};

describe.each(CHANGES)('%s', (_, prepare, change, isPrivate) => {
  /** Makes the change; the step `at` fails. Returns the number of steps. */
  const attempt = (fail?: (name: StepName) => unknown, at = -1): [Guest, number, boolean] => {
    const it = guest(prepare);
    // What the hypervisor leaves in shared pages.
    if (isPrivate) dirty(it);
    let steps = 0;
    let isFailed = false;
    onSteps(it.vcpu, (_step, name) => (steps++ === at ? fail!(name) : undefined));
    try {
      change(it);
    } catch {
      isFailed = true;
    }
    return [it, steps, isFailed];
  };

  // A4
  test.each(Object.entries(FAILURES))(
    'leaves a record that is as the RMP, whichever step ends in %s',
    (_name, fail) => {
      const [, steps] = attempt();
      let failed = 0;
      for (let at = 0; at < steps; at += steps > 100 ? 97 : 1) {
        const [it, , isFailed] = attempt(fail, at);
        if (isFailed) failed += 1;
        for (let gpa = START; gpa < START + 2 * MiB; gpa += PAGE_SIZE) {
          const { validated } = it.machine.rmp.entry(spaOf(it, gpa))!;
          const isRecorded = it.validated.has(physAddr(gpa));
          // After a callback's error, nothing tells whether PVALIDATE has run: then the record has the page.
          const isKept = isRecorded && _name === 'a callback that throws';
          if (isRecorded !== validated && !isKept)
            expect([at, gpa, isRecorded]).toEqual([at, gpa, validated]);
          const isNew = isPrivate && validated && gpa < START + PAGE_SIZE;
          if (isNew)
            expect(it.machine.memory.read(spaOf(it, gpa), 16, it.guest.key), `step ${at}`).toEqual(
              new Uint8Array(16),
            );
        }
      }
      // Through the GHCB, an exit without an answer is one without progress.
      if (!_name.includes('answer') || !_.includes('Region')) expect(failed).toBeGreaterThan(0);
    },
  );
});

function dirty(it: Guest): void {
  const spa = it.guest.nested.lookup(physAddr(START))!.spa as SysPhysAddr;
  if (it.machine.rmp.entry(spa)?.assigned === false)
    it.machine.hypervisor.write(spa, bytesOf('left by the host'));
}

// A4
test('a page that another page has replaced stays in the record if it cannot be cleared', () => {
  const it = guest(sharePage);
  let isFailed = false;
  onSteps(it.vcpu, (_, name) => {
    if (name === 'clear') {
      // The hypervisor puts another page there, to which PVALIDATE has nothing to rescind.
      const spare = 0x1a0_0000n as SysPhysAddr;
      it.machine.hypervisor.rmpupdate(spare, { assigned: true, asid: 1, gpa: physAddr(START) });
      it.guest.nested.unmap(physAddr(START));
      it.guest.nested.map(physAddr(START), spare, PageSize.Regular);
      it.machine.hypervisor.flushTlbs(it.guest);
      isFailed = true;
      unresolvedFault();
    }
    return undefined;
  });
  expect(() => makePagePrivate(it.vcpu, it.table, PAGE, it.options)).toThrow();
  expect([isFailed, it.validated.has(physAddr(START))]).toEqual([true, true]);
});

// A4
describe.each(CHANGES)('%s', (_, prepare, change) => {
  test.each<[string, () => unknown]>([
    ['a fault', unresolvedFault],
    ['an error of the package', () => codeError()],
    ['another error', () => new Error('a callback')],
    ['the same error each time', () => SAME],
    ['a primitive', () => 'the same'],
  ])('leaves a record that is as the RMP, after whichever event `trace` throws %s', (_name, make) => {
    let events = 0;
    let at = -1;
    const attempt = (): Guest => {
      const hooks: { isOn: boolean } = { isOn: false };
      const it = guest(prepare, () => {
        if (hooks.isOn && events++ === at) throw made(make);
      });
      hooks.isOn = true;
      events = 0;
      try {
        change(it);
      } catch {
        // The record is compared.
      }
      return it;
    };
    attempt();
    const count = events;
    expect(count).toBeGreaterThan(0);
    for (at = 0; at < count; at += count > 60 ? 97 : 1) {
      const it = attempt();
      for (let gpa = START; gpa < START + 2 * MiB; gpa += PAGE_SIZE) {
        const { validated } = it.machine.rmp.entry(spaOf(it, gpa))!;
        const isRecorded = it.validated.has(physAddr(gpa));
        if (isRecorded !== validated) expect([at, gpa, isRecorded]).toEqual([at, gpa, validated]);
      }
    }
  });
});

/** The error that `make` throws or returns. */
function made(make: () => unknown): unknown {
  try {
    return make();
  } catch (error) {
    return error;
  }
}

function codeError(): SnpError {
  return new SnpError('NOT_VALIDATED', { gpa: 0n });
}
