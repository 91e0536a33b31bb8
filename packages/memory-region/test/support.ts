/** Helpers of the tests: expecting errors, and a model of regions as sets of positions. */
import {
  type Address,
  type AddressError,
  type AddressErrorCode,
  type AddressKind,
  defineAddressKind,
  isAddressError,
  Phys,
  Virt,
  Virt57,
} from '@svsm/address';
import fc from 'fast-check';
import { expect } from 'vitest';
import { isRegionError, MemoryRegion, type RegionError, type RegionErrorCode } from '../src/index.ts';

export const KiB4 = 0x1000n;
export const MiB2 = 0x20_0000n;
export const GiB = 0x4000_0000n;
export const LOW_END = 0x0000_8000_0000_0000n;
export const HIGH_START = 0xffff_8000_0000_0000n;
export const END_64 = 2n ** 64n;
export const END_PHYS = 2n ** 52n;

/** The error that `action` throws, which must be a RegionError with `code`. */
export function regionError<Code extends RegionErrorCode>(
  code: Code,
  action: () => unknown,
): { [C in Code]: RegionError<C> }[Code] {
  const error = thrownBy(action);
  if (isRegionError(error, code)) return error;
  throw error;
}

/** The error that `action` throws, which must be an AddressError with `code`. */
export function addressError<Code extends AddressErrorCode>(
  code: Code,
  action: () => unknown,
): { [C in Code]: AddressError<C> }[Code] {
  const error = thrownBy(action);
  if (isAddressError(error, code)) return error;
  throw error;
}

function thrownBy(action: () => unknown): unknown {
  let returned: unknown;
  try {
    returned = action();
  } catch (error) {
    return error;
  }
  return expect.fail(`expected an error, but ${String(returned)} was returned`);
}

/** Passes a value that the compiler refuses, as callers without types do. */
export const untyped = (value: unknown): never => value as never;

/** A region of any kind, from plain bigints. */
export function region(kind: AddressKind<Address>, start: bigint, end: bigint): MemoryRegion<Address> {
  return MemoryRegion.fromAddresses(kind, kind.address(start), end);
}

/** A space of 4096 addresses: one page. */
const Toy: AddressKind<Address<'toy'>> = defineAddressKind({ name: 'toy', bits: 12, signExtended: false });

/** Positions in a window. */
export const SPAN = 64;

/**
 * 64 consecutive addresses from `base` on, a multiple of 64. Most windows end at the limit of a region: a position past
 * the last one is not an address.
 */
export interface Window {
  readonly kind: AddressKind<Address>;
  readonly base: bigint;
}

const span = BigInt(SPAN);
export const WINDOWS: readonly (readonly [name: string, window: Window])[] = [
  ['the first addresses of a toy space', { kind: Toy, base: 0n }],
  ['the middle of a toy space', { kind: Toy, base: 0x400n }],
  ['the last addresses of a toy space', { kind: Toy, base: 0x1000n - span }],
  ['the first virtual addresses', { kind: Virt, base: 0n }],
  ['the last virtual addresses below the hole', { kind: Virt, base: LOW_END - span }],
  ['the first virtual addresses above the hole', { kind: Virt, base: HIGH_START }],
  ['the last virtual addresses', { kind: Virt, base: END_64 - span }],
  ['the last 57-bit addresses below the hole', { kind: Virt57, base: 2n ** 56n - span }],
  ['the last physical addresses', { kind: Phys, base: END_PHYS - span }],
];

/** A region in a window, and its positions as the bits of a bigint. */
export interface Sample {
  readonly region: MemoryRegion<Address>;
  readonly set: bigint;
  readonly from: number;
  readonly to: number;
}

/** Regions of a window: any, including empty ones, and often those at an edge. */
export function samples({ kind, base }: Window): fc.Arbitrary<Sample> {
  return fc
    .tuple(fc.nat(SPAN - 1), fc.nat(SPAN), fc.boolean())
    .map(([a, b, checked]) => ({ from: Math.min(a, b), to: Math.max(a, b), checked }))
    .map(({ from, to, checked }) => ({
      // Every law holds for both.
      region: checked
        ? region(kind, base + BigInt(from), base + BigInt(to))
        : MemoryRegion.unchecked(kind, (base + BigInt(from)) as Address, BigInt(to - from)),
      set: bits(from, to),
      from,
      to,
    }));
}

/** The positions from `from` up to `to` as bits. */
export function bits(from: number, to: number): bigint {
  return (1n << BigInt(to)) - (1n << BigInt(from));
}

/** The positions in `regions`, which must lie in the window and not overlap. */
export function setOf({ base }: Window, ...regions: (MemoryRegion<Address> | undefined)[]): bigint {
  let set = 0n;
  for (const region of regions) {
    if (region === undefined) continue;
    const part = bits(Number(region.start - base), Number(region.end - base));
    expect(set & part, 'regions overlap').toBe(0n);
    set |= part;
  }
  return set;
}

/** Whether the positions of `set` follow each other without a gap. */
export function isRun(set: bigint): boolean {
  return /^0*1*0*$/.test(set.toString(2));
}

/** The run from the first to the last position of `set`. */
export function filled(set: bigint): bigint {
  if (set === 0n) return 0n;
  const text = set.toString(2);
  return bits(text.length - 1 - text.lastIndexOf('1'), text.length);
}
