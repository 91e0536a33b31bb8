/** Files that are not what they should be: each gets one line that says which and why. */
import { gzipSync } from 'node:zlib';
import { PAGE_SIZE } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { DumpError, UsageError } from '../src/problem.ts';
import { coreFile, framesFile, sparseFile, tableOf } from './core-file.ts';
import { fixture, open, temporary, view } from './support.ts';

const PAGE = new Uint8Array(PAGE_SIZE);
const CORE = coreFile({ segments: [{ paddr: 0x1000n, bytes: PAGE }], cpus: [{ cr3: 0x1000n }] });
const HEADER = { cr3: '0x1000', cr4: '0xa0', maxphyaddr: 40 };
const FRAMES = framesFile(HEADER, [[0x1000n, PAGE]]);

/** A copy of `bytes` that `patch` has changed. */
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
  return message.slice(path.length + 2);
}

describe('an ELF core', () => {
  test.each<[string, (copy: Buffer) => void, RegExp]>([
    ['of 32 bits', (copy) => copy.writeUInt8(1, 4), /not of 64 bits/],
    ['that is big-endian', (copy) => copy.writeUInt8(2, 5), /little-endian/],
    ['that is a program', (copy) => copy.writeUInt16LE(2, 16), /of type 2, no core/],
    ['of another machine', (copy) => copy.writeUInt16LE(183, 18), /machine 183, not of x86-64/],
    ['with odd program headers', (copy) => copy.writeUInt16LE(32, 54), /of 32 bytes/],
    [
      'with more program headers than bytes',
      (copy) => copy.writeUInt16LE(1000, 56),
      /its 1000 program headers end at byte 56192/,
    ],
    [
      'with 4 billion program headers',
      (copy) => {
        copy.writeUInt16LE(0xffff, 56);
        copy.writeUInt32LE(0xffff_ffff, 108);
      },
      /it has 4294967295 program headers; this reads 16777216/,
    ],
    [
      'whose section header is missing',
      (copy) => {
        copy.writeUInt16LE(0xffff, 56);
        copy.writeBigUInt64LE(0n, 40);
      },
      /counted in section header 0/,
    ],
    [
      'whose program headers lie past 2^53',
      (copy) => copy.writeBigUInt64LE(2n ** 63n, 32),
      /cannot be 0x8000000000000000/,
    ],
    [
      'with a segment outside the file',
      (copy) => copy.writeBigUInt64LE(0x9_0000n, 248 + 8),
      /program header 1 ends at byte 593920, past the file's \d+/,
    ],
    [
      'with a segment of 2^60 bytes',
      (copy) => copy.writeBigUInt64LE(2n ** 60n, 248 + 32),
      /size of program header 1 cannot be/,
    ],
    ['with memory past 2^52', (copy) => copy.writeBigUInt64LE(2n ** 52n - 1n, 248 + 24), /past 2\^52/],
    [
      'with notes outside the file',
      (copy) => copy.writeBigUInt64LE(0x9_0000n, 192 + 8),
      /its notes end at byte/,
    ],
    [
      'with a note that is cut off',
      (copy) => copy.writeBigUInt64LE(100n, 192 + 32),
      /the note at byte 0 of its notes is cut off/,
    ],
    ['with a note that says it is huge', (copy) => copy.writeUInt32LE(0xffff_ffff, 304), /note at byte 0/],
    [
      'with a QEMU note of version 2',
      (copy) => copy.writeUInt32LE(2, 304 + 20),
      /QEMU note of CPU 0 is of version 2, 440 bytes/,
    ],
  ])('%s', async (_, patch, message) => {
    expect(await refused(patched(CORE, patch))).toMatch(message);
  });

  test.each([3, 20, 63, 100, 250, 310, 5000])('cut off after %i bytes', async (length) => {
    await refused(CORE.subarray(0, Math.min(length, CORE.length - 1)));
  });

  test('whose segments hold one page twice', async () => {
    const segments = [
      { paddr: 0x1000n, bytes: PAGE },
      { paddr: 0x1800n, bytes: PAGE },
    ];
    expect(await refused(coreFile({ segments }))).toMatch(
      /^program header 1 and program header 2 both hold physical address 0x1800, at two places of the file$/,
    );
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
      expect.stringMatching(/does not tell CR3: pass --cr3/),
    );
    expect(await failure({ segments, cpus: [{ cr3: 0x5000n }] })).toHaveProperty(
      'message',
      expect.stringMatching(/CR3 leads to 0x0000000000005000, where the dump has no memory/),
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
    expect(other).toBeInstanceOf(UsageError);
    expect(other).toHaveProperty('message', expect.stringMatching(/there is no CPU 4 in test: it knows 1/));
  });
});

