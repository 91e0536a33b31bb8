import type { Address, Bytes } from './address.ts';
import { AddressError } from './address-error.ts';
import { alignmentBytes, byteCount } from './bytes.ts';
import { describeValue } from './coded-error.ts';
import { parseHex } from './format.ts';

/**
 * The part of the non-canonical hole: first address in it and first address past it.
 */
export interface AddressHole {
  /** The first value that is not canonical: 2^47 for 48-bit addresses. */
  readonly start: bigint;
  /** The first canonical value after it: 2^64 − 2^47 for 48-bit addresses. */
  readonly end: bigint;
}

/**
 * A kind of address as a value: what is valid, what an addition may cross, where the space ends.
 *
 * A brand is gone at run time, where `0x7fff_ffff_f000n` may be virtual or physical. So whatever depends on the kind
 * takes the kind, or is a method of it. All methods are O(1) and, but for `try…` and `is…`, throw an `AddressError` on
 * bad input. Where a parameter is an address it is checked as `assertIsAddress` checks it.
 */
export interface AddressKind<A extends Address> {
  /** What messages call it: `virtual`, `physical`. Give each kind a name of its own. */
  readonly name: string;
  /** Significant bits of an address: 48, 57, 52. */
  readonly bits: number;
  /** The exclusive end of the space: 2^64 if addresses are canonical, else 2^`bits`. */
  readonly end: bigint;
  /** What addresses may not lie in, for kinds whose addresses are sign-extended. */
  readonly hole: AddressHole | undefined;

  /**
   * `value` as an address of this kind; nothing is changed to make it fit.
   *
   * @throws AddressError `INVALID_ADDRESS` (fractional, NaN, unsafe number, other type), `OUTSIDE_SPACE`
   *   (negative, at or past the end), `NON_CANONICAL` (in the hole)
   */
  address(value: number | bigint): A;
  /** As {@link address}, with `undefined` for everything that it refuses. */
  tryAddress(value: unknown): A | undefined;
  /** Whether `value` is a `bigint` that is valid for this kind. A number never is. */
  isAddress(value: unknown): value is A;
  /** Throws what {@link address} throws, and `INVALID_ADDRESS` for a number, unless {@link isAddress} holds. */
  assertIsAddress(value: unknown): asserts value is A;
  /**
   * The address that `text` writes: `0x` and 1 to 16 hex digits, in groups joined by single underscores if you like; or
   * 8 to 16 bare hex digits, as consoles print them. No white space, no sign, no `0X`.
   *
   * @throws AddressError `INVALID_ADDRESS_TEXT`, and what {@link address} throws for the value
   */
  parse(text: string): A;
  /**
   * `value` cut to this kind's width: higher bits are dropped, then the top bit is copied upward if the kind is
   * canonical. What COCONUT-SVSM's `VirtAddr::from` does to any number.
   *
   * @throws AddressError `INVALID_ADDRESS` for what is no integer; negative values wrap, as a cast does
   */
  truncate(value: number | bigint): A;

  /**
   * `address + bytes`.
   *
   * @throws AddressError `INVALID_BYTE_COUNT`; `ADDRESS_OVERFLOW` if the sum reaches the hole, lies beyond it, or
   *   reaches the end of the space
   */
  add(address: A, bytes: Bytes): A;
  /**
   * `address − bytes`.
   *
   * @throws AddressError `INVALID_BYTE_COUNT`; `ADDRESS_OVERFLOW` if the difference is below zero, in the hole, or
   *   beyond it
   */
  sub(address: A, bytes: Bytes): A;
  /** As {@link add}, with `undefined` where that overflows. A bad byte count still throws. */
  checkedAdd(address: A, bytes: Bytes): A | undefined;
  /** As {@link sub}, with `undefined` where that overflows. A bad byte count still throws. */
  checkedSub(address: A, bytes: Bytes): A | undefined;
  /**
   * The least multiple of `alignment` that is at least `address`. An aligned address stays as it is.
   *
   * @param alignment - bytes, a power of two from 1 to 2^47
   * @throws AddressError `INVALID_ALIGNMENT`; `ADDRESS_OVERFLOW` if that multiple is the start of the hole or the end
   *   of the space
   */
  alignUp(address: A, alignment: Bytes): A;
  /** As {@link alignUp}, with `undefined` where that overflows. A bad alignment still throws. */
  checkedAlignUp(address: A, alignment: Bytes): A | undefined;
  /**
   * The address `bytes` steps after `address`, counting valid addresses only: from the last one before the hole, one
   * step leads to the first one after it.
   *
   * @throws AddressError `INVALID_BYTE_COUNT`; `ADDRESS_OVERFLOW` at the end of the space
   */
  stepForward(address: A, bytes: Bytes): A;
  /**
   * The address `bytes` steps before `address`, counting valid addresses only.
   *
   * @throws AddressError `INVALID_BYTE_COUNT`; `ADDRESS_OVERFLOW` below zero
   */
  stepBackward(address: A, bytes: Bytes): A;
  /** How many steps lead from `from` forward to `to`, the hole left out; negative if `to` comes first. */
  stepsBetween(from: A, to: A): bigint;
  /**
   * The exclusive end of the addresses that follow `address` without a gap: the start of the hole for the lower half,
   * the end of the space else.
   */
  runEnd(address: A): bigint;
}

