import { isBytes } from '../source/arguments.ts';
import { DumpError } from '../source/dump-error.ts';
import { unpackLzo } from './lzo.ts';
import { unpackSnappy } from './snappy.ts';

/** Decompresses a block of which the size is known. It may return another size, or throw, if the block is damaged. */
export type Decoder = (packed: Uint8Array, size: number) => Uint8Array;

/** Decoders that this package does not have itself. `@svsm/dump/node` passes those of Node. */
export interface Codecs {
  /** The zlib format (RFC 1950). */
  readonly zlib?: Decoder | undefined;
  /** The Zstandard format (RFC 8878). */
  readonly zstd?: Decoder | undefined;
}

/** The compression of a block. */
export type Compression = 'zlib' | 'zstd' | 'lzo' | 'snappy';

/**
 * Decompresses a block to exactly `size` bytes.
 *
 * @param what - the name of the block in messages
 * @throws DumpError if the block is damaged, or its decoder is missing
 */
export function unpackBlock(
  packed: Uint8Array,
  size: number,
  how: { readonly compression: Compression; readonly codecs: Codecs; readonly what: () => string },
): Uint8Array {
  const { compression, codecs, what } = how;
  const unpacked = decode(packed, size, compression, codecs);
  if (isBytes(unpacked) && unpacked.length === size) return unpacked;
  throw new DumpError('INVALID_FILE', {
    reason: `${what()} is not sound ${compression} data of ${size} bytes`,
  });
}

function decode(
  packed: Uint8Array,
  size: number,
  compression: Compression,
  codecs: Codecs,
): Uint8Array | undefined {
  if (compression === 'lzo') return unpackLzo(packed, size);
  if (compression === 'snappy') return unpackSnappy(packed, size);
  const decoder = codecs[compression];
  if (decoder === undefined) {
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason: `its pages are compressed with ${compression}, and its decoder is missing${compression === 'zstd' ? ': use Node 22.15 or newer, or another codec' : ''}`,
    });
  }
  try {
    return decoder(packed, size);
  } catch {
    return undefined;
  }
}
