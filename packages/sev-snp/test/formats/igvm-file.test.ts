import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { decodeIgvmFile } from '../../src/formats/igvm-file.ts';
import * as make from '../support/images.ts';
import { thrownBy } from '../support/world.ts';

const { igvmFile, header, u32 } = make;
const DATA = Uint8Array.from({ length: 8192 }, (_, k) => k % 251);

// L14
test.each([1, 2])('reads the headers of a file of version %i', (version) => {
  const digest = Buffer.alloc(48, 7);
  const bytes = igvmFile(
    (data) => [
      make.platform(1, 2),
      make.platform(4, 0),
      make.policy(1),
      make.page(data, { gpa: 0x1000, data: 4096 }),
      make.page(data, { gpa: 0x20_0000, flags: 7 }),
      make.page(data, { gpa: 0x2000, type: 1 }),
      make.page(data, { gpa: 0x3000, type: 2 }),
      make.page(data, { gpa: 0x4000, type: 3, mask: 5 }),
      make.area(3, 0x2000),
      make.insert(0x5000, 3),
      make.context(0xffff_ffff_f000n, data, 2),
      make.requiredMemory(0x10_0000, 0x3000),
      make.idBlock(digest),
      header(0x307, u32(3), u32(0)),
      header(0x8000_0777, Buffer.from('abc')),
    ],
    DATA,
    { version },
  );
  const { headers, version: read } = decodeIgvmFile(bytes);
  const page = { kind: 'page', mask: 1, size: 4096, type: 'normal', unmeasured: false, shared: false };
  expect(read).toBe(version);
  expect(headers.map(({ offset, ...rest }) => rest)).toEqual([
    { kind: 'platform', mask: 1, platform: 2 },
    { kind: 'platform', mask: 4, platform: 0 },
    { kind: 'policy', mask: 1, policy: 0x3_0000n },
    { ...page, gpa: 0x1000n, bytes: DATA.subarray(4096) },
    { ...page, gpa: 0x20_0000n, size: 0x20_0000, unmeasured: true, shared: true, bytes: undefined },
    { ...page, gpa: 0x2000n, type: 'secrets', bytes: undefined },
    { ...page, gpa: 0x3000n, type: 'cpuid', bytes: undefined },
    { ...page, gpa: 0x4000n, type: 'cpuid', mask: 5, bytes: undefined },
    { kind: 'area', index: 3, size: 0x2000 },
    { kind: 'insert', mask: 1, gpa: 0x5000n, index: 3 },
    { kind: 'context', mask: 1, gpa: 0xffff_ffff_f000n, vcpu: 2, bytes: DATA.subarray(0, 4096) },
    { kind: 'memory', mask: 1, gpa: 0x10_0000n, size: 0x3000 },
    { kind: 'id-block', mask: 1, digest: Uint8Array.from(digest) },
    { kind: 'other', type: 0x307 },
    { kind: 'other', type: 0x777 },
  ]);
  const fixed = version === 1 ? 24 : 32;
  expect(headers.slice(0, 3).map(({ offset }) => offset)).toEqual([fixed, fixed + 24, fixed + 48]);
});

test('a file may end with its headers, or with the fixed header', () => {
  expect(decodeIgvmFile(igvmFile(() => [])).headers).toEqual([]);
  expect(decodeIgvmFile(igvmFile(() => [make.platform(1, 2)])).headers).toHaveLength(1);
});

test('a section ends with its last type: optional headers that are not known count, too', () => {
  const optional = (type: number) => header(0x8000_0000 + type, u32(0), u32(0));
  const read = (...types: readonly number[]) =>
    thrownBy(() => decodeIgvmFile(igvmFile(() => types.map(optional))))?.code;
  for (const last of [0x100, 0x200, 0x400]) {
    expect(read(last, last + 0x20, 0x500)).toBeUndefined();
    expect(read(last - 1, last)).toBeUndefined();
  }
  expect([read(0x120, 0x100), read(0x220, 0x200)]).toEqual(['INVALID_IMAGE', 'INVALID_IMAGE']);
  // A type above all sections may stand anywhere.
  expect(read(0x500, 0x100, 0x500, 0x400, 0x420)).toBeUndefined();
});

test('the context of another platform may end the file', () => {
  const bytes = igvmFile((data) => [make.platform(2, 1), make.context(0n, data, 0, 2)], DATA.subarray(0, 36));
  expect(decodeIgvmFile(bytes).headers[1]).toMatchObject({ bytes: DATA.subarray(0, 36) });
});

