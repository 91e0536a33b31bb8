import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { CPU_SIGNATURES, type CpuModel } from '../../src/formats/cpu-signature.ts';
import { hashKernel, type KernelHashes } from '../../src/formats/kernel-hashes.ts';
import { LaunchPageType, type Sha384, VMSA_LAUNCH_GPA } from '../../src/formats/launch-digest.ts';
import { launchDigestOf, launchPageSize } from '../../src/formats/launch-pages.ts';
import { decodeOvmfImage, type OvmfImage } from '../../src/formats/ovmf-image.ts';
import { type OvmfLaunch, ovmfLaunchPages, svsmLaunchPages } from '../../src/formats/ovmf-launch.ts';
import type { Vmm } from '../../src/formats/reset-vmsa.ts';
import { readVmsa } from '../../src/formats/vmsa.ts';
import { type OvmfSpec, ovmfImage } from '../support/images.ts';
import { codeOf } from '../support/world.ts';

const sha = (algorithm: string) => (bytes: Uint8Array) =>
  Uint8Array.from(createHash(algorithm).update(bytes).digest());
const sha384: Sha384 = sha('sha384');
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const read = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8'));

interface OvmfCase {
  readonly spec: OvmfSpec;
  readonly sha256: string;
  readonly vcpus: number;
  readonly vmm: Vmm;
  readonly cpu: CpuModel;
  readonly features: number;
  readonly kernel?: { readonly kernel: string; readonly initrd?: string; readonly append?: string };
  readonly digest: string;
}

interface SvsmCase {
  readonly firmware: OvmfSpec;
  readonly svsm: OvmfSpec;
  readonly firmwareSha256: string;
  readonly svsmSha256: string;
  readonly variablesSize: number;
  readonly vcpus: number;
  readonly cpu: CpuModel;
  readonly digest: string;
}

const { ovmf, svsm } = read('image-digests.json') as {
  readonly ovmf: readonly OvmfCase[];
  readonly svsm: readonly SvsmCase[];
};

function hashesOf({ kernel, initrd, append }: NonNullable<OvmfCase['kernel']>): Promise<KernelHashes> {
  const bytes = (text: string | undefined) => (text === undefined ? undefined : Buffer.from(text));
  const files = { kernel: Buffer.from(kernel), initrd: bytes(initrd), commandLine: bytes(append) };
  return hashKernel(files, sha('sha256'));
}

// L10, L11, L12, L13
describe('the digest of sev-snp-measure', () => {
  test.each(ovmf.map((one, k) => [k, one.vmm, one.vcpus, one] as const))(
    'for OVMF image %i on %s with %i processors',
    async (_, __, ___, { spec, sha256, vcpus, vmm, cpu, features, kernel, digest }) => {
      const bytes = ovmfImage(spec);
      expect(hex(sha('sha256')(bytes)), 'the image that was measured').toBe(sha256);
      const pages = ovmfLaunchPages({
        image: decodeOvmfImage(bytes),
        vcpus,
        vmm,
        cpuSignature: CPU_SIGNATURES[cpu],
        sevFeatures: BigInt(features),
        kernelHashes: kernel && (await hashesOf(kernel)),
      });
      expect(hex(await launchDigestOf(pages, sha384))).toBe(digest);
    },
  );

  test.each(svsm.map((one, k) => [k, one.vcpus, one] as const))(
    'for SVSM binary %i with %i processors',
    async (_, __, one) => {
      const [firmware, binary] = [ovmfImage(one.firmware), ovmfImage(one.svsm)];
      expect(hex(sha('sha256')(firmware))).toBe(one.firmwareSha256);
      expect(hex(sha('sha256')(binary))).toBe(one.svsmSha256);
      const pages = svsmLaunchPages({
        svsm: decodeOvmfImage(binary),
        firmware: decodeOvmfImage(firmware),
        variablesSize: one.variablesSize,
        vcpus: one.vcpus,
        cpuSignature: CPU_SIGNATURES[one.cpu],
      });
      expect(hex(await launchDigestOf(pages, sha384))).toBe(one.digest);
    },
  );
});

interface Recorded {
  readonly name: string;
  readonly digest: string;
  readonly snp_ovmf_hash_str?: string;
  readonly updates: readonly { readonly type: number; readonly gpa: string; readonly contents: string }[];
}
const { cases: recorded } = read('launch-digest.json') as { readonly cases: readonly Recorded[] };
const recordOf = (name: string): Recorded => recorded.find((one) => one.name === name)!;

