import { type Address, type AddressKind, describeValue, isAddressKind } from '@svsm/address';
import { trySize } from './bounds.ts';
import { RegionError } from './region-error.ts';

/** The kind and the bounds of a region. */
export interface ReadRegion {
  readonly kind: AddressKind<Address>;
  readonly start: bigint;
  readonly size: bigint;
}

/**
 * The kind and the bounds of `value` if it is a region, also one of another installed copy of this package; `undefined` for
 * any other value. The bounds are not checked to lie in the space. Never throws. O(1).
 */
export function readRegion(value: unknown): ReadRegion | undefined {
  try {
    const { kind, start, end, size } = value as Record<string, unknown>;
    if (!isAddressKind(kind) || typeof start !== 'bigint' || typeof size !== 'bigint') return undefined;
    return end === start + size ? { kind, start, size } : undefined;
  } catch {
    // Properties that cannot be read, as those of `undefined` and of a revoked proxy.
    return undefined;
  }
}

/**
 * The bounds of `value`, a region of `kind` that is not of this copy's class.
 *
 * @throws RegionError `KIND_MISMATCH` if it is not one
 */
export function boundsOf(kind: AddressKind<Address>, value: unknown): ReadRegion {
  const read = readRegion(value);
  const isSame = read !== undefined && sameKind(kind, read.kind);
  if (isSame && trySize(kind, read.start, read.size) !== undefined) return read;
  const actual = read !== undefined && !isSame ? read.kind.name : describeValue(value);
  throw new RegionError('KIND_MISMATCH', { expected: kind.name, actual });
}

/** Whether both are the same kind: two installed copies of `@svsm/address` have two objects for each kind. */
export function sameKind(left: AddressKind<Address>, right: AddressKind<Address>): boolean {
  return left === right || (left.name === right.name && left.bits === right.bits && left.end === right.end);
}
