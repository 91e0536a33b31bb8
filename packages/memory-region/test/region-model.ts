import { type Address, type AddressKind, defineAddressKind, Phys, Virt, Virt57 } from '@svsm/address';
import fc from 'fast-check';
import { MemoryRegion } from '../src/memory-region.ts';

/** The number of addresses in a window: few enough that regions meet often, and that a Set of numbers can be the model. */
export const WINDOW = 48;

/** A part of a space in which regions are tried: its kind and its first address. */
export interface Window {
  readonly name: string;
  readonly kind: AddressKind<Address>;
  readonly base: bigint;
}

const Toy: AddressKind<Address<'toy'>> = defineAddressKind({ name: 'toy', bits: 12, signExtended: false });

/** Windows at every edge of every kind, and one across a change of the upper key of the index. */
export const WINDOWS: readonly Window[] = [
  { name: 'the start of a toy space', kind: Toy, base: 0n },
  { name: 'the end of a toy space', kind: Toy, base: 4096n - BigInt(WINDOW) },
  { name: 'the start of the virtual space', kind: Virt, base: 0n },
  { name: 'below the hole', kind: Virt, base: 2n ** 47n - BigInt(WINDOW) },
  { name: 'above the hole', kind: Virt, base: 2n ** 64n - 2n ** 47n },
  { name: 'the end of the virtual space', kind: Virt, base: 2n ** 64n - BigInt(WINDOW) },
  { name: 'around a multiple of 2048', kind: Virt, base: 2n ** 64n - 2n ** 30n - 20n },
  { name: 'above the hole of 57 bits', kind: Virt57, base: 2n ** 64n - 2n ** 56n },
  { name: 'the end of the physical space', kind: Phys, base: 2n ** 52n - BigInt(WINDOW) },
];

/** A stretch of the window: its first place and its length, which may be 0. */
export const stretch: fc.Arbitrary<readonly [from: number, count: number]> = fc
  .tuple(fc.integer({ min: 0, max: WINDOW - 1 }), fc.integer({ min: 0, max: 12 }))
  .map(([from, count]) => [from, Math.min(count, WINDOW - from)] as const);

export const stretches: fc.Arbitrary<readonly (readonly [number, number])[]> = fc.array(stretch, {
  maxLength: 12,
});

/** The region of a stretch. */
export function regionOf(
  { kind, base }: Window,
  [from, count]: readonly [number, number],
): MemoryRegion<Address> {
  return new MemoryRegion(kind, kind.address(base + BigInt(from)), count);
}

/** The places of the window that regions hold, one by one. */
export function placesOf({ base }: Window, regions: Iterable<MemoryRegion<Address>>): number[] {
  const places: number[] = [];
  for (const region of regions) {
    for (let at = region.start - base; at < region.end - base; at += 1n) places.push(Number(at));
  }
  return places;
}

/** The places of stretches, as a set. */
export function modelOf(given: readonly (readonly [number, number])[]): Set<number> {
  return new Set(given.flatMap(([from, count]) => Array.from({ length: count }, (_, i) => from + i)));
}

export const sorted = (places: Iterable<number>): number[] => [...places].sort((a, b) => a - b);
