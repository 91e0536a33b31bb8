/** Ranges of bits, highest first, as the manuals write them: `63:12 0`. */

/** The bits in which two encodings of equal length differ. Bit 8n is the lowest bit of byte n. */
export function changedBits(before: Uint8Array, after: Uint8Array): string {
  const bits: number[] = [];
  for (const [at, byte] of after.entries()) {
    for (let bit = 0; bit < 8; bit += 1) if (((byte ^ before[at]!) >> bit) & 1) bits.push(8 * at + bit);
  }
  return rangesOf(bits);
}

/** The bits that are set in an integer. */
export function setBits(value: bigint): string {
  const text = value.toString(2);
  return rangesOf([...text].flatMap((bit, i) => (bit === '1' ? [text.length - 1 - i] : [])).reverse());
}

/** The bits of bytes `offset` to `offset + size - 1`. */
export function bitsOfBytes(offset: number, size: number): string {
  return `${8 * (offset + size) - 1}:${8 * offset}`;
}

function rangesOf(bits: readonly number[]): string {
  const starts = bits.filter((bit, i) => bits[i - 1] !== bit - 1);
  const ends = bits.filter((bit, i) => bits[i + 1] !== bit + 1);
  const ranges = starts.map((low, i) => (ends[i] === low ? `${low}` : `${ends[i]}:${low}`));
  return ranges.reverse().join(' ');
}
