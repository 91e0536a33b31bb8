/** The runs of an RMP are what the machine of @svsm/sev-snp says about each page, and lie where its formats say. */
import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import {
  flatRmpEntryAddress,
  Rmp,
  type RmpEntry,
  segmentedRmpEntryAddress,
  sysPhysAddr,
  sysPhysRegion,
} from '@svsm/sev-snp';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openRmp, openSavedRmp, type RmpPlace, type RmpTable } from '../../src/backing/rmp-table.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import {
  FLAT_RMP,
  type Frames,
  flatRmp,
  rmpBytes,
  SEGMENTED_RMP,
  segmentedRmp,
} from '../support/snp-host.ts';

const PAGES = 3 * 512;
const NOTHING: RmpEntry = {
  assigned: false,
  pageSize: PageSize.Regular,
  immutable: false,
  subpageCount: 0,
  gpa: physAddr(0),
  asid: 0,
  vmsa: false,
  validated: false,
  vmplMasks: [0, 0, 0, 0],
  lock: false,
  upper: 0,
};

const readerOf = (frames: Frames) => (frame: number, bytes: Uint8Array) => {
  const found = frames.get(frame);
  if (found !== undefined) bytes.set(found);
  return found !== undefined;
};

/** Ranges of pages with entries that are alike, whose GPAs follow, and some pages of 2 MiB. */
const changes = fc.array(
  fc.record({
    first: fc.nat(PAGES - 1),
    count: fc.integer({ min: 1, max: 700 }),
    huge: fc.boolean(),
    asid: fc.nat(3),
    validated: fc.boolean(),
    gpa: fc.nat(1000),
  }),
  { maxLength: 8 },
);

function rmpWith(list: typeof changes extends fc.Arbitrary<infer Value> ? Value : never): Rmp {
  const rmp = new Rmp(sysPhysRegion(sysPhysAddr(0), PAGES * PAGE_SIZE));
  const set = (page: number, fields: Partial<RmpEntry>): void =>
    rmp.setRawEntry(sysPhysAddr(page * PAGE_SIZE), { ...NOTHING, ...fields });
  for (const { first, count, huge, asid, validated, gpa } of list) {
    const assigned = asid !== 0;
    if (huge) {
      const region = first - (first % 512);
      const start = physAddr(gpa * PageSize.Huge);
      set(region, { assigned, asid, validated, pageSize: PageSize.Huge, gpa: start });
      for (let page = region + 1; page < region + 512; page += 1) set(page, { assigned: true });
      continue;
    }
    for (let page = first; page < Math.min(PAGES, first + count); page += 1) {
      set(page, { assigned, asid, validated, gpa: physAddr(assigned ? (gpa + page) * PAGE_SIZE : 0) });
    }
  }
  return rmp;
}

/** Each page of an open table, from its runs. */
function pagesOf(table: RmpTable, end: number): (RmpEntry | undefined | null)[] {
  const pages: (RmpEntry | undefined | null)[] = [];
  for (let at = 0; at < end; ) {
    const run = table.runFrom(at, end - at);
    expect(run.first).toBe(at);
    expect(run.count).toBeGreaterThan(0);
    for (let i = 0; i < run.count; i += 1) pages.push(moved(run.entry, i));
    at += run.count;
  }
  return pages;
}

function moved(entry: RmpEntry | undefined | null, pages: number): RmpEntry | undefined | null {
  if (entry === undefined || entry === null || entry.asid === 0) return entry;
  return { ...entry, gpa: physAddr(entry.gpa + BigInt(pages * PAGE_SIZE)) };
}

/** Each page by the model of the machine: the address of a page in a 2 MiB page is its own. */
function expected(rmp: Rmp, page: number): RmpEntry | undefined {
  const entry = rmp.entry(sysPhysAddr(page * PAGE_SIZE));
  const isHuge = entry?.pageSize === PageSize.Huge;
  return isHuge ? (moved(entry, page % 512) as RmpEntry) : entry;
}

/** The count of the other pages of a region is not part of the state of a page. */
const plain = (entry: RmpEntry | undefined | null) => entry && { ...entry, subpageCount: 0 };

describe('an RMP', () => {
  test('that is flat, segmented or saved has the entries of the machine', () => {
    fc.assert(
      fc.property(changes, (list) => {
        const rmp = rmpWith(list);
        const wanted = Array.from({ length: PAGES }, (_, page) => plain(expected(rmp, page)));
        const bytes = rmpBytes(rmp, PAGES);
        const flat = openRmp(readerOf(flatRmp(rmp, FLAT_RMP)), {
          base: FLAT_RMP,
          end: FLAT_RMP + BigInt(0x4000 + 16 * PAGES) - 1n,
        });
        const segmented = openRmp(readerOf(segmentedRmp(rmp, SEGMENTED_RMP)), {
          base: SEGMENTED_RMP,
          segmentShift: 30,
        });
        for (const table of [flat, segmented, openSavedRmp(bytesSource(bytes))]) {
          expect(pagesOf(table, PAGES).map(plain)).toEqual(wanted);
        }
        for (const table of [flat, segmented]) {
          const runs = [...table.runs()];
          const covered = runs.reduce((sum, { count }) => sum + count, 0);
          expect(covered).toBe(table === flat ? PAGES : 2 ** 18);
        }
      }),
      { numRuns: 8 },
    );
  });

  test('covers no more than its bytes have', () => {
    const table = openSavedRmp(bytesSource(new Uint8Array(0x4000 + 16 * 5 + 7)));
    expect(table.runFrom(0, 100)).toMatchObject({ count: 5, entry: { assigned: false } });
    expect(table.runFrom(5, 100)).toEqual({ first: 5, count: 100, entry: undefined });
  });
});

