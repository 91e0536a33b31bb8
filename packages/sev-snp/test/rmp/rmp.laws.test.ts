import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { type SysPhysAddr, sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';
import { psmash, type RmpState, rmpupdate, rmpupdatePages } from '../../src/rmp/host-instructions.ts';
import { HYPERVISOR_ENTRY, Rmp } from '../../src/rmp/rmp.ts';

/*
 * Regions of alike entries are kept as ranges. Whatever is done to them, each page has the entry, the version and the count
 * that a table with one entry for each page has.
 */

const REGIONS = 4;
const PARTS = PAGE_SIZE_2M / PAGE_SIZE;
const addressOf = (page: number): SysPhysAddr => sysPhysAddr(page * PAGE_SIZE);

/** Pages at the borders of regions, and others. */
const page = fc
  .record({ region: fc.nat(REGIONS - 1), index: fc.constantFrom(0, 1, 2, 255, 510, 511) })
  .map(({ region, index }) => region * PARTS + index);
const fields = fc.record({
  assigned: fc.boolean(),
  immutable: fc.boolean(),
  validated: fc.boolean(),
  asid: fc.nat(2),
  gpa: fc.constantFrom(0, 0x1000, 0x20_0000, 0x4000_0000).map((at) => physAddr(at)),
  vmplMasks: fc.constantFrom([0, 0, 0, 0] as const, [0xf, 3, 0, 0] as const),
  pageSize: fc.constantFrom(PageSize.Regular, PageSize.Huge),
});
const state = fc.record({
  assigned: fc.boolean(),
  immutable: fc.boolean(),
  asid: fc.nat(2),
  gpa: fc.constantFrom(0, 0x1000, 0x20_0000, 0x4000_0000).map((at) => physAddr(at)),
  pageSize: fc.constantFrom(PageSize.Regular, PageSize.Huge),
});
const guestState = fc.record({
  assigned: fc.constant(true),
  immutable: fc.constant(false),
  asid: fc.constant(1),
  gpa: fc.constantFrom(0, 0x20_0000, 0x4000_0000).map((at) => physAddr(at)),
  pageSize: fc.constantFrom(PageSize.Regular, PageSize.Huge),
});
const region = fc.nat(REGIONS - 1);
const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ op: fc.constant('entry' as const), page, fields }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('validate' as const), page }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('region' as const), region, fields, others: fields }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('pages' as const),
      page: fc.oneof(
        page,
        region.map((k) => k * PARTS),
      ),
      count: fc.oneof(fc.nat(3), fc.nat(3 * PARTS)),
      state: fc.oneof(state, guestState),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('smash' as const), region }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('use' as const), page, inUse: fc.boolean() }) },
);

/** One RMPUPDATE after the other. */
function oneByOne(
  rmp: Rmp,
  spa: SysPhysAddr,
  count: number,
  asked: RmpState,
): ReturnType<typeof rmpupdatePages> {
  const { pageSize = PageSize.Regular, gpa = 0n, asid = 0 } = asked;
  let result: RmpResult = RmpResult.SUCCESS;
  for (let done = 0; done < count; done += 1) {
    const offset = BigInt(done * pageSize);
    const moved = { ...asked, gpa: physAddr(asid === 0 ? gpa : gpa + offset) };
    result = rmpupdate(rmp, (spa + offset) as SysPhysAddr, moved);
    if (result !== RmpResult.SUCCESS) return { result, done };
  }
  return { result, done: count };
}

/** Everything that the table says of each page. */
function snapshot(rmp: Rmp): {
  entries: RmpEntry[];
  deciding: RmpEntry[];
  versions: number[];
  counts: number[];
} {
  const pages = Array.from({ length: REGIONS * PARTS }, (_, k) => k);
  return {
    entries: pages.map((k) => rmp.rawEntry(addressOf(k)) as RmpEntry),
    deciding: pages.map((k) => rmp.entry(addressOf(k)) as RmpEntry),
    versions: pages.map((k) => rmp.versionOfPage(k, false)),
    counts: [1, 2].map((asid) => rmp.entriesOf(asid)),
  };
}

