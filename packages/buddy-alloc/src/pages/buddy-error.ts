import { CodedError, describeValue, formatAddress, isCodedError, type MessageTable } from '@svsm/address';
import { formatBounds, type RegionBounds } from '@svsm/memory-region';
import type { BlockKind, BlockState } from './block.ts';

/**
 * A rule of the tables that `checkInvariants` finds broken. COCONUT-SVSM proves the first six of its own allocator.
 *
 * - `metadata`: the tables have the right size, and name each other correctly.
 * - `partition`: blocks follow one another without gap or overlap.
 * - `alignment`: a block of order n starts at a multiple of 2^n pages, inside the region.
 * - `block-counts`: the counters of allocated blocks are right.
 * - `free-counts`: the counters of free blocks are right.
 * - `free-lists`: each free block is in the list of its order once, and no other block is.
 * - `merging`: two buddies are never both free.
 * - `runs`: a block that continues a run follows a block of that run.
 * - `slabs`: the objects of slabs and heaps agree with their pages.
 * - `references`: only file pages have references.
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
 * The reason why a buffer cannot be used for the tables of a shared allocator.
 *
 * - `unavailable`: a `SharedArrayBuffer` cannot be created here.
 * - `type`: the value is not a `SharedArrayBuffer`.
 * - `too small`: it has fewer bytes than the tables need.
 * - `not zeros`: `create` got a buffer that is in use.
 * - `uninitialized`: `attach` got a buffer in which no allocator was created.
 * - `version`: another version of this package created the allocator.
 * - `kind`: the allocator has another kind of address.
 * - `corrupted`: the header was overwritten.
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

/**
 * The details of each code of {@link BuddyError}. Codes are only ever added.
 *
 * The first word of a code says what is wrong. `INVALID_…`: the value, whatever the state. `MISALIGNED_…`: an address is
 * not a multiple of the size. `OUTSIDE_…`: the value is sound, but lies outside the region, the objects or the memory.
 * `OUT_OF_MEMORY`: nothing is left that fits. `NOT_…`: the pages are not in the state that the operation needs. `NO_…`: the
 * object was made without what the operation needs, or has none left. `…_MISMATCH`: two values that must agree do not.
 * `…_FAILED`: a callback threw.
 */
