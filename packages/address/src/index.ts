/**
 * Virtual and physical addresses of x86-64 as types that cannot be mixed, with arithmetic that reports every overflow.
 *
 * @packageDocumentation
 */

export type { Address, Bytes, PhysAddr, VirtAddr } from './address.ts';
export {
  AddressError,
  type AddressErrorCode,
  type AddressErrorDetails,
  isAddressError,
} from './address-error.ts';
export {
  type AddressHole,
  type AddressKind,
  assertIsAddressKind,
  defineAddressKind,
  isAddressKind,
} from './address-kind.ts';
export { jsonValue, showInConsoles } from './appearance.ts';
export {
  alignDown,
  crossesPage,
  distance,
  isAligned,
  isPageAligned,
  pageNumber,
  pageOffset,
} from './arithmetic.ts';
export { alignmentBytes, byteCount } from './bytes.ts';
export { CodedError, isCodedError, type MessageTable } from './coded-error.ts';
export { describeValue } from './describe-value.ts';
export type {
  AlignErrorCode,
  ArithmeticErrorCode,
  MakeAddressErrorCode,
  PageArithmeticErrorCode,
  ParseAddressErrorCode,
} from './error-codes.ts';
export { formatAddress } from './format.ts';
export type { AddressKindSpec } from './kind-spec.ts';
export { Phys, Virt, Virt57 } from './kinds.ts';
export { PAGE_SHIFT, PAGE_SIZE, PAGE_SIZE_1G, PAGE_SIZE_2M, PageSize } from './page-size.ts';
export { pageTableIndex } from './page-table-index.ts';
export { assertIsPhysAddr, isPhysAddr, parsePhysAddr, physAddr, tryPhysAddr } from './phys-addr.ts';
export {
  assertIsVirtAddr,
  isVirtAddr,
  parseVirtAddr,
  tryVirtAddr,
  virtAddr,
  virtAddrTruncate,
} from './virt-addr.ts';
