/** A guest in the memory of its host, through both formats of nested page tables. */
import { PAGE_SIZE, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { openNested } from '../../src/backing/nested-dump.ts';
import { listRuns } from '../../src/view/listing.ts';
import { findRoots } from '../../src/view/root-search.ts';
import { translationOf } from '../../src/view/translation.ts';
import { openView } from '../../src/view/view.ts';
import { dumpOfFrames } from '../support/snp-host.ts';

/** A host with a guest of four pages, scattered in its memory, which has page tables of its own in the first four. */
function hostWithGuest(format: 'npt' | 'ept') {
  const frames = new Map<number, BigUint64Array>();
  const frame = (at: number): BigUint64Array => {
    const known = frames.get(at) ?? new BigUint64Array(512);
    frames.set(at, known);
    return known;
  };
  const [table, page] = format === 'ept' ? [7n, 0x37n] : [0x67n, 0x67n];
  frame(0x10)[0] = (0x11n << 12n) | table;
  frame(0x11)[0] = (0x12n << 12n) | table;
  frame(0x12)[0] = (0x13n << 12n) | table;
  const places = [0x55, 0x33, 0x77, 0x44, 0x99, 0x9a];
  for (const [gfn, place] of places.entries()) {
    frame(0x13)[gfn] = (BigInt(place) << 12n) | page;
    frame(place);
  }
  frame(0x55)[0] = 0x1067n;
  frame(0x55)[511] = 0x1067n;
  frame(0x33)[0] = 0x2067n;
  frame(0x77)[0] = 0x3067n;
  frame(0x44).set([0x67n, 0x4067n, 0x5067n | (1n << 63n)]);
  const dump = {
    ...dumpOfFrames((at) => {
      const found = frames.get(at);
      return found && new Uint8Array(found.buffer);
    }),
    memory: [...frames.keys()]
      .sort((a, b) => a - b)
      .map((at) => {
        const start = physAddr(at * PAGE_SIZE);
        return { start, end: start + 4096n, offset: undefined, isZero: false };
      }),
  };
  return { dump, places, pointer: format === 'ept' ? 0x1_0000n | 0x1en : 0x1_0000n };
}

describe.each(['npt', 'ept'] as const)('a guest through %s', (format) => {
  const { dump, places, pointer } = hostWithGuest(format);
  const guest = openNested(dump, { format, pointer });

  test('has its page tables, with the places in the memory of the host beside them', () => {
    const view = openView(guest, { cr3: 0n });
    const runs = [...listRuns(view)].filter((record) => record.type === 'run' && record.start < 2n ** 63n);
    expect(
      runs.map((run) => run.type === 'run' && [run.start, run.paddr, run.size, run.backing?.spa]),
    ).toEqual([
      [0n, 0n, 4096n, BigInt(places[0]! * PAGE_SIZE)],
      [0x1000n, 0x4000n, 4096n, 0x9_9000n],
      [0x2000n, 0x5000n, 4096n, 0x9_a000n],
    ]);
    expect(translationOf(view, 0x2123n)).toMatchObject({
      paddr: 0x5123n,
      backing: { spa: 0x9_a000n, nested: { pageSize: 4096, writable: true } },
    });
  });

  test('has a root that a search finds', () => {
    const roots = [...findRoots(guest, { levels: 4 })].filter((record) => record.type === 'root');
    expect(roots[0]).toMatchObject({ cr3: 0n, mapsItself: true });
  });

  test('has the memory that the table maps', () => {
    expect(Array.from(guest.memory ?? [], ({ start, end }) => [start, end])).toEqual([
      [0n, 0x1000n],
      [0x1000n, 0x2000n],
      [0x2000n, 0x3000n],
      [0x3000n, 0x4000n],
      [0x4000n, 0x5000n],
      [0x5000n, 0x6000n],
    ]);
    expect(guest.readFrame(6, new Uint8Array(PAGE_SIZE))).toBe(false);
  });
});

test('a search reads each place of the file once, however often the nested table lists it', () => {
  // Each entry of each table leads to the only table, so the frame is mapped 20^4 times.
  const table = new BigUint64Array(512).fill(0x67n, 0, 20);
  const bytes = new Uint8Array(table.buffer);
  const frames = { start: physAddr(0), end: 4096n, offset: 0, isZero: false };
  let reads = 0;
  const host = { ...dumpOfFrames((at) => (at === 0 ? bytes : undefined)), memory: [frames] };
  const guest = openNested(host, { format: 'npt', pointer: 0n });
  expect(Array.from(guest.memory ?? []).length).toBe(20 ** 4);
  const counted = {
    ...guest,
    readFrame(frame: number, into: Uint8Array): boolean {
      reads += 1;
      return guest.readFrame(frame, into);
    },
  };
  const last = [...findRoots(counted, { levels: 4 })].at(-1);
  expect(last).toMatchObject({ type: 'end', count: 1 });
  expect(reads).toBeLessThan(2000);
});