const sameState = (left: RmpEntry, right: RmpEntry): boolean =>
  JSON.stringify(textOf(left)) === JSON.stringify(textOf(right));
const textOf = ({ gpa, vmplMasks: _, upper: __, ...rest }: RmpEntry): unknown => ({
  ...rest,
  gpa: Number(gpa),
});

test('a table of ranges is a table of pages: entries, versions, counts of ASIDs and answers', () => {
  const covered = sysPhysRegion(sysPhysAddr(0), REGIONS * PAGE_SIZE_2M);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 10 }), (steps) => {
      const [ranges, pages] = [new Rmp(covered), new Rmp(covered)];
      // A table whose regions have words of their own keeps nothing as a range.
      for (let k = 0; k < REGIONS; k += 1) {
        const at = addressOf(k * PARTS + 7);
        pages.setRawEntry(at, { ...HYPERVISOR_ENTRY, upper: 1 });
        pages.setRawEntry(at, HYPERVISOR_ENTRY);
      }
      let before = snapshot(ranges);
      for (const one of steps) {
        const touched = new Set<number>();
        for (const rmp of [ranges, pages]) {
          const note = (first: number, count = 1): void => {
            for (let k = first; k < first + count; k += 1) touched.add(k);
          };
          if (one.op === 'entry') {
            rmp.setRawEntry(addressOf(one.page), { ...HYPERVISOR_ENTRY, ...one.fields });
            note(one.page);
            if (one.page % PARTS === 0) note(one.page, PARTS);
          } else if (one.op === 'validate') {
            const entry = rmp.entry(addressOf(one.page)) as RmpEntry;
            const first = entry.pageSize === PageSize.Huge ? one.page - (one.page % PARTS) : one.page;
            rmp.setRawEntry(addressOf(first), { ...entry, validated: !entry.validated });
            note(first, entry.pageSize / PAGE_SIZE);
          } else if (one.op === 'region') {
            const entry = { ...HYPERVISOR_ENTRY, ...one.fields };
            rmp.setRegion(addressOf(one.region * PARTS), entry, { ...HYPERVISOR_ENTRY, ...one.others });
            note(one.region * PARTS, PARTS);
          } else if (one.op === 'smash') {
            psmash(rmp, addressOf(one.region * PARTS));
            note(one.region * PARTS, PARTS);
          } else if (one.op === 'use') rmp.setInUse(addressOf(one.page), one.inUse);
        }
        if (one.op === 'pages') {
          const at = addressOf(one.page);
          const answer = rmpupdatePages(ranges, at, one.count, one.state);
          expect(answer).toEqual(oneByOne(pages, at, one.count, one.state));
          for (let k = 0; k < REGIONS * PARTS; k += 1) touched.add(k);
        }
        const [after, expected] = [snapshot(ranges), snapshot(pages)];
        expect(after.entries).toEqual(expected.entries);
        expect(after.counts).toEqual(expected.counts);
        const words = new Uint32Array(4);
        const twin = new Uint32Array(4);
        for (let k = 0; k < REGIONS * PARTS; k += 1) {
          ranges.readWords(k, words);
          pages.readWords(k, twin);
          const [version, old] = [after.versions[k], before.versions[k]];
          const isEqual = words.every((word, i) => word === twin[i]);
          const isAssigned = ranges.isAssigned(k) === pages.isAssigned(k);
          const isCounted = version !== old || sameState(after.deciding[k]!, before.deciding[k]!);
          if (!isEqual || !isAssigned || !isCounted || (version !== old && !touched.has(k)))
            expect.unreachable(`page ${k}: ${isEqual} ${isAssigned} ${isCounted} ${version} ${old}`);
        }
        for (let k = 0; k < REGIONS; k += 1) {
          const at = addressOf(k * PARTS + 3);
          for (const name of ['hasSubpages', 'hasImmutable', 'isRegionUnassigned'] as const)
            expect([name, k, ranges[name](at)]).toEqual([name, k, pages[name](at)]);
        }
        before = after;
      }
    }),
    { numRuns: 30 },
  );
});

