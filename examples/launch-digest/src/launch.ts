import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import {
  decodeIgvmFile,
  decodeOvmfImage,
  hashKernel,
  igvmExpectedDigest,
  igvmLaunchPages,
  isSnpError,
  type KernelHashes,
  type LaunchPage,
  launchDigestOf,
  ovmfLaunchPages,
  svsmLaunchPages,
} from '@svsm/sev-snp';
import type { Options } from './options.ts';
import { FileError } from './problem.ts';
import { sampleImage } from './sample-image.ts';

/** A launch, and its digest. */
export interface Launch {
  /** The name of what is launched. */
  readonly name: string;
  readonly pages: readonly LaunchPage[];
  readonly digest: Uint8Array;
  /** The digest that the author of an IGVM file expects, if its ID block has one. */
  readonly expected: Uint8Array | undefined;
}

/**
 * Reads the files, lists the pages of the launch, and measures them.
 *
 * @throws FileError
 */
export async function launchOf(options: Options): Promise<Launch> {
  const { name, pages, expected } = await planOf(options);
  return { name, pages, expected, digest: await launchDigestOf(pages, hash('sha384')) };
}

type Plan = Omit<Launch, 'digest'>;

async function planOf(options: Options): Promise<Plan> {
  const { igvm, svsm, ovmf } = options;
  if (igvm !== undefined) return igvmPlan(igvm, options);
  if (svsm !== undefined) return svsmPlan(svsm, ovmf!, options);
  const { vcpus = 1, vmm, cpuSignature, sevFeatures } = options;
  const kernelHashes = await kernelHashesOf(options);
  const image = within(ovmf ?? 'the sample image', () =>
    decodeOvmfImage(ovmf === undefined ? sampleImage() : read(ovmf)),
  );
  const pages = within(ovmf ?? 'the sample image', () =>
    ovmfLaunchPages({ image, vcpus, vmm, cpuSignature, sevFeatures, kernelHashes }),
  );
  return { name: ovmf ?? 'the sample image', pages, expected: undefined };
}

function svsmPlan(path: string, firmwarePath: string, options: Options): Plan {
  const { vcpus = 1, cpuSignature, sevFeatures, varsFile, varsSize } = options;
  const svsm = within(path, () => decodeOvmfImage(read(path)));
  const firmware = within(firmwarePath, () => decodeOvmfImage(read(firmwarePath)));
  const variablesSize = varsFile === undefined ? varsSize! : opened(varsFile, () => statSync(varsFile).size);
  const pages = within(path, () =>
    svsmLaunchPages({ svsm, firmware, variablesSize, vcpus, cpuSignature, sevFeatures }),
  );
  return { name: path, pages, expected: undefined };
}

function igvmPlan(path: string, { vcpus, cpuSignature, zeroPages, vmsas }: Options): Plan {
  return within(path, () => {
    const file = decodeIgvmFile(read(path));
    const pages = igvmLaunchPages({ file, vcpus, cpuSignature, zeroPages, vmsas });
    return { name: path, pages, expected: igvmExpectedDigest(file) };
  });
}

function kernelHashesOf({ kernel, initrd, append }: Options): Promise<KernelHashes> | undefined {
  if (kernel === undefined) return undefined;
  const files = {
    kernel: read(kernel),
    initrd: initrd === undefined ? undefined : read(initrd),
    commandLine: append === undefined ? undefined : Buffer.from(append),
  };
  return hashKernel(files, hash('sha256'));
}

function hash(algorithm: string): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => createHash(algorithm).update(bytes).digest();
}

function read(path: string): Uint8Array {
  return opened(path, () => readFileSync(path));
}

function opened<T>(path: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    throw new FileError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Calls `decode`. A refused image becomes an error with the name of its file. */
function within<T>(path: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!isSnpError(error)) throw error;
    throw new FileError(`${path}: ${error.message}`, { cause: error });
  }
}
