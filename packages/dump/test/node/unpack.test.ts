/** Compressed files are unpacked to a temporary file that is bounded, sparse, and gone afterwards. */
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { unpack } from '../../src/node/unpack.ts';
import { DumpError } from '../../src/source/dump-error.ts';
import { temporary } from '../support/support.ts';

const MIB = 2 ** 20;
const noise = Buffer.from(Array.from({ length: MIB }, (_, i) => (i * 2_654_435_761) >>> 24));
const { TMPDIR: before } = process.env;
const folder = mkdtempSync(join(tmpdir(), 'svsm-dump-unpack-'));
beforeAll(() => {
  Object.assign(process.env, { TMPDIR: folder });
});
afterAll(() => {
  if (before === undefined) Reflect.deleteProperty(process.env, 'TMPDIR');
  else Object.assign(process.env, { TMPDIR: before });
  rmSync(folder, { recursive: true });
});

function open(bytes: Buffer): number {
  return openSync(temporary('packed', bytes), 'r');
}

test('a file of zeros with some bytes takes no more than these', async () => {
  const packed = gzipSync(Buffer.concat([Buffer.alloc(32 * MIB), noise, Buffer.alloc(32 * MIB)]));
  const fd = await unpack(open(packed), true, undefined, 2 * MIB);
  const { size, blocks } = fstatSync(fd);
  expect(size).toBe(65 * MIB);
  expect(blocks * 512).toBeLessThanOrEqual(2 * MIB);
  const found = Buffer.alloc(MIB);
  readSync(fd, found, 0, MIB, 32 * MIB);
  expect(found.equals(noise)).toBe(true);
  expect(readdirSync(folder)).toEqual([]);
  closeSync(fd);
});

test.each([true, false])(
  'a file that takes more than it may is refused, and leaves nothing: gzip %j',
  async (gzip) => {
    const bytes = Buffer.concat([noise, noise, noise]);
    const fd = open(gzip ? gzipSync(bytes) : bytes);
    const run = unpack(fd, gzip, undefined, 2 * MIB);
    await expect(run).rejects.toThrow(DumpError);
    await expect(run).rejects.toThrow(/^it unpacks to more than 2 MiB, and so much may not be written to/);
    expect(readdirSync(folder)).toEqual([]);
    // The descriptor of the temporary file is free again.
    const next = openSync('/dev/null', 'r');
    expect(next).toBeLessThanOrEqual(fd + 1);
    closeSync(next);
  },
);
