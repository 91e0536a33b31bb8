/** Page tables that are read wrongly are recognized by their look, and the warning names the options that would mend it. */
import { describe, expect, test } from 'vitest';
import { coreFile, sparseFile, tableOf } from '../support/core-file.ts';
import { fixture, run, runHere, temporary } from '../support/support.ts';

const GIB = 2 ** 30;
const FOUR_GIB = 2 ** 32;
const TABLE = 0x67n;

/** The tables of a small kernel at `base`: user pages, text in large pages, and a direct map, as pieces by physical address. */
function kernel(base: number, levels: 4 | 5, cBit = 0n): [number, Buffer][] {
  const at = (index: number, flags = TABLE): bigint => BigInt(base + 0x1000 * index) | flags | cBit;
  const page = (paddr: number, flags: bigint): bigint => BigInt(paddr) | flags | cBit;
  const large = Object.fromEntries(
    Array.from({ length: 64 }, (_, i) => [i, page(0x20_0000 * (i + 1), 0xe3n)]),
  );
  const small = Object.fromEntries(
    Array.from({ length: 100 }, (_, i) => [i, page(0x40_0000 + 0x1000 * i, 0x67n)]),
  );
  const tables = [
    tableOf({ 0: at(2), 273: at(1), 511: at(1) }),
    tableOf({ 0: at(3), 510: at(3) }),
    tableOf({ 1: at(4) }),
    tableOf(large),
    tableOf({ 2: at(5), 3: at(6) }),
    tableOf(small),
    tableOf(small),
  ];
  const top = tableOf({ 0: at(0), 273: at(0), 511: at(0) });
  const all = levels === 5 ? [...tables, top] : tables;
  return all.map((bytes, i) => [base + 0x1000 * i, bytes]);
}
const rootOf = (base: number, levels: 4 | 5): number => (levels === 5 ? base + 0x7000 : base);

/** A raw image of `size` bytes, in which memory from 4 GiB on follows the memory below `split`. */
function image(size: number, split: number, pieces: readonly (readonly [number, Buffer])[]): string {
  const placed = pieces.map(
    ([paddr, bytes]) => [paddr >= FOUR_GIB ? paddr - FOUR_GIB + split : paddr, bytes] as const,
  );
  return temporary('image', sparseFile(size, placed));
}

const core = (pieces: readonly (readonly [number, Buffer])[], cr3: bigint, cr4 = 0xa0n): string =>
  temporary(
    'guess',
    coreFile({
      segments: [
        { paddr: 0n, bytes: Buffer.alloc(0x20_0000, 0x5a) },
        { paddr: 0x20_0000n, bytes: Buffer.alloc(0x20_0000, 'abracada') },
        ...pieces.map(([paddr, bytes]) => ({ paddr: BigInt(paddr), bytes })),
      ],
      cpus: [{ cr3, cr4 }],
    }),
  );

const BASE = 0x50_0000;

describe('a listing of nothing', () => {
  const empty = core([[BASE, Buffer.alloc(0x1000)]], BigInt(BASE));

  test.each([['runs'], ['leaves'], ['summary'], ['leaves', '--qemu'], ['runs', '--json']])(
    'is not a success: %j',
    (command, ...more) => {
      const { status, stdout, stderr } = run([command, empty, ...more]);
      expect(status).toBe(4);
      expect(more.includes('--json') ? stdout : stderr).toContain(
        'the table at CR3 0x500000 is empty: no entry is present. Check --cr3',
      );
    },
  );

  test('is a negative answer if only a part is listed', async () => {
    const path = core(kernel(BASE, 4), BigInt(BASE));
    expect(await runHere([path, '--within', '200000-201000'])).toMatchObject({ status: 1, stderr: '' });
    expect((await runHere([path])).status).toBe(0);
  });

  test('has a warning even if the top table has entries', async () => {
    const next = (index: number) => tableOf({ 0: BigInt(BASE + 0x1000 * index) | TABLE });
    const tables = Buffer.concat([next(1), next(2), next(3), Buffer.alloc(0x1000)]);
    const path = core([[BASE, tables]], BigInt(BASE));
    const { status, stderr } = await runHere([path]);
    expect([status, stderr]).toEqual([
      4,
      `svsm-dump: ${path}: warning: nothing is mapped by the table at CR3 0x500000. Check --cr3\n`,
    ]);
  });
});

