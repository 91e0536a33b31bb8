/** Each finding is reported for a table that has it, and for no other. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { checkTables } from '../../src/view/check.ts';
import { listLeaves } from '../../src/view/listing.ts';
import type { FindingRecord, LeafRecord } from '../../src/view/record.ts';
import { openView, type ViewOptions } from '../../src/view/view.ts';
import { tableOf } from '../support/core-file.ts';
import { built, entry } from '../support/random-tables.ts';
import { fixture, runHere, temporary } from '../support/support.ts';

const NX = 1n << 63n;
const C = 1n << 47n;

/** Four tables at 0, of which the last one has these entries, for the upper half and for the lower half. */
function image(leaves: Readonly<Record<number, bigint>>, above = 0n): Buffer {
  return Buffer.concat([
    tableOf({ 0: 0x1067n | above, 511: 0x1067n | above }),
    tableOf({ 0: 0x2067n | above }),
    tableOf({ 0: 0x3067n | above }),
    tableOf(leaves),
    Buffer.alloc(0x3000),
  ]);
}

function findings(bytes: Buffer, options: ViewOptions = {}): FindingRecord[] {
  const view = openView(openDump(bytesSource(bytes), { cr3: 0n }), { cr3: 0n, ...options });
  return [...checkTables(view)].filter((record) => record.type === 'finding');
}
const shown = (records: readonly FindingRecord[]) =>
  records.map(({ finding, start, paddr }) => [finding, start, paddr]);
/** The lower and the upper half have the same tables. */
const below = (records: readonly FindingRecord[]) =>
  shown(records).filter(([, start]) => start === null || (start as bigint) < 2n ** 63n);

describe('checkTables', () => {
  test('finds nothing in sound tables', () => {
    expect(findings(image({ 0: 0x4061n, 1: 0x5063n | NX }))).toEqual([]);
    const encrypted = image({ 0: 0x4061n | C, 1: 0x5063n | NX }, C);
    expect(findings(encrypted, { encryption: { mode: 'c-bit', bit: 47 } })).toEqual([]);
  });

  test('finds pages that are writable and executable, and those of user mode in the upper half', () => {
    expect(shown(findings(image({ 0: 0x4063n, 1: 0x5065n | NX })))).toEqual([
      ['writable-executable', 0n, 0x4000n],
      ['writable-executable', 0xffff_ff80_0000_0000n, 0x4000n],
      ['user-in-upper-half', 0xffff_ff80_0000_1000n, 0x5000n],
    ]);
  });

  test('finds code and page tables in shared memory', () => {
    const options = { encryption: { mode: 'c-bit', bit: 47 } } as const;
    expect(below(findings(image({ 0: 0x4061n }, C), options))).toEqual([['shared-executable', 0n, 0x4000n]]);
    expect(shown(findings(image({ 0: 0x4061n | C }), options))).toEqual([
      ['shared-table', null, 0x1000n],
      ['shared-table', null, 0x2000n],
      ['shared-table', null, 0x3000n],
    ]);
    const vtom = { encryption: { mode: 'vtom', bit: 47 } } as const;
    expect(below(findings(image({ 0: 0x4061n }, C), vtom)).map(([finding]) => finding)).toEqual([
      'shared-table',
      'shared-table',
      'shared-table',
    ]);
  });

  test('finds page tables that are mapped in a way that no kernel needs', () => {
    expect(below(findings(image({ 0: 0x2065n | NX })))).toEqual([['user-maps-table', 0n, 0x2000n]]);
    expect(below(findings(image({ 0: 0x2061n })))).toEqual([['executable-table', 0n, 0x2000n]]);
    const once = Buffer.concat([
      tableOf({ 0: 0x1067n }),
      tableOf({ 0: 0x2067n }),
      tableOf({ 0: 0x3067n }),
      tableOf({ 5: 0x3063n | NX }),
    ]);
    expect(findings(once)).toEqual([]);
    once.writeBigUInt64LE(0x3063n | NX, 0x3000 + 8 * 9);
    expect(shown(findings(once))).toEqual([
      ['table-aliases', 0x5000n, 0x3000n],
      ['table-aliases', 0x9000n, 0x3000n],
    ]);
  });

  test('the findings about mappings are those among all leaves of random tables', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), (entries) => {
        const view = built(entries);
        const leaves: LeafRecord[] = [];
        for (const record of listLeaves(view, { all: true })) {
          if (record.type === 'leaf') leaves.push(record);
          if (leaves.length > 2000) return;
        }
        const bytes = (name: string, all: readonly FindingRecord[]): bigint =>
          all.reduce((sum, { finding, size }) => sum + (finding === name ? size : 0n), 0n);
        const found = [...checkTables(view, { all: true })].filter((record) => record.type === 'finding');
        const sum = (wanted: (leaf: LeafRecord) => boolean): bigint =>
          leaves.reduce((total, leaf) => total + (wanted(leaf) ? BigInt(leaf.pageSize) : 0n), 0n);
        expect(bytes('writable-executable', found)).toBe(sum((leaf) => leaf.writable && leaf.executable));
        expect(bytes('user-in-upper-half', found)).toBe(sum((leaf) => leaf.user && leaf.start >= 2n ** 63n));
      }),
    );
  });
});

test('the command check has a negative answer for findings, and filters those of mappings', async () => {
  const path = temporary('check', image({ 0: 0x4063n, 1: 0x5065n | NX }));
  const run = await runHere(['check', path, '--cr3', '0']);
  expect([run.status, run.stderr]).toEqual([1, '']);
  expect(run.stdout).toContain(
    'writable-executable 0x0000000000000000 0x0000000000001000      4 KiB  0x0000000000004000 4K   -rwx',
  );
  expect(run.stdout).toContain('# 3 findings');
  const part = await runHere(['check', path, '--cr3', '0', '--within', '1000-2000']);
  expect(part.status).toBe(0);
  const kernel = await runHere(['check', fixture('case-f.frames.gz'), '--json']);
  expect(kernel.status).toBe(1);
  expect(kernel.stdout.match(/"finding":"writable-executable"/g)?.length).toBe(161);
});
