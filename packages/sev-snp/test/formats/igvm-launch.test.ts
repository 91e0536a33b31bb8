import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { decodeIgvmFile } from '../../src/formats/igvm-file.ts';
import { type IgvmLaunch, igvmExpectedDigest, igvmLaunchPages } from '../../src/formats/igvm-launch.ts';
import { LaunchPageType, VMSA_LAUNCH_GPA } from '../../src/formats/launch-digest.ts';
import { launchDigestOf } from '../../src/formats/launch-pages.ts';
import { createResetVmsa } from '../../src/formats/reset-vmsa.ts';
import { writeVmsa } from '../../src/formats/vmsa.ts';
import * as make from '../support/images.ts';
import { thrownBy } from '../support/world.ts';

const { Normal, Zero, Unmeasured, Secrets, Cpuid, Vmsa } = LaunchPageType;
const ONES = new Uint8Array(4096).fill(1);
const VMSA = new Uint8Array(4096);
writeVmsa(VMSA, 'sevFeatures', 0x29n);
const DATA = Buffer.concat([ONES, VMSA]);
const KVM = VMSA_LAUNCH_GPA;
const launch = (headers: make.Headers, options: Omit<IgvmLaunch, 'file'> = {}) =>
  igvmLaunchPages({
    file: decodeIgvmFile(
      make.igvmFile((data) => [make.platform(2, 2), make.platform(4, 0), ...headers(data)], DATA),
    ),
    ...options,
  });
/** A header of a page for the bit of SEV-SNP. */
const page = (data: number, spec: make.PageSpec) => make.page(data, { mask: 2, ...spec });
const brief = (pages: ReturnType<typeof igvmLaunchPages>) =>
  pages.map(({ type, gpa, size, bytes }) => [type, gpa, size ?? bytes?.length]);

// L15
test('the pages have the order and the types of their headers', () => {
  const pages = launch((data) => [
    page(data, { gpa: 0x1000, data: 0 }),
    make.area(7, 0x3000),
    page(data, { gpa: 0x2000 }),
    page(data, { gpa: 0x3000, flags: 2, data: 0 }),
    page(data, { gpa: 0x4000, type: 1, flags: 2 }),
    page(data, { gpa: 0x5000, type: 2, data: 0 }),
    page(data, { gpa: 0x6000, type: 3 }),
    page(data, { gpa: 0x7000, flags: 4, data: 0 }),
    page(data, { gpa: 0x8000, mask: 4, data: 0 }),
    page(data, { gpa: 0x9000, mask: 6, data: 0 }),
    make.requiredMemory(0x10_0000, 0x5000),
    make.context(KVM, data + 4096, 0, 2),
    make.insert(0xa000, 7, 2),
    page(data, { gpa: 0x20_0000, flags: 1 }),
    page(data, { gpa: 0x40_0000, flags: 3 }),
  ]);
  expect(brief(pages)).toEqual([
    [Normal, 0x1000n, 4096],
    [Normal, 0x2000n, 4096],
    [Unmeasured, 0x3000n, 4096],
    [Secrets, 0x4000n, undefined],
    [Cpuid, 0x5000n, undefined],
    [Cpuid, 0x6000n, undefined],
    [Normal, 0x9000n, 4096],
    [Vmsa, KVM, 4096],
    [Unmeasured, 0xa000n, 0x3000],
    [Normal, 0x20_0000n, 0x20_0000],
    [Unmeasured, 0x40_0000n, 0x20_0000],
  ]);
  expect(pages[0]!.bytes).toEqual(ONES);
  expect(pages[1]!.bytes).toEqual(new Uint8Array(4096));
  expect(pages[7]!.bytes).toEqual(VMSA);
});

// L15
test('a page without data can be a page of type ZERO', () => {
  const headers: make.Headers = (data) => [
    page(data, { gpa: 0x1000 }),
    page(data, { gpa: 0x20_0000, flags: 1 }),
  ];
  expect(brief(launch(headers, { zeroPages: 'zero' }))).toEqual([
    [Zero, 0x1000n, 4096],
    [Zero, 0x20_0000n, 0x20_0000],
  ]);
});

// L15
test('KVM adds VMSAs last, and those of the other processors at reset', () => {
  const headers: make.Headers = (data) => [
    make.context(KVM, data + 4096, 1, 2),
    page(data, { gpa: 0x1000, data: 0 }),
  ];
  const options = { vmsas: 'last', vcpus: 3, cpuSignature: 0xa0_0f11 } as const;
  const pages = launch(headers, options);
  expect(pages.map(({ type }) => type)).toEqual([Normal, Vmsa, Vmsa, Vmsa]);
  const reset = createResetVmsa({ cpuSignature: 0xa0_0f11, sevFeatures: 0x29n });
  expect(pages.slice(1).map(({ bytes }) => bytes)).toEqual([VMSA, reset, reset]);
  expect(launch(headers).map(({ type }) => type)).toEqual([Vmsa, Normal]);
  expect(launch(headers, { ...options, vcpus: 2 })).toHaveLength(3);
});

