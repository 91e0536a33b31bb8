/** Visibility of pages of a guest above an SVSM. */
import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { PageTable } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { VmplPermission } from '../../src/formats/vmpl.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import type { PrivatePage } from '../../src/guest/page-validation.ts';
import { makePagePrivate, makePageShared } from '../../src/guest/page-visibility.ts';
import type { RegionState } from '../../src/guest/region-state.ts';
import { makeRegionPrivate, makeRegionShared, settleRegion } from '../../src/guest/region-visibility.ts';
import { svsmValidator } from '../../src/guest/svsm-validator.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import type { SvsmStateOptions } from '../../src/svsm/svsm-options.ts';
import { type SvsmWorld, svsmWorld } from '../support/svsm-world.ts';
import { bytesOf, gvaOf, MiB, spaOf, thrownBy, unresolvedFault } from '../support/world.ts';

const A = 6 * MiB;
const GHCB = 4 * MiB + 0x10_000;

interface Above extends SvsmWorld {
  readonly guestTable: PageTable;
  readonly options: {
    readonly validator: ReturnType<typeof svsmValidator>;
    readonly validated: ValidatedPages;
  };
  readonly ghcb: Ghcb;
}

/** A guest at VMPL2 with a GHCB, which it has made with the help of the SVSM. */
function above(options: Partial<SvsmStateOptions> = {}): Above {
  const it = svsmWorld(options);
  let frame = 3 * MiB + 0x8_0000;
  const allocateFrame = () => {
    frame += PAGE_SIZE;
    return physAddr(frame);
  };
  const frames = { allocateFrame, freeFrame: () => {} };
  const { memory, cr3 } = it.guestCpu;
  const config = it.guest.paging;
  const root = physAddr(cr3 & ~(1n << BigInt(it.machine.cBit)));
  const guestTable = PageTable.open(root, { memory, frames, config });
  const validated = new ValidatedPages(it.guest.memory, it.guest.memory);
  const options2 = { validator: svsmValidator(it.area), validated };
  const ghcb = Ghcb.create(it.guestCpu, guestTable, gvaOf(GHCB), options2);
  it.events.length = 0;
  return { ...it, guestTable, options: options2, ghcb };
}

const exits = ({ events }: SvsmWorld): number => events.filter(({ type }) => type === 'vmgexit').length;

// S8, G12, V5
test('a page goes both ways', () => {
  const it = above();
  makePageShared(it.guestCpu, it.guestTable, gvaOf(A), it.options);
  it.guestCpu.write(gvaOf(A), bytesOf('shared'));
  expect(it.machine.hypervisor.read(spaOf(it, A), 6)).toEqual(bytesOf('shared'));
  expect([it.state.validated.has(physAddr(A)), it.options.validated.has(physAddr(A))]).toEqual([
    false,
    false,
  ]);
  makePagePrivate(it.guestCpu, it.guestTable, gvaOf(A), it.options);
  expect(it.guestCpu.read(gvaOf(A), 6)).toEqual(new Uint8Array(6));
  expect([it.state.validated.has(physAddr(A)), it.options.validated.has(physAddr(A))]).toEqual([true, true]);
});

describe('a region of 2 MiB', () => {
  const region = virtRegion(gvaOf(A), 2 * MiB);

  // S8, G7
  test('goes both ways with one call and one list each', () => {
    const it = above();
    it.guestCpu.write(gvaOf(A), bytesOf('secret'));
    makeRegionShared(it.ghcb, it.guestTable, region, it.options);
    expect(exits(it)).toBe(2);
    makeRegionPrivate(it.ghcb, it.guestTable, region, it.options);
    expect(exits(it)).toBe(4);
    expect(it.machine.rmp.entry(spaOf(it, A))).toMatchObject({ pageSize: PageSize.Huge, validated: true });
    expect(it.guestCpu.read(gvaOf(A), 6)).toEqual(new Uint8Array(6));
    expect([...it.options.validated].map(String)).toEqual([...it.state.validated].map(String));
  });

  // I12
  test('goes by 4 KiB pages where the RMP has these, in lists as long as the calling area', () => {
    const it = above();
    it.machine.hypervisor.splitPage(it.guest, physAddr(A));
    makeRegionShared(it.ghcb, it.guestTable, region, it.options);
    // The call that finds the 4 KiB pages, lists of 510 and 2 pages, and the list of the page state change.
    expect(exits(it)).toBe(1 + 2 + 1);
    makeRegionPrivate(it.ghcb, it.guestTable, region, it.options);
    expect(it.guestCpu.read(region.start, 2 * MiB).every((byte) => byte === 0)).toBe(true);
    expect([...it.options.validated].map(String)).toEqual([...it.state.validated].map(String));
  });

  test('goes on where an SVSM stops early', () => {
    const it = above({ entriesPerCall: 100 });
    it.machine.hypervisor.splitPage(it.guest, physAddr(A));
    makeRegionShared(it.ghcb, it.guestTable, region, it.options);
    expect(exits(it)).toBe(1 + 6 + 1 + 1);
  });
});

