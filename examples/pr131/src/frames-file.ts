import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';

/** The page tables of a machine, as they are in a `.frames.gz` file. */
export interface FramesFile {
  /** CR3 and other facts about the machine, from the header of the file. */
  readonly header: {
    readonly kernel: string;
    readonly cr3: string;
    readonly levels: number;
    readonly maxphyaddr: number;
    readonly memory: number;
  };
  /** Every page-table page that is reachable from CR3, in ascending order. */
  readonly frames: readonly { readonly paddr: PhysAddr; readonly bytes: Uint8Array }[];
}

/** A file is missing or has a wrong format. The message is one line that names the file and the reason. */
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
      `it has ${file.length} bytes instead of the ${firstFrame + count * recordLength} of its header`,
    );
  }
  const header = JSON.parse(file.toString('utf8', 16, firstFrame)) as FramesFile['header'];
  if (header.levels !== 4)
    throw new Error(`its page tables have ${header.levels} levels; this example needs 4`);
  const frames = Array.from({ length: count }, (_, i) => {
    const at = firstFrame + i * recordLength;
    const bytes = new Uint8Array(file.subarray(at + 8, at + recordLength));
    return { paddr: physAddr(file.readBigUInt64LE(at)), bytes };
  });
  return { header, frames };
}
