/** Visibility of pages of a guest above an SVSM. */
import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { PageTable } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { VmplPermission } from '../../src/formats/vmpl.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { makePagePrivate, makePageShared } from '../../src/guest/page-visibility.ts';
import type { RegionState } from '../../src/guest/region-state.ts';
import { makeRegionPrivate, makeRegionShared, settleRegion } from '../../src/guest/region-visibility.ts';
import { svsmValidator } from '../../src/guest/svsm-validator.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import type { SvsmStateOptions } from '../../src/svsm/svsm-options.ts';
import { type SvsmWorld, svsmWorld } from '../support/svsm-world.ts';
import { bytesOf, gvaOf, MiB, spaOf, thrownBy } from '../support/world.ts';

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
