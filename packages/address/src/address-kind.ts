import type { Address, Bytes } from './address.ts';
import { AddressError } from './address-error.ts';
import { showInConsoles } from './appearance.ts';
import { alignmentBytes, byteCount } from './bytes.ts';
import { parseHex } from './hex.ts';
import { type AddressKindSpec, checkedSpec } from './kind-spec.ts';

/** The non-canonical hole: the values between the two halves of a space whose addresses are sign-extended. */
export interface AddressHole {
  /** The first value that is not canonical: 2^47 for 48-bit addresses. */
  readonly start: bigint;
  /** The first canonical value after it: 2^64 − 2^47 for 48-bit addresses. */
  readonly end: bigint;
}

/**
 * A kind of address as a value: what is valid, what an addition may cross, where the space ends.
 *
 * A brand is gone at run time, where `0x7fff_ffff_f000n` may be virtual or physical. So everything that depends on the
 * kind takes the kind, or is a method of it. All methods are O(1). `try…` and `is…` never throw. The others throw an
 * `AddressError` for bad input, and check an address as `assertIsAddress` does.
 */
export interface AddressKind<A extends Address> {
  /** The name in messages: `virtual`, `physical`. Give each kind its own name. */
  readonly name: string;
  /** Significant bits of an address: 48, 57, 52. */
  readonly bits: number;
  /** The exclusive end of the space: 2^64 if addresses are canonical, else 2^`bits`. */
  readonly end: bigint;
  /** The values that are not addresses, for kinds whose addresses are sign-extended. */
  readonly hole: AddressHole | undefined;

  /**
   * `value` as an address of this kind. It is checked and never changed to fit.
   *
   * @throws AddressError `INVALID_ADDRESS` (fractional, NaN, unsafe number, other type), `OUTSIDE_SPACE`
   *   (negative, at or past the end), `NON_CANONICAL` (in the hole)
   * @example
   * ```ts
   * import { Phys, Virt57 } from '@svsm/address';
   *
   * console.log(Phys.address(0x1000)); // => 4096n
   * console.log(Virt57.address(0x8000_0000_0000n)); // => 140737488355328n
   * ```
   */
  address(value: number | bigint): A;
  /** Like {@link address}, but returns `undefined` where that throws. */
  tryAddress(value: unknown): A | undefined;
  /** Whether `value` is a `bigint` that is valid for this kind. A number never is. */
  isAddress(value: unknown): value is A;
  /**
   * Narrows `value` to an address of this kind, or throws. It refuses every number.
   *
   * @throws AddressError as {@link address}
   */
  assertIsAddress(value: unknown): asserts value is A;
  /**
   * The address that `text` writes in hexadecimal: `0x` and 1 to 16 digits, which single underscores may separate; or 8 to
   * 16 bare digits, as consoles print them. White space, signs and `0X` are refused.
   *
   * @throws AddressError `INVALID_ADDRESS_TEXT` if the text has neither form; `OUTSIDE_SPACE` or `NON_CANONICAL` if its
   *   value is not an address
   * @example
   * ```ts
   * import { formatAddress, isAddressError, Virt57 } from '@svsm/address';
   *
   * console.log(formatAddress(Virt57.parse('0xff00_0000_0000_0000'))); // => 0xff00000000000000
   * try {
   *   Virt57.parse('1000');
   * } catch (error) {
   *   console.log(isAddressError(error, 'INVALID_ADDRESS_TEXT')); // => true
   * }
   * ```
   */
  parse(text: string): A;
  /**
   * `value` cut to the width of this kind: higher bits are dropped, and the top bit is then copied upward if addresses
   * are sign-extended. A negative value wraps, as in a cast. COCONUT-SVSM's `VirtAddr::from` does this to every number.
   *
   * @throws AddressError `INVALID_ADDRESS` if `value` is not a `bigint` or a safe integer
   */
  truncate(value: number | bigint): A;

