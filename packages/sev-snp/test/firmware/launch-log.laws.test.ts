import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LaunchLog } from '../../src/firmware/launch-log.ts';
import { type LaunchPage, LaunchPageType } from '../../src/formats/launch-digest.ts';

const { Normal, Vmsa, Zero, Unmeasured, Secrets, Cpuid } = LaunchPageType;
const added = fc.record({
  type: fc.constantFrom(Normal, Vmsa, Zero, Unmeasured, Secrets, Cpuid),
  /** The distance from the end of what was added before, in pages. */
  skip: fc.constantFrom(0, 0, 0, 1, -1),
  permissions: fc.constantFrom(
    [0, 0, 0] as const,
    [1, 0, 0] as const,
    [0, 0, 1] as const,
    [2, 3, 4] as const,
  ),
  imi: fc.constantFrom(false, false, true),
  content: fc.constantFrom(undefined, undefined, 7),
  pages: fc.integer({ min: 1, max: 3 }),
});

/** A page of 4 KiB as the digest sees it: the content of a measured page is bytes, if only zeros. */
function* single(pages: Iterable<LaunchPage>): Generator<string> {
  for (const { type, gpa, bytes, size = bytes?.length ?? PAGE_SIZE, permissions, imi } of pages)
    for (let at = 0; at < size; at += PAGE_SIZE)
      yield [type, gpa + BigInt(at), permissions, imi, bytes?.[at], bytes?.[at + PAGE_SIZE - 1]].join(' ');
}

test('the pages of the log are those that were added, one by one and in their order', () => {
  fc.assert(
    fc.property(fc.array(added, { maxLength: 12 }), (all) => {
      const log = new LaunchLog();
      const expected: LaunchPage[] = [];
      let end = 0x10_0000;
      for (const { type, skip, permissions, imi, content, pages } of all) {
        const gpa = physAddr(end + skip * PAGE_SIZE);
        const isMeasured = type === Normal || type === Vmsa;
        const bytes =
          isMeasured && content !== undefined ? new Uint8Array(PAGE_SIZE).fill(content) : undefined;
        const count = bytes === undefined ? pages : 1;
        if (count === 1) log.add({ type, gpa, permissions, imi }, bytes);
        else log.add({ type, gpa, permissions, imi }, bytes, count * PAGE_SIZE);
        for (let k = 0; k < count; k += 1) {
          const own = isMeasured ? { bytes: bytes ?? new Uint8Array(PAGE_SIZE) } : {};
          expected.push({ type, permissions, imi, ...own, gpa: (gpa + BigInt(k * PAGE_SIZE)) as PhysAddr });
        }
        end = Number(gpa) + count * PAGE_SIZE;
      }
      expect([...single(log.pages())]).toEqual([...single(expected)]);
    }),
  );
});

test('pages that follow each other and are alike are one range, others are not', () => {
  const page = { type: Zero, gpa: physAddr(0), permissions: [1, 2, 3], imi: false } as const;
  const lengthAfter = (change: object, bytes?: Uint8Array): number => {
    const log = new LaunchLog();
    log.add(page, undefined);
    log.add({ ...page, gpa: physAddr(PAGE_SIZE), ...change }, bytes);
    return [...log.pages()].length;
  };
  expect(lengthAfter({})).toBe(1);
  for (const change of [
    { type: Unmeasured },
    { gpa: physAddr(0) },
    { permissions: [1, 2, 4] },
    { imi: true },
  ])
    expect(lengthAfter(change)).toBe(2);
  expect(lengthAfter({ type: Normal }, new Uint8Array(PAGE_SIZE))).toBe(2);
  const unmeasured = new LaunchLog();
  for (const at of [0, 1])
    unmeasured.add({ ...page, type: Unmeasured, gpa: physAddr(at * PAGE_SIZE) }, undefined);
  expect([...unmeasured.pages()].map(({ size }) => size)).toEqual([2 * PAGE_SIZE]);
  // Content ends a range.
  const written = new LaunchLog();
  const ones = new Uint8Array(PAGE_SIZE).fill(1);
  for (const [at, bytes] of [ones, undefined].entries())
    written.add({ ...page, type: Normal, gpa: physAddr(at * PAGE_SIZE) }, bytes);
  expect([...written.pages()].map(({ bytes }) => bytes?.[0])).toEqual([1, 0]);
});

test('pages that were listed do not change with pages that are added later', () => {
  const log = new LaunchLog();
  const page = { type: Zero, gpa: physAddr(0), permissions: [0, 0, 0], imi: false } as const;
  log.add(page, undefined);
  const before = log.pages();
  log.add({ ...page, gpa: physAddr(PAGE_SIZE) }, undefined);
  expect([...before].map(({ size }) => size)).toEqual([PAGE_SIZE]);
  expect([...log.pages()].map(({ size }) => size)).toEqual([2 * PAGE_SIZE]);
  expect([...new LaunchLog().pages()]).toEqual([]);
});
