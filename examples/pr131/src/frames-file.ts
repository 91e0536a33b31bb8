import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';

/** The page tables of a machine, as a `.frames.gz` file holds them. */
export interface FramesFile {
  /** CR3, CR4, EFER … as the file's header has them. */
  readonly header: {
    readonly kernel: string;
    readonly cr3: string;
    readonly levels: number;
    readonly maxphyaddr: number;
    readonly memory: number;
  };
  /** Every page-table page that CR3 leads to, ascending. */
  readonly frames: readonly { readonly paddr: PhysAddr; readonly bytes: Uint8Array }[];
}

/** A file that is not there, or not what it should be: one line says which and why. */
export class UnreadableFile extends Error {}

const MAGIC = 'PTFRAME1';

/**
 * Reads a `.frames.gz` file.
 *
 * @throws UnreadableFile
 */
export function readFramesFile(path: string): FramesFile {
  try {
    return parse(gunzipSync(readFileSync(path)));
  } catch (error) {
    throw new UnreadableFile(`cannot read page tables from ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function parse(file: Buffer): FramesFile {
  if (file.toString('latin1', 0, MAGIC.length) !== MAGIC) throw new Error(`it does not begin with ${MAGIC}`);
  const headerLength = file.readUInt32LE(8);
  const count = file.readUInt32LE(12);
  const firstFrame = 16 + headerLength;
  const recordLength = 8 + PAGE_SIZE;
  if (file.length !== firstFrame + count * recordLength) {
    throw new Error(
      `it has ${file.length} bytes, but its header announces ${firstFrame + count * recordLength}`,
    );
  }
  const header = JSON.parse(file.toString('utf8', 16, firstFrame)) as FramesFile['header'];
  if (header.levels !== 4) throw new Error(`its tables have ${header.levels} levels; this example reads 4`);
  const frames = Array.from({ length: count }, (_, i) => {
    const at = firstFrame + i * recordLength;
    const bytes = new Uint8Array(file.subarray(at + 8, at + recordLength));
    return { paddr: physAddr(file.readBigUInt64LE(at)), bytes };
  });
  return { header, frames };
}
