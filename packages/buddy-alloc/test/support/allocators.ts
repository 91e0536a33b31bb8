/** Helpers of all tests: they expect errors, show allocators as text, and make regions. */
import {
  type Address,
  type AddressKind,
  defineAddressKind,
  distance,
  PAGE_SIZE,
  type VirtAddr,
  virtAddr,
} from '@svsm/address';
import { MemoryRegion, virtRegion } from '@svsm/memory-region';
import { expect } from 'vitest';
import { type BuddyError, type BuddyErrorCode, isBuddyError, type PageAllocator } from '../../src/index.ts';

/** Runs `action` and returns the BuddyError with `code` that it must throw. */
export function buddyError<Code extends BuddyErrorCode>(
  code: Code,
  action: () => unknown,
): { [C in Code]: BuddyError<C> }[Code] {
  let caught: unknown;
  let returned: unknown;
  try {
    returned = action();
  } catch (error) {
    caught = error;
  }
  if (isBuddyError(caught, code)) return caught;
  if (caught !== undefined) throw caught;
  return expect.fail(`expected a BuddyError ${code}, but ${String(returned)} was returned`);
}

/** The code of the BuddyError that `action` throws; `undefined` if it throws nothing. */
export function codeOf(action: () => void): BuddyErrorCode | undefined {
  try {
    action();
  } catch (error) {
    if (isBuddyError(error)) return error.code;
    throw error;
  }
  return undefined;
}

/** The address of the page with this number. */
export const pageStart = (page: number): bigint => BigInt(page) * BigInt(PAGE_SIZE);

/** Passes a value that the compiler refuses, as callers without types can. */
export const untyped = (value: unknown): never => value as never;

/** The start of a heap in the upper half of the address space: a multiple of every order that the tests use. */
export const HEAP = virtAddr(0xffff_8000_0000_0000n);

/** `count` pages from page `first`, counted from {@link HEAP}. */
export function heapPages(first: number, count: number): MemoryRegion<VirtAddr> {
  return virtRegion(virtAddr(HEAP + BigInt(first * PAGE_SIZE)), count * PAGE_SIZE);
}

/** Every 64-bit value is an address of this kind, so a region may have 2^52 pages. */
export type FlatAddr = Address<'flat64'>;
export const Flat: AddressKind<FlatAddr> = defineAddressKind({ name: 'flat', bits: 64, signExtended: false });

/** The region from `start` up to `end`. */
export function flatRegion(start: bigint, end: bigint): MemoryRegion<FlatAddr> {
  return MemoryRegion.fromAddresses(Flat, Flat.address(start), end);
}

/** `0:2f 4:0a 5:0r`: for each block its first page (counted from the region's), its order, and the first letter of its state. */
export function blocksOf<A extends Address>(allocator: PageAllocator<A>): string {
  const { start } = allocator.region;
  return [...allocator.blocks()]
    .map(({ region, order, state }) => `${Number(distance(start, region.start)) / 4096}:${order}${state[0]}`)
    .join(' ');
}

/** The visible state of an allocator, to compare before and after. */
export function snapshot<A extends Address>(allocator: PageAllocator<A>): string {
  return JSON.stringify([blocksOf(allocator), allocator.memoryInfo()]);
}

/** Runs `action`, which must throw, and checks that nothing has changed. */
export function changesNothing<A extends Address>(allocator: PageAllocator<A>, action: () => void): void {
  const before = snapshot(allocator);
  expect(action).toThrow();
  expect(snapshot(allocator)).toBe(before);
  allocator.checkInvariants();
}
