import type { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { decodeIgvmFile } from '../../src/formats/igvm-file.ts';
import * as make from '../support/images.ts';
import { thrownBy } from '../support/world.ts';

const { igvmFile, header, u16, u32, u64 } = make;
const DATA = new Uint8Array(8192);
const PLATFORM = make.platform(1, 2);
/** The offset of a header after {@link PLATFORM}, and of its content. */
const [AT, CONTENT] = [48, 56];
const file = (...headers: readonly Buffer[]) => igvmFile(() => [PLATFORM, ...headers], DATA);

const REFUSED: readonly (readonly [
  what: string,
  bytes: Uint8Array,
  offset: number,
  value: unknown,
  message: string,
])[] = [
  [
    'type 0',
    file(header(0)),
    AT,
    0,
    'the type of a header, at offset 0x30 of the image, cannot be 0: it must be known, or optional',
  ],
  [
    'an unknown header',
    file(header(0x320)),
    AT,
    0x320,
    'the type of a header, at offset 0x30 of the image, cannot be 800: it must be known, or optional',
  ],
  [
    'a header of another length',
    file(header(0x302, u64(0))),
    AT + 4,
    8,
    'the length of a header, at offset 0x34 of the image, cannot be 8: for its type it must be 24',
  ],
  [
    'a platform with two bits',
    file(make.platform(3, 2)),
    CONTENT,
    3,
    'the mask of a platform, at offset 0x38 of the image, cannot be 3: it must have one bit',
  ],
  [
    'a platform without a bit',
    file(make.platform(0, 2)),
    CONTENT,
    0,
    'the mask of a platform, at offset 0x38 of the image, cannot be 0: it must have one bit',
  ],
  [
    'a page within a page',
    file(make.page(0, { gpa: 0x1008 })),
    CONTENT,
    0x1008n,
    'the address of a header, at offset 0x38 of the image, cannot be 0x1008: it must be a multiple of 4096 below 2^52',
  ],
  [
    '2 MiB at 4 KiB',
    file(make.page(0, { gpa: 0x1000, flags: 1 })),
    CONTENT,
    0x1000n,
    'the address of a header, at offset 0x38 of the image, cannot be 0x1000: it must be a multiple of 2097152 below 2^52',
  ],
  [
    'a page above 52 bits',
    file(make.page(0, { gpa: 1n << 52n })),
    CONTENT,
    1n << 52n,
    'the address of a header, at offset 0x38 of the image, cannot be 0x10000000000000: it must be a multiple of 4096 below 2^52',
  ],
  [
    'a page of type 4',
    file(make.page(0, { gpa: 0, type: 4 })),
    CONTENT + 20,
    4,
    'the type of a page, at offset 0x4c of the image, cannot be 4: it must be from 0 to 3',
  ],
  [
    'secrets of 2 MiB',
    file(make.page(0, { gpa: 0, type: 1, flags: 1 })),
    CONTENT + 16,
    1,
    'the flags of a page, at offset 0x48 of the image, cannot be 1: secrets and CPUID data have 4 KiB',
  ],
  [
    'a reserved field',
    file(header(0x302, u64(0), u32(1), u32(0), u32(0), u16(0), u16(9))),
    CONTENT + 22,
    9,
    'the reserved field of a page, at offset 0x4e of the image, cannot be 9: it must be 0',
  ],
  [
    'data in the headers',
    file(make.page(0, { gpa: 0, data: 24 })),
    CONTENT + 12,
    24,
    'the file offset of data, at offset 0x44 of the image, cannot be 24: it must be 0, or from 80 to 4176',
  ],
  [
    'data beyond the file',
    file(make.page(0, { gpa: 0, data: 8000 })),
    CONTENT + 12,
    8000,
    'the file offset of data, at offset 0x44 of the image, cannot be 8000: it must be 0, or from 80 to 4176',
  ],
  [
    'data of 2 MiB in a small file',
    igvmFile((data) => [PLATFORM, make.page(data, { gpa: 0, flags: 1, data: 0 })], DATA),
    CONTENT + 12,
    80,
    'the file offset of data, at offset 0x44 of the image, cannot be 80: it must be 0, or from 80 to -2088880',
  ],
  [
    'an area of no bytes',
    file(make.area(0, 0)),
    CONTENT,
    0n,
    'the size of a parameter area, at offset 0x38 of the image, cannot be 0x0: it must be whole pages up to 16 MiB, not 0',
  ],
  [
    'an area of a part of a page',
    file(make.area(0, 100)),
    CONTENT,
    100n,
    'the size of a parameter area, at offset 0x38 of the image, cannot be 0x64: it must be whole pages up to 16 MiB, not 0',
  ],
  [
    'an area of 16 MiB and a page',
    file(make.area(0, 0x100_1000)),
    CONTENT,
    0x100_1000n,
    'the size of a parameter area, at offset 0x38 of the image, cannot be 0x1001000: it must be whole pages up to 16 MiB, not 0',
  ],
  [
    'an insertion within a page',
    file(make.insert(8, 0)),
    CONTENT,
    8n,
    'the address of a header, at offset 0x38 of the image, cannot be 0x8: it must be a multiple of 4096 below 2^52',
  ],
  [
    'required memory of a part of a page',
    file(make.requiredMemory(0, 100)),
    CONTENT + 12,
    100,
    'the size of required memory, at offset 0x44 of the image, cannot be 100: it must be a multiple of 4096',
  ],
  [
    'a context within a page',
    file(make.context(8n, 0)),
    CONTENT,
    8n,
    'the address of a header, at offset 0x38 of the image, cannot be 0x8: it must be a multiple of 4096 below 2^52',
  ],
  [
    'a context beyond the file',
    file(make.context(0n, 0x7fff_ffff)),
    CONTENT + 12,
    0x7fff_ffff,
    'the file offset of data, at offset 0x44 of the image, cannot be 2147483647: it must be 0, or from 80 to 8271',
  ],
];

// L14
describe('a header is refused, with the offset and the value, for', () => {
  test.each(REFUSED)('%s', (_, bytes, offset, value, message) => {
    const error = thrownBy(() => decodeIgvmFile(bytes));
    expect(error?.code).toBe('INVALID_IMAGE');
    expect(error?.details).toMatchObject({ offset, value });
    expect(error?.message).toBe(`${message} [INVALID_IMAGE]`);
  });
});
