import { readArgument, refuseArgument, requireFunction } from './arguments.ts';
import { isBytes, requireLength } from './byte-fields.ts';
import { guidBytes } from './guid.ts';
import { requireOptions } from './options.ts';

/** SHA-256: 32 bytes for any input, at once or by a promise. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array | PromiseLike<Uint8Array>;

/** The SHA-256 of a kernel that QEMU boots directly, of its initrd and of its command line: 32 bytes each. */
export interface KernelHashes {
  readonly kernel: Uint8Array;
  /** Of no bytes, if an initrd does not exist. */
  readonly initrd: Uint8Array;
  /** Of the command line and a zero byte after it. */
  readonly commandLine: Uint8Array;
}

/** A kernel that QEMU boots directly, with its initrd and its command line. */
export interface KernelFiles {
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array | undefined;
  /** Without a zero byte at its end. Empty if not given. */
  readonly commandLine?: Uint8Array | undefined;
}

const SIZE = 32;
const ENTRY_SIZE = 16 + 2 + SIZE;
/** The header and three entries. */
const TABLE_SIZE = 16 + 2 + 3 * ENTRY_SIZE;
/** Bytes of the table, rounded up to a multiple of 16. */
export const KERNEL_HASHES_SIZE = 176;

const HEADER = '9438d606-4f22-4cc9-b479-a793d411fd21';
const ENTRIES = [
  ['commandLine', '97d02dd8-bd20-4c94-aa78-e7714d36ab2a'],
  ['initrd', '44baf731-3a2f-4bd7-9af1-41e29169781d'],
  ['kernel', '4de79437-abd2-427f-b835-d5b172d2045b'],
] as const;

const FILES: readonly (keyof KernelFiles)[] = ['kernel', 'initrd', 'commandLine'];

/**
 * Computes the hashes of a kernel, its initrd and its command line. O(bytes).
 *
 * @throws SnpError `INVALID_ARGUMENT`, in the promise, if a file is not a `Uint8Array`, or `sha256` is not a function
 */
export async function hashKernel(files: KernelFiles, sha256: Sha256): Promise<KernelHashes> {
  requireOptions('the files of a kernel', files, FILES);
  requireFunction('sha256', sha256);
  const { kernel, initrd = new Uint8Array(), commandLine = new Uint8Array() } = files;
  for (const [name, file] of Object.entries({ kernel, initrd, commandLine }))
    if (!isBytes(file)) refuseArgument(name, file, 'pass a Uint8Array');
  const terminated = new Uint8Array(commandLine.length + 1);
  terminated.set(commandLine);
  return {
    kernel: await sha256(kernel),
    initrd: await sha256(initrd),
    commandLine: await sha256(terminated),
  };
}

/**
 * The table of hashes that QEMU leaves in the memory of a guest, for the firmware to check the kernel that it gets (QEMU
 * `target/i386/sev.c`). Each entry is a GUID, its own size, and 32 bytes.
 *
 * @returns 176 bytes
 * @throws SnpError `INVALID_ARGUMENT` if a hash is not 32 bytes long
 */
export function encodeKernelHashes(hashes: KernelHashes): Uint8Array {
  const read = readArgument('the hashes of a kernel', hashes, 'pass what hashKernel returns', () => ({
    kernel: hashes.kernel,
    initrd: hashes.initrd,
    commandLine: hashes.commandLine,
  }));
  const table = new Uint8Array(KERNEL_HASHES_SIZE);
  const put = (at: number, guid: string, size: number): void => {
    table.set(guidBytes(guid), at);
    table[at + 16] = size;
  };
  put(0, HEADER, TABLE_SIZE);
  for (const [k, [name, guid]] of ENTRIES.entries()) {
    requireLength(read[name], SIZE, 'a hash of the kernel');
    const at = 18 + k * ENTRY_SIZE;
    put(at, guid, ENTRY_SIZE);
    table.set(read[name], at + 18);
  }
  return table;
}
