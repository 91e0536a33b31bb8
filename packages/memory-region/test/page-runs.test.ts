import { PageSize, Phys, physAddr, Virt, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { physRegion, virtRegion } from '../src/index.ts';
import { END_64, END_PHYS, GiB, KiB4, LOW_END, MiB2, region, regionError, untyped } from './support.ts';

const { Giant, Huge, Regular } = PageSize;
const K = KiB4;
const M = MiB2;
const G = GiB;

describe('pageRuns', () => {
  test.each([
    [
      'all sizes, up and down',
      G - M - K,
      2n * G + M + K,
      {},
      [Regular, 1, Huge, 1, Giant, 1, Huge, 1, Regular, 1],
    ],
    ['several pages of each size', G - 2n * M - 2n * K, 3n * G, {}, [Regular, 2, Huge, 2, Giant, 2]],
    ['an aligned start, too short for the size', G, G + 3n * M + 5n * K, {}, [Huge, 3, Regular, 5]],
    ['no page at an empty region', G, G, {}, []],
    ['no 1 GiB pages', 0n, 2n * G + K, { maxPageSize: Huge }, [Huge, 1024, Regular, 1]],
    ['4 KiB pages only', M, 2n * M, { maxPageSize: Regular }, [Regular, 512]],
    ['an offset of 4 KiB', 0n, G, { offset: K }, [Regular, 262_144]],
    ['a negative offset of 4 KiB', 0n, M, { offset: -4096 }, [Regular, 512]],
    ['an offset of 2 MiB', 0n, G, { offset: -M }, [Huge, 512]],
    ['an offset of 1 GiB', 0n, G, { offset: -7n * G }, [Giant, 1]],
    ['options that are undefined', 0n, G, { offset: undefined, maxPageSize: undefined }, [Giant, 1]],
    ['an offset of more than 64 bits', 0n, G, { offset: 2n ** 100n }, [Giant, 1]],
    ['the end of the space', END_64 - G - M, END_64, { offset: -(END_64 - G - M) }, [Huge, 513]],
    ['the start of the hole', LOW_END - G - K, LOW_END, {}, [Regular, 1, Giant, 1]],
  ] as const)('%s', (_, start, end, options, expected) => {
    const runs = [...region(Virt, start, end).pageRuns(untyped(options))];
    expect(runs.flatMap(({ pageSize, count }) => [pageSize, count])).toEqual(expected);
    expect(runs.map((run) => run.start)[0] ?? start).toBe(start);
  });

  test('of a whole space are counted exactly, and cost nothing', () => {
    expect([...region(Phys, 0n, END_PHYS).pageRuns({ maxPageSize: Regular })]).toEqual([
      { start: 0n, pageSize: Regular, count: 2 ** 40 },
    ]);
  });

  test('refuses a region that does not consist of 4 KiB pages, at the call', () => {
    regionError('MISALIGNED_REGION', () => physRegion(physAddr(0x800), 0x800).pageRuns());
    regionError('MISALIGNED_REGION', () => physRegion(physAddr(0), 0x801).pageRuns());
  });
});

describe.each(['pageRuns', 'largestPages'] as const)('%s', (method) => {
  const one = virtRegion(virtAddr(0), 0x40_0000);

  test.each(
    [0.5, NaN, Infinity, 2 ** 53, 1, -1, 4095, 2049n, -1n, '4096', null, {}, true].map((offset) => [offset]),
  )('refuses the offset %o at the call', (offset) => {
    const { details, message } = regionError('INVALID_ARGUMENT', () =>
      one[method]({ offset: untyped(offset) }),
    );
    expect(details).toMatchObject({ what: 'offset', value: offset });
    expect(message).toMatch(/^offset cannot be .*: pass a multiple of 0x1000 as a bigint or a safe integer/);
  });

  test.each([0, 8192, 4096n, NaN, '4096', null, {}].map((size) => [size]))(
    'refuses the maximum %o',
    (size) => {
      const { details } = regionError('INVALID_PAGE_SIZE', () => one[method]({ maxPageSize: untyped(size) }));
      expect(details).toEqual({ value: size });
    },
  );

  test('names an option that it does not have', () => {
    const { message } = regionError('INVALID_ARGUMENT', () => one[method](untyped({ ofset: 4096n })));
    expect(message).toBe(
      'the name of an option cannot be "ofset": the options are offset and maxPageSize [INVALID_ARGUMENT]',
    );
  });

  test.each([null, 4096, 0x1000n, 'Huge', () => ({})].map((options) => [options]))(
    'refuses the options %o',
    (options) => {
      const { details } = regionError('INVALID_ARGUMENT', () => one[method](untyped(options)));
      expect(details).toMatchObject({ what: 'options', value: options });
    },
  );
});
