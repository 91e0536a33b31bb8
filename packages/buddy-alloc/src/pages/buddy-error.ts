import { CodedError, describeValue, formatAddress, isCodedError, type MessageTable } from '@svsm/address';
import { formatBounds, type RegionBounds } from '@svsm/memory-region';
import type { BlockKind, BlockState } from './block.ts';

/**
 * What `checkInvariants` may find broken. `metadata`, `partition`, `alignment`, `block-counts`, `free-counts` and
 * `free-lists` are what COCONUT-SVSM proves of its allocator; `merging` is that no two free buddies stay apart, `runs`
 * that what goes on a run follows its first block, `references` that only file pages are referenced, `slabs` that
 * objects agree with their pages.
 */
export type Invariant =
  | 'metadata'
  | 'partition'
  | 'alignment'
  | 'block-counts'
  | 'free-counts'
  | 'free-lists'
  | 'merging'
  | 'runs'
  | 'slabs'
  | 'references';

/**
 * Why a buffer cannot hold the tables of a shared allocator: none can be made, it is no `SharedArrayBuffer`, it is too
 * small, it is in use already, no allocator was made in it, one of another version of this package was, one for another
 * kind of address was, or its header was overwritten.
 */
export type SharedBufferProblem =
  | 'unavailable'
  | 'type'
  | 'too small'
  | 'not zeros'
  | 'uninitialized'
  | 'version'
  | 'kind'
  | 'corrupted';

/** What each code of {@link BuddyError} carries in `details`. Codes are only ever added. */
export interface BuddyErrorDetails {
  /** A byte count that no block holds. */
  SIZE_TOO_LARGE: { size: bigint; max: bigint };
  /** An order that is no integer from 0 to the allocator's `maxOrder`. */
  INVALID_ORDER: { order: unknown; maxOrder: number };
  /** A limit for the order that is no integer from 0 to 52. */
  INVALID_MAX_ORDER: { maxOrder: unknown };
  /** No free block is large enough. `largestFreeOrder` is `undefined` if none is free at all. */
  OUT_OF_MEMORY: { order: number; pages: number; largestFreeOrder: number | undefined; freePages: number };
  /** An allocator was made without a region and without a space. */
  NO_REGION: Record<string, never>;
  /** An option that is none of the values it may have. */
  INVALID_OPTION: { option: string; value: unknown; expected: string };
  /** A number of pages that is no integer from 1 to 2^52. */
  INVALID_PAGE_COUNT: { pages: unknown };
  /** An index of a page that is no integer from 0 to `last`, that of the last page of the space. */
  INVALID_PAGE_INDEX: { index: unknown; last: number };
  /** A region that is not whole pages, or, to be added, not in the allocator's space, or its own already. */
  INVALID_REGION: { region: RegionBounds; reason: 'empty' | 'misaligned' | 'outside' | 'overlapping' };
  /** A reserved region that is not whole pages, not inside the allocator's, or overlaps another one. */
  INVALID_RESERVED: {
    reserved: RegionBounds;
    region: RegionBounds;
    reason: 'misaligned' | 'outside' | 'overlapping';
  };
  /** An address outside the allocator's region was freed. */
  OUTSIDE_REGION: { address: bigint; region: RegionBounds; regions: readonly RegionBounds[] };
  /** An address that is no multiple of 4096 was freed; it lies in `block`. */
  MISALIGNED_ADDRESS: { address: bigint; block: RegionBounds; order: number; state: BlockState };
  /** A page of an allocated block was freed that is not its first one. */
  BLOCK_TAIL: { address: bigint; block: RegionBounds; order: number };
  /** A page was freed that is free: freed before, or never allocated. It lies in the free `block`. */
  DOUBLE_FREE: { address: bigint; block: RegionBounds; order: number };
  /** A page was freed that is reserved. */
  RESERVED_PAGE: { address: bigint; reserved: RegionBounds };
  /** What was freed starts where an allocated block does, but is not all of it or more than it. */
  WRONG_SIZE: { freed: RegionBounds; block: RegionBounds; order: number };
  /** Pages that should be free lie in a block that is not. */
  NOT_FREE: { region: RegionBounds; block: RegionBounds; state: BlockState };
  /** Pages that should be reserved lie in a block that is not. */
  NOT_RESERVED: { region: RegionBounds; block: RegionBounds; state: BlockState };
  /** A file page was freed that has references: they are given back with `putFilePage`. */
  FILE_PAGE: { address: bigint; references: number };
  /** A page was referenced as a file page that is none. */
  NOT_FILE_PAGE: { address: bigint; block: RegionBounds; state: BlockState; kind: BlockKind | undefined };
  /** A page of a slab was freed: its cache frees it. */
  SLAB_PAGE: { address: bigint };
  /** Pages of a heap were freed: the heap frees them. */
  HEAP_BLOCK: { address: bigint; block: RegionBounds };
  /** A slab or a heap gave a block back that was allocated as something else. */
  WRONG_KIND: { address: bigint; block: RegionBounds; kind: BlockKind; expected: BlockKind };
  /** An object's size that is no integer, negative, or more than `max` bytes. */
  INVALID_OBJECT_SIZE: { size: unknown; max: number };
  /** An address was freed that is in no page of this cache or heap, or in none of its objects. */
  OUTSIDE_OBJECTS: { address: bigint };
  /** An address inside an object was freed. */
  OBJECT_INTERIOR: { address: bigint; object: RegionBounds };
  /** An object was freed that is free. */
  DOUBLE_FREE_OBJECT: { address: bigint; object: RegionBounds };
  /** A block was used or freed that its owner has let go of. */
  RELEASED_BLOCK: { block: RegionBounds; gone: 'released' | 'leaked' | 'taken over' };
  /** A snapshot says what no allocator does. */
  INVALID_SNAPSHOT: { block: RegionBounds; problem: string };
  /** Bytes were asked for that the memory does not have, or an object does not. */
  OUTSIDE_MEMORY: { address: bigint; bytes: number; available: number };
  /** A view's elements need another alignment. */
  MISALIGNED_VIEW: { address: bigint; alignment: number };
  /** A heap without memory was asked for its bytes. */
  NO_HEAP_MEMORY: Record<string, never>;
  /** Pages should be cleared, and the allocator was given no memory. */
  NO_PAGE_MEMORY: Record<string, never>;
  /** More memory has been in small blocks than the tables can describe. */
  METADATA_FULL: { pages: number };
  /** A region of more pages than a shared allocator has tables for. */
  REGION_TOO_LARGE: { region: RegionBounds; maxPages: number };
  /** A buffer that a shared allocator cannot have its tables in, or that none has. Sizes are in bytes, where known. */
  INVALID_SHARED_BUFFER: {
    reason: SharedBufferProblem;
    byteLength: number | undefined;
    needed: number | undefined;
  };
  /** The lock of a shared allocator was not to be had; `holder` is the number of the owner that has it. */
  LOCK_TIMEOUT: { holder: number; waited: number };
  /** All caches that the buffer has room for are in use. */
  NO_CACHE_LEFT: { caches: number };
  /** A cache of pages was used after it was closed. */
  CLOSED_CACHE: Record<string, never>;
  /** The allocator's own tables contradict each other. */
  BROKEN_INVARIANT: { invariant: Invariant; problem: string };
}

