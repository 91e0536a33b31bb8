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

test('the context of another platform may end the file', () => {
  const bytes = igvmFile((data) => [make.platform(2, 1), make.context(0n, data, 0, 2)], DATA.subarray(0, 36));
  expect(decodeIgvmFile(bytes).headers[1]).toMatchObject({ bytes: DATA.subarray(0, 36) });
});

const PLATFORM = make.platform(1, 2);
/** The offset of a header after {@link PLATFORM}. */
const AT = 48;
const file = (...headers: readonly Buffer[]) => igvmFile(() => [PLATFORM, ...headers], DATA);

// L14
describe('refuses, with the offset and the value,', () => {
  test.each<[what: string, bytes: Uint8Array, offset: number, value: unknown]>([
    ['no bytes', new Uint8Array(), 0, 24],
    ['another magic number', igvmFile(() => [], DATA, { magic: 1 }), 0, 1],
    ['version 0', igvmFile(() => [], DATA, { version: 0 }), 4, 0],
    ['version 3', igvmFile(() => [], DATA, { version: 3 }), 4, 3],
    ['another architecture', igvmFile(() => [], DATA, { version: 2, architecture: 1 }), 24, 1],
    ['another page size', igvmFile(() => [], DATA, { version: 2, pageSize: 0x1_0000 }), 28, 0x1_0000],
    ['another size of the file', igvmFile(() => [], DATA, { fileSize: 100 }), 16, 100],
    ['headers in the fixed header', igvmFile(() => [], DATA, { headersOffset: 16 }), 8, 16],
    ['headers that are not aligned', igvmFile(() => [], DATA, { headersOffset: 28 }), 8, 28],
    ['headers beyond the file', igvmFile(() => [], DATA, { headersOffset: 0x1_0000 }), 8, 0x1_0000],
    [
      'headers that the end cuts off',
      igvmFile(() => [], DATA, { headersSize: 0xffff_fff8 }),
      12,
      0xffff_fff8,
    ],
    ['another checksum', igvmFile(() => [], DATA, { checksum: 1 }), 20, 1],
    ['a header that the others leave no room for', file(header(0x301, u32(0)).subarray(0, 12)), AT + 4, 4],
    ['a header beyond the headers', file(Buffer.concat([u32(0x302), u32(1 << 30)])), AT + 4, 1 << 30],
    ['a platform after a page', file(make.page(0, { gpa: 0 }), PLATFORM), AT + 32, 1],
    ['a policy after a page', file(make.page(0, { gpa: 0 }), make.policy(1)), AT + 32, 0x101],
  ])('%s', (_, bytes, offset, value) => {
    const error = thrownBy(() => decodeIgvmFile(bytes));
    expect(error?.code).toBe('INVALID_IMAGE');
    expect(error?.details).toMatchObject({ offset, value });
  });
});