// L15
test.each([
  [
    'normal',
    'fbffe42c39d9d8150cd7c034945cf85b449269d6451fbbcf56f3be7a52feec4c28e99003ca041de6bd6a21deb83347b7',
  ],
  [
    'zero',
    '3e9b63922fdb455e57df6f929d273dc10d3d7c976cd91ef9be6ec67585636bc8e0d666537db6c02b06afb9c805673950',
  ],
] as const)(
  // Computed by a program that lists the pages as `igvmmeasure` does, with the hashing of sev-snp-measure.
  'a file has the digest of another program, with pages of zeros as %s pages',
  async (zeroPages, digest) => {
    const data = Uint8Array.from({ length: 3 * 4096 }, (_, k) => (k * 7 + (k >> 9)) & 255);
    data.set(createResetVmsa({ cpuSignature: 0xa0_0f11, sevFeatures: 0x29n }), 8192);
    const bytes = make.igvmFile(
      (start) => [
        make.platform(1, 2),
        make.platform(2, 0),
        make.policy(1),
        make.page(start, { gpa: 0x1000, data: 0 }),
        make.page(start, { gpa: 0x2000, data: 4096, mask: 3 }),
        make.page(start, { gpa: 0x3000, data: 0, mask: 2 }),
        make.page(start, { gpa: 0x4000 }),
        make.page(start, { gpa: 0x5000, type: 1 }),
        make.page(start, { gpa: 0x6000, type: 2, data: 0 }),
        make.page(start, { gpa: 0x7000, flags: 2, data: 0 }),
        make.area(4, 4096),
        make.insert(0x8000, 4),
        make.requiredMemory(0x10_0000, 0x1_0000),
        make.context(KVM, start + 8192),
      ],
      data,
    );
    const pages = igvmLaunchPages({ file: decodeIgvmFile(bytes), zeroPages });
    const sha384 = (part: Uint8Array) => Uint8Array.from(createHash('sha384').update(part).digest());
    expect(Buffer.from(await launchDigestOf(pages, sha384)).toString('hex')).toBe(digest);
  },
);

// L15
test('the digest that the author expects is that of the ID block for SEV-SNP', () => {
  const [other, own] = [Buffer.alloc(48, 1), Buffer.alloc(48, 2)];
  const file = (...headers: Buffer[]) =>
    decodeIgvmFile(make.igvmFile(() => [make.platform(2, 2), ...headers]));
  expect(igvmExpectedDigest(file(make.idBlock(other, 4), make.idBlock(own, 2)))).toEqual(
    Uint8Array.from(own),
  );
  expect(igvmExpectedDigest(file(make.idBlock(other, 4)))).toBe(undefined);
});

// L15
describe('refuses', () => {
  test.each<[what: string, headers: make.Headers, options: Omit<IgvmLaunch, 'file'>, code: string]>([
    ['an area that does not exist', () => [make.insert(0, 1, 2)], {}, 'INVALID_IMAGE'],
    [
      'an area that is used up',
      () => [make.area(1, 4096), make.insert(0, 1, 2), make.insert(0x1000, 1, 2)],
      {},
      'INVALID_IMAGE',
    ],
    ['an area twice', () => [make.area(1, 4096), make.area(1, 4096)], {}, 'INVALID_IMAGE'],
    [
      'an area again after its insertion',
      () => [make.area(1, 4096), make.insert(0, 1, 2), make.area(1, 4096)],
      {},
      'INVALID_IMAGE',
    ],
    ['a VMSA without data', () => [make.context(KVM, 0, 0, 2)], {}, 'INVALID_IMAGE'],
    ['a VMSA that the end cuts off', (data) => [make.context(KVM, data + 8000, 0, 2)], {}, 'INVALID_IMAGE'],
    [
      'a processor twice',
      (data) => [make.context(KVM, data, 1, 2), make.context(KVM, data, 1, 2)],
      {},
      'INVALID_IMAGE',
    ],
    [
      'a VMSA at an address that KVM does not use',
      (data) => [make.context(0x1000n, data, 0, 2)],
      { vmsas: 'last' },
      'INVALID_IMAGE',
    ],
    [
      'pages that overlap',
      (data) => [page(data, { gpa: 0x20_0000, flags: 1 }), page(data, { gpa: 0x20_1000 })],
      {},
      'INVALID_ARGUMENT',
    ],
    ['processors without any VMSA', () => [], { vcpus: 1, cpuSignature: 1 }, 'INVALID_ARGUMENT'],
    ['no processor', () => [], { vcpus: 0 }, 'INVALID_ARGUMENT'],
    [
      'processors without a signature',
      (data) => [make.context(KVM, data, 0, 2)],
      { vcpus: 2 },
      'INVALID_ARGUMENT',
    ],
  ])('%s', (_, headers, options, code) => {
    expect(thrownBy(() => launch(headers, options))?.code).toBe(code);
  });

  test('a file without SEV-SNP, and one that lists it twice', () => {
    const of = (...platforms: Buffer[]) => decodeIgvmFile(make.igvmFile(() => platforms));
    for (const file of [of(make.platform(1, 0)), of(make.platform(1, 2), make.platform(2, 2))]) {
      expect(thrownBy(() => igvmLaunchPages({ file }))?.code).toBe('INVALID_IMAGE');
      expect(thrownBy(() => igvmExpectedDigest(file))?.code).toBe('INVALID_IMAGE');
    }
  });
});
