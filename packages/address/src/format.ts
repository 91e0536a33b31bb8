/**
 * An address in the usual notation: `0x` and sixteen lower-case hex digits, whatever its kind. O(1).
 *
 * @param address - an address, or the exclusive end of a region; 2^64 has seventeen digits
 */
export function formatAddress(address: bigint): string {
  return `0x${address.toString(16).padStart(16, '0')}`;
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
