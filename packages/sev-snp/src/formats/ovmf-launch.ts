import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import { readArgument } from './arguments.ts';
import { isBytes } from './byte-fields.ts';
import { encodeKernelHashes, KERNEL_HASHES_SIZE, type KernelHashes } from './kernel-hashes.ts';
import { type LaunchPage, LaunchPageType, VMSA_LAUNCH_GPA } from './launch-digest.ts';
import { requireApart, requireCount } from './launch-pages.ts';
import { requireOptions } from './options.ts';
import { type OvmfImage, type OvmfSection, OvmfSectionType } from './ovmf-image.ts';
import { createResetVmsa, createSvsmResetVmsa, type ResetVmsaOptions, type Vmm } from './reset-vmsa.ts';
import { SnpError } from './snp-error.ts';

/** A launch of an OVMF image. */
export interface OvmfLaunch {
  readonly image: OvmfImage;
  /** The number of processors, from 1 to 4096. */
  readonly vcpus: number;
  /** The software that launches the guest: `qemu` if not given. */
  readonly vmm?: Vmm | undefined;
  /** EAX of CPUID function 1, for QEMU. */
  readonly cpuSignature?: number | undefined;
  /** SEV_FEATURES of all processors: SNP active alone if not given. */
  readonly sevFeatures?: bigint | undefined;
  /** The hashes of a kernel that QEMU boots directly. */
  readonly kernelHashes?: KernelHashes | undefined;
}

const FOUR_GIB = 2 ** 32;
const OVMF: readonly (keyof OvmfLaunch)[] = [
  ...(['image', 'vcpus', 'vmm', 'cpuSignature', 'sevFeatures', 'kernelHashes'] as const),
];

/**
 * The pages of a launch of an OVMF image, in the order in which QEMU, EC2 or GCE adds them: the image, which ends at
 * 4 GiB, the sections of its SEV metadata, and a VMSA for each processor. Their digest is that of the guest.
 *
 * @throws SnpError `INVALID_ARGUMENT` if the number of processors is not from 1 to 4096, application processors have no
 *   address to start at, the image has no area for the hashes of a kernel, pages overlap, a value of
 *   {@link createResetVmsa} is out of range, or an option does not exist; `INVALID_MESSAGE` if `sevFeatures` does not fit
 */
export function ovmfLaunchPages(launch: OvmfLaunch): LaunchPage[] {
  requireOptions('the launch', launch, OVMF);
  return readArgument('the launch', launch, 'pass an image from decodeOvmfImage', () => ovmfPagesOf(launch));
}

function ovmfPagesOf(launch: OvmfLaunch): LaunchPage[] {
  const { image, vcpus, vmm, kernelHashes } = launch;
  requireCount(vcpus);
  const pages = [imagePage(image, FOUR_GIB), ...sectionPages(image, vmm ?? 'qemu', kernelHashes)];
  requireApart(pages);
  const options = { ...(vmm && { vmm }), ...stateOf(launch) };
  pages.push(vmsaPage(createResetVmsa(options)));
  if (vcpus === 1) return pages;
  const { apResetEip: eip } = image;
  if (eip === undefined || eip === 0)
    refuse('the SEV-ES reset block', eip, 'more than 1 processor needs an image with one');
  return [...pages, ...new Array<LaunchPage>(vcpus - 1).fill(vmsaPage(createResetVmsa({ ...options, eip })))];
}

/** A launch of an SVSM binary below an OVMF image. */
export interface SvsmLaunch {
  readonly svsm: OvmfImage;
  readonly firmware: OvmfImage;
  /** The size of the store of firmware variables between both, in bytes: a multiple of 4096. */
  readonly variablesSize: number;
  /** The number of processors, from 1 to 4096. */
  readonly vcpus: number;
  readonly cpuSignature: number;
  /** SEV_FEATURES of all processors: SNP active alone if not given. */
  readonly sevFeatures?: bigint | undefined;
}

const SVSM: readonly (keyof SvsmLaunch)[] = [
  ...(['svsm', 'firmware', 'variablesSize', 'vcpus', 'cpuSignature', 'sevFeatures'] as const),
];

/**
 * The pages of a launch of an SVSM binary, in the order in which QEMU of COCONUT-SVSM adds them: the firmware, which ends
 * at 4 GiB, the binary, which ends below the firmware and its variables, the sections of the binary's SEV metadata, and a
 * VMSA for each processor (virtee/sev-snp-measure, mode `snp:svsm`). Today's COCONUT-SVSM is an IGVM file instead.
 *
 * @throws SnpError `INVALID_ARGUMENT` if the number of processors is not from 1 to 4096, the binary has no address to
 *   start at, pages overlap or have no place below 4 GiB, a value of {@link createSvsmResetVmsa} is out of range, or an
 *   option does not exist;
 *   `INVALID_MESSAGE` if `sevFeatures` does not fit
 */
