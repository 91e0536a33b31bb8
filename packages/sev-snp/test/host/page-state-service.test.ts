import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GHCB_BUFFER, GhcbPage } from '../../src/formats/ghcb-page.ts';
import {
  decodePscEntry,
  decodePscHeader,
  encodePscEntry,
  encodePscHeader,
  type PscEntry,
} from '../../src/formats/page-state-list.ts';
import {
  type ChangePage,
  PscResult,
  processPageStateChange,
  scratchOffset,
} from '../../src/host/page-state-service.ts';
import { MiB } from '../support/world.ts';

const entry = (gpa: number, fields: Partial<PscEntry> = {}): PscEntry => ({
  gpa: physAddr(gpa),
  operation: 1,
  pageSize: PageSize.Regular,
  donePages: 0,
  reserved: 0,
  ...fields,
});

/** A GHCB with a list, and the pages that were changed through it. */
function listOf(entries: PscEntry[], { current = 0, end = entries.length - 1, start = 0 } = {}) {
  const page = GhcbPage.over();
  page.writeBuffer(start, encodePscHeader({ current, end, reserved: 0 }));
  for (const [i, e] of entries.entries()) page.writeBuffer(start + 8 * (i + 1), encodePscEntry(e));
  const changed: [number, number][] = [];
  const run = (change: ChangePage = () => 0, limit?: number) =>
    processPageStateChange(
      page,
      start,
      (gpa, operation, size) => {
        const error = change(gpa, operation, size);
        if (error === 0) changed.push([Number(gpa), size]);
        return error;
      },
      limit,
    );
  const progress = () => decodePscHeader(page.readBuffer(start, 8)).current;
  const done = (i: number) => decodePscEntry(page.readBuffer(start + 8 * (i + 1), 8)).donePages;
  return { page, changed, run, progress, done };
}

// G9, G10
test('changes the pages of the list in order, and records the progress', () => {
  const it = listOf([
    entry(0x1000),
    entry(2 * MiB, { pageSize: PageSize.Huge, operation: 2 }),
    entry(0x3000),
  ]);
  expect(it.run()).toBe(PscResult.NoError);
  expect(it.changed).toEqual([
    [0x1000, 4096],
    [2 * MiB, 2 * MiB],
    [0x3000, 4096],
  ]);
  expect([it.progress(), it.done(0), it.done(1), it.done(2)]).toEqual([3, 1, 512, 1]);
});

// G10
test('a 2 MiB page that cannot be changed as one page is changed in 4 KiB pages, from cur_page on', () => {
  const small: ChangePage = (_, __, size) => (size === PageSize.Huge ? 1 : 0);
  const whole = listOf([entry(0, { pageSize: PageSize.Huge })]);
  expect([whole.run(small), whole.changed.length]).toEqual([PscResult.NoError, 512]);
  const rest = listOf([entry(0, { pageSize: PageSize.Huge, donePages: 510 })]);
  expect(rest.run()).toBe(PscResult.NoError);
  expect(rest.changed).toEqual([
    [510 * 4096, 4096],
    [511 * 4096, 4096],
  ]);
});

// G8, G10
test('an error stops the list, and the entries record the progress', () => {
  const it = listOf([entry(0x1000), entry(2 * MiB, { pageSize: PageSize.Huge }), entry(0x3000)]);
  const bad = BigInt(2 * MiB + 0x7000);
  const change: ChangePage = (gpa, _, size) => (size === PageSize.Huge || gpa === bad ? 1 : 0);
  expect(it.run(change)).toBe(PscResult.GenericError);
  expect([it.progress(), it.done(1), it.done(2)]).toEqual([1, 7, 0]);
  // Asked again, it continues at the page that failed.
  it.changed.length = 0;
  expect(it.run()).toBe(PscResult.NoError);
  expect(it.changed[0]).toEqual([Number(bad), 4096]);
});