describe('a frames file', () => {
  test.each<[string, Buffer, RegExp]>([
    ['cut off', FRAMES.subarray(0, -1), /its header announces \d+/],
    ['cut off in its header', FRAMES.subarray(0, 12), /is cut off/],
    ['with more behind', Buffer.concat([FRAMES, PAGE]), /its header announces/],
    ['without JSON', framesFile('{]', []), /its header is not JSON/],
    ['with other JSON', framesFile('null', []), /it is no object/],
    ['with a CR3 that is none', framesFile({ cr3: 'zero' }, []), /cr3 in its header is "zero", no register/],
    [
      'with a width that is none',
      framesFile({ ...HEADER, maxphyaddr: 99 }, []),
      /maxphyaddr in its header is 99/,
    ],
    ['with a frame amid a page', framesFile(HEADER, [[0x1008n, PAGE]]), /frame 0 lies at 0x1008/],
    ['with a frame past 2^52', framesFile(HEADER, [[2n ** 52n, PAGE]]), /where no frame can be/],
    [
      'with a frame twice',
      framesFile(HEADER, [
        [0x1000n, PAGE],
        [0x1000n, PAGE],
      ]),
      /frame 1, at 0x1000, does not lie above/,
    ],
  ])('%s', async (_, bytes, message) => {
    expect(await refused(bytes)).toMatch(message);
  });
});

describe('a thinned file', () => {
  const whole = sparseFile(100, [[10, Buffer.from('abc')]]);
  test.each<[string, Buffer, RegExp]>([
    ['cut off in its header', whole.subarray(0, 15), /it ends at byte 15/],
    ['cut off in a piece', whole.subarray(0, -1), /cut off in piece 0 of 1/],
    [
      'with more pieces than bytes',
      patched(whole, (copy) => copy.writeUInt32LE(2 ** 31, 16)),
      /announces 2147483648 pieces/,
    ],
    ['with more behind', Buffer.concat([whole, PAGE]), /4096 bytes follow its last piece/],
    ['with a piece past its end', sparseFile(11, [[10, Buffer.from('abc')]]), /piece 0 ends at 13/],
    [
      'with a byte twice',
      sparseFile(99, [
        [10, Buffer.from('abc')],
        [12, Buffer.from('d')],
      ]),
      /hold byte 12/,
    ],
    ['of a file that is no dump', sparseFile(100, []), /begins like no known dump/],
  ])('%s', async (_, bytes, message) => {
    expect(await refused(bytes)).toMatch(message);
  });
});

describe('a thinned file that claims to be huge', () => {
  test('is refused before it is read for hours', async () => {
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
    expect(await refused(sparseFile(size, [[0, begin]]))).toMatch(/are more than this reads/);
  });
});

describe('another file', () => {
  test('that is compressed and cut off, or compressed and wrong', async () => {
    const packed = gzipSync(FRAMES);
    expect(await refused(packed.subarray(0, -9))).toMatch(/its gzip data is cut off/);
    expect(await refused(patched(packed, (copy) => copy.writeUInt32LE(1, copy.length - 8)))).toMatch(
      /incorrect data check/,
    );
  });

  test.each(['KDUMP   ', 'DISKDUMP', 'PAGEDU64', 'EMiL\x01', 'QEVM\x00'])(
    'that begins with %j is named',
    async (magic) => {
      expect(await refused(Buffer.concat([Buffer.from(magic), PAGE]))).toMatch(
        /looks like a.*, which this does not read/,
      );
    },
  );

  test('that is empty, a folder, or not there', async () => {
    expect(await refused(new Uint8Array(0))).toBe('it is empty');
    await expect(open(fixture('.'))).rejects.toThrow(/it is a folder/);
    await expect(open(fixture('none'))).rejects.toThrow(/none: ENOENT/);
  });

  test('that may be a raw image needs CR3', async () => {
    expect(await refused(tableOf({ 0: 1n }))).toMatch(/if it is a raw image of memory, pass --cr3/);
  });
});
