import { Buffer } from 'node:buffer';
import { sampleImage } from '../src/sample-image.ts';

/** The sample image with an entry for an SVSM in place of the one for hashes, and without a section for them. */
export function svsmBinary(): Uint8Array {
  const bytes = Buffer.from(sampleImage());
  const hashes = Buffer.from('1f3755723b3a044b927b1da6efa8d454', 'hex');
  const at = bytes.indexOf(hashes);
  Buffer.from('12a689a797054b4ca49fcbb1fe9d1ddd', 'hex').copy(bytes, at);
  // The data of the entry is before its size and its GUID: the offset where the SVSM starts.
  bytes.writeUInt32LE(0x10, at - 10);
  // The sixth section: the memory of the hashes becomes ordinary memory.
  bytes.writeUInt32LE(1, bytes.length - 1024 + 16 + 12 * 5 + 8);
  return bytes;
}