// G9
test('a limit ends the exit without an error, and the next one resumes', () => {
  const it = listOf([entry(0x1000), entry(0x2000), entry(0x3000)]);
  expect([it.run(undefined, 2), it.progress()]).toEqual([PscResult.NoError, 2]);
  expect([it.run(undefined, 2), it.progress(), it.changed.length]).toEqual([PscResult.NoError, 3, 3]);
});

// G10
test('entries that are done, and unknown operations, count as done', () => {
  const it = listOf([
    entry(0x1000, { donePages: 1 }),
    ...[0, 3, 4, 15].map((operation) => entry(0x2000, { operation })),
  ]);
  expect([it.run(), it.progress(), it.changed]).toEqual([PscResult.NoError, 5, []]);
});

describe('refuses', () => {
  // G10, G8
  test.each<[string, Partial<PscEntry>]>([
    ['more progress than the page has', { donePages: 2 }],
    ['more progress than a 2 MiB page has', { donePages: 513, pageSize: PageSize.Huge }],
    ['a misaligned 2 MiB page', { pageSize: PageSize.Huge }],
  ])('an entry with %s', (_, fields) => {
    const it = listOf([entry(0x5000), entry(0x1000, fields)]);
    expect([it.run(), it.progress(), it.changed.length]).toEqual([PscResult.InvalidEntry, 1, 1]);
  });

  // G6, G10
  test('a list that does not fit into the buffer, wherever it begins', () => {
    expect(listOf([], { end: 252 }).run()).toBe(PscResult.NoError);
    expect(listOf([], { end: 253 }).run()).toBe(PscResult.InvalidHeader);
    expect(listOf([], { end: 0xffff }).run()).toBe(PscResult.InvalidHeader);
    expect(listOf([entry(0)], { start: 0x7e0 }).run()).toBe(PscResult.NoError);
    expect(listOf([entry(0)], { start: 0x7e0, end: 1 }).run()).toBe(PscResult.InvalidHeader);
  });
});

// G10
test('a list that is done needs no work', () => {
  const it = listOf([entry(0x1000)], { current: 7 });
  expect([it.run(), it.changed]).toEqual([PscResult.NoError, []]);
});

// G6, A12
test('whatever lies in the buffer, the service stays inside it, reads every word once, and answers', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 0x7f0, maxLength: 0x7f0 }),
      fc.nat({ max: 253 }),
      (buffer, end) => {
        const bytes = new Uint8Array(4096);
        bytes.set(buffer, GHCB_BUFFER.offset);
        bytes.set([0, 0, end, 0], GHCB_BUFFER.offset);
        const reads = new Set<number>();
        const page = new GhcbPage({
          read: (offset, length) => {
            expect(reads.has(offset), 'read twice').toBe(false);
            reads.add(offset);
            expect(offset >= 0x800 && offset + length <= 0xff0).toBe(true);
            // The guest changes what has just been read.
            return bytes.slice(offset, offset + length);
          },
          write: (offset, from) => {
            expect(offset >= 0x800 && offset + from.length <= 0xff0).toBe(true);
            bytes.fill(0xff, offset, offset + from.length);
          },
        });
        const result = processPageStateChange(page, 0, (gpa, operation, size) => {
          expect([gpa % BigInt(size), operation === 1 || operation === 2]).toEqual([0n, true]);
          return 0;
        });
        expect(Object.values(PscResult)).toContain(result);
      },
    ),
  );
});

// G6
test('a scratch address has to lie in the buffer of the same GHCB', () => {
  const gpa = 0x5000n as PhysAddr;
  const at = (scratch: bigint, bytes = 8) => scratchOffset(gpa, scratch, bytes);
  expect([at(0x5800n), at(0x57ffn), at(0x5fe8n), at(0x5fe9n), at(0x6800n), at(-1n)]).toEqual([
    0,
    undefined,
    0x7e8,
    undefined,
    undefined,
    undefined,
  ]);
});
