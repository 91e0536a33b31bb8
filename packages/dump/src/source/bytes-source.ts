import { isBytes, refuseArgument } from './arguments.ts';
import { DumpError } from './dump-error.ts';
import { requireRead, type Source } from './source.ts';

/**
 * A source of bytes in memory, which are not copied. O(1).
 *
 * @throws DumpError `INVALID_ARGUMENT` if `bytes` is not a Uint8Array
 */
export function bytesSource(bytes: Uint8Array): Source {
  if (!isBytes(bytes)) refuseArgument('bytes', bytes, 'pass a Uint8Array');
  return {
    size: bytes.length,
    read(position, into) {
      requireRead(position, into);
      const from = bytes.subarray(position, position + into.length);
      if (from.length < into.length) {
        const reason = `it ends at byte ${bytes.length}, before byte ${position + into.length}`;
        throw new DumpError('TRUNCATED_FILE', { reason });
      }
      into.set(from);
    },
    close() {},
  };
}
