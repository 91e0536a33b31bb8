import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GuestContext } from '../../src/cpu/platform.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { GhcbExit } from '../../src/formats/ghcb-page.ts';
import type { PscEntry } from '../../src/formats/page-state-list.ts';
import { makeVmsa } from '../../src/guest/ap-creation.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { requestPageState } from '../../src/guest/msr-protocol.ts';
import { requestPageStates } from '../../src/guest/page-state-change.ts';
import { makePagePrivate, makePageShared } from '../../src/guest/page-visibility.ts';
import {
  changing,
  changingPage,
  noteUse,
  requireUnused,
  type UseOfPage,
  useOfPages,
} from '../../src/guest/pages-in-use.ts';
import {
  createVcpuBySvsm,
  deleteVcpuBySvsm,
  remapCallingArea,
  requestSvsm,
} from '../../src/guest/svsm-call.ts';
import { pageRegion } from '../../src/guest/validated-pages.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { CAA, svsmWorld } from '../support/svsm-world.ts';
import { codeOf, gvaOf, MiB, spaOf, thrownBy, type World, world } from '../support/world.ts';

const GHCB = 6 * MiB;
const OTHERS = 6 * MiB + 0x3000;
const VMSA = 6 * MiB + 0x5000;

const entry = (gpa: number, operation: PageOperation = PageOperation.Private): PscEntry => ({
  gpa: physAddr(gpa),
  operation,
  pageSize: PAGE_SIZE,
  donePages: 0,
  reserved: 0,
});

function twoGhcbs(): World & {
  readonly host: HostileHypervisor;
  readonly ghcb: Ghcb;
  readonly others: Ghcb;
} {
  const it = world({ hypervisor: (machine) => new HostileHypervisor(machine) });
  const host = it.machine.hypervisor as HostileHypervisor;
  const other = it.guest.createVcpu();
  other.loadCr3(it.table.cr3);
  const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(GHCB));
  return { ...it, host, ghcb, others: Ghcb.create(other, it.table, gvaOf(OTHERS)) };
}

const features = (ghcb: Ghcb): bigint => ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures });

test('useOfPages finds the first page in use in a region', () => {
  const it = twoGhcbs();
  const use = (gpa: number, bytes: number) => useOfPages(it.guest, physRegion(physAddr(gpa), bytes));
  expect(use(0, 8 * MiB)).toEqual({ gpa: BigInt(GHCB), use: 'GHCB' });
  expect(use(GHCB + PAGE_SIZE, 4 * PAGE_SIZE)).toEqual({ gpa: BigInt(OTHERS), use: 'GHCB' });
  expect(use(GHCB + 0x10, 0x10)).toEqual({ gpa: BigInt(GHCB + 0x10), use: 'GHCB' });
  expect(use(OTHERS + PAGE_SIZE, MiB)).toBeUndefined();
  changing(it.guest, [pageRegion(physAddr(VMSA), PAGE_SIZE)], () =>
    expect(use(VMSA - PAGE_SIZE, 2 * PAGE_SIZE)).toEqual({ gpa: BigInt(VMSA), use: 'CHANGE' }),
  );
  it.ghcb.release(it.table);
  expect(use(GHCB, PAGE_SIZE)).toBeUndefined();
});

describe('a page state change of a page that a processor uses', () => {
  // A35, G7
  test('through another GHCB is refused before the list is requested', () => {
    const it = twoGhcbs();
    let exits = 0;
    it.host.answers.page = () => {
      exits += 1;
      return undefined;
    };
    const error = thrownBy(() => requestPageStates(it.ghcb, [entry(0x1000), entry(OTHERS)]));
    expect(error).toMatchObject({ code: 'PAGE_IN_USE', details: { gpa: BigInt(OTHERS), use: 'GHCB' } });
    expect(exits).toBe(0);
    expect(it.machine.rmp.entry(spaOf(it, OTHERS))?.assigned).toBe(false);
    expect(features(it.others)).toBeGreaterThan(0n);
  });

  test('in a page of 2 MiB is refused too', () => {
    const it = twoGhcbs();
    const whole = { ...entry(GHCB), pageSize: 0x20_0000 } as const;
    expect(thrownBy(() => requestPageStates(it.ghcb, [whole]))).toMatchObject({
      details: { gpa: BigInt(GHCB) },
    });
  });

  test('through the MSR is refused too', () => {
    const it = twoGhcbs();
    expect(codeOf(() => requestPageState(it.vcpu, physAddr(OTHERS), PageOperation.Private))).toBe(
      'PAGE_IN_USE',
    );
    expect(features(it.others)).toBeGreaterThan(0n);
  });

  test('a VMSA stays one', () => {
    const it = twoGhcbs();
    makeVmsa(it.vcpu, gvaOf(VMSA), createVmsa());
    const error = thrownBy(() => requestPageStates(it.ghcb, [entry(VMSA, PageOperation.Shared)]));
    expect(error).toMatchObject({ code: 'PAGE_IN_USE', details: { use: 'VMSA' } });
    expect(it.machine.rmp.entry(spaOf(it, VMSA))?.vmsa).toBe(true);
  });

  test('an entry is read once: what is checked is what is requested', () => {
    const it = twoGhcbs();
    let reads = 0;
    const moving = {
      ...entry(0),
      get gpa(): PhysAddr {
        reads += 1;
        return physAddr(reads === 1 ? OTHERS : 0x1000);
      },
    };
    expect(codeOf(() => requestPageStates(it.ghcb, [moving]))).toBe('PAGE_IN_USE');
    expect(reads).toBe(1);
  });
});

