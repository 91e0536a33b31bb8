import * as zlib from 'node:zlib';
import type { Codecs, Decoder } from '../formats/codecs.ts';

/** The decoders of Node. Zstandard is missing in Node 20. No block may become larger than it must. */
export const NODE_CODECS: Codecs = {
  zlib: (packed, size) => zlib.inflateSync(packed, { maxOutputLength: size }),
  zstd: zstdDecoder(),
};

function zstdDecoder(): Decoder | undefined {
  const { zstdDecompressSync } = zlib as Partial<typeof zlib>;
  if (zstdDecompressSync === undefined) return undefined;
  return (packed, size) => zstdDecompressSync(packed, { maxOutputLength: size });
}
