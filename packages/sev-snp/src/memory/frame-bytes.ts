import { PAGE_SIZE } from '@svsm/address';

/** Up to this length, single bytes cost less than a view of the frame: an engine makes views outside of its young heap. */
const SHORT = 16;

/** A copy of bytes of a frame, which lie in it. O(length). */
export function bytesAt(frame: Uint32Array, offset: number, length: number): Uint8Array {
  if (length > SHORT) return new Uint8Array(frame.buffer, frame.byteOffset + offset, length).slice();
  const bytes = new Uint8Array(length);
  for (let k = 0; k < length; k += 1) {
    const at = offset + k;
    bytes[k] = frame[at >>> 2]! >>> (8 * (at & 3));
  }
  return bytes;
}

/** Writes bytes to a frame, in which they fit. O(length). */
export function setBytesAt(frame: Uint32Array, offset: number, bytes: Uint8Array): void {
  const { length } = bytes;
  if (length > SHORT) {
    new Uint8Array(frame.buffer, frame.byteOffset, PAGE_SIZE).set(bytes, offset);
    return;
  }
  for (let k = 0; k < length; k += 1) {
    const at = offset + k;
    const shift = 8 * (at & 3);
    frame[at >>> 2] = (frame[at >>> 2]! & ~(0xff << shift)) | (bytes[k]! << shift);
  }
}