  /**
   * `address + bytes`.
   *
   * @throws AddressError as {@link assertIsAddress}; `INVALID_BYTE_COUNT`; `ADDRESS_OVERFLOW` if the sum lies in the
   *   hole, beyond it, or at or past the end of the space
   */
  add(address: A, bytes: Bytes): A;
  /**
   * `address − bytes`.
   *
   * @throws AddressError as {@link assertIsAddress}; `INVALID_BYTE_COUNT`; `ADDRESS_OVERFLOW` if the difference lies
   *   below zero, in the hole, or beyond it
   */
  sub(address: A, bytes: Bytes): A;
  /**
   * Like {@link add}, but returns `undefined` for an overflow. A bad address or byte count still throws.
   *
   * @throws AddressError as {@link assertIsAddress}; `INVALID_BYTE_COUNT`
   * @example
   * ```ts
   * import { Virt, virtAddr } from '@svsm/address';
   *
   * const last = virtAddr(0x7fff_ffff_ffffn); // the next value is in the hole
   * console.log(Virt.checkedAdd(last, 1)); // => undefined
   * ```
   */
  checkedAdd(address: A, bytes: Bytes): A | undefined;
  /**
   * Like {@link sub}, but returns `undefined` for an overflow. A bad address or byte count still throws.
   *
   * @throws AddressError as {@link assertIsAddress}; `INVALID_BYTE_COUNT`
   */
  checkedSub(address: A, bytes: Bytes): A | undefined;
  /**
   * The least multiple of `alignment` that is at least `address`. An aligned address stays as it is.
   *
   * @param alignment - bytes, a power of two from 1 to 2^47
   * @throws AddressError as {@link assertIsAddress}; `INVALID_ALIGNMENT`; `ADDRESS_OVERFLOW` if that multiple is the
   *   start of the hole or the end of the space
   * @example
   * ```ts
   * import { formatAddress, PAGE_SIZE, Phys, physAddr } from '@svsm/address';
   *
   * console.log(formatAddress(Phys.alignUp(physAddr(0x1234), PAGE_SIZE))); // => 0x0000000000002000
   * ```
   */
  alignUp(address: A, alignment: Bytes): A;
  /**
   * Like {@link alignUp}, but returns `undefined` for an overflow. A bad address or alignment still throws.
   *
   * @throws AddressError as {@link assertIsAddress}; `INVALID_ALIGNMENT`
   */
  checkedAlignUp(address: A, alignment: Bytes): A | undefined;
  /**
   * The address `bytes` steps after `address`. Steps count valid addresses only: one step leads from the last address
   * below the hole to the first one above it.
   *
   * @throws AddressError as {@link assertIsAddress}; `INVALID_BYTE_COUNT`; `ADDRESS_OVERFLOW` past the end of the space
   * @example
   * ```ts
   * import { formatAddress, Virt, virtAddr } from '@svsm/address';
   *
   * const last = virtAddr(0x7fff_ffff_ffffn); // below the hole
   * console.log(formatAddress(Virt.stepForward(last, 1))); // => 0xffff800000000000
   * ```
   */
  stepForward(address: A, bytes: Bytes): A;
  /**
   * The address `bytes` steps before `address`. Steps count valid addresses only.
   *
   * @throws AddressError as {@link assertIsAddress}; `INVALID_BYTE_COUNT`; `ADDRESS_OVERFLOW` below zero
   */
  stepBackward(address: A, bytes: Bytes): A;
  /**
   * The number of steps from `from` to `to`, negative if `to` comes first. The hole does not count.
   *
   * @throws AddressError as {@link assertIsAddress}
   */
  stepsBetween(from: A, to: A): bigint;
  /**
   * The exclusive end of the addresses that follow `address` without a gap: the start of the hole if `address` lies below
   * it, else the end of the space.
   *
   * @throws AddressError as {@link assertIsAddress}
   */
  runEnd(address: A): bigint;
}

/**
 * Makes a kind of address. Give its type a name of its own, so that the compiler keeps it apart from the others. O(1).
 *
 * @throws AddressError `INVALID_KIND`
 * @example
 * ```ts
 * import { type Address, type AddressKind, defineAddressKind, formatAddress } from '@svsm/address';
 *
 * type SysPhysAddr = Address<'sys-phys'>;
 * const SysPhys: AddressKind<SysPhysAddr> = defineAddressKind({
 *   name: 'system-physical',
 *   bits: 52,
 *   signExtended: false,
 * });
 * console.log(formatAddress(SysPhys.address(0x1000))); // => 0x0000000000001000
 * console.log(SysPhys.tryAddress(1n << 52n)); // => undefined
 * ```
 */
export function defineAddressKind<A extends Address>(spec: AddressKindSpec): AddressKind<A> {
  return new Kind<A>(spec);
}

/**
 * Whether `value` is an address kind, of this installed copy of the package or of another. Never throws. O(1).
 */
export function isAddressKind(value: unknown): value is AddressKind<Address> {
  return Kind.made(value) || looksLikeKind(value);
}

/**
 * Narrows `value` to an address kind, or throws. Functions that take a kind check it with this. O(1).
 *
 * @throws AddressError `INVALID_KIND`
 */
export function assertIsAddressKind(value: unknown): asserts value is AddressKind<Address> {
  if (isAddressKind(value)) return;
  const problem = 'pass Virt, Virt57, Phys or a kind that defineAddressKind returned';
  throw new AddressError('INVALID_KIND', { kind: value, problem });
}

const SPACE_64 = 1n << 64n;

class Kind<A extends Address> implements AddressKind<A> {
  static {
    showInConsoles(this, 'AddressKind', ({ name, bits, end, hole }) => ({ name, bits, end, hole }));
  }

  readonly name: string;
  readonly bits: number;
  readonly end: bigint;
  readonly hole: AddressHole | undefined;

  constructor(spec: AddressKindSpec) {
    const { name, bits, signExtended } = checkedSpec(spec);
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

  /** Whether `value` was made by this class. */
  static made(value: unknown): boolean {
    return typeof value === 'object' && value !== null && #runEnd in value;
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

  /** How many valid addresses come before `address`: steps are counted in these. */
  #ordinal(address: A): bigint {
    this.assertIsAddress(address);
    if (this.hole === undefined || address < this.hole.start) return address;
    return address - (this.hole.end - this.hole.start);
  }

  #atOrdinal(ordinal: bigint): A {
    if (this.hole === undefined || ordinal < this.hole.start) return ordinal as A;
    return (ordinal + (this.hole.end - this.hole.start)) as A;
  }

  /** The error for a `value` that is not an address of this kind. Unless `numberAllowed`, every number is refused. */
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

/** Whether `value` behaves as a kind does, such as one that another installed copy of this package made. */
function looksLikeKind(value: unknown): boolean {
  try {
    const kind = value as AddressKind<Address>;
    const isDescribed =
      typeof kind.name === 'string' && Number.isInteger(kind.bits) && typeof kind.end === 'bigint';
    return isDescribed && kind.isAddress(0n) && typeof kind.runEnd(0n as Address) === 'bigint';
  } catch {
    return false;
  }
}