export function svsmLaunchPages(launch: SvsmLaunch): LaunchPage[] {
  requireOptions('the launch', launch, SVSM);
  return readArgument('the launch', launch, 'pass images from decodeOvmfImage', () => svsmPagesOf(launch));
}

function svsmPagesOf(launch: SvsmLaunch): LaunchPage[] {
  const { svsm, firmware, variablesSize, vcpus } = launch;
  requireCount(vcpus);
  if (!Number.isInteger(variablesSize) || variablesSize < 0 || variablesSize % PAGE_SIZE !== 0)
    refuse('the size of the variables', variablesSize, 'pass a multiple of 4096');
  const rom = imagePage(firmware, FOUR_GIB);
  const binary = imagePage(svsm, Number(rom.gpa) - variablesSize);
  const pages = [rom, binary, ...sectionPages(svsm, 'qemu', undefined)];
  requireApart(pages);
  if (typeof svsm.svsmEntry !== 'number')
    refuse('the entry of the SVSM', svsm.svsmEntry, 'pass a binary with an SVSM entry');
  const vmsa = createSvsmResetVmsa({ ...stateOf(launch), eip: Number(binary.gpa) + svsm.svsmEntry });
  return [...pages, ...new Array<LaunchPage>(vcpus).fill(vmsaPage(vmsa))];
}

function stateOf({ cpuSignature, sevFeatures }: Partial<OvmfLaunch>): ResetVmsaOptions {
  return { cpuSignature, ...(sevFeatures !== undefined && { sevFeatures }) };
}

function imagePage({ bytes }: OvmfImage, end: number): LaunchPage {
  if (bytes.length > end)
    refuse('the size of an image', bytes.length, `pass at most ${Math.max(end, 0)} bytes`);
  if (!isBytes(bytes)) refuse('the bytes of an image', bytes, 'pass a Uint8Array');
  return { type: LaunchPageType.Normal, gpa: BigInt(end - bytes.length) as PhysAddr, bytes };
}

function vmsaPage(bytes: Uint8Array): LaunchPage {
  return { type: LaunchPageType.Vmsa, gpa: VMSA_LAUNCH_GPA, bytes };
}

/** The pages of the sections. EC2 adds CPUID pages last. */
function sectionPages(image: OvmfImage, vmm: Vmm, hashes: KernelHashes | undefined): LaunchPage[] {
  const { sections } = image;
  const isLast = ({ type }: OvmfSection): boolean => vmm === 'ec2' && type === OvmfSectionType.Cpuid;
  const hasArea = sections.some(({ type }) => type === OvmfSectionType.KernelHashes);
  if (hashes !== undefined && !hasArea)
    refuse('the hashes of a kernel', 'given', 'pass an image that has a section for them');
  const ordered = [...sections.filter((section) => !isLast(section)), ...sections.filter(isLast)];
  return ordered.map((section) => sectionPage(section, image, vmm, hashes));
}

function sectionPage(
  { type, gpa, size }: OvmfSection,
  image: OvmfImage,
  vmm: Vmm,
  hashes: KernelHashes | undefined,
): LaunchPage {
  switch (type) {
    case OvmfSectionType.Secrets:
      return { type: LaunchPageType.Secrets, gpa };
    case OvmfSectionType.Cpuid:
      return { type: LaunchPageType.Cpuid, gpa };
    case OvmfSectionType.KernelHashes:
      if (hashes === undefined) return { type: LaunchPageType.Zero, gpa, size };
      return { type: LaunchPageType.Normal, gpa, bytes: hashesPage(size, image, hashes) };
    case OvmfSectionType.SecMem:
      return { type: vmm === 'gce' ? LaunchPageType.Unmeasured : LaunchPageType.Zero, gpa, size };
    case OvmfSectionType.SvsmCaa:
      return { type: LaunchPageType.Zero, gpa, size };
  }
}

/** The table of hashes in a page of zeros, where the image has its area. */
function hashesPage(size: number, { hashesArea }: OvmfImage, hashes: KernelHashes): Uint8Array {
  if (hashesArea === undefined) refuse('the area of the hashes', undefined, 'pass an image that has one');
  const offset = Number(hashesArea.gpa) % PAGE_SIZE;
  if (hashesArea.size < KERNEL_HASHES_SIZE || offset + KERNEL_HASHES_SIZE > PAGE_SIZE)
    refuse(
      'the area of the hashes',
      hashesArea.gpa,
      `${KERNEL_HASHES_SIZE} bytes must fit in it, and in its page`,
    );
  // The size of the section comes from the image. Only the page with the table is allocated.
  if (size !== PAGE_SIZE) refuse('the section of the hashes', size, 'it must have 4096 bytes');
  const page = new Uint8Array(PAGE_SIZE);
  page.set(encodeKernelHashes(hashes), offset);
  return page;
}

function refuse(what: string, value: unknown, expected: string): never {
  throw new SnpError('INVALID_ARGUMENT', { what, value, expected });
}
