import type { Codecs } from '@svsm/dump';
import { unzlibSync } from 'fflate';
import { decompress } from 'fzstd';

/** Decoders for the pages of kdump. Those of the browser are asynchronous: one page at a time has to be decoded at once. */
export const CODECS: Codecs = {
  zlib: (packed, size) => {
    const bytes = unzlibSync(packed, { out: new Uint8Array(size) });
    const end = new DataView(packed.buffer, packed.byteOffset + packed.length - 4, 4);
    if (adler32(bytes) !== end.getUint32(0)) throw new Error('the checksum is another one');
    return bytes;
  },
  zstd: (packed) => decompress(packed),
};

/** The checksum of zlib data (RFC 1950, section 9), which the decoder does not compare. */
function adler32(bytes: Uint8Array): number {
  let [a, b] = [1, 0];
  for (const byte of bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return ((b << 16) | a) >>> 0;
}
