import { CodedError, describeValue, formatAddress, isCodedError, type MessageTable } from '@svsm/address';
import { formatBounds, type RegionBounds } from '@svsm/memory-region';
import type { BlockState } from './block.ts';

/**
 * What `checkInvariants` may find broken. `metadata`, `partition`, `alignment`, `block-counts`, `free-counts` and
 * `free-lists` are what COCONUT-SVSM proves of its allocator; `merging` is that no two free buddies stay apart.
 */
export type Invariant =
  | 'metadata'
  | 'partition'
  | 'alignment'
  | 'block-counts'
  | 'free-counts'
  | 'free-lists'
  | 'merging';

/** What each code of {@link BuddyError} carries in `details`. Codes are only ever added. */
export interface BuddyErrorDetails {
  /** A byte count that no block holds. */
  SIZE_TOO_LARGE: { size: bigint; max: bigint };
  /** An order that is no integer from 0 to the allocator's `maxOrder`. */
  INVALID_ORDER: { order: unknown; maxOrder: number };
  /** A limit for the order that is no integer from 0 to 52. */
  INVALID_MAX_ORDER: { maxOrder: unknown };
  /** No free block is large enough. `largestFreeOrder` is `undefined` if none is free at all. */
  OUT_OF_MEMORY: { order: number; largestFreeOrder: number | undefined; freePages: number };
  /** A region that cannot be allocated from. */
  INVALID_REGION: { region: RegionBounds; reason: 'empty' | 'misaligned' };
  /** A reserved region that is not whole pages, not inside the allocator's, or overlaps another one. */
  INVALID_RESERVED: {
    reserved: RegionBounds;
    region: RegionBounds;
    reason: 'misaligned' | 'outside' | 'overlapping';
  };
  /** An address outside the allocator's region was freed. */
  FOREIGN_ADDRESS: { address: bigint; region: RegionBounds };
  /** An address that is no multiple of 4096 was freed; it lies in `block`. */
  UNALIGNED_ADDRESS: { address: bigint; block: RegionBounds; order: number; state: BlockState };
  /** A page of an allocated block was freed that is not its first one. */
  BLOCK_TAIL: { address: bigint; block: RegionBounds; order: number };
  /** A page was freed that is free: freed before, or never allocated. It lies in the free `block`. */
  DOUBLE_FREE: { address: bigint; block: RegionBounds; order: number };
  /** A page was freed that is reserved. */
  RESERVED_PAGE: { address: bigint; reserved: RegionBounds };
  /** What was freed starts where an allocated block does, but is not all of it or more than it. */
  WRONG_SIZE: { freed: RegionBounds; block: RegionBounds; order: number };
  /** More memory has been in small blocks than the tables can describe. */
  METADATA_FULL: { pages: number };
  /** The allocator's own tables contradict each other. */
  BROKEN_INVARIANT: { invariant: Invariant; problem: string };
}

/** The codes of {@link BuddyError}. */
export type BuddyErrorCode = keyof BuddyErrorDetails;

const REGION_PROBLEMS = {
  empty: 'it has no page',
  misaligned: 'it does not start and end at multiples of 0x1000 bytes',
};

const MESSAGES: MessageTable<BuddyErrorDetails> = {
  SIZE_TOO_LARGE: ({ size, max }) =>
    `no block holds ${describeValue(size)} bytes: the largest, of order 52, has ${describeValue(max)}`,
  INVALID_ORDER: ({ order, maxOrder }) =>
    `${describeValue(order)} is no order of this allocator: pass an integer from 0 to ${maxOrder}`,
  INVALID_MAX_ORDER: ({ maxOrder }) =>
    `${describeValue(maxOrder)} cannot limit the order: pass an integer from 0 to 52`,
  OUT_OF_MEMORY: ({ order, largestFreeOrder, freePages }) =>
    `no free block of order ${order}: ${
      largestFreeOrder === undefined
        ? 'no page is free'
        : `of ${freePages} free pages, the largest free block has order ${largestFreeOrder}`
    }`,
  INVALID_REGION: ({ region, reason }) =>
    `${formatBounds(region)} cannot be allocated from: ${REGION_PROBLEMS[reason]}`,
  INVALID_RESERVED: ({ reserved, region, reason }) =>
    `${formatBounds(reserved)} cannot be reserved: ${
      {
        misaligned: REGION_PROBLEMS.misaligned,
        outside: `the allocator has ${formatBounds(region)} only`,
        overlapping: 'it overlaps another reserved region',
      }[reason]
    }`,
  FOREIGN_ADDRESS: ({ address, region }) =>
    `${formatAddress(address)} is not this allocator's: it has ${formatBounds(region)}`,
  UNALIGNED_ADDRESS: ({ address, block, order, state }) =>
    `${formatAddress(address)} is not the start of a page: ` +
    `it lies in the ${state} block ${describeBlock(block, order)}`,
  BLOCK_TAIL: ({ address, block, order }) =>
    `${formatAddress(address)} is not the start of a block: ` +
    `it lies in the allocated block ${describeBlock(block, order)}`,
  DOUBLE_FREE: ({ address, block, order }) =>
    `${formatAddress(address)} is not allocated: it lies in the free block ${describeBlock(block, order)}`,
  RESERVED_PAGE: ({ address, reserved }) =>
    `${formatAddress(address)} is not allocated: it lies in ${formatBounds(reserved)}, which is reserved`,
  WRONG_SIZE: ({ freed, block, order }) =>
    `${formatBounds(freed)} is not the block that starts there: that is ${describeBlock(block, order)}`,
  METADATA_FULL: ({ pages }) =>
    `the tables hold no more than ${pages} pages in blocks of less than 1024 pages`,
  BROKEN_INVARIANT: ({ invariant, problem }) => `the invariant "${invariant}" is broken: ${problem}`,
};

/**
 * What this package throws, beside `AddressError` and `RegionError` for bad addresses, counts and kinds. Narrow it
 * with {@link isBuddyError}.
 */
export class BuddyError<Code extends BuddyErrorCode = BuddyErrorCode> extends CodedError<
  Code,
  BuddyErrorDetails[Code]
> {
  constructor(code: Code, details: BuddyErrorDetails[Code], options?: ErrorOptions) {
    super('BuddyError', code, details, MESSAGES[code](details), options);
  }
}

/**
 * Whether `error` is a {@link BuddyError}, with `code` if one is given; narrows `error.details` to that code. Works
 * across copies of this package.
 */
export function isBuddyError<Code extends BuddyErrorCode = BuddyErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: BuddyError<C> }[Code] {
  return isCodedError(error, 'BuddyError', code);
}

function describeBlock(block: RegionBounds, order: number): string {
  return `${formatBounds(block)} of order ${order}`;
}