describe('a calling area keeps its state', () => {
  const NEXT = 5 * MiB;
  const AREA_OF_AP = 5 * MiB + 0x2000;
  const VMSA_OF_AP = 5 * MiB + 0x3000;

  /** The use of a page by what the check of a change throws. */
  const useOf = (vcpu: Vcpu, gpa: number): unknown =>
    thrownBy(() => requireUnused(vcpu.guest, pageRegion(physAddr(gpa), PAGE_SIZE)))?.details['use'];
  const areaAt = (gpa: number) => ({ gva: gvaOf(gpa), gpa: physAddr(gpa) });

  test('from the first call on, until REMAP_CA moves it', () => {
    const it = svsmWorld();
    expect(useOf(it.guestCpu, CAA)).toBeUndefined();
    requestSvsm(it.guestCpu, areaAt(CAA), 6, { rcx: 1n });
    expect(useOf(it.guestCpu, CAA)).toBe('CALLING_AREA');
    remapCallingArea(it.guestCpu, areaAt(CAA), areaAt(NEXT));
    expect([CAA, NEXT].map((gpa) => useOf(it.guestCpu, gpa))).toEqual([undefined, 'CALLING_AREA']);
  });

  test('from CREATE_VCPU to DELETE_VCPU, as the VMSA does', () => {
    const it = svsmWorld();
    const uses = () => [VMSA_OF_AP, AREA_OF_AP].map((gpa) => useOf(it.guestCpu, gpa));
    const processor = { vmsa: physAddr(VMSA_OF_AP), caa: physAddr(AREA_OF_AP), apicId: 3 };
    expect(codeOf(() => createVcpuBySvsm(it.guestCpu, areaAt(CAA), processor))).toBe('SVSM_REFUSED');
    expect(uses()).toEqual([undefined, undefined]);
    it.guestCpu.write(gvaOf(VMSA_OF_AP), createVmsa({ vmpl: it.guestCpu.vmpl }));
    createVcpuBySvsm(it.guestCpu, areaAt(CAA), processor);
    expect(uses()).toEqual(['VMSA', 'CALLING_AREA']);
    // A refused second one changes nothing.
    expect(codeOf(() => createVcpuBySvsm(it.guestCpu, areaAt(CAA), processor))).toBe('SVSM_REFUSED');
    expect(uses()).toEqual(['VMSA', 'CALLING_AREA']);
    deleteVcpuBySvsm(it.guestCpu, areaAt(CAA), physAddr(VMSA_OF_AP));
    expect(uses()).toEqual([undefined, undefined]);
  });
});

describe('while a call changes a page, another processor', () => {
  const PAGE = 6 * MiB + 0x9000;

  test('cannot change it, and can afterwards', () => {
    const it = twoGhcbs();
    const other = it.others.vcpu;
    const codes: (string | undefined)[] = [];
    const act = (): void => {
      it.host.answers = {};
      codes.push(
        codeOf(() => makePageShared(other, it.table, gvaOf(PAGE))),
        codeOf(() => makeVmsa(other, gvaOf(PAGE), createVmsa())),
        codeOf(() => Ghcb.create(other, it.table, gvaOf(PAGE))),
        codeOf(() => requestPageStates(it.others, [entry(PAGE)])),
      );
    };
    it.host.answers = { msr: () => void act() };
    makePageShared(it.vcpu, it.table, gvaOf(PAGE));
    expect(new Set(codes)).toEqual(new Set(['PAGE_IN_USE']));
    expect(codes).toHaveLength(4);
    makePagePrivate(other, it.table, gvaOf(PAGE));
    expect(it.machine.rmp.entry(spaOf(it, PAGE))?.validated).toBe(true);
  });

  test('can change it after a failure', () => {
    const it = twoGhcbs();
    it.host.answers = { pageState: () => 1 };
    expect(codeOf(() => makePageShared(it.vcpu, it.table, gvaOf(PAGE)))).toBe('PAGE_STATE_REFUSED');
    it.host.answers = {};
    expect(
      codeOf(() => requestPageState(it.others.vcpu, physAddr(PAGE), PageOperation.Shared)),
    ).toBeUndefined();
  });

  test('cannot take back a GHCB that is released', () => {
    const it = twoGhcbs();
    const other = it.others.vcpu;
    const codes: (string | undefined)[] = [];
    it.host.answers = {
      msr: () => {
        it.host.answers = {};
        codes.push(
          codeOf(() => makePagePrivate(other, it.table, it.ghcb.gva)),
          codeOf(() => it.ghcb.release(it.table)),
        );
      },
    };
    it.ghcb.release(it.table);
    expect(codes).toEqual(['PAGE_IN_USE', 'PAGE_IN_USE']);
    expect(it.machine.rmp.entry(spaOf(it, GHCB))?.validated).toBe(true);
  });

  test('a GHCB whose release is refused at the registration stays in use', () => {
    const it = twoGhcbs();
    it.host.answers = { msr: () => 0n };
    expect(codeOf(() => it.ghcb.release(it.table))).toBe('INVALID_RESPONSE');
    it.host.answers = {};
    expect(it.ghcb.isReleased).toBe(false);
    expect(codeOf(() => makePagePrivate(it.vcpu, it.table, it.ghcb.gva))).toBe('PAGE_IN_USE');
    expect(features(it.ghcb)).toBeGreaterThan(0n);
  });
});

