/** Damaged images: a coded error or pages, at once and in little memory, and no other error. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeIgvmFile } from '../../src/formats/igvm-file.ts';
import { igvmLaunchPages } from '../../src/formats/igvm-launch.ts';
import { launchPageSize } from '../../src/formats/launch-pages.ts';
import { decodeOvmfImage } from '../../src/formats/ovmf-image.ts';
import { ovmfLaunchPages, svsmLaunchPages } from '../../src/formats/ovmf-launch.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import * as make from '../support/images.ts';

const CODES = ['INVALID_IMAGE', 'INVALID_ARGUMENT'];

const OVMF = make.ovmfImage({
  sections: [
    [0x1000, 0x3000, 1],
    [0x5000, 0x1000, 2],
    [0x6000, 0x1000, 3],
    [0x7000, 0x1000, 4],
    [0x8000, 0x1000, 16],
  ],
  apResetEip: 0x80_b004,
  hashes: [0x8c00, 0x400],
  svsmEntry: 0x100,
});
/** The table, and the metadata 1 KiB before the end. */
const OVMF_TABLES = [...range(3072, 3072 + 76), ...range(4096 - 32 - 18 - 4 * 22 - 4, 4096 - 32)];

const IGVM = make.igvmFile(
  (data) => [
    make.platform(1, 2),
    make.policy(1),
    make.page(data, { gpa: 0x1000, data: 0 }),
    make.page(data, { gpa: 0x2000 }),
    make.page(data, { gpa: 0x3000, type: 1 }),
    make.area(1, 0x2000),
    make.insert(0x4000, 1),
    make.requiredMemory(0x10_0000, 0x1000),
    make.context(0xffff_ffff_f000n, data),
  ],
  new Uint8Array(4096).fill(9),
  { version: 2 },
);
const IGVM_HEADERS = range(0, IGVM.length - 4096);

function range(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, k) => start + k);
}

const launchOvmf = (bytes: Uint8Array): unknown => {
  const image = decodeOvmfImage(bytes);
  const all = { vcpus: 2, cpuSignature: 1 };
  const kernelHashes = {
    kernel: new Uint8Array(32),
    initrd: new Uint8Array(32),
    commandLine: new Uint8Array(32),
  };
  return [
    ovmfLaunchPages({ ...all, image }),
    ovmfLaunchPages({ ...all, image, kernelHashes }),
    svsmLaunchPages({ ...all, svsm: image, firmware: image, variablesSize: 0 }),
  ];
};
const launchIgvm = (bytes: Uint8Array): unknown => {
  const pages = igvmLaunchPages({ file: decodeIgvmFile(bytes), vcpus: 2, cpuSignature: 1 });
  return pages.reduce((sum, page) => sum + launchPageSize(page), 0);
};

/** Whether the image is accepted. Fails if a launch ends in an error without a code of images. */
function accepts(launch: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean {
  try {
    launch(bytes);
    return true;
  } catch (error) {
    if (!isSnpError(error)) throw error;
    expect(CODES).toContain(error.code);
    return false;
  }
}

describe.each([
  ['an OVMF image', OVMF, OVMF_TABLES, launchOvmf, (bytes: Uint8Array) => bytes],
  // With its checksum made right again, a damaged file reaches the checks behind it.
  ['an IGVM file', IGVM, IGVM_HEADERS, launchIgvm, make.withChecksum],
] as const)('%s', (_, image, places, launch, repair) => {
  test('is accepted as it is', () => {
    expect(accepts(launch, image)).toBe(true);
  });

  test('cut off at any byte is refused', () => {
    for (let length = 0; length < image.length; length += 1)
      expect(accepts(launch, image.subarray(0, length)), `${length} bytes`).toBe(false);
  });

  test('without any number of bytes at its start is refused, or sound', () => {
    for (let start = 1; start < image.length; start += 1) accepts(launch, image.subarray(start));
  });

  test('with any bit of its tables flipped is refused, or sound', () => {
    let refused = 0;
    for (const at of places) {
      for (let bit = 0; bit < 8; bit += 1) {
        const bytes = Uint8Array.from(image);
        bytes[at]! ^= 1 << bit;
        if (!accepts(launch, bytes)) refused += 1;
        accepts(launch, repair(bytes));
      }
    }
    expect(refused).toBeGreaterThan(places.length);
  });

  test('with any bytes of its tables replaced is refused, or sound', () => {
    const change = fc.tuple(fc.nat(places.length - 1), fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
        const bytes = Uint8Array.from(image);
        for (const [place, value] of changes) bytes[places[place]!] = value;
        accepts(launch, repair(bytes));
      }),
    );
  });
});

test('a flipped bit of the headers of an IGVM file always fails its checksum, or a check before it', () => {
  for (const at of IGVM_HEADERS) {
    for (let bit = 0; bit < 8; bit += 1) {
      const bytes = Uint8Array.from(IGVM);
      bytes[at]! ^= 1 << bit;
      expect(accepts(launchIgvm, bytes), `bit ${bit} at ${at}`).toBe(false);
    }
  }
});

test('sections of 4 GiB, and 2 MiB pages without data, cost no memory', () => {
  const huge = make.ovmfImage({ sections: [[0, 0xffff_e000, 1]], apResetEip: 1 });
  const [rom, section] = ovmfLaunchPages({ image: decodeOvmfImage(huge), vcpus: 1, cpuSignature: 1 });
  expect([rom!.gpa, launchPageSize(section!)]).toEqual([0xffff_f000n, 0xffff_e000]);
  const many = make.igvmFile((data) => [
    make.platform(1, 2),
    ...range(0, 4096).map((k) => make.page(data, { gpa: 0x20_0000 * k, flags: 1 })),
  ]);
  const pages = igvmLaunchPages({ file: decodeIgvmFile(many) });
  expect(new Set(pages.map(({ bytes }) => bytes)).size).toBe(1);
});
