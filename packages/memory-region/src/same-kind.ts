import { type Address, type AddressKind, describeValue } from '@svsm/address';
import { RegionError } from './region-error.ts';

/** Whether both are the same kind: two installed copies of `@svsm/address` have two objects for each kind. */
export function sameKind(left: AddressKind<Address>, right: AddressKind<Address> | undefined): boolean {
  return left === right || (left.name === right?.name && left.bits === right.bits && left.end === right.end);
}

/** Throws `KIND_MISMATCH` unless `other`, a region or a set of regions, has addresses of `kind`. */
export function requireKind(
  kind: AddressKind<Address>,
  other: { readonly kind: AddressKind<Address> } | undefined,
): void {
  if (sameKind(kind, other?.kind)) return;
  throw new RegionError('KIND_MISMATCH', {
    expected: kind.name,
    actual: other?.kind?.name ?? describeValue(other),
  });
}
