import { expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import type { OnProgress } from '../../src/source/on-progress.ts';
import { summarize } from '../../src/view/summary.ts';
import { openView } from '../../src/view/view.ts';
import { tableOf } from '../support/core-file.ts';

/** A user page, a supervisor page in the lower half, and a user page in the upper half. */
const IMAGE = Buffer.concat([
  tableOf({ 0: 0x1067n, 256: 0x1067n }),
  tableOf({ 0: 0x2067n }),
  tableOf({ 0: 0x3067n }),
  tableOf({ 0: 0x8000_0000_0000_9067n, 1: 0xa063n }),
]);

test('summarize counts pages by size and rights, and warns', () => {
  const dump = openDump(bytesSource(IMAGE), { cr3: 0n });
  const seen: Parameters<OnProgress>[] = [];
  const records = [
    ...summarize(openView(dump, { cr3: 0n }), { onProgress: (...report) => seen.push(report) }),
  ];
  expect(records.map(({ type }) => type)).toEqual(['dump', 'summary', 'end']);
  const summary = records.find((record) => record.type === 'summary');
  expect(summary).toMatchObject({ tables: 4, pages: 4, bytes: 0x4000n });
  expect(summary?.rows.map(({ user, executable, pages }) => [user, executable, pages])).toEqual([
    [false, true, 2],
    [true, false, 2],
  ]);
  expect(summary?.warnings.map(({ warning, pages }) => [warning, pages])).toEqual([
    ['writable-executable', 2],
    ['user-in-upper-half', 1],
    ['supervisor-in-lower-half', 1],
  ]);
  expect(seen.at(-1)).toEqual([4, undefined, 'runs']);
});
