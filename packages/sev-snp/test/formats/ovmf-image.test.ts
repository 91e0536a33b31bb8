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

const SECTION: OvmfSpec['sections'] = [[0x1000, 0x1000, 1]];
/** The offset of the metadata in an image of one page, and of its footer. */
const [AT, FOOTER] = [3072, 4046];

// L11
describe('refuses, with the offset and the value,', () => {
  test.each<[what: string, bytes: Uint8Array, offset: number, value: unknown]>([
    ['no bytes', new Uint8Array(), 0, 0],
    ['a part of a page', new Uint8Array(4095), 0, 4095],
    ['another footer', ovmfImage({ footer: { guid: OTHER } }), FOOTER + 2, OTHER],
    ['a table smaller than its footer', ovmfImage({ footer: { size: 17 } }), FOOTER, 17],
    ['a table larger than the image', ovmfImage({ footer: { size: 4065 } }), FOOTER, 4065],
    [
      'bytes that are not an entry',
      ovmfImage({ entries: [entry(OTHER, u32(7))], footer: { size: 18 + 22 + 5 } }),
      FOOTER - 22 - 5,
      5,
    ],
    ['an entry smaller than its head', ovmfImage({ entries: [entry(OTHER, u32(7), 17)] }), FOOTER - 18, 17],
    ['an entry larger than the table', ovmfImage({ entries: [entry(OTHER, u32(7), 23)] }), FOOTER - 18, 23],
    [
      'a GUID twice',
      ovmfImage({ entries: [entry(OTHER, u32(7)), entry(OTHER, u32(8))] }),
      FOOTER - 38,
      OTHER,
    ],
    ['hashes of 4 bytes', ovmfImage({ entries: [entry(HASHES, u32(7))] }), FOOTER - 22, 4],
    [
      'metadata outside of the image',
      ovmfImage({ sections: [], metadata: { fromEnd: 4097 } }),
      FOOTER - 22,
      4097,
    ],
    ['metadata that the end cuts off', ovmfImage({ sections: [], metadata: { fromEnd: 15 } }), 4081, 16],
    ['another signature', ovmfImage({ sections: [], metadata: { signature: 'TDVF' } }), AT, 0x4656_4454],
    ['another version', ovmfImage({ sections: [], metadata: { version: 2 } }), AT + 8, 2],
    [
      'a size without room for the sections',
      ovmfImage({ sections: SECTION, metadata: { size: 27 } }),
      AT + 4,
      27,
    ],
    ['a size beyond the image', ovmfImage({ sections: SECTION, metadata: { size: 1025 } }), AT + 4, 1025],
    ['4 billion sections', ovmfImage({ sections: SECTION, metadata: { count: 0xffff_ffff } }), AT + 4, 28],
    ['a section within a page', ovmfImage({ sections: [[0x1008, 0x1000, 1]] }), AT + 16, 0x1008],
    ['an empty section', ovmfImage({ sections: [[0x1000, 0, 1]] }), AT + 20, 0],
    ['a section of a part of a page', ovmfImage({ sections: [[0x1000, 0x1008, 1]] }), AT + 20, 0x1008],
    ['a section above 4 GiB', ovmfImage({ sections: [[0xffff_f000, 0x2000, 1]] }), AT + 20, 0x2000],
    ['a section of an unknown type', ovmfImage({ sections: [[0x1000, 0x1000, 5]] }), AT + 24, 5],
    ['secrets of two pages', ovmfImage({ sections: [[0x1000, 0x2000, 2]] }), AT + 20, 0x2000],
    ['CPUID data of two pages', ovmfImage({ sections: [[0x1000, 0x2000, 3]] }), AT + 20, 0x2000],
  ])('%s', (_, bytes, offset, value) => {
    const error = thrownBy(() => decodeOvmfImage(bytes));
    expect(error?.code).toBe('INVALID_IMAGE');
    expect(error?.details).toMatchObject({ offset, value });
  });
});