/** What makes an address kind. */
export interface AddressKindSpec {
  /** What messages call it. Give each kind a name of its own. */
  readonly name: string;
  /** Significant bits: 48 to 64 if sign-extended, 12 to 64 else. */
  readonly bits: number;
  /** Whether bits 63 to `bits` repeat bit `bits − 1` (a canonical address), or are zero. */
  readonly signExtended: boolean;
}

/**
 * Makes a kind of address. Give its type a name of its own, so that the compiler keeps it apart from the others. O(1).
 *
 * @throws AddressError `INVALID_KIND`
 *
 * @example
 * ```ts
 * import { type Address, type AddressKind, defineAddressKind } from '@svsm/address';
 *
 * type SysPhysAddr = Address<'sys-phys'>;
 * const SysPhys: AddressKind<SysPhysAddr> = defineAddressKind({ name: 'system-physical', bits: 52, signExtended: false });
 *
 * console.log(SysPhys.tryAddress(1n << 52n)); // => undefined
 * ```
 */
export function defineAddressKind<A extends Address>(spec: AddressKindSpec): AddressKind<A> {
  return new Kind<A>(spec);
}

const SPACE_64 = 1n << 64n;

class Kind<A extends Address> implements AddressKind<A> {
  readonly name: string;
  readonly bits: number;
  readonly end: bigint;
  readonly hole: AddressHole | undefined;

  constructor(spec: AddressKindSpec) {
    if (typeof spec !== 'object' || spec === null) {
      throw new AddressError('INVALID_KIND', { kind: spec, problem: 'pass { name, bits, signExtended }' });
    }
    const { name, bits, signExtended } = spec;
    if (typeof name !== 'string' || name === '') {
      throw new AddressError('INVALID_KIND', {
        kind: name,
        problem: 'its name must be text that is not empty',
      });
    }
    if (typeof signExtended !== 'boolean') {
      throw new AddressError('INVALID_KIND', {
        kind: name,
        problem: 'its signExtended must be true or false',
      });
    }
    const minBits = signExtended ? 48 : 12;
    if (!Number.isInteger(bits) || bits < minBits || bits > 64) {
      const problem = `its bits must be an integer from ${minBits} to 64, not ${describeValue(bits)}`;
      throw new AddressError('INVALID_KIND', { kind: name, problem });
    }
    this.name = name;
    this.bits = bits;
    this.end = signExtended ? SPACE_64 : 1n << BigInt(bits);
    if (signExtended && bits < 64) {
      const half = 1n << BigInt(bits - 1);
      this.hole = Object.freeze({ start: half, end: SPACE_64 - half });
    } else {
      this.hole = undefined;
    }
    Object.freeze(this);
  }

  address(value: number | bigint): A {
    const address = this.tryAddress(value);
    if (address !== undefined) return address;
    throw this.#refusal(value);
  }

  tryAddress(value: unknown): A | undefined {
    const candidate = integer(value);
    return candidate !== undefined && this.#has(candidate) ? (candidate as A) : undefined;
  }

  isAddress(value: unknown): value is A {
    return typeof value === 'bigint' && this.#has(value);
  }

  assertIsAddress(value: unknown): asserts value is A {
    if (!this.isAddress(value)) throw this.#refusal(value, false);
  }

  parse(text: string): A {
    const value = parseHex(text);
    if (value === undefined) throw new AddressError('INVALID_ADDRESS_TEXT', { kind: this.name, text });
    return this.address(value);
  }

  truncate(value: number | bigint): A {
    const from = integer(value);
    if (from === undefined) throw new AddressError('INVALID_ADDRESS', { kind: this.name, value });
    if (this.end < SPACE_64) return BigInt.asUintN(this.bits, from) as A;
    return BigInt.asUintN(64, BigInt.asIntN(this.bits, from)) as A;
  }

  add(address: A, bytes: Bytes): A {
    return this.checkedAdd(address, bytes) ?? this.#overflow('add', address, byteCount(bytes), 'up');
  }

