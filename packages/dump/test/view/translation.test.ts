import { expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import type { ReportRecord } from '../../src/view/record.ts';
import { listTranslations, translationOf } from '../../src/view/translation.ts';
import { openView } from '../../src/view/view.ts';
import { tableOf } from '../support/core-file.ts';

const IMAGE = Buffer.concat([
  tableOf({ 0: 0x1067n, 1: 0x77_0000_0067n }),
  tableOf({ 0: 0x2067n }),
  tableOf({ 0: 0x3067n }),
  tableOf({ 0: 0x1067n, 1: (1n << 51n) | 0x67n }),
]);
const view = openView(openDump(bytesSource(IMAGE), { cr3: 0n }), { cr3: 0n, physicalBits: 40 });

test('an address has a translation, or the reason why not', () => {
  expect(translationOf(view, 0x123n)).toMatchObject({ paddr: 0x1123n, fileOffset: 0x1123, obstacle: null });
  const obstacles = [0x1000n, 0x2000n, 1n << 39n, 1n << 47n].map((at) => translationOf(view, at).obstacle);
  expect(obstacles).toEqual(['reserved-bits', 'not-mapped', 'bus-error', 'not-canonical']);
});

test('a list of addresses ends with the number of addresses and faults', async () => {
  const records: ReportRecord[] = [];
  for await (const record of listTranslations(view, [0n, 0x1000n, 0x2000n])) records.push(record);
  expect(records.map(({ type }) => type)).toEqual([
    'dump',
    'translation',
    'translation',
    'translation',
    'end',
  ]);
  expect(records.at(-1)).toMatchObject({ count: 3, faults: 1 });
});
