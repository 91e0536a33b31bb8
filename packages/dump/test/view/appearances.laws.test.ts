/** The reverse map of random tables, and of real kernels, compared with all their leaves. */
import type { PhysAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { findAppearances } from '../../src/view/appearances.ts';
import type { DumpView } from '../../src/view/dump-view.ts';
import { listLeaves } from '../../src/view/listing.ts';
import type { AppearanceRecord } from '../../src/view/record.ts';
import { openView } from '../../src/view/view.ts';
import { tableOf } from '../support/core-file.ts';
import { built, entry } from '../support/random-tables.ts';
import { fixture, open, runHere, temporary, view } from '../support/support.ts';

/** By going through all leaves. */
function slowly(of: DumpView, paddrs: readonly bigint[]): Omit<AppearanceRecord, 'roots'>[] {
  const found: Omit<AppearanceRecord, 'roots'>[] = [];
  for (const record of listLeaves(of, { all: true })) {
    if (record.type !== 'leaf') continue;
    const { type: _, start, flags: __, ...page } = record;
    for (const paddr of paddrs) {
      if (paddr < page.paddr || paddr >= page.paddr + BigInt(page.pageSize)) continue;
      found.push({ type: 'appearance', paddr, vaddr: start + (paddr - page.paddr), page });
    }
  }
  const key = ({ paddr, vaddr }: Omit<AppearanceRecord, 'roots'>): bigint => (paddr << 64n) | vaddr;
  return found.sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function quickly(of: DumpView, paddrs: readonly bigint[]): Omit<AppearanceRecord, 'roots'>[] {
  const records = [...findAppearances(of, paddrs, { all: true })];
  return records.flatMap((record) => {
    if (record.type !== 'appearance') return [];
    const { roots: _, ...others } = record;
    return [others];
  });
}

test.each([
  ['no encryption', {}],
  ['a C-bit', { encryption: { mode: 'c-bit', bit: 39 } }],
  ['vTOM, without NX, of AMD', { encryption: { mode: 'vtom', bit: 39 }, noNx: true, vendor: 'amd' }],
] as const)('random tables with %s: appearances are those among all leaves', (_, options) => {
  const paddr = fc.oneof(fc.nat(0xa000), fc.nat(0x4000_0000)).map(BigInt);
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 14 }),
      fc.uniqueArray(paddr, { minLength: 1 }),
      (entries, paddrs) => {
        const of = built(entries, options);
        let leaves = 0;
        for (const record of listLeaves(of, { all: true })) {
          if (record.type === 'leaf') leaves += 1;
          if (leaves > 5000) return;
        }
        expect(quickly(of, paddrs)).toEqual(slowly(of, paddrs));
      },
    ),
  );
});

test.each(['case-a.frames.gz', 'case-f.frames.gz', 'la57.frames.gz'])(
  '%s: appearances are those among all leaves',
  async (name) => {
    const of = view(await open(fixture(name)));
    const leaves = [...listLeaves(of)].flatMap((record) => (record.type === 'leaf' ? [record.paddr] : []));
    const some: bigint[] = leaves.filter((_, i) => i % 997 === 0).map((paddr) => paddr + 0x123n);
    const paddrs = [...new Set([...some, 0xfee0_0000n, 0x1_0000_0000_0000n])].slice(0, 40);
    const found = quickly(of, paddrs);
    expect(found.length).toBeGreaterThanOrEqual(paddrs.length - 2);
    expect(found).toEqual(slowly(of, paddrs));
  },
);

describe('several top tables', () => {
  /** Two processes with one kernel, at 0x0 and 0x6000. */
  const image = Buffer.concat([
    tableOf({ 0: 0x1067n, 511: 0x3063n }),
    tableOf({ 0: 0x2067n }),
    tableOf({ 0: 0xe7n }),
    tableOf({ 510: 0x4063n }),
    tableOf({ 3: 0xe1n, 4: 0x5063n }),
    tableOf({ 7: 0x8000_0000_0000_9063n }),
    tableOf({ 0: 0x7067n, 511: 0x3063n }),
    tableOf({ 0: 0x8067n }),
    tableOf({ 1: 0xe5n }),
    Buffer.alloc(0x1000, 9),
  ]);
  const path = temporary('two', image);

  test('a mapping in both is one record, with both', () => {
    const of = openView(openDump(bytesSource(image), { cr3: 0n }), { cr3: 0n });
    const records = [...findAppearances(of, [0x9010n], { roots: [0n, 0x6000n] })];
    const found = records.flatMap((record) =>
      record.type === 'appearance' ? [[record.vaddr, record.page.pageSize, record.roots]] : [],
    );
    expect(found).toEqual([
      [0x9010n, 0x20_0000, [0n]],
      [0x20_9010n, 0x20_0000, [0x6000n]],
      [0xffff_ffff_8060_9010n, 0x20_0000, [0n, 0x6000n]],
      [0xffff_ffff_8080_7010n, 0x1000, [0n, 0x6000n]],
    ]);
    expect(records.at(-1)).toMatchObject({ type: 'end', what: 'appearances', count: 4 });
  });

  test('are found by the command, in a raw image without a CR3', async () => {
    const { status, stdout } = await runHere(['find', path, '9010', '--all-roots']);
    expect(status).toBe(0);
    expect(stdout.split('\n').filter((line) => line.startsWith('0x'))).toEqual([
      '0x0000000000009010 0x0000000000009010 2M   urwx   -       CR3 0x0',
      '0x0000000000209010 0x0000000000009010 2M   ur-x   -       CR3 0x6000',
      '0xffffffff80609010 0x0000000000009010 2M   -r-x   -       2 CR3s, first 0x0',
      '0xffffffff80807010 0x0000000000009010 4K   -rw-   -       2 CR3s, first 0x0',
    ]);
    expect((await runHere(['find', path, '9010', '--cr3', '6000'])).stdout).toContain('# 3 appearances');
    expect((await runHere(['find', path, '77777000', '--cr3', '0'])).status).toBe(1);
    await expect(runHere(['find', path])).rejects.toThrow('find needs an address');
  });
});

test('what repeated tables make extremely long is refused, quickly', () => {
  const all = (entry: bigint) =>
    tableOf(Object.fromEntries(Array.from({ length: 512 }, (_, i) => [i, entry])));
  const image = Buffer.concat([0x1067n, 0x2067n, 0x3067n, 0x4067n, 0n].map(all));
  const of = openView(openDump(bytesSource(image), { cr3: 0n }), { cr3: 0n });
  expect(() => [...findAppearances(of, [0x4000n])]).toThrow(
    /68719476736 pages from only 1 .* \[LISTING_TOO_LONG\]/,
  );
  expect([...findAppearances(of, [0x9000n])]).toHaveLength(2);
});

test('refuses what is not a physical address', () => {
  const of = openView(openDump(bytesSource(tableOf({ 0: 0x67n })), { cr3: 0n }), { cr3: 0n });
  for (const bad of [-1n, 2n ** 52n, 5 as never, undefined as never]) {
    expect(() => [...findAppearances(of, [bad as PhysAddr])]).toThrow('[INVALID_ARGUMENT]');
  }
});
