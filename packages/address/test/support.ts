/** Helpers of the tests: expecting errors, and an oracle for address spaces in plain bigint. */
import fc from 'fast-check';
import { expect } from 'vitest';
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
} from '../src/index.ts';

/** The error that `action` throws, which must be an AddressError with `code`. */
export function addressError<Code extends AddressErrorCode>(
  code: Code,
  action: () => unknown,
): { [C in Code]: AddressError<C> }[Code] {
  let caught: unknown;
  let returned: unknown;
  try {
    returned = action();
  } catch (error) {
    caught = error;
  }
  if (isAddressError(caught, code)) return caught;
  if (caught !== undefined) throw caught;
  return expect.fail(`expected an AddressError ${code}, but ${String(returned)} was returned`);
}

/** Passes a value that the compiler refuses, as callers without types do. */
export const untyped = (value: unknown): never => value as never;

/** Values that are not integers or not exact, and so neither addresses, nor byte counts, nor alignments. */
export const NOT_INTEGERS: readonly unknown[] = [
  ...[0.5, -0.5, 4096.5, NaN, Infinity, -Infinity],
  ...[2 ** 53, -(2 ** 53), 2 ** 64, Number.MAX_VALUE, Number.MIN_VALUE],
  ...['', '0', '4096', '0x1000', null, undefined, true, false],
  ...[{}, [], [4096], Object(4096), Object(4096n), new Date(0), () => 0, Symbol('0')],
];

/** A proxy whose properties cannot be read: every access throws a TypeError. */
export const REVOKED: object = (() => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
})();

/** A third kind, as another package would define it. */
export type SysPhysAddr = Address<'sys-phys'>;
export const SysPhys: AddressKind<SysPhysAddr> = defineAddressKind({
  name: 'system-physical',
  bits: 46,
  signExtended: false,
});

/** A kind and its addresses, written down a second time: runs from the first address to past the last one. */
export interface Space {
  readonly kind: AddressKind<Address>;
  readonly runs: readonly (readonly [start: bigint, end: bigint])[];
}

export const SPACES: readonly (readonly [name: string, space: Space])[] = (
  [
    {
      kind: Virt,
      runs: [
        [0n, 0x0000_8000_0000_0000n],
        [0xffff_8000_0000_0000n, 0x1_0000_0000_0000_0000n],
      ],
    },
    {
      kind: Virt57,
      runs: [
        [0n, 0x0100_0000_0000_0000n],
        [0xff00_0000_0000_0000n, 0x1_0000_0000_0000_0000n],
      ],
    },
    { kind: Phys, runs: [[0n, 0x10_0000_0000_0000n]] },
    { kind: SysPhys, runs: [[0n, 0x4000_0000_0000n]] },
    {
      kind: defineAddressKind({ name: 'flat64', bits: 64, signExtended: false }),
      runs: [[0n, 0x1_0000_0000_0000_0000n]],
    },
    {
      kind: defineAddressKind({ name: 'signed64', bits: 64, signExtended: true }),
      runs: [[0n, 0x1_0000_0000_0000_0000n]],
    },
    { kind: defineAddressKind({ name: 'page', bits: 12, signExtended: false }), runs: [[0n, 0x1000n]] },
  ] satisfies Space[]
).map((space) => [space.kind.name, space] as const);

/** The run that holds `value`, or `undefined` if `value` is not an address. */
export function runOf({ runs }: Space, value: bigint): readonly [bigint, bigint] | undefined {
  return runs.find(([start, end]) => start <= value && value < end);
}

/** How many addresses of the space come before `value`, which is an address. */
export function ordinalOf({ runs }: Space, value: bigint): bigint {
  return runs.reduce(
    (sum, [start, end]) => sum + (value >= end ? end - start : value > start ? value - start : 0n),
    0n,
  );
}

/** The address that `ordinal` others come before. */
export function atOrdinal({ runs }: Space, ordinal: bigint): bigint | undefined {
  if (ordinal < 0n) return undefined;
  let left = ordinal;
  for (const [start, end] of runs) {
    if (left < end - start) return start + left;
    left -= end - start;
  }
  return undefined;
}

/** Addresses of a space: anywhere, near the ends of its runs, near powers of two. */
export function addresses(space: Space): fc.Arbitrary<Address> {
  const near = (start: bigint, end: bigint) => {
    const reach = end - start < 0x3000n ? end - start - 1n : 0x3000n;
    return fc.oneof(
      fc.bigInt(start, end - 1n),
      fc.bigInt(0n, reach).map((offset) => start + offset),
      fc.bigInt(0n, reach).map((offset) => end - 1n - offset),
      fc
        .tuple(fc.nat(63), fc.integer({ min: -2, max: 2 }))
        .map(([bit, offset]) => start + (1n << BigInt(bit)) + BigInt(offset))
        .filter((value) => start <= value && value < end),
    );
  };
  return fc.oneof(...space.runs.map(([start, end]) => near(start, end))).map((value) => value as Address);
}

/** 64-bit values, and some longer or negative ones; often near the edge of a kind. */
export const integers: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt(0n, 2n ** 64n - 1n),
  fc
    .tuple(fc.constantFrom(...SPACES.flatMap(([, { runs }]) => runs.flat())), fc.bigInt(-0x2000n, 0x2000n))
    .map(([edge, offset]) => edge + offset),
  fc.bigInt(-(2n ** 80n), 2n ** 80n),
);

/** Byte counts, of both types. */
export const byteCounts: fc.Arbitrary<number | bigint> = fc.oneof(
  fc.nat(0x4000),
  fc.maxSafeNat(),
  fc.bigInt(0n, 2n ** 65n),
  fc.tuple(fc.nat(63), fc.bigInt(0n, 2n)).map(([bit, offset]) => (1n << BigInt(bit)) + offset),
);

/** An address and a byte count that leads near an edge of its run in half of the cases. */
export function addressAndBytes(space: Space): fc.Arbitrary<[Address, number | bigint]> {
  const toAnEdge = fc
    .tuple(addresses(space), fc.boolean(), fc.bigInt(-3n, 3n))
    .map(([address, up, offset]): [Address, bigint] => {
      const [start, end] = runOf(space, address)!;
      const bytes = (up ? end - address : address - start) + offset;
      return [address, bytes < 0n ? 0n : bytes];
    });
  return fc.oneof(fc.tuple(addresses(space), byteCounts), toAnEdge);
}

/** Alignments from 1 to 2^47, of both types. */
export const alignments: fc.Arbitrary<number | bigint> = fc
  .tuple(fc.nat(47), fc.boolean())
  .map(([bit, big]) => (big ? 1n << BigInt(bit) : 2 ** bit));