describe('a table that is read wrongly', () => {
  test.each([
    [0x2000n, 'is empty: no entry is present'],
    [
      0x20_0000n,
      'does not look like a page table of 4 levels: of the sampled entries, 0 % lead to a table or a page',
    ],
  ])('of data at %i is senseless', async (cr3, message) => {
    const { status, stderr } = await runHere(['walk', core(kernel(BASE, 4), cr3), '0']);
    expect(status).toBe(4);
    expect(stderr).toContain(`the table at CR3 0x${cr3.toString(16)} ${message}`);
  });

  test('of five levels, as four', async () => {
    const path = core(kernel(BASE, 5), BigInt(rootOf(BASE, 5)));
    const { status, stderr } = await runHere([path]);
    expect(status).toBe(4);
    expect(stderr).toContain(
      'looks as if it had 5 levels, not 4: most of its pages are page tables. It makes sense with --levels 5',
    );
    expect(await runHere([path, '--levels', '5'])).toMatchObject({ status: 0, stderr: '' });
  });

  test('of four levels, as five', async () => {
    const path = core(kernel(BASE, 4), BigInt(BASE), 0x10a0n);
    const { status, stderr } = await runHere([path]);
    expect(status).toBe(4);
    expect(stderr).toContain('does not look like a page table of 5 levels');
    expect(stderr).toContain('It makes sense with --levels 4');
    expect(await runHere([path, '--levels', '4'])).toMatchObject({ status: 0, stderr: '' });
  });

  test('with a C-bit in its entries', async () => {
    const path = core(kernel(BASE, 4, 1n << 51n), BigInt(BASE));
    const { status, stderr } = await runHere([path]);
    expect(status).toBe(4);
    expect(stderr).toContain('It makes sense with --c-bit 51');
    expect(await runHere([path, '--c-bit', '51'])).toMatchObject({ status: 0, stderr: '' });
  });

  test('with a C-bit in CR3', async () => {
    const cr3 = BigInt(BASE) | (1n << 47n);
    const path = core(kernel(BASE, 4, 1n << 47n), cr3);
    await expect(runHere([path])).rejects.toThrow(
      /CR3 points to 0x0000800000500000, where the dump has no memory. It makes sense with --c-bit 47/,
    );
    expect(await runHere([path, '--c-bit', '47'])).toMatchObject({ status: 0, stderr: '' });
  });

  test('is not suspected in real dumps', async () => {
    for (const name of [
      'case-a.frames.gz',
      'case-f.frames.gz',
      'core-a-paging.sparse.gz',
      'la57.frames.gz',
    ]) {
      const { status, stderr } = await runHere(['translate', fixture(name), 'ffffffff81000000']);
      expect([name, status < 2, stderr]).toEqual([name, true, '']);
    }
  });

  test('is recognized in a real dump of five levels', async () => {
    const { status, stderr } = await runHere(['walk', fixture('la57.frames.gz'), '0', '--levels', '4']);
    expect(status).toBe(4);
    expect(stderr).toContain('It makes sense with --levels 5');
  });
});

describe('a raw image with a hole below 4 GiB', () => {
  const high = FOUR_GIB + 0x1000_0000;

  test.each([
    [0xc000_0000, 6 * GIB],
    [0x8000_0000, 6 * GIB],
    [0xc000_0000, 4 * GIB],
    [0x8000_0000, 3 * GIB],
  ])('has its split at %i of %i bytes found by trying', async (split, size) => {
    // The tables are above 4 GiB, and their top table below.
    const pieces = kernel(high, 4);
    const [, root] = pieces[0]!;
    const path = image(size, split, [...pieces.slice(1), [0x1234_5000, root]]);
    const { status, stdout, stderr } = await runHere([path, '--cr3', '12345000']);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toContain(
      `raw image, split below 4 GiB at 0x${split.toString(16)} (found by trying: --ram 0-`,
    );
    expect(stdout).toContain('complete');
  });

  test('may have its top table above 4 GiB too', async () => {
    const path = image(6 * GIB, 0x8000_0000, kernel(high, 5));
    const args = [path, '--cr3', rootOf(high, 5).toString(16)];
    expect(await runHere([...args, '--levels', '5'])).toMatchObject({ status: 0, stderr: '' });
  });

  test('without a hole is opened whole', async () => {
    const path = image(6 * GIB, FOUR_GIB, kernel(high, 4));
    const { status, stdout } = await runHere([path, '--cr3', high.toString(16)]);
    expect(status).toBe(0);
    expect(stdout).toContain(': raw image\n');
  });

  test('opened with a wrong --ram names the right one', async () => {
    const path = image(6 * GIB, 0x8000_0000, kernel(high, 4));
    const wrong = ['--ram', '0-c0000000@0', '--ram', '100000000-1c0000000@c0000000'];
    const args = [path, '--cr3', high.toString(16)];
    const { status, stderr } = await runHere([...args, ...wrong]);
    expect(status).toBe(4);
    expect(stderr).toContain('It makes sense with --ram 0-80000000@0 --ram 100000000-200000000@80000000');
    await expect(runHere([...args, '--ram', '0-80000000@0'])).rejects.toThrow(
      /has no memory. It makes sense with --ram 0-80000000@0 --ram 100000000-200000000@80000000/,
    );
  });

  test('without any table is never a success', async () => {
    const path = image(6 * GIB, 0x8000_0000, kernel(high, 4));
    const { status, stderr } = await runHere([path, '--cr3', '1000']);
    expect(status).toBe(4);
    expect(stderr).toContain('the table at CR3 0x1000 is empty');
  });
});