test.each(['ignored', 'FAIL_INPUT'] as const)(
  'a range is a loop for addresses with low bits, which are %s',
  (bits) => {
    const low = fc.constantFrom(0n, 1n, 0xfffn, 0x1000n, 0x1001n);
    const covered = sysPhysRegion(sysPhysAddr(0), REGIONS * PAGE_SIZE_2M);
    fc.assert(
      fc.property(
        region,
        low,
        low,
        fc.nat(600),
        fc.oneof(state, guestState),
        (at, bitsOfSpa, bitsOfGpa, count, asked) => {
          const [ranges, pages] = [0, 1].map(
            () => new Rmp(covered, { assumptions: { lowAddressBits: bits } }),
          );
          const first = sysPhysAddr(addressOf(at * PARTS) + bitsOfSpa);
          const moved = { ...asked, gpa: physAddr((asked.gpa ?? 0n) + bitsOfGpa) };
          expect(rmpupdatePages(ranges!, first, count, moved)).toEqual(oneByOne(pages!, first, count, moved));
          expect(snapshot(ranges!).entries).toEqual(snapshot(pages!).entries);
        },
      ),
      { numRuns: 40 },
    );
  },
);

test('a terabyte of entries is one range, in pages of 2 MiB and of 4 KiB', () => {
  const TiB = 2 ** 40;
  for (const pageSize of [PageSize.Huge, PageSize.Regular]) {
    const rmp = new Rmp(sysPhysRegion(sysPhysAddr(0), 2 * TiB));
    const gpa = physAddr(0x4000_0000);
    const start = sysPhysAddr(6 * PAGE_SIZE_2M);
    const count = TiB / pageSize;
    expect(rmpupdatePages(rmp, start, count, { assigned: true, asid: 3, gpa, pageSize })).toEqual({
      result: 0,
      done: count,
    });
    expect(rmp.entriesOf(3)).toBe(count);
    const places = [0, PAGE_SIZE_2M, 2 ** 30, TiB / 2, TiB - PAGE_SIZE_2M];
    for (const at of places) {
      const entry = rmp.entry(sysPhysAddr(start + BigInt(at)));
      expect(entry).toMatchObject({ asid: 3, gpa: gpa + BigInt(at), pageSize });
    }
    expect(rmp.entry(sysPhysAddr(start + BigInt(TiB)))).toBe(HYPERVISOR_ENTRY);
  }
});

test('a page in use stops a range at its page, though its region is like the others', () => {
  for (const pageSize of [PageSize.Huge, PageSize.Regular]) {
    const rmp = new Rmp(sysPhysRegion(sysPhysAddr(0), 8 * PAGE_SIZE_2M));
    rmp.setInUse(addressOf(3 * PARTS), true);
    const wanted = { assigned: true, asid: 1, gpa: physAddr(0), pageSize };
    const answer = rmpupdatePages(rmp, sysPhysAddr(0), (8 * PAGE_SIZE_2M) / pageSize, wanted);
    expect(answer).toEqual({ result: RmpResult.FAIL_INUSE, done: (3 * PAGE_SIZE_2M) / pageSize });
    expect(rmp.entry(addressOf(5 * PARTS))).toBe(HYPERVISOR_ENTRY);
  }
});

test('addresses that do not fit stop a range at their page', () => {
  const covered = sysPhysRegion(sysPhysAddr(0), 8 * PAGE_SIZE_2M);
  const gpa = physAddr(2n ** 48n - BigInt(2 * PAGE_SIZE_2M));
  for (const pageSize of [PageSize.Huge, PageSize.Regular]) {
    const answer = rmpupdatePages(new Rmp(covered), sysPhysAddr(0), (4 * PAGE_SIZE_2M) / pageSize, {
      assigned: true,
      asid: 1,
      gpa,
      pageSize,
    });
    expect(answer).toEqual({ result: RmpResult.FAIL_INPUT, done: (2 * PAGE_SIZE_2M) / pageSize });
  }
});
