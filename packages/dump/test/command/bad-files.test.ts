/** A file with a wrong format prints one line that names the file and the reason. */
import { gzipSync } from 'node:zlib';
import { PAGE_SIZE } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { lineOf } from '../../src/command/problem.ts';
import { DumpError, isDumpError } from '../../src/source/dump-error.ts';
import { coreFile, framesFile, sparseFile, tableOf } from '../support/core-file.ts';
import { fixture, open, temporary, view } from '../support/support.ts';

const PAGE = new Uint8Array(PAGE_SIZE);
const CORE = coreFile({ segments: [{ paddr: 0x1000n, bytes: PAGE }], cpus: [{ cr3: 0x1000n }] });
const HEADER = { cr3: '0x1000', cr4: '0xa0', maxphyaddr: 40 };
const FRAMES = framesFile(HEADER, [[0x1000n, PAGE]]);

/** A copy of `bytes`, changed by `patch`. */
function patched(bytes: Buffer, patch: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes);
  patch(copy);
  return copy;
}

async function refused(bytes: Uint8Array, raw = false): Promise<string> {
  const path = temporary('bad', bytes);
  const error = await open(path, { raw }).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(DumpError);
  const { message } = error as DumpError;
  expect(message.startsWith(`${path}: `)).toBe(true);
  expect(message).not.toContain('\n');
  return lineOf(error as DumpError).slice(path.length + 2);
}

describe('an ELF core', () => {
  test.each<[string, (copy: Buffer) => void, RegExp]>([
    ['of 32 bits', (copy) => copy.writeUInt8(1, 4), /not a 64-bit/],
    ['that is big-endian', (copy) => copy.writeUInt8(2, 5), /little-endian/],
    ['that is a program', (copy) => copy.writeUInt16LE(2, 16), /of type 2, not a core file/],
    ['of another machine', (copy) => copy.writeUInt16LE(183, 18), /machine 183, not of x86-64/],
    ['with short program headers', (copy) => copy.writeUInt16LE(32, 54), /have 32 bytes/],
    [
      'with program headers beyond its end',
      (copy) => copy.writeUInt16LE(1000, 56),
      /its 1000 program headers end at byte 56192/,
    ],
    [
      'with 4 billion program headers',
      (copy) => {
        copy.writeUInt16LE(0xffff, 56);
        copy.writeUInt32LE(0xffff_ffff, 108);
      },
      /it has 4294967295 program headers; at most 524288 are supported/,
    ],
    [
      'without section header 0',
      (copy) => {
        copy.writeUInt16LE(0xffff, 56);
        copy.writeBigUInt64LE(0n, 40);
      },
      /no section header 0/,
    ],
    [
      'whose program headers are above 2^53',
      (copy) => copy.writeBigUInt64LE(2n ** 63n, 32),
      /is 0x8000000000000000, which is too large/,
    ],
    [
      'with a segment outside the file',
      (copy) => copy.writeBigUInt64LE(0x9_0000n, 248 + 8),
      /program header 1 ends at byte 593920, beyond the end of the file at \d+/,
    ],
    [
      'with a segment of 2^60 bytes',
      (copy) => copy.writeBigUInt64LE(2n ** 60n, 248 + 32),
      /size of program header 1 is 0x1000000000000000/,
    ],
    [
      'with a segment of more bytes than memory',
      (copy) => copy.writeBigUInt64LE(0xfffn, 248 + 40),
      /program header 1 has 4096 bytes in the file for 4095 bytes of memory/,
    ],
    ['with memory above 2^52', (copy) => copy.writeBigUInt64LE(2n ** 52n - 1n, 248 + 24), /beyond 2\^52/],
    [
      'with notes outside the file',
      (copy) => copy.writeBigUInt64LE(0x9_0000n, 192 + 8),
      /its notes end at byte/,
    ],
    [
      'with a truncated note',
      (copy) => copy.writeBigUInt64LE(100n, 192 + 32),
      /the note at byte 0 of its notes is truncated/,
    ],
    ['with a note of 4 GiB', (copy) => copy.writeUInt32LE(0xffff_ffff, 304), /note at byte 0/],
    [
      'with a QEMU note of version 2',
      (copy) => copy.writeUInt32LE(2, 304 + 20),
      /QEMU note of CPU 0 has version 2 and 440 bytes/,
    ],
  ])('%s', async (_, patch, message) => {
    expect(await refused(patched(CORE, patch))).toMatch(message);
  });

  test.each([3, 20, 63, 100, 250, 310, 5000])('truncated after %i bytes', async (length) => {
    await refused(CORE.subarray(0, Math.min(length, CORE.length - 1)));
  });

  test('with a page at more than four places', async () => {
    const segments = Array.from({ length: 5 }, () => ({ paddr: 0x1000n, bytes: PAGE }));
    expect(await refused(coreFile({ segments }))).toBe(
      'physical address 0x1000 is at more than 4 places in the file',
    );
  });

  test('without physical addresses', async () => {
    const none = (paddr: bigint) =>
      coreFile({ segments: [1n, 2n].map((vaddr) => ({ paddr, vaddr, bytes: PAGE })) });
    for (const paddr of [0n, 2n ** 64n - 1n]) {
      expect(await refused(none(paddr))).toMatch(/name no physical addresses, as in \/proc\/kcore/);
    }
  });

  test('without a note, without memory at CR3, or not in long mode', async () => {
    const failure = async (parts: Parameters<typeof coreFile>[0], cpu?: number): Promise<unknown> => {
      const dump = await open(temporary('odd', coreFile(parts)));
      try {
        return view(dump, { cpu }) && undefined;
      } catch (error) {
        return error;
      }
    };
    const segments = [{ paddr: 0x1000n, bytes: PAGE }];
    expect(await failure({ segments })).toHaveProperty(
      'message',
      expect.stringMatching(/has no CR3: pass --cr3/),
    );
    expect(await failure({ segments, cpus: [{ cr3: 0x5000n }] })).toHaveProperty(
      'message',
      expect.stringMatching(/CR3 points to 0x0000000000005000, where the dump has no memory/),
    );
    expect(await failure({ segments, cpus: [{ cr3: 0x1000n, cr0: 0x11n }] })).toHaveProperty(
      'message',
      expect.stringMatching(/CR0.PG is 0/),
    );
    expect(await failure({ segments, cpus: [{ cr3: 0x1000n, cr4: 0x80n }] })).toHaveProperty(
      'message',
      expect.stringMatching(/CR4.PAE is 0/),
    );
    const other = await failure({ segments, cpus: [{ cr3: 0x1000n }] }, 4);
    expect(isDumpError(other, 'NO_SUCH_CPU')).toBe(true);
    expect(other).toHaveProperty('message', expect.stringMatching(/there is no CPU 4: it has 1/));
  });
});