  sub(address: A, bytes: Bytes): A {
    return this.checkedSub(address, bytes) ?? this.#overflow('sub', address, byteCount(bytes), 'down');
  }

  checkedAdd(address: A, bytes: Bytes): A | undefined {
    this.assertIsAddress(address);
    const sum = address + byteCount(bytes);
    return sum < this.#runEnd(address) ? (sum as A) : undefined;
  }

  checkedSub(address: A, bytes: Bytes): A | undefined {
    this.assertIsAddress(address);
    const difference = address - byteCount(bytes);
    return difference >= this.#runStart(address) ? (difference as A) : undefined;
  }

  alignUp(address: A, alignment: Bytes): A {
    return (
      this.checkedAlignUp(address, alignment) ??
      this.#overflow('alignUp', address, alignmentBytes(alignment), 'up')
    );
  }

  checkedAlignUp(address: A, alignment: Bytes): A | undefined {
    this.assertIsAddress(address);
    const mask = alignmentBytes(alignment) - 1n;
    const aligned = (address + mask) & ~mask;
    return aligned < this.#runEnd(address) ? (aligned as A) : undefined;
  }

  stepForward(address: A, bytes: Bytes): A {
    const steps = byteCount(bytes);
    const ordinal = this.#ordinal(address) + steps;
    const count = this.hole === undefined ? this.end : this.end - (this.hole.end - this.hole.start);
    if (ordinal >= count) {
      throw new AddressError('ADDRESS_OVERFLOW', {
        kind: this.name,
        operation: 'stepForward',
        address,
        bytes: steps,
        at: 'end',
        limit: this.end - 1n,
      });
    }
    return this.#atOrdinal(ordinal);
  }

  stepBackward(address: A, bytes: Bytes): A {
    const steps = byteCount(bytes);
    const ordinal = this.#ordinal(address) - steps;
    if (ordinal < 0n) {
      throw new AddressError('ADDRESS_OVERFLOW', {
        kind: this.name,
        operation: 'stepBackward',
        address,
        bytes: steps,
        at: 'zero',
        limit: 0n,
      });
    }
    return this.#atOrdinal(ordinal);
  }

  stepsBetween(from: A, to: A): bigint {
    return this.#ordinal(to) - this.#ordinal(from);
  }

  runEnd(address: A): bigint {
    this.assertIsAddress(address);
    return this.#runEnd(address);
  }

  #runEnd(address: A): bigint {
    return this.hole !== undefined && address < this.hole.start ? this.hole.start : this.end;
  }

  #runStart(address: A): bigint {
    return this.hole !== undefined && address >= this.hole.end ? this.hole.end : 0n;
  }

  #has(value: bigint): boolean {
    if (value < 0n || value >= this.end) return false;
    return this.hole === undefined || value < this.hole.start || value >= this.hole.end;
  }

  /** The place of `address` among the valid addresses of its kind: what stepping counts in. */
  #ordinal(address: A): bigint {
    this.assertIsAddress(address);
    if (this.hole === undefined || address < this.hole.start) return address;
    return address - (this.hole.end - this.hole.start);
  }

  #atOrdinal(ordinal: bigint): A {
    if (this.hole === undefined || ordinal < this.hole.start) return ordinal as A;
    return (ordinal + (this.hole.end - this.hole.start)) as A;
  }

  /** Why `value` is no address of this kind; a number is refused as such unless `numberAllowed`. */
  #refusal(value: unknown, numberAllowed = true): AddressError {
    const candidate = numberAllowed || typeof value === 'bigint' ? integer(value) : undefined;
    if (candidate === undefined) return new AddressError('INVALID_ADDRESS', { kind: this.name, value });
    if (this.hole === undefined || candidate < 0n || candidate >= this.end) {
      return new AddressError('OUTSIDE_SPACE', { kind: this.name, value: candidate, end: this.end });
    }
    return new AddressError('NON_CANONICAL', {
      kind: this.name,
      bits: this.bits,
      value: candidate,
      holeStart: this.hole.start,
      holeEnd: this.hole.end,
    });
  }

  #overflow(operation: string, address: A, bytes: bigint, direction: 'up' | 'down'): never {
    const lower = this.hole !== undefined && address < this.hole.start;
    const upper = this.hole !== undefined && !lower;
    let at: 'zero' | 'hole' | 'end';
    if (direction === 'up') at = lower ? 'hole' : 'end';
    else at = upper ? 'hole' : 'zero';
    const limit = direction === 'up' ? this.#runEnd(address) - 1n : this.#runStart(address);
    throw new AddressError('ADDRESS_OVERFLOW', { kind: this.name, operation, address, bytes, at, limit });
  }
}

function integer(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value;
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : undefined;
}
