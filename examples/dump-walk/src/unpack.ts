import { createReadStream, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { Progress } from './progress.ts';

const CHUNK = 0x4_0000;
const ZEROS = Buffer.alloc(CHUNK);

/**
 * Copies `fd` to a temporary file, and gunzips it if `gzip` is true, since neither compressed data nor a pipe can be read by
 * position. Zeros become holes, so a mostly empty file takes little space. The file has no name when the function returns, so
 * it disappears as soon as it is closed, however the process ends.
 */
export async function unpack(fd: number, gzip: boolean, progress: Progress): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'dump-walk-'));
  let unpacked: number;
  try {
    unpacked = openSync(join(folder, 'dump'), 'w+');
  } finally {
    rmSync(folder, { recursive: true });
  }
  let size = 0;
  const write = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) {
      if (!ZEROS.subarray(0, chunk.length).equals(chunk)) writeAll(unpacked, chunk, size);
      size += chunk.length;
      progress.tell(() => `unpacking: ${Math.round(size / 2 ** 20)} MiB`);
    }
  };
  const input: Readable = createReadStream('', { fd, autoClose: true, highWaterMark: CHUNK });
  if (gzip) await pipeline(input, createGunzip({ chunkSize: CHUNK }), write);
  else await pipeline(input, write);
  ftruncateSync(unpacked, size);
  return unpacked;
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}
