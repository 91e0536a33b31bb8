import type { AddressErrorCode } from './address-error.ts';

/** The codes of `AddressError` that each operation can throw. The first rows are the methods of an `AddressKind`. */
export const ERRORS_OF = {
  address: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL'],
  tryAddress: [],
  isAddress: [],
  assertIsAddress: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL'],
  parse: ['OUTSIDE_SPACE', 'NON_CANONICAL', 'INVALID_ADDRESS_TEXT'],
  truncate: ['INVALID_ADDRESS'],
  add: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL', 'INVALID_BYTE_COUNT', 'ADDRESS_OVERFLOW'],
  sub: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL', 'INVALID_BYTE_COUNT', 'ADDRESS_OVERFLOW'],
  checkedAdd: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL', 'INVALID_BYTE_COUNT'],
  checkedSub: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL', 'INVALID_BYTE_COUNT'],
  alignUp: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL', 'INVALID_ALIGNMENT', 'ADDRESS_OVERFLOW'],
  checkedAlignUp: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL', 'INVALID_ALIGNMENT'],
  stepForward: [
    'INVALID_ADDRESS',
    'OUTSIDE_SPACE',
    'NON_CANONICAL',
    'INVALID_BYTE_COUNT',
    'ADDRESS_OVERFLOW',
  ],
  stepBackward: [
    'INVALID_ADDRESS',
    'OUTSIDE_SPACE',
    'NON_CANONICAL',
    'INVALID_BYTE_COUNT',
    'ADDRESS_OVERFLOW',
  ],
  stepsBetween: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL'],
  runEnd: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL'],

  virtAddr: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL'],
  tryVirtAddr: [],
  isVirtAddr: [],
  assertIsVirtAddr: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'NON_CANONICAL'],
  parseVirtAddr: ['NON_CANONICAL', 'INVALID_ADDRESS_TEXT'],
  virtAddrTruncate: ['INVALID_ADDRESS'],
  physAddr: ['INVALID_ADDRESS', 'OUTSIDE_SPACE'],
  tryPhysAddr: [],
  isPhysAddr: [],
  assertIsPhysAddr: ['INVALID_ADDRESS', 'OUTSIDE_SPACE'],
  parsePhysAddr: ['OUTSIDE_SPACE', 'INVALID_ADDRESS_TEXT'],

  alignDown: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'INVALID_ALIGNMENT'],
  isAligned: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'INVALID_ALIGNMENT'],
  distance: ['INVALID_ADDRESS', 'OUTSIDE_SPACE'],
  isPageAligned: ['INVALID_ADDRESS', 'OUTSIDE_SPACE'],
  pageNumber: ['INVALID_ADDRESS', 'OUTSIDE_SPACE'],
  pageOffset: ['INVALID_ADDRESS', 'OUTSIDE_SPACE'],
  crossesPage: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'INVALID_BYTE_COUNT'],
  pageTableIndex: ['INVALID_ADDRESS', 'OUTSIDE_SPACE', 'INVALID_LEVEL'],

  byteCount: ['INVALID_BYTE_COUNT'],
  alignmentBytes: ['INVALID_ALIGNMENT'],
  defineAddressKind: ['INVALID_KIND'],
  isAddressKind: [],
  assertIsAddressKind: ['INVALID_KIND'],
  formatAddress: ['INVALID_ADDRESS'],
  describeValue: [],
  jsonValue: [],
  isAddressError: [],
  isCodedError: [],
} as const;

/** Refuses a table with a code that `AddressError` does not have. */
type Checked<Table extends Readonly<Record<string, readonly AddressErrorCode[]>>> = Table;
type CodeOf<Operation extends keyof typeof ERRORS_OF> = Checked<typeof ERRORS_OF>[Operation][number];

/** The codes that making or checking an address throws: `address`, `assertIsAddress`, `virtAddr`, `physAddr` and the like. */
export type MakeAddressErrorCode = CodeOf<'address' | 'assertIsAddress'>;

/** The codes that reading an address from text throws: `parse`, `parseVirtAddr`, `parsePhysAddr`. */
export type ParseAddressErrorCode = CodeOf<'parse'>;

/** The codes that moving an address throws: `add`, `sub`, their `checked…` forms, and stepping. */
export type ArithmeticErrorCode = CodeOf<
  | 'add'
  | 'sub'
  | 'checkedAdd'
  | 'checkedSub'
  | 'stepForward'
  | 'stepBackward'
  | 'stepsBetween'
  | 'runEnd'
  | 'distance'
>;

/** The codes that aligning throws: `alignUp`, `checkedAlignUp`, `alignDown`, `isAligned`. */
export type AlignErrorCode = CodeOf<'alignUp' | 'checkedAlignUp' | 'alignDown' | 'isAligned'>;

/** The codes that page arithmetic throws: `isPageAligned`, `pageNumber`, `pageOffset`, `crossesPage`, `pageTableIndex`. */
export type PageArithmeticErrorCode = CodeOf<
  'isPageAligned' | 'pageNumber' | 'pageOffset' | 'crossesPage' | 'pageTableIndex'
>;
