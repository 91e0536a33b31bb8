import { PAGE_SIZE } from '@svsm/address';
import { readArgument, requireOneOf } from './arguments.ts';
import type { IgvmFile } from './igvm-file.ts';
import { type IgvmHeader, type IgvmInsertHeader, type IgvmPageHeader, IgvmPlatform } from './igvm-header.ts';
import { refuseImage } from './image-bytes.ts';
import { type LaunchPage, LaunchPageType, VMSA_LAUNCH_GPA } from './launch-digest.ts';
import { requireApart, requireCount } from './launch-pages.ts';
import { requireOptions } from './options.ts';
import { createResetVmsa } from './reset-vmsa.ts';
import { SnpError } from './snp-error.ts';
import { readVmsa } from './vmsa.ts';

/** A launch of an IGVM file as an SEV-SNP guest. */
export interface IgvmLaunch {
  readonly file: IgvmFile;
  /**
   * How the loader adds a page without data: `normal`, as a page of zeros, is what the format asks for; `zero`, as a page
   * of type ZERO, is what some loaders do. `normal` if not given.
   */
  readonly zeroPages?: 'normal' | 'zero' | undefined;
  /**
   * When VMSAs are added: `in-order`, where the file has them, or `last`, as KVM does, which also requires address
   * 0xFFFF_FFFF_F000. `in-order` if not given.
   */
  readonly vmsas?: 'in-order' | 'last' | undefined;
  /**
   * The number of processors, from 1 to 4096. Processors for which the file has no VMSA get one at reset, as KVM leaves
   * it, after all pages. Not given: only the VMSAs of the file.
   */
  readonly vcpus?: number | undefined;
  /** EAX of CPUID function 1, for the processors at reset. */
  readonly cpuSignature?: number | undefined;
}

const FILE = 'pass what decodeIgvmFile returns';
const LAUNCH: readonly (keyof IgvmLaunch)[] = ['file', 'zeroPages', 'vmsas', 'vcpus', 'cpuSignature'];

/**
 * The pages of a launch of an IGVM file, in the order of its headers. Pages for other platforms, shared pages, required
 * memory and relocation do not count.
 *
 * @throws SnpError `INVALID_IMAGE` if the file does not support SEV-SNP, inserts a parameter area that does not exist or is
 *   used up, or has a processor without VMSA or at an address that KVM does not use; `INVALID_ARGUMENT` if pages overlap,
 *   the number of processors or their signature is out of range, an option does not exist, or `file` is not an `IgvmFile`
 */
export function igvmLaunchPages(launch: IgvmLaunch): LaunchPage[] {
  requireOptions('the launch', launch, LAUNCH);
  const { file, zeroPages = 'normal', vmsas = 'in-order' } = launch;
  requireOneOf('zeroPages', zeroPages, ['normal', 'zero']);
  requireOneOf('vmsas', vmsas, ['in-order', 'last']);
  return readArgument('the file', file, FILE, () => launchPagesOf(launch, zeroPages, vmsas));
}

function launchPagesOf(
  launch: IgvmLaunch,
  zeroPages: 'normal' | 'zero',
  vmsas: 'in-order' | 'last',
): LaunchPage[] {
  const { file } = launch;
  const mask = snpMaskOf(file);
  const areas = new Map<number, number>();
  const pages: LaunchPage[] = [];
  const contexts: LaunchPage[] = [];
  const known = new Set<number>();
  const zeros = zerosBySize();
  for (const header of file.headers) {
    if ('mask' in header && (header.mask & mask) === 0) continue;
    if (header.kind === 'area') addArea(areas, header);
    else if (header.kind === 'insert') pages.push(insertedPage(areas, header));
    else if (header.kind === 'page' && !header.shared) pages.push(dataPage(header, zeroPages, zeros));
    else if (header.kind === 'context') {
      if (known.has(header.vcpu))
        refuseImage(
          'the processor of a VMSA',
          header.offset + 24,
          header.vcpu,
          'each processor has one VMSA',
        );
      known.add(header.vcpu);
      (vmsas === 'last' ? contexts : pages).push(contextPage(header, vmsas));
    }
  }
  requireApart(pages);
  return [...pages, ...contexts, ...resetPages(launch, [...pages, ...contexts], known)];
}

/** The bit of SEV-SNP in the masks of headers. */
function snpMaskOf({ headers }: IgvmFile): number {
  let mask: number | undefined;
  for (const header of headers) {
    if (header.kind !== 'platform' || header.platform !== IgvmPlatform.SevSnp) continue;
    if (mask !== undefined)
      refuseImage('the type of a platform', header.offset + 13, 2, 'a platform may be listed once');
    mask = header.mask;
  }
  return mask ?? refuseImage('the platforms', 0, undefined, 'the file must support SEV-SNP');
}

