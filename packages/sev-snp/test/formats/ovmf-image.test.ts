import { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { decodeOvmfImage } from '../../src/formats/ovmf-image.ts';
import { entry, type OvmfSpec, ovmfImage, u32 } from '../support/images.ts';
import { thrownBy } from '../support/world.ts';

const HASHES = '7255371f-3a3b-4b04-927b-1da6efa8d454';
const OTHER = '4c2eb361-7d9b-4cc3-8081-127c90d3d294';

// L11
test('reads the table and the metadata of an image', () => {
  const bytes = ovmfImage({
    pages: 2,
    sections: [
      [0x80_0000, 0x9000, 1],
      [0x80_d000, 0x1000, 2],
      [0x80_e000, 0x1000, 3],
      [0x80_f000, 0x1000, 4],
      [0x81_0000, 0x1000, 16],
    ],
    apResetEip: 0x80_b004,
    hashes: [0x81_0c00, 0x400],
    svsmEntry: 0x1230,
    entries: [entry(OTHER, u32(7))],
  });
  const image = decodeOvmfImage(bytes);
  expect(image.bytes).toBe(bytes);
  expect(image.sections).toEqual([
    { type: 1, gpa: 0x80_0000n, size: 0x9000 },
    { type: 2, gpa: 0x80_d000n, size: 0x1000 },
    { type: 3, gpa: 0x80_e000n, size: 0x1000 },
    { type: 4, gpa: 0x80_f000n, size: 0x1000 },
    { type: 16, gpa: 0x81_0000n, size: 0x1000 },
  ]);
  expect(image.apResetEip).toBe(0x80_b004);
  expect(image.hashesArea).toEqual({ gpa: 0x81_0c00n, size: 0x400 });
  expect(image.svsmEntry).toBe(0x1230);
  expect(image.table.get(OTHER)).toEqual(Uint8Array.of(7, 0, 0, 0));
  expect(image.table.size).toBe(5);
});

test('reads an image with an empty table', () => {
  const image = decodeOvmfImage(ovmfImage());
  expect([image.sections, image.table.size]).toEqual([[], 0]);
  expect([image.apResetEip, image.hashesArea, image.svsmEntry]).toEqual([undefined, undefined, undefined]);
});

// L11
test('takes what ends exactly where it may', () => {
  const decode = (spec: OvmfSpec) => decodeOvmfImage(ovmfImage(spec));
  // An entry without data, at the start of the table.
  expect(decode({ entries: [entry(OTHER, Buffer.alloc(0))] }).table.get(OTHER)).toEqual(new Uint8Array());
  // A table from the first byte of the image on.
  const large = entry(OTHER, Buffer.alloc(4096 - 32 - 18 - 18, 7));
  expect(decode({ entries: [large] }).table.get(OTHER)?.length).toBe(4028);
  // Metadata up to the last byte, and a section up to 4 GiB.
  const sections: OvmfSpec['sections'] = [[0xffff_f000, 0x1000, 1]];
  expect(decode({ sections, metadata: { size: 1024 } }).sections).toHaveLength(1);
  // Metadata from the first byte on.
  const atStart = ovmfImage({ sections, metadata: { fromEnd: 4096 } });
  atStart.copyWithin(0, 3072, 3072 + 28);
  expect(decodeOvmfImage(atStart).sections).toHaveLength(1);
});

const SECTION: OvmfSpec['sections'] = [[0x1000, 0x1000, 1]];
/** The offset of the metadata in an image of one page, and of its footer. */
const [AT, FOOTER] = [3072, 4046];

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
    0,
    'the length of the image, at offset 0x0 of the image, cannot be 0: it must be a multiple of 4096, not 0',
  ],
  [
    'a part of a page',
    new Uint8Array(4095),
    0,
    4095,
    'the length of the image, at offset 0x0 of the image, cannot be 4095: it must be a multiple of 4096, not 0',
  ],
  [
    'another footer',
    ovmfImage({ footer: { guid: OTHER } }),
    FOOTER + 2,
    OTHER,
    'the GUID of the table footer, at offset 0xfd0 of the image, cannot be "4c2eb361-7d9b-4cc3-8081-127c90d3d294": it must be 96b582de-1fb2-45f7-baea-a366c55a082d',
  ],
  [
    'a table smaller than its footer',
    ovmfImage({ footer: { size: 17 } }),
    FOOTER,
    17,
    'the size of the table, at offset 0xfce of the image, cannot be 17: it must be from 18 to 4064',
  ],
  [
    'a table larger than the image',
    ovmfImage({ footer: { size: 4065 } }),
    FOOTER,
    4065,
    'the size of the table, at offset 0xfce of the image, cannot be 4065: it must be from 18 to 4064',
  ],
  [
    'bytes that are not an entry',
    ovmfImage({ entries: [entry(OTHER, u32(7))], footer: { size: 18 + 22 + 5 } }),
    FOOTER - 22 - 5,
    5,
    'the start of the table, at offset 0xfb3 of the image, cannot be 5: an entry has at least 18 bytes',
  ],
  [
    'an entry smaller than its head',
    ovmfImage({ entries: [entry(OTHER, u32(7), 17)] }),
    FOOTER - 18,
    17,
    'the size of an entry, at offset 0xfbc of the image, cannot be 17: it must be from 18 to 22',
  ],
  [
    'an entry larger than the table',
    ovmfImage({ entries: [entry(OTHER, u32(7), 23)] }),
    FOOTER - 18,
    23,
    'the size of an entry, at offset 0xfbc of the image, cannot be 23: it must be from 18 to 22',
  ],
  [
    'a GUID twice',
    ovmfImage({ entries: [entry(OTHER, u32(7)), entry(OTHER, u32(8))] }),
    FOOTER - 38,
    OTHER,
    'the GUID of an entry, at offset 0xfa8 of the image, cannot be "4c2eb361-7d9b-4cc3-8081-127c90d3d294": each GUID may stand in the table once',
  ],
  [
    'hashes of 4 bytes',
    ovmfImage({ entries: [entry(HASHES, u32(7))] }),
    FOOTER - 22,
    4,
    'the data of an entry, at offset 0xfb8 of the image, cannot be 4: it must have at least 8 bytes',
  ],
  [
    'metadata outside of the image',
    ovmfImage({ sections: [], metadata: { fromEnd: 4097 } }),
    FOOTER - 22,
    4097,
    'the offset of the SEV metadata from the end, at offset 0xfb8 of the image, cannot be 4097: it must be at most 4096',
  ],
  [
    'metadata that the end cuts off',
    ovmfImage({ sections: [], metadata: { fromEnd: 15 } }),
    4081,
    16,
    'the header of the SEV metadata, at offset 0xff1 of the image, cannot be 16: 16 bytes must lie within the 4096 bytes of the image',
  ],
  [
    'another signature',
    ovmfImage({ sections: [], metadata: { signature: 'TDVF' } }),
    AT,
    0x4656_4454,
    'the signature of the SEV metadata, at offset 0xc00 of the image, cannot be 1180058708: it must be 1447383873: ASEV',
  ],
  [
    'another version',
    ovmfImage({ sections: [], metadata: { version: 2 } }),
    AT + 8,
    2,
    'the version of the SEV metadata, at offset 0xc08 of the image, cannot be 2: it must be 1',
  ],
  [
    'a size without room for the sections',
    ovmfImage({ sections: SECTION, metadata: { size: 27 } }),
    AT + 4,
    27,
    'the size of the SEV metadata, at offset 0xc04 of the image, cannot be 27: with 1 sections it must be from 28 to 1024',
  ],
  [
    'a size beyond the image',
    ovmfImage({ sections: SECTION, metadata: { size: 1025 } }),
    AT + 4,
    1025,
    'the size of the SEV metadata, at offset 0xc04 of the image, cannot be 1025: with 1 sections it must be from 28 to 1024',
  ],
  [
    '4 billion sections',
    ovmfImage({ sections: SECTION, metadata: { count: 0xffff_ffff } }),
    AT + 4,
    28,
    'the size of the SEV metadata, at offset 0xc04 of the image, cannot be 28: with 4294967295 sections it must be from 51539607556 to 1024',
  ],
  [
    'a section within a page',
    ovmfImage({ sections: [[0x1008, 0x1000, 1]] }),
    AT + 16,
    0x1008,
    'the address of a section, at offset 0xc10 of the image, cannot be 4104: it must be a multiple of 4096',
  ],
  [
    'an empty section',
    ovmfImage({ sections: [[0x1000, 0, 1]] }),
    AT + 20,
    0,
    'the size of a section, at offset 0xc14 of the image, cannot be 0: it must be whole pages below 4 GiB, not 0',
  ],
  [
    'a section of a part of a page',
    ovmfImage({ sections: [[0x1000, 0x1008, 1]] }),
    AT + 20,
    0x1008,
    'the size of a section, at offset 0xc14 of the image, cannot be 4104: it must be whole pages below 4 GiB, not 0',
  ],
  [
    'a section above 4 GiB',
    ovmfImage({ sections: [[0xffff_f000, 0x2000, 1]] }),
    AT + 20,
    0x2000,
    'the size of a section, at offset 0xc14 of the image, cannot be 8192: it must be whole pages below 4 GiB, not 0',
  ],
  [
    'a section of an unknown type',
    ovmfImage({ sections: [[0x1000, 0x1000, 5]] }),
    AT + 24,
    5,
    'the type of a section, at offset 0xc18 of the image, cannot be 5: it must be 1, 2, 3, 4 or 16',
  ],
  [
    'secrets of two pages',
    ovmfImage({ sections: [[0x1000, 0x2000, 2]] }),
    AT + 20,
    0x2000,
    'the size of a section, at offset 0xc14 of the image, cannot be 8192: a section of type 2 or 3 has 4096 bytes',
  ],
  [
    'CPUID data of two pages',
    ovmfImage({ sections: [[0x1000, 0x2000, 3]] }),
    AT + 20,
    0x2000,
    'the size of a section, at offset 0xc14 of the image, cannot be 8192: a section of type 2 or 3 has 4096 bytes',
  ],
];

// L11
describe('refuses, with the offset and the value,', () => {
  test.each(REFUSED)('%s', (_, bytes, offset, value, message) => {
    const error = thrownBy(() => decodeOvmfImage(bytes));
    expect(error?.code).toBe('INVALID_IMAGE');
    expect(error?.details).toMatchObject({ offset, value });
    expect(error?.message).toBe(`${message} [INVALID_IMAGE]`);
  });
});
