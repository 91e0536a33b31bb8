import { type Address, type AddressKind, assertIsAddressKind, type Bytes, byteCount } from '@svsm/address';
import { RegionError } from './region-error.ts';

/**
 * The size of a region of `size` bytes from `start` on, once all three arguments are checked.
 *
 * @throws AddressError `INVALID_KIND`, as {@link AddressKind.assertIsAddress}, `INVALID_BYTE_COUNT`; RegionError
 *   `REGION_OVERFLOW`
 */
export function checkedSize(kind: AddressKind<Address>, start: Address, size: Bytes): bigint {
  assertIsAddressKind(kind);
  const limit = kind.runEnd(start);
  const bytes = byteCount(size);
  if (start + bytes <= limit) return bytes;
  throw new RegionError('REGION_OVERFLOW', { kind: kind.name, start, size: bytes, limit });
}

/** Like {@link checkedSize}, but returns `undefined` for every start and size that it refuses. */
export function trySize(kind: AddressKind<Address>, start: unknown, size: unknown): bigint | undefined {
  if (!kind.isAddress(start)) return undefined;
  if (typeof size === 'number' ? !Number.isSafeInteger(size) : typeof size !== 'bigint') return undefined;
  const bytes = BigInt(size as Bytes);
  return bytes < 0n || start + bytes > kind.runEnd(start) ? undefined : bytes;
}

/**
 * The size of the region from `start` up to `end`, once all three arguments are checked.
 *
 * @throws AddressError `INVALID_KIND`, as {@link AddressKind.assertIsAddress}; RegionError `INVALID_END`, `REGION_OVERFLOW`
 */
export function sizeUpTo(kind: AddressKind<Address>, start: Address, end: bigint): bigint {
  assertIsAddressKind(kind);
  kind.assertIsAddress(start);
  if (typeof end !== 'bigint' || end < start) {
    throw new RegionError('INVALID_END', { kind: kind.name, start, end });
  }
  return checkedSize(kind, start, end - start);
}

/** @throws AddressError `INVALID_ADDRESS` unless `address` is a `bigint`, of any kind and size */
export function requireBigint(kind: AddressKind<Address>, address: bigint): void {
  if (typeof address !== 'bigint') kind.assertIsAddress(address);
}