/** The metadata of the last page of edk2-stable202405: its builds AmdSevX64 and OvmfPkgX64. */
const SECTIONS = [
  [0x80_0000, 0x9000, 1],
  [0x80_a000, 0x3000, 1],
  [0x80_d000, 0x1000, 2],
  [0x80_e000, 0x1000, 3],
  [0x80_f000, 0x1000, 4],
] as const;
const AMD_SEV = decodeOvmfImage(
  ovmfImage({
    sections: [...SECTIONS, [0x81_0000, 0x1000, 16], [0x81_1000, 0xf000, 1]],
    apResetEip: 0x80_b004,
    hashes: [0x81_0c00, 0x400],
  }),
);
const OVMF_X64 = decodeOvmfImage(
  ovmfImage({ sections: [...SECTIONS, [0x81_0000, 0x1_0000, 1]], apResetEip: 0x80_b004, hashes: [0, 0] }),
);

/** SHA-384 that knows only the hash of the image: its bytes are not in the repository. */
function knowing(image: OvmfImage, contents: string): Sha384 {
  const own = hex(image.bytes);
  return (bytes) => (hex(bytes) === own ? Uint8Array.from(Buffer.from(contents, 'hex')) : sha384(bytes));
}

const ROM = {
  AMD_SEV: recordOf('snp_default').updates[0]!.contents,
  OVMF_X64: recordOf('snp_with_ovmfx64_without_default').updates[0]!.contents,
};
const EMPTY = await hashesOf({ kernel: '' });
const CONSOLE = await hashesOf({ kernel: '', append: 'console=ttyS0 loglevel=7' });
const EPYC_V4 = { vcpus: 1, cpuSignature: CPU_SIGNATURES['EPYC-v4'], sevFeatures: 0x21n };

// L6, L10, L11, L12, L13
describe('the images of the tests of sev-snp-measure', () => {
  test.each<[name: string, launch: OvmfLaunch]>([
    ['snp_ovmf_hash_gen_default', { ...EPYC_V4, image: AMD_SEV, kernelHashes: EMPTY }],
    ['snp_default', { ...EPYC_V4, image: AMD_SEV, kernelHashes: CONSOLE }],
    ['snp_with_multiple_vcpus_default', { ...EPYC_V4, image: AMD_SEV, vcpus: 4, kernelHashes: EMPTY }],
    ['snp_with_ovmfx64_without_default', { ...EPYC_V4, image: OVMF_X64 }],
  ])('%s has the recorded pages and digest', async (name, launch) => {
    const { updates, digest, snp_ovmf_hash_str: start } = recordOf(name);
    const hash = knowing(launch.image, launch.image === AMD_SEV ? ROM.AMD_SEV : ROM.OVMF_X64);
    const all = ovmfLaunchPages(launch);
    // One record starts after the image.
    const pages = start === undefined ? all : all.slice(1);
    const records = pages.flatMap((page) =>
      Array.from({ length: launchPageSize(page) / 4096 }, (_, k) => [page.type, page.gpa + BigInt(4096 * k)]),
    );
    expect(records).toEqual(updates.map(({ type, gpa }) => [type, BigInt(gpa)]));
    const from = start === undefined ? undefined : Uint8Array.from(Buffer.from(start, 'hex'));
    expect(hex(await launchDigestOf(pages, hash, from))).toBe(digest);
  });

  const emulated = { ...EPYC_V4, image: AMD_SEV, kernelHashes: EMPTY };
  test.each<[name: string, launch: OvmfLaunch, digest: string]>([
    [
      'snp_guest_feature_snp_only',
      { ...emulated, sevFeatures: 1n, kernelHashes: CONSOLE },
      '6d287813eb5222d770f75005c664e34c204f385ce832cc2ce7d0d6f354454362f390ef83a92046c042e706363b4b08fa',
    ],
    [
      'snp_without_kernel_default',
      { ...emulated, kernelHashes: undefined },
      'e1e1ca029dd7973ab9513295be68198472dcd4fc834bd9af9b63f6e8a1674dbf281a9278a4a2ebe0eed9f22adbcd0e2b',
    ],
    [
      'snp_with_multiple_vcpus_feature_snp_only',
      { ...emulated, sevFeatures: 1n, vcpus: 4 },
      '5061fffb019493a903613d56d54b94912a1a2f9e4502385f5c194616753720a92441310ba6c4933de877c36e23046ad5',
    ],
    [
      'snp_ec2_default',
      { ...emulated, vmm: 'ec2' },
      '0ce9ccc06bab55eebe8abc234f3df6514883977a68a591b71052498ab52b2f1aa415db338033946ef93aa8278c0d67fb',
    ],
    [
      'snp_gce_default',
      { image: AMD_SEV, kernelHashes: EMPTY, vcpus: 1, vmm: 'gce' },
      '5da7106cf14cf46b1725ebab123eb9e53bd46a1e9f400cd0c08e7827b04b688ea8b4e403c8404efed4397ea5d5d0722e',
    ],
    [
      'snp_gce_with_multiple_vcpus_default',
      { image: AMD_SEV, kernelHashes: EMPTY, vcpus: 4, vmm: 'gce' },
      '5c5debf100fc339f90276e761ee1f1658d08922c3b20e2a2e6c7a6c3370b2452a15a00eae11886a93d6fd1e7ab81e29d',
    ],
    [
      'snp_with_ovmfx64_without_kernel_feature_snp_only',
      { ...EPYC_V4, image: OVMF_X64, sevFeatures: 1n },
      'da0296de8193586a5512078dcd719eccecbd87e2b825ad4148c44f665dc87df21e5b49e21523a9ad993afdb6a30b4005',
    ],
  ])('%s has the digest of its test', async (_, launch, digest) => {
    const hash = knowing(launch.image, launch.image === AMD_SEV ? ROM.AMD_SEV : ROM.OVMF_X64);
    expect(hex(await launchDigestOf(ovmfLaunchPages(launch), hash))).toBe(digest);
  });

  // A launch that was measured on hardware: COCONUT-SVSM bebb485a, started by its QEMU. `from` follows both images.
  test.each([
    [2, '9b94745036aafddf4f7f8b00c7513abb5b7703178cb95aaa57928bd963d68d3bfcb715d6019b9167ee2517b11b0d9be7'],
    [4, '27d154c27b7b359c935e250ec6fee72aa0ae8c1225e3b0e1cf46a9567e938066d7d6f94bbdc4a857818bdb79277a44b2'],
  ])('snp_svsm with %i processors has the measured digest', async (vcpus, digest) => {
    const firmware = decodeOvmfImage(ovmfImage({ pages: 3_653_632 / 4096 }));
    const binary = decodeOvmfImage(
      ovmfImage({
        pages: 1_138_688 / 4096,
        svsmEntry: 0,
        sections: [
          [0, 0x9_e000, 1],
          [0x9_e000, 0x1000, 2],
          [0x9_f000, 0x1000, 3],
        ],
      }),
    );
    const from = Uint8Array.from(
      Buffer.from(
        'ebf48785b708f9397dd8098fd64ba2d961aa6fcb15ee55616d19208f236a2828c50ebee83800be4d54bb3ac0ae1fcc7e',
        'hex',
      ),
    );
    const { cpuSignature } = EPYC_V4;
    const pages = svsmLaunchPages({ svsm: binary, firmware, variablesSize: 540_672, vcpus, cpuSignature });
    expect(pages[1]!.gpa).toBe(0xffae_a000n);
    expect(hex(await launchDigestOf(pages.slice(2), sha384, from))).toBe(digest);
  });
});

