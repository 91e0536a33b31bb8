import { isBytes, refuseArgument, requireInteger, requireMethods, requireOptional } from './arguments.ts';
import { DumpError } from './dump-error.ts';

/** Bytes that can be read at any position: a file, or the content of a container. */
export interface Source {
  /** The number of bytes. */
  readonly size: number;
  /**
   * Fills `into` with the bytes from `position` on.
   *
   * @throws DumpError if the source ends before
   */
  read(position: number, into: Uint8Array): void;
  /**
   * The first position from `position` on whose byte may be other than zero; `size` if there is none. A source that does not know where its
   * zeros are has no such function.
   */
  dataFrom?(position: number): number;
  /** Gives back what the source holds, such as an open file. */
  close(): void;
}

/** @throws DumpError `INVALID_ARGUMENT` if `value` does not have what a source has */
export function requireSource(what: string, value: Source): void {
  requireMethods(what, value, ['read', 'close'], 'pass a Source, such as that of bytesSource');
  requireInteger(`the size of ${what}`, value.size, 0, Number.MAX_SAFE_INTEGER);
  requireOptional(`dataFrom of ${what}`, value.dataFrom, 'function');
}

/** Checks the arguments of a `read`. @throws DumpError `INVALID_ARGUMENT` */
export function requireRead(position: number, into: Uint8Array): void {
  requireInteger('position', position, 0, Number.MAX_SAFE_INTEGER);
  if (!isBytes(into)) refuseArgument('into', into, 'pass a Uint8Array');
}

/** Reads `length` bytes from `position` on into a new array. */
export function readBytes(source: Source, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  source.read(position, bytes);
  return bytes;
}

/** Like {@link readBytes}, for fields of several bytes. */
export function readFields(source: Source, position: number, length: number): DataView {
  return fieldsOf(readBytes(source, position, length));
}

/** The fields in `bytes`. */
export function fieldsOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The bytes as text, one character a byte. Only for short texts such as a magic or the name of a note. */
export function asciiOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 256));
}

/** The bytes as text, one character a byte, of any length. */
export function textOf(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 256) text += asciiOf(bytes.subarray(at, at + 256));
  return text;
}

/**
 * A 64-bit field with a size or a position, as a number. `what` is its name in the message.
 *
 * @throws DumpError above 2^53 - 1, where no file ends
 */
export function readSize(fields: DataView, offset: number, what: string | (() => string)): number {
  const high = fields.getUint32(offset + 4, true);
  if (high < 2 ** 21) return high * 2 ** 32 + fields.getUint32(offset, true);
  const name = typeof what === 'string' ? what : what();
  throw new DumpError('INVALID_FILE', {
    reason: `${name} is 0x${fields.getBigUint64(offset, true).toString(16)}, which is too large`,
  });
}