// S8
test('a refusal of the SVSM leaves the pages before it rescinded, and the others private', () => {
  const it = above();
  const region = virtRegion(gvaOf(A), 5 * PAGE_SIZE);
  it.machine.hypervisor.splitPage(it.guest, physAddr(A));
  // The SVSM has the third page as its own now: it was deposited.
  const third = gvaOf(A + 2 * PAGE_SIZE);
  it.vcpu.rmpadjust(third, PageSize.Regular, { vmpl: 2, permissions: 0 });
  const error = thrownBy(() => makeRegionShared(it.ghcb, it.guestTable, region, it.options));
  expect(error).toMatchObject({ code: 'REGION_CHANGE_FAILED', cause: { code: 'SVSM_REFUSED' } });
  const lists = error!.details as Record<string, unknown[]>;
  expect(
    Object.fromEntries(['lost', 'validated', 'private', 'shared'].map((k) => [k, lists[k]!.map(String)])),
  ).toEqual({
    lost: [String(virtRegion(gvaOf(A), 3 * PAGE_SIZE))],
    validated: [String(virtRegion(third, PAGE_SIZE))],
    private: [String(virtRegion(gvaOf(A + 3 * PAGE_SIZE), 2 * PAGE_SIZE))],
    shared: [],
  });
  expect([...it.options.validated].map(String)).toEqual([...it.state.validated].map(String));
});

// S8
test('a refusal whose progress the SVSM cannot write leaves the list in doubt, and its record decides', () => {
  const it = above();
  const region = virtRegion(gvaOf(A), 5 * PAGE_SIZE);
  it.machine.hypervisor.splitPage(it.guest, physAddr(A));
  const third = gvaOf(A + 2 * PAGE_SIZE);
  it.vcpu.rmpadjust(third, PageSize.Regular, { vmpl: 2, permissions: 0 });
  const { write } = it.vcpu;
  // The hypervisor hides the list when the SVSM writes the progress, two bytes.
  it.vcpu.write = (gva, bytes) =>
    bytes.length === 2 ? it.vcpu.read(gvaOf(2 ** 40), 1) : write.call(it.vcpu, gva, bytes);
  const { validator } = it.options;
  const error = thrownBy(() => makeRegionShared(it.ghcb, it.guestTable, region, { validator }));
  const lists = error!.details as unknown as RegionState;
  // Two pages are not validated any more, and the list does not say so.
  expect([lists.private, lists.lost.map(String)]).toEqual([[], [String(region)]]);
  expect(it.state.validated.has(physAddr(A + PAGE_SIZE))).toBe(false);
  it.vcpu.write = write;
  it.vcpu.rmpadjust(third, PageSize.Regular, { vmpl: 2, permissions: VmplPermission.Rwx });
  settleRegion(it.ghcb, it.guestTable, lists, 'private', { validator });
  expect(it.guestCpu.read(region.start, 5 * PAGE_SIZE).every((byte) => byte === 0)).toBe(true);
  expect(it.state.validated.firstMissingIn(physRegion(physAddr(A), 5 * PAGE_SIZE))).toBeUndefined();
});

