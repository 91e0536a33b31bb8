/** Encodes lists of literals and copies as LZO1X and as Snappy, so that every form of an instruction is tested. */

/** Literal bytes, or a copy of `length` bytes from `distance` back. */
export type Piece =
  | { readonly literals: Uint8Array }
  | { readonly distance: number; readonly length: number };

/** The bytes that the pieces make. */
export function made(pieces: readonly Piece[]): number[] {
  const out: number[] = [];
  for (const piece of pieces) {
    if ('literals' in piece) out.push(...piece.literals);
    else for (let i = 0; i < piece.length; i += 1) out.push(out[out.length - piece.distance]!);
  }
  return out;
}

/** The pieces as a block of Snappy. */
export function packSnappy(pieces: readonly Piece[]): Uint8Array {
  const out = varint(made(pieces).length);
  for (const piece of pieces) {
    if ('literals' in piece) {
      const length = piece.literals.length - 1;
      if (length < 60) out.push(length << 2);
      else out.push(61 << 2, length & 0xff, length >> 8);
      out.push(...piece.literals);
      continue;
    }
    const { distance } = piece;
    for (let rest = piece.length; rest > 0; ) {
      const length = Math.min(rest, 64);
      if (length >= 4 && length < 12 && distance < 2048) {
        out.push(1 | ((length - 4) << 2) | ((distance >> 8) << 5), distance & 0xff);
      } else if (distance < 0x1_0000) out.push(2 | ((length - 1) << 2), distance & 0xff, distance >> 8);
      else out.push(3 | ((length - 1) << 2), distance & 0xff, (distance >> 8) & 0xff, distance >> 16, 0);
      rest -= length;
    }
  }
  return Uint8Array.from(out);
}

/**
 * The pieces as a block of LZO1X. Literals and copies must alternate, and begin with at least four literals. A copy is 2 bytes
 * long only within 1024 bytes after one to three literals, and 3 bytes only within 2048 (or 3072 after four literals).
 */
export function packLzo(pieces: readonly Piece[]): Uint8Array {
  const out: number[] = [];
  /** The place of the two low bits that say how many literals follow. */
  let low = -1;
  let state = 0;
  for (const piece of pieces) {
    if ('literals' in piece) {
      const { length } = piece.literals;
      if (low >= 0 && length < 4) {
        out[low]! |= length;
        state = length;
      } else {
        if (length < 4) throw new Error('the first literals are too few');
        out.push(...(length <= 18 ? [length - 3] : [0, ...long(length - 18)]));
        state = 4;
      }
      out.push(...piece.literals);
      continue;
    }
    low = pushMatch(out, piece.distance, piece.length, state);
    state = 0;
  }
  out.push(0x11, 0, 0);
  return Uint8Array.from(out);
}

/** Returns the place of the low bits. */
function pushMatch(out: number[], distance: number, length: number, state: number): number {
  const at = distance - 1;
  if (length === 2) {
    if (state === 0 || state === 4 || at >= 1024) throw new Error('no form for this copy');
    out.push((at & 3) << 2, at >> 2);
    return out.length - 2;
  }
  if (length === 3 && state === 4 && distance > 2048 && distance <= 3072) {
    const far = at - 2048;
    out.push((far & 3) << 2, far >> 2);
    return out.length - 2;
  }
  if (length <= 8 && distance <= 2048) {
    out.push(((length - 1) << 5) | ((at & 7) << 2), at >> 3);
    return out.length - 2;
  }
  if (distance <= 0x4000) {
    out.push(...(length <= 33 ? [0x20 | (length - 2)] : [0x20, ...long(length - 33)]));
    out.push((at & 0x3f) << 2, at >> 6);
    return out.length - 2;
  }
  const far = distance - 0x4000;
  const high = far >= 0x4000 ? 8 : 0;
  const rest = far & 0x3fff;
  out.push(...(length <= 9 ? [0x10 | high | (length - 2)] : [0x10 | high, ...long(length - 9)]));
  out.push((rest & 0x3f) << 2, rest >> 6);
  return out.length - 2;
}

function long(length: number): number[] {
  const zeros = Math.floor((length - 1) / 255);
  return [...new Array<number>(zeros).fill(0), length - 255 * zeros];
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >> 7)];
}
