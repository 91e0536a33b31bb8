import { CodedError, describeValue, formatAddress, isCodedError, type MessageTable } from '@svsm/address';

/** A region as errors carry it. */
export interface RegionBounds {
  readonly start: bigint;
  readonly end: bigint;
}

/** What each code of {@link RegionError} carries in `details`. Codes are only ever added. */
export interface RegionErrorDetails {
  /** A region would reach past the addresses that follow its start: into the hole, or over the end of the space. */
  REGION_OVERFLOW: { kind: string; start: bigint; size: bigint; limit: bigint };
  /** An exclusive end that comes before the start, or is not a `bigint`. */
  INVALID_END: { kind: string; start: bigint; end: unknown };
  /** A page size that is none of 4 KiB, 2 MiB, 1 GiB. */
  INVALID_PAGE_SIZE: { value: unknown };
  /** A region whose start or end is no multiple of the page size. */
  MISALIGNED_REGION: { region: RegionBounds; pageSize: number };
  /** Two regions with a gap between them where their union was asked for. */
  NOT_CONTIGUOUS: { left: RegionBounds; right: RegionBounds };
  /** An address that does not lie strictly inside the region that it should split. */
  OUTSIDE_REGION: { region: RegionBounds; at: unknown };
  /** A region that would overlap one that is there already. */
  REGION_OVERLAP: { region: RegionBounds; existing: RegionBounds };
  /** A region that is not there, or not with these bounds. */
  NO_SUCH_REGION: { region: RegionBounds };
  /** An empty region where one that holds an address is meant. */
  EMPTY_REGION: { region: RegionBounds };
  /** Regions that were to be sorted and disjoint, and are not. */
  UNSORTED_REGIONS: { side: 'left' | 'right'; index: number; before: RegionBounds; region: RegionBounds };
  /** Regions of two kinds of address in one operation. */
  KIND_MISMATCH: { expected: string; actual: string };
}

/** The codes of {@link RegionError}. */
export type RegionErrorCode = keyof RegionErrorDetails;

/** `[start-end)`, both as sixteen hex digits. */
export function formatBounds({ start, end }: RegionBounds): string {
  return `[${formatAddress(start)}-${formatAddress(end)})`;
}

const MESSAGES: MessageTable<RegionErrorDetails> = {
  REGION_OVERFLOW: ({ kind, start, size, limit }) =>
    `${describeValue(size)} bytes from ${formatAddress(start)} on reach ${formatAddress(start + size)}: ` +
    `a ${kind} region from there may end at ${formatAddress(limit)} at most`,
  INVALID_END: ({ kind, start, end }) =>
    `${describeValue(end)} cannot end a ${kind} region that starts at ${formatAddress(start)}: pass a bigint from there up`,
  INVALID_PAGE_SIZE: ({ value }) =>
    `${describeValue(value)} is no page size: pass a number, PageSize.Regular (0x1000), PageSize.Huge (0x200000) or PageSize.Giant (0x40000000)`,
  MISALIGNED_REGION: ({ region, pageSize }) =>
    `${formatBounds(region)} does not start and end at multiples of ${describeValue(BigInt(pageSize))} bytes: ` +
    'say alignOutward or alignInward first',
  NOT_CONTIGUOUS: ({ left, right }) =>
    `${formatBounds(left)} and ${formatBounds(right)} neither touch nor overlap: hull covers the gap too`,
  OUTSIDE_REGION: ({ region, at }) =>
    `${describeValue(at)} does not lie strictly inside ${formatBounds(region)}`,
  REGION_OVERLAP: ({ region, existing }) =>
    `${formatBounds(region)} overlaps ${formatBounds(existing)}, which is there already`,
  NO_SUCH_REGION: ({ region }) => `there is no entry for exactly ${formatBounds(region)}`,
  EMPTY_REGION: ({ region }) => `${formatBounds(region)} is empty: pass a region that holds an address`,
  UNSORTED_REGIONS: ({ side, index, before, region }) =>
    `${side} region ${index}, ${formatBounds(region)}, does not come after ${formatBounds(before)}: ` +
    'pass regions that are sorted and disjoint',
  KIND_MISMATCH: ({ expected, actual }) =>
    `a region of ${actual} addresses was passed where ${expected} ones are meant`,
};

/** What this package throws, beside `AddressError` for bad addresses and counts. Narrow it with {@link isRegionError}. */
export class RegionError<Code extends RegionErrorCode = RegionErrorCode> extends CodedError<
  Code,
  RegionErrorDetails[Code]
> {
  constructor(code: Code, details: RegionErrorDetails[Code], options?: ErrorOptions) {
    super('RegionError', code, details, MESSAGES[code](details), options);
  }
}

/**
 * Whether `error` is a {@link RegionError}, with `code` if one is given; narrows `error.details` to that code. Works
 * across copies of this package.
 */
export function isRegionError<Code extends RegionErrorCode = RegionErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: RegionError<C> }[Code] {
  return isCodedError(error, 'RegionError', code);
}