export interface BuddyErrorDetails {
  /** A byte count is larger than the largest block, `max` bytes. */
  SIZE_TOO_LARGE: { size: bigint; max: bigint };
  /** An order is not an integer from 0 to the allocator's `maxOrder`. */
  INVALID_ORDER: { order: unknown; maxOrder: number };
  /** A limit of the order is not an integer from 0 to 52. */
  INVALID_MAX_ORDER: { maxOrder: unknown };
  /** No free block is large enough. `largestFreeOrder` is `undefined` if no page is free. */
  OUT_OF_MEMORY: { order: number; pages: number; largestFreeOrder: number | undefined; freePages: number };
  /** An allocator was created without a region and without a space. */
  NO_REGION: Record<string, never>;
  /** An option does not have one of its valid values. */
  INVALID_OPTION: { option: string; value: unknown; expected: string };
  /** A number of pages is not an integer from 1 to 2^52. */
  INVALID_PAGE_COUNT: { pages: unknown };
  /** An index of a page is not an integer from 0 to `last`, the index of the last page of the space. */
  INVALID_PAGE_INDEX: { index: unknown; last: number };
  /** A region is not whole pages; or, to be added, it is outside the allocator's space or overlaps its regions. */
  INVALID_REGION: { region: RegionBounds; reason: 'empty' | 'misaligned' | 'outside' | 'overlapping' };
  /** A region to reserve is not whole pages, lies outside the allocator's regions, or overlaps another one. */
  INVALID_RESERVED: {
    reserved: RegionBounds;
    region: RegionBounds;
    reason: 'misaligned' | 'outside' | 'overlapping';
  };
  /** An address lies outside the allocator's regions. `region` covers all of `regions`. */
  OUTSIDE_REGION: { address: bigint; region: RegionBounds; regions: readonly RegionBounds[] };
  /** An address of a page is not a multiple of 4096; it lies in `block`. */
  MISALIGNED_ADDRESS: { address: bigint; block: RegionBounds; order: number; state: BlockState };
  /** A freed page is in an allocated block, but is not its first page. */
  BLOCK_TAIL: { address: bigint; block: RegionBounds; order: number };
  /** A freed page is free: it was freed before, or never allocated. It lies in the free `block`. */
  DOUBLE_FREE: { address: bigint; block: RegionBounds; order: number };
  /** A freed page is reserved. */
  RESERVED_PAGE: { address: bigint; reserved: RegionBounds };
  /** The freed pages start where an allocated block does, but are fewer or more than the block. */
  WRONG_SIZE: { freed: RegionBounds; block: RegionBounds; order: number };
  /** The pages of `region` are not all free: `block` is the first that is not. */
  NOT_FREE: { region: RegionBounds; block: RegionBounds; state: BlockState };
  /** The pages of `region` are not all reserved: `block` is the first that is not. */
  NOT_RESERVED: { region: RegionBounds; block: RegionBounds; state: BlockState };
  /** A freed page is a file page: `putFilePage` releases its references. */
  FILE_PAGE: { address: bigint; references: number };
  /** A page is not a file page. */
  NOT_FILE_PAGE: { address: bigint; block: RegionBounds; state: BlockState; kind: BlockKind | undefined };
  /** A freed page belongs to a slab: only its cache frees it. */
  SLAB_PAGE: { address: bigint };
  /** The freed pages belong to a heap: only the heap frees them. */
  HEAP_BLOCK: { address: bigint; block: RegionBounds };
  /** A slab or a heap returned a block that was allocated as another kind. */
  WRONG_KIND: { address: bigint; block: RegionBounds; kind: BlockKind; expected: BlockKind };
  /** A file page has the most references that can be counted exactly, 2^53 − 1. */
  TOO_MANY_REFERENCES: { address: bigint; references: number };
  /** Pages cannot be cleared, because the allocator was created without memory. */
  NO_PAGE_MEMORY: Record<string, never>;
  /** The size of an object is not a whole number of bytes, or exceeds `max`. */
  INVALID_OBJECT_SIZE: { size: unknown; max: number };
  /** An address is not in an object of this cache or heap. */
  OUTSIDE_OBJECTS: { address: bigint };
  /** An address is inside an object, but not at its start. */
  OBJECT_INTERIOR: { address: bigint; object: RegionBounds };
  /** A freed object is free. */
  DOUBLE_FREE_OBJECT: { address: bigint; object: RegionBounds };
  /** A block was used or freed through an owner that no longer has it; `gone` tells what happened. */
  RELEASED_BLOCK: { block: RegionBounds; gone: 'released' | 'leaked' | 'taken over' };
  /** A snapshot has a block that no allocator can have. */
  INVALID_SNAPSHOT: { block: RegionBounds; problem: string };
  /** The memory, or the object, has only `available` bytes at an address. */
  OUTSIDE_MEMORY: { address: bigint; bytes: number; available: number };
  /** An address is not a multiple of the size of a view's elements. */
  MISALIGNED_VIEW: { address: bigint; alignment: number };
  /** The memory of a heap, or of an allocator with `poison`, does not have all bytes of the allocator's region. */
  MEMORY_MISMATCH: { region: RegionBounds; memory: RegionBounds };
  /** A heap that was created without memory has no bytes to view. */
  NO_HEAP_MEMORY: Record<string, never>;
  /** More memory has been in small blocks than the tables can describe. */
  METADATA_FULL: { pages: number };
  /** A region has more pages than a shared allocator has tables for. */
  REGION_TOO_LARGE: { region: RegionBounds; maxPages: number };
  /** A buffer cannot hold the tables of a shared allocator, or does not hold any. Sizes are in bytes, where known. */
  INVALID_SHARED_BUFFER: {
    reason: SharedBufferProblem;
    byteLength: number | undefined;
    needed: number | undefined;
  };
  /** The owner with the number `holder` held the lock of a shared allocator for `waited` milliseconds. */
  LOCK_TIMEOUT: { holder: number; waited: number };
  /** All `caches` for which a shared buffer has room are in use. */
  NO_CACHE_LEFT: { caches: number };
  /** A cache of pages was used after it was closed. */
  CLOSED_CACHE: Record<string, never>;
  /** A freed page was written: the byte at `address` is `found`, but the page was filled with `expected`. */
  POISON_OVERWRITTEN: { address: bigint; found: number; expected: number };
  /** `operation` was called from a callback that `running`, an operation of the same object, had called. */
  BUSY: { operation: string; running: string };
  /**
   * A callback failed after the change that it was called for. The change stays. `result` is the value that `operation`
   * would have returned, and `cause` is the error of the callback.
   */
  CALLBACK_FAILED: { operation: string; result: unknown };
  /** The allocator's own tables contradict each other. */
  BROKEN_INVARIANT: { invariant: Invariant; problem: string };
}