describe('a region that contains pages in use', () => {
  const PAGES = 8;
  const pagesFrom = (first: number, count: number) =>
    physRegion(physAddr(first * PAGE_SIZE), count * PAGE_SIZE);
  const region = fc.record({ first: fc.nat({ max: PAGES - 1 }), count: fc.integer({ min: 1, max: 3 }) });
  const uses = fc.array(fc.constantFrom<(UseOfPage | undefined)[]>(undefined, undefined, 'GHCB', 'VMSA'), {
    maxLength: PAGES,
  });

  test('is refused with the first of them', () => {
    fc.assert(
      fc.property(uses, region, (uses, { first, count }) => {
        const guest = {} as GuestContext;
        for (const [page, use] of uses.entries()) noteUse(guest, physAddr(page * PAGE_SIZE), use);
        const found = uses.findIndex(
          (use, page) => use !== undefined && page >= first && page < first + count,
        );
        const details = { gpa: BigInt(found * PAGE_SIZE), use: uses[found] };
        expect(thrownBy(() => requireUnused(guest, pagesFrom(first, count)))?.details).toEqual(
          found < 0 ? undefined : details,
        );
      }),
    );
  });

  test('is refused with the first that a call is changing, until the call ends', () => {
    fc.assert(
      fc.property(region, region, (own, asked) => {
        const guest = {} as GuestContext;
        const refusal = (): unknown =>
          thrownBy(() => requireUnused(guest, pagesFrom(asked.first, asked.count)))?.details;
        const found = Math.max(own.first, asked.first);
        const isMet = found < Math.min(own.first + own.count, asked.first + asked.count);
        expect(changing(guest, [pagesFrom(own.first, own.count)], refusal)).toEqual(
          isMet ? { gpa: BigInt(found * PAGE_SIZE), use: 'CHANGE' } : undefined,
        );
        expect(refusal()).toBeUndefined();
      }),
    );
  });

  test('is refused by calls that change single pages and regions, one inside another', () => {
    const step = fc.record({
      isPage: fc.boolean(),
      first: fc.nat({ max: PAGES - 1 }),
      count: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 5 }), region, (steps, asked) => {
        const guest = {} as GuestContext;
        const busy = new Set<number>();
        const firstBusy = (first: number, count: number): unknown => {
          const found = Array.from({ length: count }, (_, k) => first + k).find((page) => busy.has(page));
          return found === undefined ? undefined : { gpa: BigInt(found * PAGE_SIZE), use: 'CHANGE' };
        };
        const refusal = (): unknown =>
          thrownBy(() => requireUnused(guest, pagesFrom(asked.first, asked.count)))?.details;
        const run = ([step, ...rest]: typeof steps): void => {
          expect(refusal()).toEqual(firstBusy(asked.first, asked.count));
          if (step === undefined) return;
          const { first } = step;
          const count = step.isPage ? 1 : step.count;
          const expected = firstBusy(first, count);
          const pages = Array.from({ length: count }, (_, k) => first + k);
          const inside = (): void => {
            expect(expected).toBeUndefined();
            for (const page of pages) busy.add(page);
            run(rest);
            for (const page of pages) busy.delete(page);
          };
          const refused = thrownBy(() =>
            step.isPage
              ? changingPage(guest, physAddr(first * PAGE_SIZE), inside)
              : changing(guest, [pagesFrom(first, count)], inside),
          );
          expect(refused?.details).toEqual(expected);
        };
        run(steps);
        expect(thrownBy(() => requireUnused(guest, pagesFrom(0, PAGES + 4)))).toBeUndefined();
      }),
    );
  });

  test('a page of a call that throws is free again', () => {
    const guest = {} as GuestContext;
    const page = physAddr(0x3000);
    expect(() =>
      changingPage(guest, page, () => {
        throw new RangeError('the change');
      }),
    ).toThrow('the change');
    expect(changingPage(guest, page, (gpa) => gpa)).toBe(page);
    noteUse(guest, page, 'VMSA');
    const error = thrownBy(() => changingPage(guest, page, () => {}));
    expect(error).toMatchObject({ code: 'PAGE_IN_USE', details: { gpa: page, use: 'VMSA' } });
  });
});
