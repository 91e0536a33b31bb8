import { CodedError, describeValue, formatAddress, isCodedError, type MessageTable } from '@svsm/address';

/** The bounds of a region, as the details of errors carry them. */
export interface RegionBounds {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * The `details` of each code of {@link RegionError}. Codes are only ever added.
 *
 * `INVALID_…`: the value is wrong whatever the state. `MISALIGNED_…`: the start or the end of a region is not a multiple of
 * the size. `OUTSIDE_…`: the value is sound, but lies outside the region. `…_MISMATCH`: two values that must agree do not.
 */
export interface RegionErrorDetails {
  /** The region would enter the hole or pass the end of the space. From `start`, it may end at `limit` at most. */
  REGION_OVERFLOW: { kind: string; start: bigint; size: bigint; limit: bigint };
  /** The exclusive end is not a `bigint`, or comes before the start. */
  INVALID_END: { kind: string; start: bigint; end: unknown };
  /** The page size is not 4 KiB, 2 MiB or 1 GiB. */
  INVALID_PAGE_SIZE: { value: unknown };
  /** An argument or an option, `what`, does not have one of its valid values. */
  INVALID_ARGUMENT: { what: string; value: unknown; expected: string };
  /** The start or the end of the region is not a multiple of the page size. */
  MISALIGNED_REGION: { region: RegionBounds; pageSize: number };
  /** A page cursor is used before its first step, or after its loop has ended. */
  NOT_ON_PAGE: { hasEnded: boolean };
  /** There is a gap between two regions that are to be merged. */
  NOT_CONTIGUOUS: { left: RegionBounds; right: RegionBounds };
  /** The address does not lie strictly inside the region that it is to split. */
  OUTSIDE_REGION: { region: RegionBounds; at: unknown };
  /** The region would overlap one that the map already has. */
  REGION_OVERLAP: { region: RegionBounds; existing: RegionBounds };
  /** The map has no entry with exactly this region. */
  NO_SUCH_REGION: { region: RegionBounds };
  /** The region is empty, and a map holds no empty regions. */
  EMPTY_REGION: { region: RegionBounds };
  /** Regions that must be sorted and disjoint are not: `region` does not come after `before`. */
  UNSORTED_REGIONS: { side: 'left' | 'right'; index: number; before: RegionBounds; region: RegionBounds };
  /** The regions of one operation have different kinds of address, or a value is not a region. */
  KIND_MISMATCH: { expected: string; actual: string };
}

/** The codes of {@link RegionError}. */
export type RegionErrorCode = keyof RegionErrorDetails;

const boundsText = ({ start, end }: RegionBounds): string =>
  `[${formatAddress(start)}-${formatAddress(end)})`;

const MESSAGES: MessageTable<RegionErrorDetails> = {
  REGION_OVERFLOW: ({ kind, start, size, limit }) =>
    `a ${kind} region of ${describeValue(size)} bytes from ${formatAddress(start)} would end at ` +
    `${formatAddress(start + size)}: it may end at ${formatAddress(limit)} at most`,
  INVALID_END: ({ kind, start, end }) =>
    `${describeValue(end, 'pass a bigint')} cannot be the end of a ${kind} region that starts at ${formatAddress(start)}: ` +
    'pass a bigint that is at least the start',
  INVALID_PAGE_SIZE: ({ value }) =>
    `${describeValue(value)} is not a page size: pass one of the numbers PageSize.Regular (0x1000), ` +
    'PageSize.Huge (0x200000) and PageSize.Giant (0x40000000)',
  INVALID_ARGUMENT: ({ what, value, expected }) =>
    `${what} cannot be ${describeValue(value, expected)}: ${expected}`,
  MISALIGNED_REGION: ({ region, pageSize }) =>
    `${boundsText(region)} does not start and end at multiples of ${describeValue(BigInt(pageSize))} bytes: ` +
    'call alignOutward or alignInward first',
  NOT_ON_PAGE: ({ hasEnded }) =>
    `the cursor is not on a page: its loop has ${hasEnded ? 'ended' : 'not begun'}; keep the address of a page, not the cursor`,
  NOT_CONTIGUOUS: ({ left, right }) =>
    `${boundsText(left)} and ${boundsText(right)} neither touch nor overlap: use hull to cover the gap too`,
  OUTSIDE_REGION: ({ region, at }) =>
    typeof at === 'bigint'
      ? `${describeValue(at)} does not lie strictly inside ${boundsText(region)}`
      : `${describeValue(at, 'pass a bigint')} is not an address: pass a bigint strictly inside ${boundsText(region)}`,
  REGION_OVERLAP: ({ region, existing }) =>
    `${boundsText(region)} overlaps ${boundsText(existing)}, which is already in the map`,
  NO_SUCH_REGION: ({ region }) => `the map has no entry with exactly the region ${boundsText(region)}`,
  EMPTY_REGION: ({ region }) => `${boundsText(region)} is empty: pass a region of at least one byte`,
  UNSORTED_REGIONS: ({ side, index, before, region }) =>
    `region ${index} on the ${side}, ${boundsText(region)}, does not come after ${boundsText(before)}: ` +
    'pass regions that are sorted and disjoint',
  KIND_MISMATCH: ({ expected, actual }) => `the region must be of kind ${expected}, not ${actual}`,
};

/**
 * The error that this package throws, in addition to `AddressError` for bad addresses, byte counts and alignments.
 * {@link isRegionError} narrows it by its code.
 */
export class RegionError<Code extends RegionErrorCode = RegionErrorCode> extends CodedError<
  Code,
  RegionErrorDetails[Code]
> {
  constructor(code: Code, details: RegionErrorDetails[Code], options?: ErrorOptions) {
    super('RegionError', code, details, MESSAGES[code](details), options);
  }
}

/**
 * Whether `error` is a {@link RegionError} and, if `code` is given, has that code. Narrows `error.details` to the details
 * of the code. Works across installed copies of this package. O(1).
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { isRegionError, physRegion } from '@svsm/memory-region';
 *
 * try {
 *   physRegion(physAddr(0xf_ffff_ffff_f000n), 0x2000);
 * } catch (error) {
 *   if (isRegionError(error, 'REGION_OVERFLOW')) console.log(error.details.limit); // => 4503599627370496n
 * }
 * ```
 */
export function isRegionError<Code extends RegionErrorCode = RegionErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: RegionError<C> }[Code] {
  return isCodedError(error, 'RegionError', code);
}

/**
 * `[start-end)`, each as sixteen hex digits. O(1).
 *
 * @throws RegionError `INVALID_ARGUMENT` if `bounds` does not have two bigints
 */
export function formatBounds(bounds: RegionBounds): string {
  try {
    const { start, end } = bounds;
    if (typeof start === 'bigint' && typeof end === 'bigint') return boundsText({ start, end });
  } catch {
    // Properties that cannot be read.
  }
  const expected = 'pass { start, end } with two bigints';
  throw new RegionError('INVALID_ARGUMENT', { what: 'bounds', value: bounds, expected });
}