/** The codes of {@link BuddyError}. */
export type BuddyErrorCode = keyof BuddyErrorDetails;

const REGION_PROBLEMS = {
  empty: 'it is empty',
  misaligned: 'it does not start and end at multiples of 0x1000 bytes',
  outside: "it lies outside the allocator's space",
  overlapping: 'it overlaps a region of the allocator',
};

const BUFFER_PROBLEMS: Readonly<Record<SharedBufferProblem, string>> = {
  unavailable: 'a SharedArrayBuffer cannot be created here',
  type: 'it is not a SharedArrayBuffer',
  'too small': 'it is too small',
  'not zeros': 'it is in use: pass a new one, all zeros',
  uninitialized: 'it holds no allocator: call `create` first',
  version: 'another version of this package created its allocator',
  kind: 'its allocator has another kind of address',
  corrupted: 'its header was overwritten',
};

const MESSAGES: MessageTable<BuddyErrorDetails> = {
  SIZE_TOO_LARGE: ({ size, max }) =>
    `no block holds ${describeValue(size)} bytes: the largest, of order 52, has ${describeValue(max)}`,
  INVALID_ORDER: ({ order, maxOrder }) =>
    `${describeValue(order)} is not an order of this allocator: pass an integer from 0 to ${maxOrder}`,
  INVALID_MAX_ORDER: ({ maxOrder }) =>
    `${describeValue(maxOrder)} cannot limit the order: pass an integer from 0 to 52`,
  OUT_OF_MEMORY: ({ order, pages, largestFreeOrder, freePages }) =>
    `no free ${pages === 2 ** order ? `block of order ${order}` : `run of ${pages} pages`}: ${
      largestFreeOrder === undefined
        ? 'no page is free'
        : `the largest free block has order ${largestFreeOrder}, free pages: ${freePages}`
    }`,
  NO_REGION: () => 'an allocator needs a region, or a space to add one to',
  INVALID_OPTION: ({ option, value, expected }) =>
    `${describeValue(value, expected)} cannot be ${/^\w{1,40}$/.test(option) ? `\`${option}\`` : describeValue(option)}: pass ${expected}`,
  INVALID_PAGE_COUNT: ({ pages }) =>
    `${describeValue(pages)} is not a number of pages: pass an integer from 1 to 2^52`,
  INVALID_PAGE_INDEX: ({ index, last }) =>
    `${describeValue(index)} is not an index of a page: pass an integer from 0 to ${last}`,
  INVALID_REGION: ({ region, reason }) =>
    `${formatBounds(region)} cannot be pages of the allocator: ${REGION_PROBLEMS[reason]}`,
  INVALID_RESERVED: ({ reserved, region, reason }) =>
    `${formatBounds(reserved)} cannot be reserved: ${
      {
        misaligned: REGION_PROBLEMS.misaligned,
        outside: `the allocator has only ${formatBounds(region)}`,
        overlapping: 'it overlaps another reserved region',
      }[reason]
    }`,
  OUTSIDE_REGION: ({ address, regions }) =>
    `${formatAddress(address)} is outside this allocator: it has ${describeRegions(regions)}`,
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
    `${formatAddress(address)} is a file page: release its references with putFilePage; it has ${references}`,
  NOT_FILE_PAGE: ({ address, block, state, kind }) =>
    `${formatAddress(address)} is not a file page: ` +
    `it lies in the ${state} block ${formatBounds(block)}${kind === undefined ? '' : ` of kind "${kind}"`}`,
  SLAB_PAGE: ({ address }) => `${formatAddress(address)} lies in a page of a slab: free its objects`,
  HEAP_BLOCK: ({ address, block }) =>
    `${formatAddress(address)} lies in ${formatBounds(block)}, which belongs to a heap: free it through the heap`,
  WRONG_KIND: ({ address, block, kind, expected }) =>
    `${formatAddress(address)} lies in ${formatBounds(block)} of kind "${kind}", not "${expected}"`,
  TOO_MANY_REFERENCES: ({ address, references }) =>
    `${formatAddress(address)} has ${references} references: more cannot be counted exactly`,
  NO_PAGE_MEMORY: () => 'pages cannot be cleared: create the allocator with `memory`',
  INVALID_OBJECT_SIZE: ({ size, max }) =>
    `${describeValue(size)} is not the size of an object: pass a whole number of bytes up to ${describeValue(max)}`,
  OUTSIDE_OBJECTS: ({ address }) => `${formatAddress(address)} is not in an object of this cache or heap`,
  OBJECT_INTERIOR: ({ address, object }) =>
    `${formatAddress(address)} is not the start of an object: it lies in ${formatBounds(object)}`,
  DOUBLE_FREE_OBJECT: ({ address, object }) =>
    `${formatAddress(address)} is not allocated: the object ${formatBounds(object)} is free`,
  RELEASED_BLOCK: ({ block, gone }) => `${formatBounds(block)} was ${gone}: this owner no longer has it`,
  INVALID_SNAPSHOT: ({ block, problem }) => `${formatBounds(block)} of the snapshot ${problem}`,
  OUTSIDE_MEMORY: ({ address, bytes, available }) =>
    `${bytes} bytes at ${formatAddress(address)} are more than the ${available} that are available`,
  MISALIGNED_VIEW: ({ address, alignment }) =>
    `${formatAddress(address)} is not a multiple of ${alignment}, the size of an element`,
  MEMORY_MISMATCH: ({ region, memory }) =>
    `the allocator has ${formatBounds(region)}, but the memory has only ${formatBounds(memory)}`,
  NO_HEAP_MEMORY: () => 'the heap has addresses but no bytes: create it with `memory`',
  METADATA_FULL: ({ pages }) =>
    `the tables cannot describe more than ${pages} pages in blocks smaller than 1024 pages`,
  REGION_TOO_LARGE: ({ region, maxPages }) =>
    `${formatBounds(region)} is too large for a shared allocator: its tables have room for ${maxPages} pages`,
  INVALID_SHARED_BUFFER: ({ reason, byteLength, needed }) =>
    `the buffer cannot be used for a shared allocator: ${BUFFER_PROBLEMS[reason]}` +
    `${byteLength === undefined ? '' : `; it has ${byteLength} bytes`}` +
    `${needed === undefined ? '' : `; ${needed} are needed`}`,
  LOCK_TIMEOUT: ({ holder, waited }) =>
    `after ${waited} ms, owner ${holder} still holds the lock: if its thread has ended, pass that number to \`recover\``,
  NO_CACHE_LEFT: ({ caches }) =>
    `all ${caches} caches are in use: close one, or create the allocator with more \`caches\``,
  CLOSED_CACHE: () => 'the cache is closed: create another one',
  POISON_OVERWRITTEN: ({ address, found, expected }) =>
    `the byte at ${formatAddress(address)} is ${describeValue(BigInt(found))}, not ${describeValue(BigInt(expected))}: ` +
    'someone wrote to the page after it was freed',
  BUSY: ({ operation, running }) =>
    `${operation} was called from a callback of ${running}: call it when ${running} has returned`,
  CALLBACK_FAILED: ({ operation }) =>
    `${operation} has made its change, but a callback threw an error afterwards: see \`cause\``,
  BROKEN_INVARIANT: ({ invariant, problem }) => `the invariant "${invariant}" is broken: ${problem}`,
};

/**
 * An error of this package. Invalid addresses, byte counts and kinds throw `AddressError` and `RegionError` instead.
 * Narrow it with {@link isBuddyError}.
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
 * Whether `error` is a {@link BuddyError}, and has `code` if one is given. Narrows `error.details` to that code. Works
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
