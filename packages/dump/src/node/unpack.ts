import {
  closeSync,
  createReadStream,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { DumpError } from '../source/dump-error.ts';
import type { OnProgress } from '../source/on-progress.ts';

const CHUNK = 0x4_0000;
const ZEROS = Buffer.alloc(CHUNK);
/** Far above the memory of any machine: 16 TiB. */
const MAX_SIZE = 2 ** 44;
/** The part of the free space for temporary files that one of them may take. */
const SHARE = 0.75;

/**
 * Copies `fd` to a temporary file, and gunzips it if `gzip` is true, since neither compressed data nor a pipe can be read by
 * position. Zeros become holes, so a mostly empty file takes little space. The file has no name when the function returns, so
 * it disappears as soon as it is closed, however the process ends.
 *
 * @param most - the most bytes that the file may take; holes do not count. Three quarters of the free space by default
 * @throws DumpError if it is larger
 */
export async function unpack(
  fd: number,
  gzip: boolean,
  onProgress: OnProgress | undefined,
  most: number = freeSpace() * SHARE,
): Promise<number> {
  const unpacked = namelessFile();
  try {
    await fill(unpacked, { fd, gzip, onProgress, most });
  } catch (error) {
    closeSync(unpacked);
    throw error;
  }
  return unpacked;
}

interface Input {
  readonly fd: number;
  readonly gzip: boolean;
  readonly onProgress: OnProgress | undefined;
  /** The most bytes to write, holes not counted. */
  readonly most: number;
}

async function fill(unpacked: number, { fd, gzip, onProgress, most }: Input): Promise<void> {
  let [size, written] = [0, 0];
  const write = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) {
      if (!ZEROS.subarray(0, chunk.length).equals(chunk)) {
        written += chunk.length;
        if (written > most) {
          throw new DumpError('OUTSIDE_LIMITS', {
            reason: `it unpacks to more than ${Math.floor(most / 2 ** 20)} MiB, and so much may not be written to ${tmpdir()}`,
          });
        }
        writeAll(unpacked, chunk, size);
      }
      size += chunk.length;
      if (size > MAX_SIZE)
        throw new DumpError('OUTSIDE_LIMITS', {
          reason: `it unpacks to more than ${MAX_SIZE / 2 ** 40} TiB`,
        });
      onProgress?.(Math.round(size / 2 ** 20), undefined, 'MiB unpacked');
    }
  };
  const input: Readable = createReadStream('', { fd, autoClose: true, highWaterMark: CHUNK });
  if (gzip) await pipeline(input, createGunzip({ chunkSize: CHUNK }), write);
  else await pipeline(input, write);
  ftruncateSync(unpacked, size);
}

/** A temporary file that no other program can open, because its name is removed at once. */
function namelessFile(): number {
  const folder = mkdtempSync(join(tmpdir(), 'svsm-dump-'));
  try {
    return openSync(join(folder, 'dump'), 'w+', 0o600);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function freeSpace(): number {
  const { bavail, bsize } = statfsSync(tmpdir());
  return bavail * bsize;
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}
