const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** A number of bytes in the largest unit in which it is exact. */
export function sizeText(bytes: bigint): string {
  let [value, unit] = [bytes, 0];
  while (value !== 0n && value % 1024n === 0n && unit < UNITS.length - 1) {
    value /= 1024n;
    unit += 1;
  }
  return `${value} ${UNITS[unit]}`;
}
