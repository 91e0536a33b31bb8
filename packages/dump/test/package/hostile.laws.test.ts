/** A tampered file is either opened or refused. It never causes an unexpected error or an endless run. */
import { gzipSync } from 'node:zlib';
import { isPageTableError } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ExitCode, UsageError } from '../../src/command/problem.ts';
import { DumpError } from '../../src/source/dump-error.ts';
import { coreFile, framesFile, sparseFile, tableOf } from '../support/core-file.ts';
import { runHere, temporary } from '../support/support.ts';

const TABLES = [
  tableOf({ 0: 0x2067n, 300: 0x2067n }),
  tableOf({ 0: 0x3067n, 5: 0x3067n }),
  tableOf({ 0: 0x4067n, 1: 0x0020_00e7n }),
  tableOf({ 0: 0x9067n, 1: 0x8000_0000_0000_a063n }),
];
const CORE = coreFile({
  segments: TABLES.map((bytes, i) => ({ paddr: 0x1000n * BigInt(i + 1), bytes, vaddr: BigInt(i) << 21n })),
  cpus: [{ cr3: 0x1000n }, { cr3: 0x1000n, cr4: 0x10a0n }],
});
const FRAMES = framesFile(
  { cr3: '0x1000', cr4: '0xa0' },
  TABLES.map((bytes, i) => [BigInt(0x1000 * (i + 1)), bytes]),
);
const FILES = {
  core: CORE,
  frames: FRAMES,
  thinned: sparseFile(CORE.length + 100, [[0, CORE]]),
  compressed: gzipSync(FRAMES),
};

/** Edits change headers more often than tables. */
const edit = fc.record({
  place: fc.oneof(fc.nat(0x400), fc.nat(0x4800)),
  value: fc.oneof(
    fc.constantFrom(0n, 1n, 0xffffn, 0xffff_ffffn, 2n ** 63n, 2n ** 64n - 1n),
    fc.bigInt(0n, 0xffff_ffffn),
  ),
  size: fc.constantFrom(1, 2, 4, 8),
});

function tampered(
  file: Buffer,
  edits: readonly { place: number; value: bigint; size: number }[],
  cut: number,
): Buffer {
  const bytes = Buffer.from(file);
  for (const { place, value, size } of edits) {
    const at = place % Math.max(1, bytes.length - 8);
    const word = Buffer.alloc(8);
    word.writeBigUInt64LE(value);
    word.copy(bytes, at, 0, size);
  }
  return bytes.subarray(0, bytes.length - (cut % bytes.length));
}

test.each(Object.keys(FILES) as (keyof typeof FILES)[])('a tampered file: %s', async (kind) => {
  const commands = [
    ['runs'],
    ['leaves', '--json'],
    ['summary'],
    ['translate', '1000'],
    ['walk', '1000'],
    ['info'],
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.array(edit, { minLength: 1, maxLength: 4 }),
      fc.oneof(fc.constant(0), fc.nat(0x4800)),
      fc.constantFrom(...commands),
      async (edits, cut, [command = '', ...rest]) => {
        const path = temporary('tampered', tampered(FILES[kind], edits, cut));
        try {
          const { status, stdout } = await runHere([command, path, ...rest]);
          const done: number[] = [ExitCode.Done, ExitCode.Negative, ExitCode.BadTables];
          expect(done).toContain(status);
          expect(stdout).not.toBe('');
        } catch (error) {
          const isOurs = error instanceof DumpError || error instanceof UsageError;
          if (!isOurs && !isPageTableError(error, 'NON_CANONICAL')) throw error;
          expect((error as Error).message).not.toContain('\n');
        }
      },
    ),
  );
});