describe('the progress of a call', () => {
  const page = (k: number): PrivatePage => ({
    gva: gvaOf(A + k * PAGE_SIZE),
    gpa: physAddr(A + k * PAGE_SIZE),
    size: PageSize.Regular,
  });
  const pagesUpTo = (count: number): PrivatePage[] => Array.from({ length: count }, (_, k) => page(k));
  const huge: PrivatePage = { ...page(0), size: PageSize.Huge };

  /** A world whose page A is in 4 KiB pages, of which the SVSM refuses some: the guest has no rights on them. */
  function scene(refused: readonly number[] = [], options: Partial<SvsmStateOptions> = {}) {
    const it = svsmWorld(options);
    it.machine.hypervisor.splitPage(it.guest, physAddr(A));
    for (const k of refused) it.vcpu.rmpadjust(page(k).gva, PageSize.Regular, { vmpl: 2, permissions: 0 });
    const run = (pages: readonly PrivatePage[], validate: boolean, inDoubt?: boolean) => {
      const { failure, ...progress } = svsmValidator(it.area)(it.guestCpu, pages, validate, inDoubt);
      const code = (failure?.error as { code?: string; message?: string } | undefined) ?? {};
      return failure === undefined
        ? progress
        : { ...progress, why: code.code ?? code.message, unclear: failure.unclear };
    };
    return { ...it, run };
  }

  test.each<[string, refused: number[], count: number, expected: object]>([
    ['all', [], 3, { done: 3 }],
    ['up to the second page: it is in doubt', [1], 3, { done: 1, why: 'SVSM_REFUSED', unclear: 1 }],
    [
      'none: all are in doubt, for the list can be one that the SVSM could not write',
      [0],
      3,
      { done: 0, why: 'SVSM_REFUSED', unclear: 3 },
    ],
    ['two lists', [], 512, { done: 512 }],
    ['a list, and a page of the next one', [511], 512, { done: 511, why: 'SVSM_REFUSED', unclear: 1 }],
    ['a list, and none of the next one', [510], 512, { done: 510, why: 'SVSM_REFUSED', unclear: 2 }],
  ])('that rescinds: %s', (_, refused, count, expected) => {
    expect(scene(refused).run(pagesUpTo(count), false)).toEqual(expected);
  });

  test.each<[string, refused: number, expected: object]>([
    ['up to the second page', 1, { done: 1, why: 'SVSM_REFUSED', unclear: 0 }],
    ['none', 0, { done: 0, why: 'SVSM_REFUSED', unclear: 3 }],
  ])('that validates: %s', (_, refused, expected) => {
    const it = scene();
    expect(it.run(pagesUpTo(3), false)).toEqual({ done: 3 });
    expect(it.run([page(refused)], true)).toEqual({ done: 1 });
    expect(it.run(pagesUpTo(3), true)).toEqual(expected);
  });

  test.each([
    ['after some entries of the last call', 3, { done: 3, why: 'SVSM_REFUSED', unclear: 1 }],
    ['at the first entry of the last call', 2, { done: 2, why: 'SVSM_REFUSED', unclear: 3 }],
  ])('of an SVSM that stops early: %s', (_, refused, expected) => {
    expect(scene([refused], { entriesPerCall: 2 }).run(pagesUpTo(5), false)).toEqual(expected);
  });

  test('that finds 4 KiB pages says so', () => {
    expect(scene().run([huge], false)).toEqual({ done: 0, isMismatch: true });
    expect(scene([0]).run([huge, page(0)], false)).toMatchObject({ done: 0, why: 'SVSM_REFUSED' });
  });

  test('in doubt, a validation that does not stand is rescinded; without a doubt it is not', () => {
    const it = scene();
    expect([false, false, true].map((inDoubt) => it.run([page(0)], false, inDoubt).done)).toEqual([1, 0, 1]);
    expect([true, true].map((inDoubt) => it.run([page(0)], true, inDoubt).done)).toEqual([1, 0]);
  });

  test.each([
    [false, 1],
    [true, 0],
  ])('of a list that cannot be written is none: validate=%s', (validate, unclear) => {
    const it = scene();
    it.guestCpu.write = () => {
      throw new Error('hidden');
    };
    expect(it.run(pagesUpTo(3), validate)).toEqual({ done: 0, why: 'hidden', unclear });
  });

  test.each(['the list tells of none', 'the list cannot be read'])(
    'is unknown if the exit fails: %s',
    (how) => {
      const it = scene();
      it.guestCpu.vmgexit = () => {
        if (how === 'the list cannot be read') it.guestCpu.read = () => unresolvedFault();
        throw new Error('no exit');
      };
      expect(it.run(pagesUpTo(3), false)).toEqual({ done: 0, why: 'no exit', unclear: 3 });
    },
  );
});
