/**
 * The text of a GUID: `96b582de-1fb2-45f7-baea-a366c55a082d`. The first three groups are little-endian in a file, the last
 * two are not (UEFI specification, appendix A). `bytes` must hold 16 bytes.
 */
export function guidOf(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  const tail = Array.from(bytes.subarray(8, 16), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const head = [
    view.getUint32(0, true).toString(16).padStart(8, '0'),
    view.getUint16(4, true).toString(16).padStart(4, '0'),
    view.getUint16(6, true).toString(16).padStart(4, '0'),
  ];
  return [...head, tail.slice(0, 4), tail.slice(4)].join('-');
}

/** The 16 bytes of a GUID that {@link guidOf} prints as `text`. */
export function guidBytes(text: string): Uint8Array {
  const digits = text.replaceAll('-', '');
  const order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
  return Uint8Array.from(order, (k) => Number.parseInt(digits.slice(2 * k, 2 * k + 2), 16));
}
