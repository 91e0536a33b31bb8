/** `value` as `0x` and at least sixteen lower-case hex digits, after a minus sign if it is negative. O(1). */
export function hex16(value: bigint): string {
  return value < 0n ? `-${hex16(-value)}` : `0x${value.toString(16).padStart(16, '0')}`;
}

// With a prefix: digits in groups joined by single underscores. Without one: the format of consoles, which pad with zeros.
// At least eight digits, because a short bare number could be decimal.
const PREFIXED = /^0x[0-9a-f]+(?:_[0-9a-f]+)*$/i;
const BARE = /^[0-9a-f]{8,16}$/i;

/** The value of hexadecimal `text`, or `undefined` if the text does not have the form of an address. */
export function parseHex(text: unknown): bigint | undefined {
  if (typeof text !== 'string') return undefined;
  if (BARE.test(text)) return BigInt(`0x${text}`);
  if (!PREFIXED.test(text) || text.startsWith('0X')) return undefined;
  const digits = text.slice(2).replaceAll('_', '');
  return digits.length <= 16 ? BigInt(`0x${digits}`) : undefined;
}
