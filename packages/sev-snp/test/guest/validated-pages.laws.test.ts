import { PAGE_SIZE, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pageRegion, ValidatedPages } from '../../src/guest/validated-pages.ts';
import { codeOf, MiB } from '../support/world.ts';

// A region with edges at no multiple of 256 KiB or 2 MiB: the words of a bitmap would be cut.
const FIRST = 509;
const COUNT = 1100;
const memory = physRegion(physAddr(FIRST * PAGE_SIZE), COUNT * PAGE_SIZE);
const command = fc.record({
  op: fc.constantFrom('add' as const, 'remove' as const),
  first: fc.integer({ min: FIRST - 2, max: FIRST + COUNT }),
  // One page, two, a word of a bitmap, 2 MiB.
  count: fc.constantFrom(1, 1, 2, 64, 512),
  huge: fc.boolean(),
});

test('programs of additions and removals do what a plain set of page numbers does', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 30 }), (program) => {
      const it = new ValidatedPages(memory);
      const twin = new Set<number>();
      for (const { op, first: any, count, huge } of program) {
        const first = huge && count === 512 ? any - (any % 512) : any;
        const region = physRegion(physAddr(first * PAGE_SIZE), count * PAGE_SIZE);
        const pages = Array.from({ length: count }, (_, k) => first + k);
        const isInside = first >= FIRST && first + count <= FIRST + COUNT;
        const isRefused = op === 'add' ? pages.some((p) => twin.has(p)) : pages.some((p) => !twin.has(p));
        const why = op === 'add' ? 'ALREADY_VALIDATED' : 'NOT_VALIDATED';
        const expected = isInside ? (isRefused ? why : undefined) : 'INVALID_ARGUMENT';
        expect(codeOf(() => it[op](region))).toBe(expected);
        if (expected === undefined) for (const p of pages) op === 'add' ? twin.add(p) : twin.delete(p);
        expect(it.size).toBe(BigInt(twin.size * PAGE_SIZE));
      }
      for (let p = FIRST - 1; p <= FIRST + COUNT; p += 1) {
        expect(it.has(physAddr(p * PAGE_SIZE))).toBe(twin.has(p));
        expect(it.has(physAddr(p * PAGE_SIZE + 0xfff))).toBe(twin.has(p));
      }
      expect([...it].flatMap((run) => [...run.iterPages(PAGE_SIZE)]).length).toBe(twin.size);
    }),
  );
});

test('firstIn and firstMissingIn return the first page of a kind', () => {
  const it = new ValidatedPages(memory, [pageRegion(physAddr(2 * MiB), 0x20_0000)]);
  expect(it.firstIn(memory)).toBe(physAddr(2 * MiB));
  expect(it.firstIn(pageRegion(physAddr(2 * MiB + 0x5000), 0x1000))).toBe(physAddr(2 * MiB + 0x5000));
  expect(it.firstMissingIn(pageRegion(physAddr(2 * MiB), 0x20_0000))).toBe(undefined);
  it.remove(pageRegion(physAddr(2 * MiB + 0x5000), 0x1000));
  expect(it.firstMissingIn(pageRegion(physAddr(2 * MiB), 0x20_0000))).toBe(physAddr(2 * MiB + 0x5000));
});

test('a record of 1 TiB costs a few runs', () => {
  const it = new ValidatedPages(physRegion(physAddr(0), 1n << 40n), [physRegion(physAddr(0), 1n << 39n)]);
  it.remove(pageRegion(physAddr(1n << 38n), 0x1000));
  it.add(pageRegion(physAddr((1n << 40n) - 0x1000n), 0x1000));
  expect([...it].length).toBe(3);
});

test.each<[string, () => unknown]>([
  ['a part of a page', () => new ValidatedPages(memory).add(physRegion(memory.start, 0x800))],
  ['no page', () => new ValidatedPages(memory).add(physRegion(memory.start, 0))],
  [
    'pages from the start that lie outside',
    () => new ValidatedPages(memory, [physRegion(physAddr(0), 0x1000)]),
  ],
  ['memory of half a page', () => new ValidatedPages(physRegion(physAddr(0), 0x800))],
])('refuses %s', (_, action) => {
  expect(codeOf(action)).toBe('INVALID_ARGUMENT');
});