/**
 * The digest that the author of the file expects, from its ID block; `undefined` without one.
 *
 * @throws SnpError `INVALID_IMAGE` if the file does not support SEV-SNP; `INVALID_ARGUMENT` if `file` is not an `IgvmFile`
 */
export function igvmExpectedDigest(file: IgvmFile): Uint8Array | undefined {
  return readArgument('the file', file, FILE, () => {
    const mask = snpMaskOf(file);
    for (const header of file.headers)
      if (header.kind === 'id-block' && (header.mask & mask) !== 0) return header.digest.slice();
    return undefined;
  });
}

type Of<Kind extends IgvmHeader['kind']> = Extract<IgvmHeader, { kind: Kind }>;

function addArea(areas: Map<number, number>, { offset, index, size }: Of<'area'>): void {
  if (areas.has(index))
    refuseImage('the index of a parameter area', offset + 16, index, 'each index may be used once');
  areas.set(index, size);
}

function insertedPage(areas: Map<number, number>, header: Of<'insert'>): LaunchPage {
  const { offset, index, gpa }: IgvmInsertHeader & { offset: number } = header;
  const size = areas.get(index);
  if (size === undefined || size === 0)
    return refuseImage(
      'the index of an insertion',
      offset + 20,
      index,
      'its area must exist, and be inserted once',
    );
  // The index stays known, so that it cannot be used again.
  areas.set(index, 0);
  return { type: LaunchPageType.Unmeasured, gpa, size };
}

function dataPage(
  { gpa, size, type, unmeasured, bytes }: IgvmPageHeader,
  zeroPages: 'normal' | 'zero',
  zeros: (size: number) => Uint8Array,
): LaunchPage {
  if (type === 'secrets') return { type: LaunchPageType.Secrets, gpa };
  if (type === 'cpuid') return { type: LaunchPageType.Cpuid, gpa };
  if (unmeasured)
    return { type: LaunchPageType.Unmeasured, gpa, ...(bytes === undefined ? { size } : { bytes }) };
  if (bytes !== undefined) return { type: LaunchPageType.Normal, gpa, bytes };
  if (zeroPages === 'zero') return { type: LaunchPageType.Zero, gpa, size };
  return { type: LaunchPageType.Normal, gpa, bytes: zeros(size) };
}

/** Makes zeros, of each size once: a file has thousands of such pages. */
function zerosBySize(): (size: number) => Uint8Array {
  const made = new Map<number, Uint8Array>();
  return (size) => {
    const bytes = made.get(size) ?? new Uint8Array(size);
    made.set(size, bytes);
    return bytes;
  };
}

function contextPage({ offset, gpa, bytes }: Of<'context'>, vmsas: 'in-order' | 'last'): LaunchPage {
  if (bytes?.length !== PAGE_SIZE)
    return refuseImage(
      'the data of a VMSA',
      offset + 20,
      bytes?.length,
      'the file must have 4096 bytes of it',
    );
  if (vmsas === 'last' && gpa !== VMSA_LAUNCH_GPA)
    refuseImage('the address of a VMSA', offset + 8, gpa, 'KVM uses 0xfffffffff000');
  return { type: LaunchPageType.Vmsa, gpa, bytes };
}

/** The VMSAs of processors that the file does not have. Their SEV_FEATURES are those of its first VMSA. */
function resetPages(
  { vcpus, cpuSignature }: IgvmLaunch,
  pages: readonly LaunchPage[],
  known: ReadonlySet<number>,
): LaunchPage[] {
  if (vcpus === undefined) return [];
  requireCount(vcpus);
  const missing = Array.from({ length: vcpus }, (_, k) => k).filter((vcpu) => !known.has(vcpu)).length;
  if (missing === 0) return [];
  const first = pages.find(({ type }) => type === LaunchPageType.Vmsa)?.bytes;
  if (first === undefined)
    throw new SnpError('INVALID_ARGUMENT', {
      what: 'the number of processors',
      value: vcpus,
      expected: 'pass a file with a VMSA',
    });
  const sevFeatures = readVmsa(first, 'sevFeatures');
  const bytes = createResetVmsa({ cpuSignature, sevFeatures });
  return new Array<LaunchPage>(missing).fill({ type: LaunchPageType.Vmsa, gpa: VMSA_LAUNCH_GPA, bytes });
}
