/**
 * An address as the field writes it: `0x` and sixteen lower-case hex digits, whatever its kind. O(1).
 *
 * @param address - the value; the exclusive end of a region may be passed too (2^64 gives seventeen digits)
 */
export function formatAddress(address: bigint): string {
  return `0x${address.toString(16).padStart(16, '0')}`;
}

// With a prefix: digits in groups joined by single underscores. Without: what a console prints, zero-padded to at
// least eight digits, because a short bare number could as well be meant in decimal.
const PREFIXED = /^0x[0-9a-f]+(?:_[0-9a-f]+)*$/i;
const BARE = /^[0-9a-f]{8,16}$/i;

/** The value that `text` writes in hexadecimal, or `undefined` if it is not written as an address is. */
export function parseHex(text: unknown): bigint | undefined {
  if (typeof text !== 'string') return undefined;
  if (BARE.test(text)) return BigInt(`0x${text}`);
  if (!PREFIXED.test(text) || text.startsWith('0X')) return undefined;
  const digits = text.slice(2).replaceAll('_', '');
  return digits.length <= 16 ? BigInt(`0x${digits}`) : undefined;
}
