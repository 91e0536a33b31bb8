import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { encodeKernelHashes, hashKernel } from '../../src/formats/kernel-hashes.ts';
import { guid, u16 } from '../support/images.ts';
import { codeOf } from '../support/world.ts';

const sha256 = (bytes: Uint8Array) => Uint8Array.from(createHash('sha256').update(bytes).digest());

// L13
test('the table has a header, and command line, initrd and kernel in this order', () => {
  const hashes = {
    kernel: new Uint8Array(32).fill(1),
    initrd: new Uint8Array(32).fill(2),
    commandLine: new Uint8Array(32).fill(3),
  };
  const entry = (name: string, value: number) => [guid(name), u16(50), Buffer.alloc(32, value)];
  const expected = Buffer.concat([
    guid('9438d606-4f22-4cc9-b479-a793d411fd21'),
    u16(168),
    ...entry('97d02dd8-bd20-4c94-aa78-e7714d36ab2a', 3),
    ...entry('44baf731-3a2f-4bd7-9af1-41e29169781d', 2),
    ...entry('4de79437-abd2-427f-b835-d5b172d2045b', 1),
    Buffer.alloc(8),
  ]);
  expect(encodeKernelHashes(hashes)).toEqual(Uint8Array.from(expected));
  expect(codeOf(() => encodeKernelHashes({ ...hashes, initrd: new Uint8Array(48) }))).toBe(
    'INVALID_ARGUMENT',
  );
});

// L13
test('the command line is hashed with a zero byte, and an initrd that does not exist as no bytes', async () => {
  const kernel = Buffer.from('kernel');
  expect(
    await hashKernel({ kernel, initrd: Buffer.from('i'), commandLine: Buffer.from('a b') }, sha256),
  ).toEqual({
    kernel: sha256(kernel),
    initrd: sha256(Buffer.from('i')),
    commandLine: sha256(Buffer.from('a b\0')),
  });
  expect(await hashKernel({ kernel }, sha256)).toEqual({
    kernel: sha256(kernel),
    initrd: sha256(Buffer.alloc(0)),
    commandLine: sha256(Buffer.alloc(1)),
  });
});
