import { type Address, type AddressKind, PageSize, Phys, Virt, Virt57, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { virtRegion } from '../src/index.ts';
import {
  END_64,
  END_PHYS,
  GiB,
  HIGH_START,
  KiB4,
  LOW_END,
  MiB2,
  region,
  regionError,
  untyped,
} from './support.ts';

const SIZES = [
  ['4 KiB', PageSize.Regular],
  ['2 MiB', PageSize.Huge],
  ['1 GiB', PageSize.Giant],
] as const;

const four = () => virtRegion(virtAddr(0x4000), 0x4000).iterPages(PageSize.Regular);

describe('as an iterator', () => {
  test('next returns each page, then done, and stays done', () => {
    const pages = four();
    for (const value of [0x4000n, 0x5000n, 0x6000n, 0x7000n]) {
      expect(pages.next()).toEqual({ done: false, value });
    }
    for (let i = 0; i < 3; i++) expect(pages.next()).toEqual({ done: true, value: undefined });
  });

  test('is its own iterable, and can be consumed once', () => {
    const pages = four();
    expect(pages[Symbol.iterator]()).toBe(pages);
    expect([...pages]).toHaveLength(4);
    expect([...pages]).toEqual([]);
  });

  test('each call of iterPages begins anew', () => {
    const one = virtRegion(virtAddr(0x4000), 0x4000);
    const [first, second] = [one.iterPages(PageSize.Regular), one.iterPages(PageSize.Regular)];
    first.next();
    expect(second.next().value).toBe(0x4000n);
    expect(first.next().value).toBe(0x5000n);
  });

  test('works wherever an iterable is accepted', () => {
    const [first, , ...rest] = four();
    expect([first, rest]).toEqual([0x4000n, [0x6000n, 0x7000n]]);
    expect(Array.from(four(), (page) => Number(page) / 4096)).toEqual([4, 5, 6, 7]);
    expect(new Set(four()).size).toBe(4);
    expect(Math.max(...[...four()].map(Number))).toBe(0x7000);
    function* delegated() {
      yield* four();
    }
    expect([...delegated()]).toEqual([...four()]);
  });

  test('continues after a loop that was left early', () => {
    const pages = four();
    for (const page of pages) if (page === 0x5000n) break;
    expect([...pages]).toEqual([0x6000n, 0x7000n]);
  });

  test('inherits from %IteratorPrototype%, where the iterator helpers live', () => {
    const ofArrays = Object.getPrototypeOf([].values());
    const prototypes: unknown[] = [];
    for (let object = four(); object !== null; object = Object.getPrototypeOf(object))
      prototypes.push(object);
    expect(prototypes).toContain(Object.getPrototypeOf(ofArrays));
    // Not through the prototype of array iterators, which has its own `next`.
    expect(prototypes).not.toContain(ofArrays);
  });

  test('has the helpers of a runtime that has them', () => {
    // The Node of the toolchain has them: without them this test fails instead of being skipped.
    expect(four().map(Number).toArray()).toEqual([0x4000, 0x5000, 0x6000, 0x7000]);
    expect(four().take(2).toArray()).toEqual([0x4000n, 0x5000n]);
    expect(four().drop(3).toArray()).toEqual([0x7000n]);
    expect(
      four()
        .filter((page) => page % 0x2000n === 0n)
        .toArray(),
    ).toEqual([0x4000n, 0x6000n]);
    expect(four().reduce((sum, page) => sum + page, 0n)).toBe(0x16000n);
    expect(four().some((page) => page === 0x6000n)).toBe(true);
    const pages = four();
    expect(pages.take(1).toArray()).toEqual([0x4000n]);
  });

  test('prepares nothing: the first pages of the whole lower half are there at once', () => {
    const pages = virtRegion(virtAddr(0), LOW_END).iterPages(PageSize.Regular);
    expect([pages.next().value, pages.next().value]).toEqual([0n, 0x1000n]);
  });
});

describe.each(SIZES)('pages of %s', (_, size) => {
  const step = BigInt(size);
  const edges: readonly (readonly [string, AddressKind<Address>, bigint])[] = [
    ['the hole', Virt, LOW_END],
    ['2^64', Virt, END_64],
    ['the hole of 57 bits', Virt57, 2n ** 56n],
    ['2^52', Phys, END_PHYS],
  ];

  test.each(edges)('up to %s, including the last page', (_, kind, end) => {
    for (const count of [1, 2, 3]) {
      const start = end - step * BigInt(count);
      const pages = region(kind, start, end);
      expect(pages.pageCount(size)).toBe(count);
      const expected = Array.from({ length: count }, (_, i) => start + step * BigInt(i));
      expect([...pages.iterPages(size)]).toEqual(expected);
      expect(expected.every((page) => kind.isAddress(page))).toBe(true);
    }
  });

  test('from the first address of each half', () => {
    for (const start of [0n, HIGH_START]) {
      expect([...region(Virt, start, start + 2n * step).iterPages(size)]).toEqual([start, start + step]);
    }
  });

  test('a region that does not start and end at multiples is refused at the call', () => {
    const wrong: readonly [bigint, bigint][] = [
      [step + 1n, 2n * step],
      [step, 2n * step - 1n],
      [step, 2n * step + 1n],
      [step - 1n, 2n * step - 1n],
      [step + step / 2n, 2n * step + step / 2n],
      [step - KiB4 / 2n, 2n * step],
      [step + 1n, step + 1n],
    ];
    for (const [start, end] of wrong) {
      const one = region(Virt, start, end);
      for (const action of [() => one.iterPages(size), () => one.pageCount(size)]) {
        const { details, message } = regionError('MISALIGNED_REGION', action);
        expect(details).toEqual({ region: one, pageSize: size });
        expect(message).toContain(`multiples of 0x${size.toString(16)} bytes`);
      }
    }
  });
});

test('a region of whole 4 KiB pages need not consist of 2 MiB pages', () => {
  const one = region(Virt, KiB4, KiB4 + MiB2);
  expect(one.pageCount(PageSize.Regular)).toBe(512);
  regionError('MISALIGNED_REGION', () => one.iterPages(PageSize.Huge));
  regionError('MISALIGNED_REGION', () => region(Virt, MiB2, GiB).iterPages(PageSize.Giant));
});

test.each(
  [0, -0, 1, -4096, 512, 8192, 4095, 4097, 4096n, 0x20_0000n, '4096', NaN, Infinity, null, {}].map((s) => [
    s,
  ]),
)('the page size %o is refused', (size) => {
  const one = virtRegion(virtAddr(0), GiB);
  for (const action of [() => one.iterPages(untyped(size)), () => one.pageCount(untyped(size))]) {
    expect(regionError('INVALID_PAGE_SIZE', action).details).toEqual({ value: size });
  }
});

test('iterPages needs a page size', () => {
  regionError('INVALID_PAGE_SIZE', () => virtRegion(virtAddr(0), GiB).iterPages(untyped(undefined)));
});

describe('largestPages', () => {
  const sizesOf = (start: bigint, end: bigint) =>
    [...region(Virt, start, end).largestPages()].map(({ size }) => size);
  const repeat = (count: number, size: bigint) => Array.from({ length: count }, () => size);

  test.each([
    ['one page', 0n, KiB4, [KiB4]],
    ['one 2 MiB page', MiB2, 2n * MiB2, [MiB2]],
    ['one 1 GiB page', GiB, 2n * GiB, [GiB]],
    ['2 MiB that are not aligned', KiB4, KiB4 + MiB2, repeat(512, KiB4)],
    ['one page before, one after', MiB2 - KiB4, 2n * MiB2 + KiB4, [KiB4, MiB2, KiB4]],
    ['all sizes, up and down', GiB - MiB2 - KiB4, 2n * GiB + MiB2 + KiB4, [KiB4, MiB2, GiB, MiB2, KiB4]],
    ['one page less than 2 MiB', 0n, MiB2 - KiB4, repeat(511, KiB4)],
    ['the last page', END_64 - KiB4, END_64, [KiB4]],
    ['the last 1 GiB below the hole', LOW_END - GiB, LOW_END, [GiB]],
  ] as const)('%s', (_, start, end, sizes) => {
    expect(sizesOf(start, end)).toEqual(sizes);
  });

  test('returns regions of the same kind, in order, and can be left early', () => {
    const huge = region(Phys, 0n, END_PHYS).largestPages();
    expect([huge.next().value, huge.next().value]).toEqual([
      region(Phys, 0n, GiB),
      region(Phys, GiB, 2n * GiB),
    ]);
    expect(huge.return(undefined)).toEqual({ done: true, value: undefined });
  });

  test('refuses a region that does not consist of 4 KiB pages, at the call', () => {
    const { details } = regionError('MISALIGNED_REGION', () => region(Virt, 0x800n, MiB2).largestPages());
    expect(details.pageSize).toBe(4096);
    regionError('MISALIGNED_REGION', () => region(Virt, 0n, MiB2 + 1n).largestPages());
  });
});