// L10
describe('the pages of a launch', () => {
  const image = decodeOvmfImage(
    ovmfImage({
      pages: 2,
      sections: [
        [0x1000, 0x3000, 1],
        [0x5000, 0x1000, 3],
        [0x6000, 0x1000, 2],
        [0x7000, 0x1000, 4],
        [0x8000, 0x1000, 16],
      ],
      apResetEip: 0x12_3456,
      hashes: [0x8100, 0x400],
    }),
  );
  const launch = { image, vcpus: 3, cpuSignature: 0x80_0f12 };
  const kinds = (pages: readonly { type: number; gpa: bigint }[]) =>
    pages.map(({ type, gpa }) => [type, gpa]);
  const { Normal, Zero, Unmeasured, Secrets, Cpuid, Vmsa } = LaunchPageType;

  test('are the image, its sections in their order, and a VMSA for each processor', () => {
    expect(kinds(ovmfLaunchPages(launch))).toEqual([
      [Normal, 0xffff_e000n],
      [Zero, 0x1000n],
      [Cpuid, 0x5000n],
      [Secrets, 0x6000n],
      [Zero, 0x7000n],
      [Zero, 0x8000n],
      [Vmsa, VMSA_LAUNCH_GPA],
      [Vmsa, VMSA_LAUNCH_GPA],
      [Vmsa, VMSA_LAUNCH_GPA],
    ]);
  });

  test('EC2 adds the CPUID page last', () => {
    expect(kinds(ovmfLaunchPages({ ...launch, vmm: 'ec2', vcpus: 1 }))[5]).toEqual([Cpuid, 0x5000n]);
  });

  test('GCE does not measure the memory that it validates', () => {
    expect(kinds(ovmfLaunchPages({ ...launch, vmm: 'gce' }))[1]).toEqual([Unmeasured, 0x1000n]);
  });

  test('the boot processor starts at the reset vector, all others at the reset block', () => {
    const vmsas = ovmfLaunchPages(launch).filter(({ type }) => type === Vmsa);
    const starts = vmsas.map(({ bytes }) => readVmsa(bytes!, 'csBase') + readVmsa(bytes!, 'rip'));
    expect(starts).toEqual([0xffff_fff0n, 0x12_3456n, 0x12_3456n]);
  });

  test('the hashes of a kernel lie at their area, and the page counts as data', () => {
    const pages = ovmfLaunchPages({ ...launch, kernelHashes: EMPTY });
    const page = pages.find(({ gpa }) => gpa === 0x8000n)!;
    expect(page.type).toBe(Normal);
    const used = [...page.bytes!.keys()].filter((k) => page.bytes![k] !== 0);
    expect([used[0], used.at(-1)! < 0x100 + 168]).toEqual([0x100, true]);
  });

  const broken = (spec: OvmfSpec) => ({ ...launch, image: decodeOvmfImage(ovmfImage(spec)) });
  test.each<[string, () => unknown]>([
    ['no processor', () => ovmfLaunchPages({ ...launch, vcpus: 0 })],
    ['more processors than KVM has', () => ovmfLaunchPages({ ...launch, vcpus: 4097 })],
    ['QEMU without a signature', () => ovmfLaunchPages({ ...launch, cpuSignature: undefined })],
    ['software that is not known', () => ovmfLaunchPages({ ...launch, vmm: 'xen' as never })],
    ['2 processors without a reset block', () => ovmfLaunchPages(broken({}))],
    ['2 processors with a reset block of 0', () => ovmfLaunchPages(broken({ apResetEip: 0 }))],
    [
      'a kernel without a section',
      () => ovmfLaunchPages({ ...broken({ apResetEip: 1 }), kernelHashes: EMPTY }),
    ],
    [
      'a kernel without an area',
      () => ovmfLaunchPages({ ...broken({ apResetEip: 1, sections: [[0, 4096, 16]] }), kernelHashes: EMPTY }),
    ],
    [
      'an area that crosses its page',
      () =>
        ovmfLaunchPages({
          ...broken({ apResetEip: 1, sections: [[0, 4096, 16]], hashes: [0xf80, 0x400] }),
          kernelHashes: EMPTY,
        }),
    ],
    [
      'an area that is too small',
      () =>
        ovmfLaunchPages({
          ...broken({ apResetEip: 1, sections: [[0, 4096, 16]], hashes: [0, 175] }),
          kernelHashes: EMPTY,
        }),
    ],
    [
      'a section for hashes of two pages',
      () =>
        ovmfLaunchPages({
          ...broken({ apResetEip: 1, sections: [[0, 8192, 16]], hashes: [0, 400] }),
          kernelHashes: EMPTY,
        }),
    ],
    [
      'sections that overlap',
      () =>
        ovmfLaunchPages(
          broken({
            apResetEip: 1,
            sections: [
              [0x1000, 0x2000, 1],
              [0x2000, 0x1000, 2],
            ],
          }),
        ),
    ],
    [
      'a section that overlaps the image',
      () => ovmfLaunchPages(broken({ apResetEip: 1, sections: [[0xffff_e000, 0x2000, 1]] })),
    ],
  ])('refuses %s', (_, call) => {
    expect(codeOf(call)).toBe('INVALID_ARGUMENT');
  });

  const firmware = decodeOvmfImage(ovmfImage());
  const binary = decodeOvmfImage(ovmfImage({ svsmEntry: 16 }));
  const withSvsm = { svsm: binary, firmware, variablesSize: 0x1000, vcpus: 1, cpuSignature: 1 };
  test('an SVSM ends below the variables of the firmware', () => {
    const pages = svsmLaunchPages(withSvsm);
    expect(kinds(pages)).toEqual([
      [Normal, 0xffff_f000n],
      [Normal, 0xffff_d000n],
      [Vmsa, VMSA_LAUNCH_GPA],
    ]);
    expect(readVmsa(pages[2]!.bytes!, 'rip')).toBe(0xffff_d010n);
  });

  test.each<[string, object]>([
    ['a binary without an entry', { svsm: firmware }],
    ['variables that are not whole pages', { variablesSize: 100 }],
    ['variables that leave no place', { variablesSize: 2 ** 32 }],
    ['no signature', { cpuSignature: undefined }],
    ['no processor', { vcpus: 0 }],
  ])('an SVSM launch refuses %s', (_, change) => {
    expect(codeOf(() => svsmLaunchPages({ ...withSvsm, ...change }))).toBe('INVALID_ARGUMENT');
  });
});
