import { PageSize, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSnpError } from '../../src/formats/snp-error.ts';
import { sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';
import { HYPERVISOR_ENTRY, Rmp } from '../../src/rmp/rmp.ts';
import { codeOf, MiB, rmpOf } from '../support/world.ts';

const spa = sysPhysAddr;

describe('coverage', () => {
  test.each([
    [0, 0],
    [0, MiB],
    [MiB, 2 * MiB],
    [0x1000, 4 * MiB],
  ])('%i, %i bytes: refused', (start, size) => {
    expect(codeOf(() => new Rmp(sysPhysRegion(spa(start), size)))).toBe('INVALID_RMP_RANGE');
  });

  // R6
  test('the first and the last byte are covered, and nothing outside', () => {
    const rmp = new Rmp(sysPhysRegion(spa(2 * MiB), 4 * MiB));
    const covered = [2 * MiB - 1, 2 * MiB, 6 * MiB - 1, 6 * MiB].map((at) => rmp.covers(spa(at)));
    expect(covered).toEqual([false, true, true, false]);
    expect(rmp.entry(spa(0))).toBeUndefined();
    expect(rmp.rawEntry(spa(6 * MiB))).toBeUndefined();
    expect(codeOf(() => rmp.setRawEntry(spa(6 * MiB), HYPERVISOR_ENTRY))).toBe('OUTSIDE_RMP');
  });

  test('a table of the whole space works up to its last page and costs nothing', () => {
    const rmp = new Rmp(sysPhysRegion(spa(0), 2n ** 52n));
    rmp.setRawEntry(spa(2n ** 52n - 1n), { ...HYPERVISOR_ENTRY, asid: 5 });
    expect(rmp.entry(spa(2n ** 52n - 4096n))?.asid).toBe(5);
    expect(rmp.entry(spa(0))).toBe(HYPERVISOR_ENTRY);
  });
});

describe('entry', () => {
  // R12, R11
  test('is the entry of the 2 MiB page, for every address in the page', () => {
    const rmp = rmpOf();
    const huge = {
      ...HYPERVISOR_ENTRY,
      assigned: true,
      pageSize: PageSize.Huge,
      asid: 3,
      gpa: physAddr(4 * MiB),
    };
    rmp.setRawEntry(spa(2 * MiB), huge);
    rmp.setRawEntry(spa(2 * MiB + 0x1000), { ...HYPERVISOR_ENTRY, assigned: true });
    expect(rmp.entry(spa(4 * MiB - 1))).toEqual(huge);
    expect(rmp.rawEntry(spa(2 * MiB + 0x1000))).toEqual({ ...HYPERVISOR_ENTRY, assigned: true });
    expect(rmp.entry(spa(4 * MiB))).toEqual(HYPERVISOR_ENTRY);
    expect(rmp.entry(spa(2 * MiB - 1))).toEqual(HYPERVISOR_ENTRY);
  });

  // R12
  test('is otherwise the entry of the page itself', () => {
    const rmp = rmpOf();
    rmp.setRawEntry(spa(0x5fff), { ...HYPERVISOR_ENTRY, asid: 9 });
    expect([0x4fff, 0x5000, 0x6000].map((at) => rmp.entry(spa(at))?.asid)).toEqual([0, 9, 0]);
  });
});

// R13
test('a region is unassigned if its first entry is, and its sub-page count is 0', () => {
  const rmp = rmpOf();
  const inside = spa(2 * MiB + 0x3000);
  expect(rmp.isRegionUnassigned(inside)).toBe(true);
  rmp.setRawEntry(spa(2 * MiB), { ...HYPERVISOR_ENTRY, subpageCount: 1 });
  expect(rmp.isRegionUnassigned(inside)).toBe(false);
  rmp.setRawEntry(spa(2 * MiB), { ...HYPERVISOR_ENTRY, assigned: true });
  expect(rmp.isRegionUnassigned(inside)).toBe(false);
  expect(rmp.isRegionUnassigned(spa(0))).toBe(true);
  expect(rmp.isRegionUnassigned(spa(64 * MiB))).toBe(true);
});

test('setRegion replaces the entries of the whole region, and no others', () => {
  const rmp = rmpOf();
  const [head, other] = [
    { ...HYPERVISOR_ENTRY, asid: 7 },
    { ...HYPERVISOR_ENTRY, asid: 9 },
  ];
  rmp.setRegion(spa(2 * MiB), head, other);
  const asids = Array.from({ length: 514 }, (_, k) => rmp.rawEntry(spa(2 * MiB + (k - 1) * 0x1000))?.asid);
  expect(asids).toEqual([0, 7, ...Array(511).fill(9), 0]);
});

test('a region has an immutable page if one of its 512 entries is immutable', () => {
  const rmp = rmpOf();
  expect(rmp.hasImmutable(spa(2 * MiB))).toBe(false);
  rmp.setRawEntry(spa(4 * MiB - 0x1000), { ...HYPERVISOR_ENTRY, immutable: true });
  expect([2 * MiB, 3 * MiB, 4 * MiB].map((at) => rmp.hasImmutable(spa(at)))).toEqual([true, true, false]);
});

describe('reading words', () => {
  test('writes the four words of the entry that decides, and zeros for a page that is not covered', () => {
    const rmp = rmpOf();
    rmp.setRawEntry(spa(0x5000), { ...HYPERVISOR_ENTRY, assigned: true, upper: 9 });
    const words = new Uint32Array(5).fill(7);
    expect(rmp.readWords(5, words)).toBe(true);
    expect([words[0]! & 1, words[3], words[4]]).toEqual([1, 9, 0]);
    words.fill(7);
    expect(rmp.readWords((64 * MiB) / 0x1000, words)).toBe(false);
    expect([...words]).toEqual([0, 0, 0, 0, 0]);
    words.fill(7);
    expect(rmp.readWords(-1, words)).toBe(false);
    expect(words[0]).toBe(0);
  });

  test('writeWords writes what setRawEntry does, and keeps every bit', () => {
    const [rmp, twin] = [rmpOf(), rmpOf()];
    const entry = { ...HYPERVISOR_ENTRY, assigned: true, asid: 5, gpa: physAddr(0x7000), upper: 9 };
    const read = new Uint32Array(4);
    twin.setRawEntry(spa(0x5000), entry);
    twin.readWords(5, read);
    rmp.writeWords(5, read);
    expect(rmp.rawEntry(spa(0x5000))).toEqual(entry);
    expect([rmp.entriesOf(5), rmp.versionOfPage(5, false)]).toEqual([1, twin.versionOfPage(5, false)]);
    const words = Uint32Array.of(0xffff_fffd, 0xffff_ffff, 0x0102_0304, 0x8000_0001, 7);
    rmp.writeWords(6, words);
    rmp.readWords(6, read);
    expect([...read]).toEqual([...words.subarray(0, 4)]);
  });

  test('readRawWords writes the words of the page itself, also inside a 2 MiB page', () => {
    const rmp = rmpOf();
    const huge = { ...HYPERVISOR_ENTRY, assigned: true, asid: 5, pageSize: PageSize.Huge, validated: true };
    rmp.setRegion(spa(0), huge, { ...HYPERVISOR_ENTRY, assigned: true });
    const [own, deciding] = [new Uint32Array(5).fill(7), new Uint32Array(5).fill(7)];
    expect([rmp.readRawWords(3, own), rmp.readWords(3, deciding)]).toEqual([true, true]);
    expect([...own]).toEqual([1, 0, 0, 0, 0]);
    rmp.readRawWords(0, own);
    expect([...own]).toEqual([...deciding]);
    expect(rmp.readRawWords((64 * MiB) / 0x1000, own)).toBe(false);
    expect([...own]).toEqual([0, 0, 0, 0, 0]);
  });

  test('setRegionWords does what setRegion does', () => {
    const [rmp, twin] = [rmpOf(), rmpOf()];
    const huge = { ...HYPERVISOR_ENTRY, assigned: true, asid: 5, gpa: physAddr(0x20_0000), validated: true };
    const rest = { ...HYPERVISOR_ENTRY, assigned: true };
    twin.setRegion(spa(0), { ...huge, pageSize: PageSize.Huge }, rest);
    const [first, others] = [new Uint32Array(4), new Uint32Array(4)];
    twin.readRawWords(0, first);
    twin.readRawWords(1, others);
    rmp.setRegionWords(0, first, others);
    for (const page of [0, 0x1000, 0x1f_f000, 0x20_0000]) {
      expect(rmp.rawEntry(spa(page))).toEqual(twin.rawEntry(spa(page)));
    }
    expect([rmp.entriesOf(5), rmp.versionOfPage(1, true)]).toEqual([1, twin.versionOfPage(1, true)]);
  });

  test('isHuge looks at the entry that decides', () => {
    const rmp = rmpOf();
    rmp.setRegion(spa(0), { ...HYPERVISOR_ENTRY, assigned: true, pageSize: PageSize.Huge }, HYPERVISOR_ENTRY);
    expect([0, 0x5000, 0x1f_ffff, 0x20_0000, 64 * MiB].map((at) => rmp.isHuge(spa(at)))).toEqual([
      ...[true, true, true, false, false],
    ]);
  });

  test('isAssigned looks at the page alone', () => {
    const rmp = rmpOf();
    rmp.setRawEntry(spa(0x5000), { ...HYPERVISOR_ENTRY, assigned: true });
    expect([4, 5, 6, (64 * MiB) / 0x1000].map((page) => rmp.isAssigned(page))).toEqual([
      false,
      true,
      false,
      false,
    ]);
  });
});

// R13
test.each(['maintained', 'unmaintained'] as const)('sub-pages with a count that is %s', (subpageCount) => {
  const made = (): Rmp => new Rmp(sysPhysRegion(spa(0), 4 * MiB), { assumptions: { subpageCount } });
  const [counted, assigned, huge] = [made(), made(), made()];
  counted.setRawEntry(spa(0), { ...HYPERVISOR_ENTRY, subpageCount: 1 });
  assigned.setRawEntry(spa(0x5000), { ...HYPERVISOR_ENTRY, assigned: true });
  assigned.setRawEntry(spa(2 * MiB), { ...HYPERVISOR_ENTRY, assigned: true });
  huge.setRawEntry(spa(0), { ...HYPERVISOR_ENTRY, assigned: true, pageSize: PageSize.Huge, subpageCount: 1 });
  huge.setRawEntry(spa(0x5000), { ...HYPERVISOR_ENTRY, assigned: true });
  const isCounted = subpageCount === 'maintained';
  expect([counted, assigned, huge].map((rmp) => rmp.hasSubpages(spa(0x7000)))).toEqual([
    isCounted,
    !isCounted,
    false,
  ]);
  expect(assigned.hasSubpages(spa(2 * MiB))).toBe(false);
  expect(counted.hasSubpages(spa(64 * MiB))).toBe(false);
});

test.each(['RMPUPDATE', 'PVALIDATE'] as const)('the masks once validated, reset by %s', (defaultMasks) => {
  const rmp = new Rmp(sysPhysRegion(spa(0), 4 * MiB), {
    assumptions: { defaultMasks, resetMaskOfVmpl0: 0xf },
  });
  const once = (vmplMasks: readonly [number, number, number, number]): readonly number[] =>
    rmp.masksOnceValidated({ ...HYPERVISOR_ENTRY, vmplMasks });
  expect(once([0, 1, 2, 3])).toEqual(defaultMasks === 'PVALIDATE' ? [0xf, 0, 0, 0] : [0, 1, 2, 3]);
  expect(once([1, 2, 3, 4])).toEqual([1, 2, 3, 4]);
});

test('a version changes with the entry of its page, or with any of its region, and not with masks', () => {
  const rmp = rmpOf();
  const versions = (): number[] =>
    [0x5000, 0x6000, 2 * MiB].flatMap((at) => [
      rmp.version(spa(at), PageSize.Regular),
      rmp.version(spa(at), PageSize.Huge),
    ]);
  const before = versions();
  rmp.setRawEntry(spa(0x5000), { ...HYPERVISOR_ENTRY, vmplMasks: [1, 2, 3, 4] });
  expect(versions()).toEqual(before);
  rmp.setRawEntry(spa(0x5000), { ...HYPERVISOR_ENTRY, validated: true });
  const changed = versions().map((version, k) => version !== before[k]);
  expect(changed).toEqual([true, true, false, true, false, false]);
  expect(rmp.versionOfPage(5, true)).toBe(versions()[1]);
  expect(rmp.versionOfPage(5, false)).toBe(versions()[0]);
});

test('uses of a page are counted, and found in the 2 MiB around it', () => {
  const rmp = rmpOf();
  for (const isUsed of [true, true, false]) rmp.setInUse(spa(0x5000), isUsed);
  const found = (): boolean[] =>
    [0x5000, 0x5fff, 0x6000, 2 * MiB].flatMap((at) => [
      rmp.isInUse(spa(at), PageSize.Regular),
      rmp.isInUse(spa(at), PageSize.Huge),
    ]);
  expect(found()).toEqual([true, true, true, true, false, true, false, false]);
  rmp.setInUse(spa(0x5000), false);
  expect(found()).not.toContain(true);
  // A page that is not in use stays so.
  rmp.setInUse(spa(0x5000), false);
  rmp.setInUse(spa(0x5000), true);
  expect(rmp.isInUse(spa(0x5000), PageSize.Regular)).toBe(true);
});

test('errors name the value that was refused', () => {
  try {
    new Rmp(sysPhysRegion(spa(0), MiB));
    expect.unreachable();
  } catch (error) {
    expect(isSnpError(error, 'INVALID_RMP_RANGE') && error.details.end).toBe(BigInt(MiB));
    expect(String(error)).toContain('0x0000000000100000');
  }
});

// T11
test('entriesOf counts the entries of each ASID, whatever is written over them', () => {
  const asid = fc.integer({ min: 0, max: 2 });
  const page = fc.integer({ min: 0, max: 5 }).map((k) => spa((k % 2) * 2 * MiB + Math.floor(k / 2) * 0x1000));
  const write = fc.record({ page, asid, others: asid, isRegion: fc.boolean() });
  fc.assert(
    fc.property(fc.array(write, { maxLength: 12 }), (writes) => {
      const rmp = rmpOf(4);
      for (const { page, asid, others, isRegion } of writes) {
        const entry = { ...HYPERVISOR_ENTRY, asid };
        if (isRegion) rmp.setRegion(spa(page & -0x20_0000n), entry, { ...HYPERVISOR_ENTRY, asid: others });
        else rmp.setRawEntry(page, entry);
      }
      const asids = [...rmp.covered.iterPages(PageSize.Regular)].map((at) => rmp.rawEntry(at)?.asid);
      for (const one of [1, 2]) {
        expect(rmp.entriesOf(one)).toBe(asids.filter((asid) => asid === one).length);
      }
    }),
  );
});

test.each([2 ** 40, Number.MAX_SAFE_INTEGER])(
  'changePages ends at the first page without an entry, for %d pages',
  (count) => {
    const rmp = rmpOf(4);
    const pages: bigint[] = [];
    const done = rmp.changePages(spa(0), count, PageSize.Huge, (at) => {
      pages.push(at);
      return true;
    });
    expect([done, pages.at(-1), pages.length <= 3]).toEqual([3, BigInt(4 * MiB), true]);
  },
);
