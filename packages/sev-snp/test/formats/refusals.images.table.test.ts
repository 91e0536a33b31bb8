import { Buffer } from 'node:buffer';
import { PAGE_SIZE, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { decodeIgvmFile } from '../../src/formats/igvm-file.ts';
import { type IgvmLaunch, igvmExpectedDigest, igvmLaunchPages } from '../../src/formats/igvm-launch.ts';
import {
  encodePageInfo,
  LaunchDigest,
  type LaunchPage,
  LaunchPageType,
  type PageInfo,
  VMSA_LAUNCH_GPA,
  webCryptoSha384,
} from '../../src/formats/launch-digest.ts';
import {
  launchDigestOf,
  launchPageSize,
  requireApart,
  requireCount,
} from '../../src/formats/launch-pages.ts';
import { decodeOvmfImage, type OvmfSection } from '../../src/formats/ovmf-image.ts';
import {
  type OvmfLaunch,
  ovmfLaunchPages,
  type SvsmLaunch,
  svsmLaunchPages,
} from '../../src/formats/ovmf-launch.ts';
import { createResetVmsa, createSvsmResetVmsa } from '../../src/formats/reset-vmsa.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import * as make from '../support/images.ts';

const wrong = 'x' as never;
const gpa = physAddr(0);
const sha384 = (): Uint8Array => new Uint8Array(48);
const bytes = new Uint8Array(PAGE_SIZE);
const { Normal, Vmsa, Zero, Secrets } = LaunchPageType;

const image = decodeOvmfImage(make.ovmfImage());
const withHashes = (size: number, hashes?: readonly [number, number]) =>
  decodeOvmfImage(make.ovmfImage({ sections: [[0x1000, size, 16]], ...(hashes && { hashes }) }));
const hash = new Uint8Array(32);
const kernelHashes = { kernel: hash, initrd: hash, commandLine: hash };
const ovmf = (change: Partial<Record<keyof OvmfLaunch, unknown>>) =>
  ovmfLaunchPages({ image, vcpus: 1, cpuSignature: 1, ...change } as OvmfLaunch);
const binary = decodeOvmfImage(make.ovmfImage({ svsmEntry: 16 }));
const svsm = (change: Partial<Record<keyof SvsmLaunch, unknown>>) =>
  svsmLaunchPages({
    svsm: binary,
    firmware: image,
    variablesSize: 0x1000,
    vcpus: 1,
    cpuSignature: 1,
    ...change,
  } as SvsmLaunch);
const section: OvmfSection = { type: 1, gpa: physAddr(0xffff_f000), size: PAGE_SIZE };

const DATA = new Uint8Array(8192);
const file = (headers: make.Headers) =>
  decodeIgvmFile(make.igvmFile((data) => [make.platform(2, 2), ...headers(data)], DATA));
const igvm = (headers: make.Headers, options: Partial<Record<keyof IgvmLaunch, unknown>> = {}) =>
  igvmLaunchPages({ file: file(headers), ...options } as IgvmLaunch);
const noSnp = decodeIgvmFile(make.igvmFile(() => [make.platform(1, 0)], DATA));
const twice = decodeIgvmFile(make.igvmFile(() => [make.platform(1, 2), make.platform(2, 2)], DATA));
const twoPages: make.Headers = (data) => [
  make.page(data, { gpa: 0x20_0000, mask: 2, flags: 1 }),
  make.page(data, { gpa: 0x20_1000, mask: 2 }),
];

const digest = new Uint8Array(48);
const info = (change: Partial<Record<keyof PageInfo, unknown>>) =>
  encodePageInfo({ digest, contents: digest, type: Normal, gpa, ...change } as PageInfo);
const update = (page: Partial<Record<keyof LaunchPage, unknown>>) =>
  new LaunchDigest(sha384).update({ type: Normal, gpa, ...page } as LaunchPage);

const ROWS: readonly (readonly [message: string, call: () => unknown])[] = [
  // ovmf-image and igvm-file: the tests of each have the other rows
  [
    'an OVMF image cannot be a value of type object: pass a Uint8Array [INVALID_ARGUMENT]',
    () => decodeOvmfImage([1] as never),
  ],
  [
    'an IGVM file cannot be a value of type object: pass a Uint8Array [INVALID_ARGUMENT]',
    () => decodeIgvmFile([1] as never),
  ],
  // ovmf-launch
  [
    'the launch cannot be undefined: pass an object with the options image, vcpus, vmm, cpuSignature, sevFeatures, kernelHashes [INVALID_ARGUMENT]',
    () => ovmfLaunchPages(undefined as never),
  ],
  [
    'a name in the launch cannot be "images": pass only options that exist: image, vcpus, vmm, cpuSignature, sevFeatures, kernelHashes [INVALID_ARGUMENT]',
    () => ovmf({ images: 1 } as never),
  ],
  [
    'the launch cannot be a value of type object: pass an image from decodeOvmfImage [INVALID_ARGUMENT]',
    () => ovmf({ image: {} }),
  ],
  [
    'the number of processors cannot be 0: pass an integer from 1 to 4096 [INVALID_ARGUMENT]',
    () => ovmf({ vcpus: 0 }),
  ],
  [
    'the SEV-ES reset block cannot be undefined: more than 1 processor needs an image with one [INVALID_ARGUMENT]',
    () => ovmf({ vcpus: 2 }),
  ],
  [
    'the SEV-ES reset block cannot be 0: more than 1 processor needs an image with one [INVALID_ARGUMENT]',
    () => ovmf({ vcpus: 2, image: decodeOvmfImage(make.ovmfImage({ apResetEip: 0 })) }),
  ],
  [
    'the launching software cannot be "xen": pass qemu, ec2 or gce [INVALID_ARGUMENT]',
    () => ovmf({ vmm: 'xen' }),
  ],
  [
    'the signature of the processor cannot be undefined: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => ovmf({ cpuSignature: undefined }),
  ],
  [
    'sevFeatures cannot be -0x1: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => ovmf({ sevFeatures: -1n }),
  ],
  [
    'the hashes of a kernel cannot be "given": pass an image that has a section for them [INVALID_ARGUMENT]',
    () => ovmf({ kernelHashes }),
  ],
  [
    'the hashes of a kernel cannot be "given": pass an image that has a section for them [INVALID_ARGUMENT]',
    () => ovmf({ kernelHashes, image: decodeOvmfImage(make.ovmfImage({ sections: [[0x1000, 0x1000, 1]] })) }),
  ],
  [
    'the area of the hashes cannot be undefined: pass an image that has one [INVALID_ARGUMENT]',
    () => ovmf({ kernelHashes, image: withHashes(0x1000) }),
  ],
  [
    'the area of the hashes cannot be 0x1f60: 176 bytes must fit in it, and in its page [INVALID_ARGUMENT]',
    () => ovmf({ kernelHashes, image: withHashes(0x1000, [0x1f60, 0x100]) }),
  ],
  [
    'the area of the hashes cannot be 0x1000: 176 bytes must fit in it, and in its page [INVALID_ARGUMENT]',
    () => ovmf({ kernelHashes, image: withHashes(0x1000, [0x1000, 0xa8]) }),
  ],
  [
    'the section of the hashes cannot be 8192: it must have 4096 bytes [INVALID_ARGUMENT]',
    () => ovmf({ kernelHashes, image: withHashes(0x2000, [0x1000, 0x400]) }),
  ],
  [
    'the length of a hash of the kernel cannot be 48: pass 32 bytes [INVALID_ARGUMENT]',
    () =>
      ovmf({ kernelHashes: { ...kernelHashes, initrd: digest }, image: withHashes(0x1000, [0x1000, 0x400]) }),
  ],
  [
    'the address of a page cannot be 0xfffff000: pass pages that do not overlap [INVALID_ARGUMENT]',
    () => ovmf({ image: { ...image, sections: [section] } }),
  ],
  [
    'the size of an image cannot be 4294971392: pass at most 4294967296 bytes [INVALID_ARGUMENT]',
    () => ovmf({ image: { ...image, bytes: { length: 2 ** 32 + 4096 } } }),
  ],
  [
    'the launch cannot be undefined: pass an object with the options svsm, firmware, variablesSize, vcpus, cpuSignature, sevFeatures [INVALID_ARGUMENT]',
    () => svsmLaunchPages(undefined as never),
  ],
  [
    'a name in the launch cannot be "variables": pass only options that exist: svsm, firmware, variablesSize, vcpus, cpuSignature, sevFeatures [INVALID_ARGUMENT]',
    () => svsm({ variables: 1 } as never),
  ],
  [
    'the launch cannot be a value of type object: pass images from decodeOvmfImage [INVALID_ARGUMENT]',
    () => svsm({ svsm: {} }),
  ],
  [
    'the entry of the SVSM cannot be undefined: pass a binary with an SVSM entry [INVALID_ARGUMENT]',
    () => svsm({ svsm: image }),
  ],
  [
    'the number of processors cannot be 4097: pass an integer from 1 to 4096 [INVALID_ARGUMENT]',
    () => svsm({ vcpus: 4097 }),
  ],
  [
    'the size of the variables cannot be 100: pass a multiple of 4096 [INVALID_ARGUMENT]',
    () => svsm({ variablesSize: 100 }),
  ],
  [
    'the size of the variables cannot be -4096: pass a multiple of 4096 [INVALID_ARGUMENT]',
    () => svsm({ variablesSize: -4096 }),
  ],
  [
    'the size of an image cannot be 4096: pass at most 0 bytes [INVALID_ARGUMENT]',
    () => svsm({ variablesSize: 2 ** 32 }),
  ],
  [
    'the signature of the processor cannot be undefined: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => svsm({ cpuSignature: undefined }),
  ],
  [
    'the address of a page cannot be 0xfffff000: pass pages that do not overlap [INVALID_ARGUMENT]',
    () => svsm({ svsm: { ...binary, sections: [section] } }),
  ],
  // igvm-launch
  [
    'the launch cannot be undefined: pass an object with the options file, zeroPages, vmsas, vcpus, cpuSignature [INVALID_ARGUMENT]',
    () => igvmLaunchPages(undefined as never),
  ],
  [
    'a name in the launch cannot be "vmsa": pass only options that exist: file, zeroPages, vmsas, vcpus, cpuSignature [INVALID_ARGUMENT]',
    () => igvm(() => [], { vmsa: 'last' } as never),
  ],
  [
    'zeroPages cannot be "none": pass one of normal, zero [INVALID_ARGUMENT]',
    () => igvm(() => [], { zeroPages: 'none' }),
  ],
  [
    'vmsas cannot be "first": pass one of in-order, last [INVALID_ARGUMENT]',
    () => igvm(() => [], { vmsas: 'first' }),
  ],
  [
    'the file cannot be a value of type object: pass what decodeIgvmFile returns [INVALID_ARGUMENT]',
    () => igvm(() => [], { file: {} }),
  ],
  [
    'the platforms, at offset 0x0 of the image, cannot be undefined: the file must support SEV-SNP [INVALID_IMAGE]',
    () => igvm(() => [], { file: noSnp }),
  ],
  [
    'the type of a platform, at offset 0x3d of the image, cannot be 2: a platform may be listed once [INVALID_IMAGE]',
    () => igvm(() => [], { file: twice }),
  ],
  [
    'the file cannot be a value of type object: pass what decodeIgvmFile returns [INVALID_ARGUMENT]',
    () => igvmExpectedDigest({} as never),
  ],
  [
    'the platforms, at offset 0x0 of the image, cannot be undefined: the file must support SEV-SNP [INVALID_IMAGE]',
    () => igvmExpectedDigest(noSnp),
  ],
  [
    'the index of an insertion, at offset 0x44 of the image, cannot be 1: its area must exist, and be inserted once [INVALID_IMAGE]',
    () => igvm(() => [make.insert(0, 1, 2)]),
  ],
  [
    'the index of an insertion, at offset 0x74 of the image, cannot be 1: its area must exist, and be inserted once [INVALID_IMAGE]',
    () => igvm(() => [make.area(1, 4096), make.insert(0, 1, 2), make.insert(0x1000, 1, 2)]),
  ],
  [
    'the index of a parameter area, at offset 0x58 of the image, cannot be 1: each index may be used once [INVALID_IMAGE]',
    () => igvm(() => [make.area(1, 4096), make.area(1, 4096)]),
  ],
  [
    'the data of a VMSA, at offset 0x44 of the image, cannot be undefined: the file must have 4096 bytes of it [INVALID_IMAGE]',
    () => igvm(() => [make.context(VMSA_LAUNCH_GPA, 0, 0, 2)]),
  ],
  [
    'the data of a VMSA, at offset 0x44 of the image, cannot be 192: the file must have 4096 bytes of it [INVALID_IMAGE]',
    () => igvm((data) => [make.context(VMSA_LAUNCH_GPA, data + 8000, 0, 2)]),
  ],
  [
    'the processor of a VMSA, at offset 0x68 of the image, cannot be 1: each processor has one VMSA [INVALID_IMAGE]',
    () => igvm((data) => [0, 0].map(() => make.context(VMSA_LAUNCH_GPA, data, 1, 2))),
  ],
  [
    'the address of a VMSA, at offset 0x38 of the image, cannot be 0x1000: KVM uses 0xfffffffff000 [INVALID_IMAGE]',
    () => igvm((data) => [make.context(0x1000n, data, 0, 2)], { vmsas: 'last' }),
  ],
  [
    'the address of a page cannot be 0x201000: pass pages that do not overlap [INVALID_ARGUMENT]',
    () => igvm(twoPages),
  ],
  [
    'the number of processors cannot be 1: pass a file with a VMSA [INVALID_ARGUMENT]',
    () => igvm(() => [], { vcpus: 1, cpuSignature: 1 }),
  ],
  [
    'the number of processors cannot be 0: pass an integer from 1 to 4096 [INVALID_ARGUMENT]',
    () => igvm(() => [], { vcpus: 0 }),
  ],
  [
    'the signature of the processor cannot be undefined: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => igvm((data) => [make.context(VMSA_LAUNCH_GPA, data, 0, 2)], { vcpus: 2 }),
  ],
  // reset-vmsa
  [
    'a name in the options of a reset VMSA cannot be "ip": pass only options that exist: vmm, eip, cpuSignature, sevFeatures [INVALID_ARGUMENT]',
    () => createResetVmsa({ ip: 0 } as never),
  ],
  [
    'the launching software cannot be "xen": pass qemu, ec2 or gce [INVALID_ARGUMENT]',
    () => createResetVmsa({ vmm: 'xen' as never }),
  ],
  [
    'the signature of the processor cannot be undefined: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => createResetVmsa({}),
  ],
  [
    'the signature of the processor cannot be -1: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => createResetVmsa({ cpuSignature: -1 }),
  ],
  [
    'the signature of the processor cannot be 4294967296: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => createResetVmsa({ cpuSignature: 2 ** 32 }),
  ],
  [
    'the signature of the processor cannot be 0.5: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => createResetVmsa({ cpuSignature: 0.5 }),
  ],
  [
    'the address of the first instruction cannot be 4294967296: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => createResetVmsa({ cpuSignature: 1, eip: 2 ** 32 }),
  ],
  [
    'the address of the first instruction cannot be -1: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => createResetVmsa({ cpuSignature: 1, eip: -1 }),
  ],
  [
    'the address of the first instruction cannot be 0.5: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => createResetVmsa({ cpuSignature: 1, eip: 0.5 }),
  ],
  [
    'sevFeatures cannot be 0x10000000000000000: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => createResetVmsa({ cpuSignature: 1, sevFeatures: 1n << 64n }),
  ],
  [
    'a name in the options of a reset VMSA cannot be "vmm": pass only options that exist: eip, cpuSignature, sevFeatures [INVALID_ARGUMENT]',
    () => createSvsmResetVmsa({ vmm: 'qemu', cpuSignature: 1, eip: 0 } as never),
  ],
  [
    'the signature of the processor cannot be undefined: pass an unsigned integer of 32 bits [INVALID_ARGUMENT]',
    () => createSvsmResetVmsa({ eip: 0 } as never),
  ],
  [
    'sevFeatures cannot be -0x1: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => createSvsmResetVmsa({ cpuSignature: 1, eip: 0, sevFeatures: -1n }),
  ],
  // launch-digest
  [
    'subtle cannot be a value of type object: pass an object with the methods digest [INVALID_ARGUMENT]',
    () => webCryptoSha384({} as never),
  ],
  [
    'the length of a digest cannot be 32: pass 48 bytes [INVALID_ARGUMENT]',
    () => new LaunchDigest(sha384, new Uint8Array(32)),
  ],
  [
    'a name in the fields of PAGE_INFO cannot be "size": pass only options that exist: digest, contents, type, gpa, permissions, imi [INVALID_ARGUMENT]',
    () => info({ size: 1 } as never),
  ],
  ['the length of a digest cannot be 32: pass 48 bytes [INVALID_ARGUMENT]', () => info({ digest: hash })],
  ['the length of a digest cannot be 32: pass 48 bytes [INVALID_ARGUMENT]', () => info({ contents: hash })],
  [
    'the address of a page cannot be 0x8: pass a multiple of 4096 as a bigint [INVALID_ARGUMENT]',
    () => info({ gpa: 8n }),
  ],
  [
    'the address of a page cannot be the number 0 (as a bigint: 0n): pass a multiple of 4096 as a bigint [INVALID_ARGUMENT]',
    () => info({ gpa: 0 }),
  ],
  [
    'gpa cannot be -0x1000: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => info({ gpa: -4096n }),
  ],
  ['type cannot be 256: pass an unsigned integer of 8 bits [INVALID_MESSAGE]', () => info({ type: 256 })],
  ['imi cannot be 1: pass a boolean [INVALID_MESSAGE]', () => info({ imi: 1 })],
  [
    'permissions cannot be a value of type object: pass 3 bytes [INVALID_MESSAGE]',
    () => info({ permissions: [1, 2] }),
  ],
  [
    'a name in a page of a launch cannot be "kind": pass only options that exist: type, gpa, bytes, size, permissions, imi [INVALID_ARGUMENT]',
    () => update({ kind: 1 } as never),
  ],
  ['the type of a page cannot be 7: pass 1 to 6 [INVALID_ARGUMENT]', () => update({ type: 7, bytes })],
  [
    'the address of a page cannot be 0x8: pass a multiple of 4096 as a bigint [INVALID_ARGUMENT]',
    () => update({ gpa: 8n, bytes }),
  ],
  [
    'the bytes of a page cannot be a value of type object: pass a Uint8Array [INVALID_ARGUMENT]',
    () => update({ bytes: [1] }),
  ],
  [
    'the bytes of a page cannot be 0.5: pass a multiple of 4096 [INVALID_ARGUMENT]',
    () => update({ type: Zero, size: 0.5 }),
  ],
  [
    'the bytes of a page cannot be 0: pass a multiple of 4096 [INVALID_ARGUMENT]',
    () => update({ type: Zero, size: 0 }),
  ],
  [
    'the bytes of a page cannot be 100: pass a multiple of 4096 [INVALID_ARGUMENT]',
    () => update({ type: Zero, size: 100 }),
  ],
  [
    'the bytes of a page cannot be 8192: pass 4096 [INVALID_ARGUMENT]',
    () => update({ type: Secrets, size: 8192 }),
  ],
  [
    'the bytes of a page cannot be 8192: pass 4096 [INVALID_ARGUMENT]',
    () => update({ type: Vmsa, bytes: new Uint8Array(8192) }),
  ],
  [
    'the bytes of a page cannot be undefined: pass bytes, which are measured [INVALID_ARGUMENT]',
    () => update({}),
  ],
  [
    'the bytes of a page cannot be 0: pass a multiple of 4096 [INVALID_ARGUMENT]',
    () => update({ bytes: new Uint8Array(0) }),
  ],
  [
    'the size of a page cannot be 8192: pass the number of its bytes, 4096, or no size [INVALID_ARGUMENT]',
    () => update({ bytes, size: 8192 }),
  ],
  [
    'permissions cannot be a value of type object: pass 3 bytes [INVALID_MESSAGE]',
    () => update({ bytes, permissions: [0, 0, 256] }),
  ],
  ['imi cannot be 1: pass a boolean [INVALID_MESSAGE]', () => update({ bytes, imi: 1 })],
  // launch-pages
  [
    'the bytes of a page cannot be undefined: pass bytes, which are measured [INVALID_ARGUMENT]',
    () => launchDigestOf([{ type: Normal, gpa }], sha384),
  ],
  [
    'the type of a page cannot be 0: pass 1 to 6 [INVALID_ARGUMENT]',
    () => launchPageSize({ type: 0 as never, gpa }),
  ],
  [
    'the address of a page cannot be 0x0: pass pages that do not overlap [INVALID_ARGUMENT]',
    () =>
      requireApart([
        { type: Normal, gpa, bytes },
        { type: Zero, gpa, size: 0x1000 },
      ]),
  ],
  [
    'the number of processors cannot be 0: pass an integer from 1 to 4096 [INVALID_ARGUMENT]',
    () => requireCount(0),
  ],
  [
    'the number of processors cannot be 4097: pass an integer from 1 to 4096 [INVALID_ARGUMENT]',
    () => requireCount(4097),
  ],
  [
    'the number of processors cannot be "x": pass an integer from 1 to 4096 [INVALID_ARGUMENT]',
    () => requireCount(wrong),
  ],
];

async function messageOf(call: () => unknown): Promise<string> {
  try {
    await call();
    return 'no error';
  } catch (error) {
    return isSnpError(error) ? error.message : `another error: ${error}`;
  }
}

test.each(ROWS)('%s', async (message, call) => {
  expect(await messageOf(call)).toBe(message);
});

const kinds = (pages: readonly LaunchPage[]): unknown[] => pages.map(({ type, gpa }) => [type, gpa]);

test('launches at the ends of what fits are made', async () => {
  // One processor needs no reset block, and a start of 0 is a signature.
  expect(kinds(ovmf({ cpuSignature: 0 }))).toEqual([
    [Normal, 0xffff_f000n],
    [Vmsa, VMSA_LAUNCH_GPA],
  ]);
  // The table of hashes at the end of its page, in an area of its size.
  const exact = ovmf({ kernelHashes, image: withHashes(0x1000, [0x1f50, 176]) });
  expect(exact[1]?.bytes?.[0xf50]).not.toBe(0);
  // An SVSM directly below the firmware, and one at address 0.
  expect(kinds(svsm({ variablesSize: 0 }))[1]).toEqual([Normal, 0xffff_e000n]);
  expect(kinds(svsm({ variablesSize: 2 ** 32 - 2 * PAGE_SIZE }))[1]).toEqual([Normal, 0n]);
  expect(createResetVmsa({ cpuSignature: 2 ** 32 - 1, eip: 0 })).toHaveLength(PAGE_SIZE);
  expect((await update({ bytes, size: PAGE_SIZE })).length).toBe(48);
});

test('an IGVM launch keeps addresses, bytes and processors as the file has them', () => {
  const pages = igvm((data) => [
    make.page(data, { gpa: 0x1000, mask: 2 }),
    make.page(data, { gpa: 0x2000, mask: 2 }),
    make.page(data, { gpa: 0x3000, mask: 2, flags: 2, data: 0 }),
    make.context(0x5000n, data, 0, 2),
  ]);
  expect(kinds(pages).at(-1)).toEqual([Vmsa, 0x5000n]);
  // Thousands of pages of zeros are one array.
  expect(pages[0]?.bytes).toBe(pages[1]?.bytes);
  expect([pages[2]?.bytes?.length, pages[2]?.size]).toEqual([PAGE_SIZE, undefined]);
  // A processor that the file has needs no signature.
  const whole: make.Headers = (data) => [make.context(VMSA_LAUNCH_GPA, data, 0, 2)];
  expect(igvm(whole, { vcpus: 1 })).toHaveLength(1);
  const signed = file(() => [make.idBlock(Buffer.alloc(48, 7), 2)]);
  igvmExpectedDigest(signed)?.fill(0);
  expect(igvmExpectedDigest(signed)).toEqual(new Uint8Array(48).fill(7));
});

test('the digest leaves out the TSC fields of a VMSA alone, and its value is a copy', async () => {
  const sum = (data: Uint8Array): Uint8Array =>
    new Uint8Array(48).fill(data.reduce((a, b) => (a * 3 + b) & 0xff, 1));
  const of = async (page: Partial<LaunchPage>): Promise<string> => {
    const launch = new LaunchDigest(sum);
    await launch.update({ type: Normal, gpa, bytes, ...page });
    launch.value.fill(0);
    return String(launch.value);
  };
  const marked = bytes.slice();
  marked[0x2f0] = 1;
  expect(await of({ bytes: marked })).not.toBe(await of({}));
  expect(await of({ type: Vmsa, bytes: marked })).toBe(await of({ type: Vmsa }));
  expect(await of({ type: Vmsa })).not.toBe(String(new Uint8Array(48)));
  expect(launchPageSize({ type: Zero, gpa, size: 2 * PAGE_SIZE })).toBe(2 * PAGE_SIZE);
  await expect(update({ type: Zero, size: 2 * PAGE_SIZE })).resolves.toHaveLength(48);
  await expect(update({ type: 4, size: 2 * PAGE_SIZE })).resolves.toHaveLength(48);
});

test('the masks have the order of the assumption', () => {
  const masks = (pageInfoMasks: 'vmpl1-first' | 'vmpl3-first'): number[] => {
    const one = { digest, contents: digest, type: Normal, gpa, permissions: [1, 2, 3] } as const;
    return [...encodePageInfo(one, { pageInfoMasks }).subarray(0x64, 0x68)];
  };
  expect([masks('vmpl1-first'), masks('vmpl3-first')]).toEqual([
    [0, 1, 2, 3],
    [3, 2, 1, 0],
  ]);
});