/** The codes of {@link BuddyError}. */
export type BuddyErrorCode = keyof BuddyErrorDetails;

const REGION_PROBLEMS = {
  empty: 'it has no page',
  misaligned: 'it does not start and end at multiples of 0x1000 bytes',
  outside: 'it does not lie in the space that the allocator was made for',
  overlapping: 'some of it is there already',
};

const BUFFER_PROBLEMS: Readonly<Record<SharedBufferProblem, string>> = {
  unavailable: 'none can be made here',
  type: 'it is no SharedArrayBuffer',
  'too small': 'it is too small',
  'not zeros': 'it is in use: pass a new one, all zeros',
  uninitialized: 'no allocator was made in it: use `create` first',
  version: 'it was laid out by another version of this package',
  kind: 'its allocator has another kind of address',
  corrupted: 'its header was overwritten',
};

const MESSAGES: MessageTable<BuddyErrorDetails> = {
  SIZE_TOO_LARGE: ({ size, max }) =>
    `no block holds ${describeValue(size)} bytes: the largest, of order 52, has ${describeValue(max)}`,
  INVALID_ORDER: ({ order, maxOrder }) =>
    `${describeValue(order)} is no order of this allocator: pass an integer from 0 to ${maxOrder}`,
  INVALID_MAX_ORDER: ({ maxOrder }) =>
    `${describeValue(maxOrder)} cannot limit the order: pass an integer from 0 to 52`,
  OUT_OF_MEMORY: ({ order, pages, largestFreeOrder, freePages }) =>
    `no free ${pages === 2 ** order ? `block of order ${order}` : `run of ${pages} pages`}: ${
      largestFreeOrder === undefined
        ? 'no page is free'
        : `of ${freePages} free pages, the largest free block has order ${largestFreeOrder}`
    }`,
  NO_REGION: () => 'an allocator needs a region, or a space to add one to',
  INVALID_OPTION: ({ option, value, expected }) =>
    `${describeValue(value)} cannot be \`${option}\`: pass ${expected}`,
  INVALID_PAGE_COUNT: ({ pages }) =>
    `${describeValue(pages)} is no number of pages: pass an integer from 1 to 2^52`,
  INVALID_PAGE_INDEX: ({ index, last }) =>
    `${describeValue(index)} is no index of a page: pass an integer from 0 to ${last}`,
  INVALID_REGION: ({ region, reason }) =>
    `${formatBounds(region)} cannot be pages of the allocator: ${REGION_PROBLEMS[reason]}`,
  INVALID_RESERVED: ({ reserved, region, reason }) =>
    `${formatBounds(reserved)} cannot be reserved: ${
      {
        misaligned: REGION_PROBLEMS.misaligned,
        outside: `the allocator has ${formatBounds(region)} only`,
        overlapping: 'it overlaps another reserved region',
      }[reason]
    }`,
  OUTSIDE_REGION: ({ address, regions }) =>
    `${formatAddress(address)} is not this allocator's: it has ${describeRegions(regions)}`,
  MISALIGNED_ADDRESS: ({ address, block, order, state }) =>
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
  NOT_FREE: ({ region, block, state }) =>
    `${formatBounds(region)} is not free: ${formatBounds(block)} is ${state}`,
  NOT_RESERVED: ({ region, block, state }) =>
    `${formatBounds(region)} is not reserved: ${formatBounds(block)} is ${state}`,
  FILE_PAGE: ({ address, references }) =>
    `${formatAddress(address)} is a file page: put its references back, there are ${references}`,
  NOT_FILE_PAGE: ({ address, block, state, kind }) =>
    `${formatAddress(address)} is no file page: ` +
    `it lies in the ${state} block ${formatBounds(block)}${kind === undefined ? '' : ` of kind "${kind}"`}`,
  SLAB_PAGE: ({ address }) => `${formatAddress(address)} lies in a page of a slab: free its objects`,
  HEAP_BLOCK: ({ address, block }) =>
    `${formatAddress(address)} lies in ${formatBounds(block)}, which is a heap's: free it there`,
  WRONG_KIND: ({ address, block, kind, expected }) =>
    `${formatAddress(address)} lies in ${formatBounds(block)} of kind "${kind}", not "${expected}"`,
  NO_PAGE_MEMORY: () => 'no page can be cleared: pass `memory` when you make the allocator',
  INVALID_OBJECT_SIZE: ({ size, max }) =>
    `${describeValue(size)} is no size of an object: pass bytes, an integer up to ${describeValue(max)}`,
  OUTSIDE_OBJECTS: ({ address }) => `${formatAddress(address)} is in no object of this allocator`,
  OBJECT_INTERIOR: ({ address, object }) =>
    `${formatAddress(address)} is not the start of an object: it lies in ${formatBounds(object)}`,
  DOUBLE_FREE_OBJECT: ({ address, object }) =>
    `${formatAddress(address)} is not allocated: the object ${formatBounds(object)} is free`,
  RELEASED_BLOCK: ({ block, gone }) => `${formatBounds(block)} is ${gone}: its owner has it no more`,
  INVALID_SNAPSHOT: ({ block, problem }) => `${formatBounds(block)} of the snapshot ${problem}`,
  OUTSIDE_MEMORY: ({ address, bytes, available }) =>
    `${bytes} bytes from ${formatAddress(address)} on are more than the ${available} that are there`,
  MISALIGNED_VIEW: ({ address, alignment }) =>
    `${formatAddress(address)} is no multiple of ${alignment}, as these elements need`,
  NO_HEAP_MEMORY: () => 'the heap has addresses only: pass `memory` when you make it',
  METADATA_FULL: ({ pages }) =>
    `the tables hold no more than ${pages} pages in blocks of less than 1024 pages`,
  REGION_TOO_LARGE: ({ region, maxPages }) =>
    `${formatBounds(region)} is too large for tables in a buffer: they have room for ${maxPages} pages`,
  INVALID_SHARED_BUFFER: ({ reason, byteLength, needed }) =>
    `this buffer cannot hold an allocator's tables: ${BUFFER_PROBLEMS[reason]}` +
    `${byteLength === undefined ? '' : `; it has ${byteLength} bytes`}` +
    `${needed === undefined ? '' : `; ${needed} are needed`}`,
  LOCK_TIMEOUT: ({ holder, waited }) =>
    `after ${waited} ms, owner ${holder} still holds the lock: if its thread has ended, pass that number to \`recover\``,
  NO_CACHE_LEFT: ({ caches }) =>
    `all ${caches} caches are in use: close one, or make the allocator with more \`caches\``,
  CLOSED_CACHE: () => 'the cache is closed: make another one',
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

function describeRegions(regions: readonly RegionBounds[]): string {
  const shown = regions.slice(0, 4).map(formatBounds).join(', ');
  return regions.length > 4 ? `${shown} and ${regions.length - 4} more` : shown;
}
