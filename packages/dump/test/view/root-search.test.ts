/** Top tables are found by their content: in cores, in dumps of real kernels, and in raw images with a hole. */
import { describe, expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import type { RootRecord } from '../../src/view/record.ts';
import { findRoots, type RootSearchOptions } from '../../src/view/root-search.ts';
import { coreFile, sparseFile, tableOf } from '../support/core-file.ts';
import { fixture, open, runHere, temporary } from '../support/support.ts';

const TABLE = 0x63n;
const FOUR_GIB = 2 ** 32;

/** Pages by their address: a kernel with a direct map of the first 128 MiB, and two processes with a page table each. */
function machine(base: number, levels: 4 | 5 = 4): [paddr: number, bytes: Buffer][] {
  const at = (index: number, flags = TABLE): bigint => BigInt(base + 0x1000 * index) | flags;
  const large = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [i, BigInt(0x20_0000 * i) | 0xe3n]));
  const kernel = { 273: at(1), 300: at(9), 511: at(1) };
  const process = (first: number): [number, Buffer][] => [
    [first, tableOf({ 0: at(first + 1, 0x67n), ...kernel })],
    [first + 1, tableOf({ 0: at(first + 2, 0x67n) })],
    [first + 2, tableOf({ 2: at(first + 3, 0x67n) })],
    [first + 3, tableOf({ 7: 0x765_4067n, 8: 0x123_4067n })],
  ];
  const top = (of: number): Buffer => tableOf({ 0: at(of), 273: at(of), 511: at(of) });
  const tables: [number, Buffer][] = [
    [0, tableOf(kernel)],
    [1, tableOf({ 0: at(2), 510: at(2) })],
    [2, tableOf(large)],
    // A table that was allocated, but has no entry yet.
    [9, tableOf({})],
    ...process(10),
    ...process(20),
    // Data that begins like a table.
    [40, Buffer.concat([tableOf({ 0: at(1) }).subarray(0, 8), Buffer.alloc(4088, 'data')])],
    ...(levels === 5 ? ([50, 60, 70] as const).map((n, i): [number, Buffer] => [n, top(10 * i)]) : []),
  ];
  return tables.map(([index, bytes]) => [base + 0x1000 * index, bytes]);
}

/** All memory from 0 on, up to 8 MiB. */
function image(pieces: readonly (readonly [number, Buffer])[], size = 0x80_0000): Buffer {
  const bytes = Buffer.alloc(size);
  for (const [at, piece] of pieces) piece.copy(bytes, at);
  return bytes;
}

function rootsOf(bytes: Buffer, options: RootSearchOptions = {}): RootRecord[] {
  const dump = openDump(bytesSource(bytes), { isRawIfUnknown: true });
  return [...findRoots(dump, options)].filter((record) => record.type === 'root');
}
const shown = (roots: readonly RootRecord[]) =>
  roots.map(({ cr3, levels, score }) => [Number(cr3), levels, score]);

const BASE = 0x40_0000;
const core = (cr3: number, cr4: bigint, levels: 4 | 5 = 4): Buffer =>
  coreFile({
    segments: [{ paddr: 0n, bytes: image(machine(BASE, levels)) }],
    cpus: [{ cr3: BigInt(cr3), cr4 }],
  });

describe('findRoots', () => {
  test('finds the kernel and each process of a core, and says what it knows', () => {
    const roots = rootsOf(core(BASE + 0xa005, 0xa0n));
    expect(shown(roots).slice(0, 3)).toEqual([
      [BASE + 0xa000, 4, 100],
      [BASE, 4, 90],
      [BASE + 0x1_4000, 4, 90],
    ]);
    expect(roots[0]).toMatchObject({
      lowerEntries: 1,
      upperEntries: 3,
      mapsItself: true,
      isShared: true,
      isKernel: false,
      cpus: [0],
    });
    expect(roots.slice(3).every(({ score }) => score < 75)).toBe(true);
    expect(roots.map(({ cr3 }) => Number(cr3))).not.toContain(BASE + 0x2_8000);
  });

  test('tells five levels from four, with CR4 and without', () => {
    const five = [
      [BASE + 0x3_2000, 5],
      [BASE + 0x3_c000, 5],
      [BASE + 0x4_6000, 5],
    ];
    const tops = (roots: readonly RootRecord[]) =>
      shown(roots)
        .slice(0, 3)
        .map((one) => one.slice(0, 2));
    expect(tops(rootsOf(core(BASE + 0x3_2000, 0x10a0n, 5)))).toEqual(five);
    const raw = image(machine(BASE, 5));
    expect(tops(rootsOf(raw))).toEqual(five);
    expect(tops(rootsOf(raw, { levels: 4 }))).toEqual([
      [BASE, 4],
      [BASE + 0xa000, 4],
      [BASE + 0x1_4000, 4],
    ]);
  });

  test.each([0x8000_0000, 0xc000_0000])('lays out a raw image with a hole at 0x%x', async (split) => {
    // The tables of the processes are above 4 GiB, where no address of the image as a whole leads.
    const high = FOUR_GIB + 0x100_0000;
    const placed = machine(high).map(([at, bytes]): [number, Buffer] => [at - FOUR_GIB + split, bytes]);
    const low = tableOf({ 273: BigInt(high + 0x1000) | TABLE, 511: BigInt(high + 0x1000) | TABLE });
    const path = temporary('roots', sparseFile(split + 0x800_0000, [[0x5000, low], ...placed]));
    const { status, stdout } = await runHere(['roots', path]);
    expect(status).toBe(0);
    expect(stdout).toContain(`raw image, split below 4 GiB at 0x${split.toString(16)}`);
    expect(stdout).toContain('0x0000000000005000 4 levels');
    expect((await runHere(['runs', path, '--cr3', '5000'])).status).toBe(0);
  });

  test('finds the tables of a real kernel', async () => {
    const records = [...findRoots(await open(fixture('kdump-lzo.sparse.gz')))];
    const [first] = records.filter((record) => record.type === 'root');
    expect(first).toMatchObject({ cr3: 0x55e_b000n, levels: 4, lowerEntries: 2, upperEntries: 3, cpus: [0] });
  });

  test('finds nothing in data', async () => {
    const path = temporary('data', Buffer.alloc(0x4_0000, 'no table here'));
    expect(await runHere(['roots', path])).toMatchObject({ status: 1, stderr: '' });
    expect((await runHere(['roots', path, '--json'])).stdout).toContain('"what":"roots","count":0');
  });

  test('reads at most 256 GiB, unless it is told to', () => {
    const bytes = sparseFile(2 ** 39, [[0, tableOf({ 0: 0x67n })]]);
    expect(() => rootsOf(bytes)).toThrow(
      /it has 134217728 frames; .* unless --all is passed \[OUTSIDE_LIMITS\]/,
    );
  });

  test('reports its progress', () => {
    const seen: unknown[] = [];
    rootsOf(image(machine(BASE)), { onProgress: (done, total) => seen.push([done, total]) });
    expect(seen).toHaveLength(0x800);
    expect(seen.at(-1)).toEqual([0x800, 0x800]);
  });
});