/** Memory in which each entry has its own address, in units of 16 bytes, as its guest-physical frame number. */
function ownAddresses(segments: ReadonlyMap<bigint, bigint>) {
  return (frame: number, bytes: Uint8Array): boolean => {
    const words = new BigUint64Array(PAGE_SIZE / 8);
    for (let i = 0; i < words.length; i += 1) {
      const at = BigInt(frame * PAGE_SIZE + 8 * i);
      words[i] = segments.get(at) ?? (i % 2 === 0 ? (at / 16n) << 12n : 0n);
    }
    bytes.set(new Uint8Array(words.buffer));
    return true;
  };
}

describe('the place of an entry', () => {
  const placeIn = (table: RmpTable, frame: number): bigint | undefined => {
    const { entry } = table.runFrom(frame, 1);
    return entry === undefined || entry === null ? undefined : (entry.gpa >> 12n) * 16n;
  };

  test('in a flat table is that of the format', () => {
    const page = fc.nat(2 ** 20);
    fc.assert(
      fc.property(page, fc.integer({ min: 1, max: 2 ** 20 }), fc.nat(1000), (frame, pages, at) => {
        const base = BigInt(at) * 0x2000n;
        const end = base + 0x4000n + 16n * BigInt(pages) - 1n;
        const table = openRmp(ownAddresses(new Map()), { base, end });
        expect(placeIn(table, frame)).toBe(
          flatRmpEntryAddress(sysPhysAddr(frame * PAGE_SIZE), { base, end }),
        );
      }),
    );
  });

  test('in a segmented table is that of the format', () => {
    const segment = fc.record({
      index: fc.nat(511),
      gib: fc.nat(20),
      mib: fc.integer({ min: 1, max: 2 ** 20 }),
    });
    fc.assert(
      fc.property(
        fc.array(segment, { maxLength: 6 }),
        fc.integer({ min: 30, max: 40 }),
        fc.constantFrom(512, 8),
        fc.array(fc.tuple(fc.nat(511), fc.double({ min: 0, max: 0.999, noNaN: true })), {
          minLength: 1,
          maxLength: 20,
        }),
        (list, segmentShift, segments, asked) => {
          const base = 0x40_0000n;
          const quadwords = new Map<bigint, bigint>();
          for (let i = 0; i < 512; i += 1) quadwords.set(base + 0x4000n + 8n * BigInt(i), 0n);
          for (const { index, gib, mib } of list) {
            quadwords.set(base + 0x4000n + 8n * BigInt(index), (BigInt(mib) << 20n) | BigInt(gib));
          }
          const place: RmpPlace = { base, segmentShift, segments };
          const table = openRmp(ownAddresses(quadwords), place);
          const format = { base, segmentShift, segments, read: (spa: bigint) => quadwords.get(spa) ?? 0n };
          for (const [index, part] of [...asked, ...list.map(({ index }) => [index, 0.001] as const)]) {
            const frame = Math.floor((index + part) * 2 ** (segmentShift - 12));
            const spa = sysPhysAddr(frame * PAGE_SIZE);
            expect(placeIn(table, frame)).toBe(segmentedRmpEntryAddress(spa, format));
          }
        },
      ),
    );
  });

  test('is refused where no processor has one', () => {
    const all = ownAddresses(new Map());
    const open = (place: RmpPlace) => () => openRmp(all, place);
    expect(open({ base: 0x1001n, end: 0x10_0000n })).toThrow('INVALID_ARGUMENT');
    expect(open({ base: 0x1000n, end: 0x4000n })).toThrow('INVALID_ARGUMENT');
    expect(open({ base: 0x1000n })).toThrow('INVALID_ARGUMENT');
    expect(open({ base: 0x1000n, segmentShift: 30 })).toThrow('a multiple of 1 MiB');
    expect(open({ base: 0x10_0000n, segmentShift: 29 })).toThrow('INVALID_ARGUMENT');
    expect(open({ base: 0x10_0000n, segmentShift: 30, segments: 513 })).toThrow('INVALID_ARGUMENT');
    const reserved = ownAddresses(new Map([[0x10_4000n, 1n << 52n]]));
    expect(() => openRmp(reserved, { base: 0x10_0000n, segmentShift: 30 })).toThrow('reserved bits');
    expect(() => openRmp(() => false, { base: 0x1000n, end: 0x10_0000n })).toThrow('NO_RMP');
    expect(() => openSavedRmp(bytesSource(new Uint8Array(0x4000)))).toThrow('TRUNCATED_FILE');
  });

  test('whose memory is not in the dump makes pages of which nothing is known', () => {
    const table = openRmp((frame) => frame === 0x10 || frame === 0x15, { base: 0x1_0000n, end: 0x2_0000n });
    expect([...table.runs()].map(({ first, count, entry }) => [first, count, entry])).toEqual([
      [0, 256, null],
      [256, 256, expect.anything()],
      [512, 2560, null],
    ]);
  });
});