const PLATFORM = make.platform(1, 2);
/** The offset of a header after {@link PLATFORM}. */
const AT = 48;
const file = (...headers: readonly Buffer[]) => igvmFile(() => [PLATFORM, ...headers], DATA);

const REFUSED: readonly (readonly [
  what: string,
  bytes: Uint8Array,
  offset: number,
  value: unknown,
  message: string,
])[] = [
  [
    'no bytes',
    new Uint8Array(),
    0,
    24,
    'the fixed header, at offset 0x0 of the image, cannot be 24: 24 bytes must lie within the 0 bytes of the image',
  ],
  [
    'another magic number',
    igvmFile(() => [], DATA, { magic: 1 }),
    0,
    1,
    'the magic number, at offset 0x0 of the image, cannot be 1: it must be 1297499977: IGVM',
  ],
  [
    'version 0',
    igvmFile(() => [], DATA, { version: 0 }),
    4,
    0,
    'the version, at offset 0x4 of the image, cannot be 0: it must be 1 or 2',
  ],
  [
    'version 3',
    igvmFile(() => [], DATA, { version: 3 }),
    4,
    3,
    'the version, at offset 0x4 of the image, cannot be 3: it must be 1 or 2',
  ],
  [
    'another architecture',
    igvmFile(() => [], DATA, { version: 2, architecture: 1 }),
    24,
    1,
    'the architecture, at offset 0x18 of the image, cannot be 1: it must be 0: x86-64',
  ],
  [
    'another page size',
    igvmFile(() => [], DATA, { version: 2, pageSize: 0x1_0000 }),
    28,
    0x1_0000,
    'the page size, at offset 0x1c of the image, cannot be 65536: it must be 4096',
  ],
  [
    'another size of the file',
    igvmFile(() => [], DATA, { fileSize: 100 }),
    16,
    100,
    'the size of the file, at offset 0x10 of the image, cannot be 100: it must be 8216',
  ],
  [
    'headers in the fixed header',
    igvmFile(() => [], DATA, { headersOffset: 16 }),
    8,
    16,
    'the offset of the headers, at offset 0x8 of the image, cannot be 16: it must be a multiple of 8 from 24 to 8216',
  ],
  [
    'headers that are not aligned',
    igvmFile(() => [], DATA, { headersOffset: 28 }),
    8,
    28,
    'the offset of the headers, at offset 0x8 of the image, cannot be 28: it must be a multiple of 8 from 24 to 8216',
  ],
  [
    'headers beyond the file',
    igvmFile(() => [], DATA, { headersOffset: 0x1_0000 }),
    8,
    0x1_0000,
    'the offset of the headers, at offset 0x8 of the image, cannot be 65536: it must be a multiple of 8 from 24 to 8216',
  ],
  [
    'headers that the end cuts off',
    igvmFile(() => [], DATA, { headersSize: 0xffff_fff8 }),
    12,
    0xffff_fff8,
    'the size of the headers, at offset 0xc of the image, cannot be 4294967288: it must be at most 8192',
  ],
  [
    'another checksum',
    igvmFile(() => [], DATA, { checksum: 1 }),
    20,
    1,
    'the checksum, at offset 0x14 of the image, cannot be 1: it must be 2022609315',
  ],
  [
    'a header that the others leave no room for',
    file(header(0x301, u32(0)).subarray(0, 12)),
    AT + 4,
    4,
    'the length of a header, at offset 0x34 of the image, cannot be 4: for its type it must be 16',
  ],
  [
    'a header beyond the headers',
    file(Buffer.concat([u32(0x302), u32(1 << 30)])),
    AT + 4,
    1 << 30,
    'the length of a header, at offset 0x34 of the image, cannot be 1073741824: the headers end at offset 56',
  ],
  [
    'a platform after a page',
    file(make.page(0, { gpa: 0 }), PLATFORM),
    AT + 32,
    1,
    'the type of a header, at offset 0x50 of the image, cannot be 1: platforms come first, then initialization, then directives',
  ],
  [
    'a policy after a page',
    file(make.page(0, { gpa: 0 }), make.policy(1)),
    AT + 32,
    0x101,
    'the type of a header, at offset 0x50 of the image, cannot be 257: platforms come first, then initialization, then directives',
  ],
];

// L14
describe('refuses, with the offset and the value,', () => {
  test.each(REFUSED)('%s', (_, bytes, offset, value, message) => {
    const error = thrownBy(() => decodeIgvmFile(bytes));
    expect(error?.code).toBe('INVALID_IMAGE');
    expect(error?.details).toMatchObject({ offset, value });
    expect(error?.message).toBe(`${message} [INVALID_IMAGE]`);
  });
});