describe('a frames file', () => {
  test.each<[string, Buffer, RegExp]>([
    ['that is truncated', FRAMES.subarray(0, -1), /instead of the \d+ of its header/],
    ['that is truncated in its header', FRAMES.subarray(0, 12), /its header is truncated/],
    ['with more bytes', Buffer.concat([FRAMES, PAGE]), /instead of the \d+ of its header/],
    ['without JSON', framesFile('{]', []), /its header is not a JSON object/],
    ['with other JSON', framesFile('null', []), /it is not an object/],
    ['with a wrong CR3', framesFile({ cr3: 'zero' }, []), /cr3 in its header is "zero", not a 64-bit number/],
    ['with a wrong width', framesFile({ ...HEADER, maxphyaddr: 99 }, []), /maxphyaddr in its header is 99/],
    ['with a misaligned frame', framesFile(HEADER, [[0x1008n, PAGE]]), /frame 0 is at 0x1008/],
    [
      'with a frame above 2^52',
      framesFile(HEADER, [[2n ** 52n, PAGE]]),
      /not a multiple of 0x1000 below 2\^52/,
    ],
    [
      'with a frame twice',
      framesFile(HEADER, [
        [0x1000n, PAGE],
        [0x1000n, PAGE],
      ]),
      /frame 1, at 0x1000, is not above/,
    ],
  ])('%s', async (_, bytes, message) => {
    expect(await refused(bytes)).toMatch(message);
  });
});

describe('a sparse file', () => {
  const whole = sparseFile(100, [[10, Buffer.from('abc')]]);
  test.each<[string, Buffer, RegExp]>([
    ['that is truncated in its header', whole.subarray(0, 15), /it ends at byte 15/],
    ['that is truncated in a piece', whole.subarray(0, -1), /truncated in piece 0 of 1/],
    [
      'with too many pieces',
      patched(whole, (copy) => copy.writeUInt32LE(2 ** 31, 16)),
      /announces 2147483648 pieces/,
    ],
    ['with more bytes', Buffer.concat([whole, PAGE]), /4096 bytes follow its last piece/],
    ['with a piece beyond its end', sparseFile(11, [[10, Buffer.from('abc')]]), /piece 0 ends at 13/],
    [
      'with a byte twice',
      sparseFile(99, [
        [10, Buffer.from('abc')],
        [12, Buffer.from('d')],
      ]),
      /have byte 12/,
    ],
    ['of unknown format', sparseFile(100, []), /its format is unknown/],
  ])('%s', async (_, bytes, message) => {
    expect(await refused(bytes)).toMatch(message);
  });
});

describe('a sparse file that claims to be huge', () => {
  test('is refused at once', async () => {
    const many = patched(CORE, (copy) => {
      copy.writeUInt16LE(0xffff, 56);
      copy.writeUInt32LE(2 ** 31, 108);
    });
    expect(await refused(sparseFile(2 ** 50, [[0, many]]))).toMatch(/it has 2147483648 program headers/);
    const [headerSize, count] = [2 ** 32 - 1, 2 ** 32 - 1];
    const begin = patched(FRAMES.subarray(0, 16), (copy) => {
      copy.writeUInt32LE(headerSize, 8);
      copy.writeUInt32LE(count, 12);
    });
    const size = 16 + headerSize + count * 4104;
    expect(await refused(sparseFile(size, [[0, begin]]))).toMatch(
      /at most 1048576 and 16777216 are supported/,
    );
  });
});

describe('another file', () => {
  test('that is compressed and truncated, or compressed and corrupted', async () => {
    const packed = gzipSync(FRAMES);
    expect(await refused(packed.subarray(0, -9))).toMatch(/its gzip data is truncated/);
    expect(await refused(patched(packed, (copy) => copy.writeUInt32LE(1, copy.length - 8)))).toMatch(
      /incorrect data check/,
    );
  });

  test.each(['DISKDUMP', 'PAGEDU64', 'QEVM\x00'])(
    'that begins with %j is named in the error',
    async (magic) => {
      expect(await refused(Buffer.concat([Buffer.from(magic), PAGE]))).toMatch(
        /looks like a.*, which is not supported/,
      );
    },
  );

  test('that is empty, a directory, or missing', async () => {
    expect(await refused(new Uint8Array(0))).toBe('it is empty');
    await expect(open(fixture('.'))).rejects.toThrow(/it is a directory/);
    await expect(open(fixture('none'))).rejects.toThrow(/none: ENOENT/);
  });

  test('that may be a raw image needs CR3', async () => {
    expect(await refused(tableOf({ 0: 1n }))).toMatch(/if it is a raw memory image, pass --cr3/);
  });
});
