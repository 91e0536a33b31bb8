/**
 * Decompresses a block in the raw format of Snappy (google/snappy, `format_description.txt`): the size as a varint, then literals,
 * and copies of what was written before.
 *
 * @param size - the size that the block must have
 * @returns `undefined` if the block is damaged, or has another size
 */
export function unpackSnappy(packed: Uint8Array, size: number): Uint8Array | undefined {
  const header = sizeOfSnappy(packed);
  if (header?.size !== size) return undefined;
  const out = new Uint8Array(size);
  let [at, done] = [header.start, 0];
  while (at < packed.length) {
    const tag = packed[at]!;
    const kind = tag & 3;
    if (kind === 0) {
      const extra = Math.max(0, (tag >> 2) - 59);
      if (at + 1 + extra > packed.length) return undefined;
      const length = (extra === 0 ? tag >> 2 : littleEndian(packed, at + 1, extra)) + 1;
      at += 1 + extra;
      if (at + length > packed.length || done + length > size) return undefined;
      // Most are short: a call of `set` would cost more than the bytes.
      for (let i = 0; i < length; i += 1) out[done + i] = packed[at + i]!;
      at += length;
      done += length;
      continue;
    }
    const bytes = kind === 3 ? 4 : kind;
    if (at + 1 + bytes > packed.length) return undefined;
    const operand = littleEndian(packed, at + 1, bytes);
    const length = kind === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const distance = kind === 1 ? ((tag >> 5) << 8) + operand : operand;
    at += 1 + bytes;
    if (distance === 0 || distance > done || done + length > size) return undefined;
    // The copy may overlap itself: then it repeats.
    for (let i = 0; i < length; i += 1) out[done + i] = out[done + i - distance]!;
    done += length;
  }
  return done === size ? out : undefined;
}

/** The size that a block announces, and the place of its data; `undefined` if it is damaged. */
export function sizeOfSnappy(
  packed: Uint8Array,
): { readonly size: number; readonly start: number } | undefined {
  let size = 0;
  for (let i = 0; i < 5 && i < packed.length; i += 1) {
    size += (packed[i]! & 0x7f) * 2 ** (7 * i);
    if (packed[i]! < 0x80) return { size, start: i + 1 };
  }
  return undefined;
}

function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i += 1) value |= bytes[at + i]! << (8 * i);
  return value >>> 0;
}
