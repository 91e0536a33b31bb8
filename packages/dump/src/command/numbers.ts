import { UsageError } from './problem.ts';

/**
 * Parses a hexadecimal number of at most 64 bits, with or without `0x`. `what` is its name in the message.
 *
 * @throws UsageError
 */
export function parseHex(text: string, what: string): bigint {
  const digits = /^(?:0x)?([0-9a-f][0-9a-f_]*)$/i.exec(text)?.[1]?.replaceAll('_', '') ?? '';
  if (digits === '' || digits.length > 16) {
    throw new UsageError(`${what}: ${JSON.stringify(text)} is not a hexadecimal number of at most 64 bits`);
  }
  return BigInt(`0x${digits}`);
}

/** Parses a decimal number between two limits. @throws UsageError */
export function decimal(name: string, text: string, low: number, high: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= low && value <= high) return value;
  throw new UsageError(`--${name}: ${JSON.stringify(text)} is not a decimal number from ${low} to ${high}`);
}

/** Parses `START-END` or `START+SIZE`. The end may be 2^64. @throws UsageError */
export function parseRange(text: string, what: string): { start: bigint; end: bigint } {
  const [, from = '', sign, to = ''] = /^([^-+]+)([-+])([^-+]+)$/.exec(text) ?? [];
  if (sign === undefined)
    throw new UsageError(`${what}: ${JSON.stringify(text)} is neither START-END nor START+SIZE`);
  const start = parseHex(from, what);
  const isTop = /^(0x)?10{16}$/i.test(to);
  const second = isTop ? 2n ** 64n : parseHex(to, what);
  const end = sign === '+' ? start + second : second;
  if (end <= start || end > 2n ** 64n)
    throw new UsageError(`${what} ${text}: the end must be above the start, and at most 2^64`);
  return { start, end };
}
