import { showInConsoles } from '@svsm/address';
import { refuseArgument, requireInteger } from '../formats/arguments.ts';
import { type GuestFormat, requireFormat } from './guest-format.ts';
import { copyFromGuest, copyToGuest, type GuestMemory, requireGuestMemory } from './guest-memory.ts';

/**
 * A pointer to a value in the guest's memory. Any address of 64 bits is fine: it is judged at each access, before anything is
 * mapped. An access touches each byte once, and works on a copy. Immutable.
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { physRegion } from '@svsm/memory-region';
 * import { GuestPtr, guestFormats, Svsm } from '@svsm/mm';
 * import { SnpMachine } from '@svsm/sev-snp';
 *
 * const { hypervisor } = new SnpMachine({ memorySize: 128 << 20 });
 * const guest = hypervisor.launch({ size: 64 << 20 });
 * const memory = physRegion(physAddr(0), 64 << 20);
 * using svsm = Svsm.boot({ guest, memory: [[memory, 'guest']], own: physRegion(physAddr(0), 16 << 20) });
 *
 * const { u16, u32 } = guestFormats;
 * const header = new GuestPtr(svsm.guestMemory, 0x200_0000n, guestFormats.struct({ count: u16, next: u16, flags: u32 }));
 * console.log(header.write({ count: 3, next: 1, flags: 0 })); // => true
 * console.log(header.read()?.count); // => 3
 * console.log(new GuestPtr(svsm.guestMemory, 2n ** 63n, u32).read()); // => undefined
 * ```
 */
export class GuestPtr<T> {
  static {
    showInConsoles(this, 'GuestPtr', ({ gpa, format }) => ({ gpa, size: format.size }));
  }

  /** The address: it may have more than 64 bits after {@link at}, and then no access is possible. */
  readonly gpa: bigint;
  readonly format: GuestFormat<T>;
  readonly #memory: GuestMemory;

  /** @throws MmError `INVALID_ARGUMENT` */
  constructor(memory: GuestMemory, gpa: bigint, format: GuestFormat<T>) {
    requireGuestMemory(memory);
    if (typeof gpa !== 'bigint') refuseArgument('the address', gpa, 'pass a bigint');
    requireFormat('the format', format as GuestFormat<unknown>);
    this.#memory = memory;
    this.gpa = gpa;
    this.format = format;
  }

  /** The value. `undefined` if a byte cannot be read, as for {@link copyFromGuest}, or the format does not have the bytes. */
  read(): T | undefined {
    if (!this.#isAddress) return undefined;
    const bytes = copyFromGuest(this.#memory, this.gpa, this.format.size);
    return bytes === undefined ? undefined : this.format.decode(bytes);
  }

  /** Writes a value. Returns whether all of it is written, as for {@link copyToGuest}. @throws MmError `INVALID_ARGUMENT` if the value does not fit; the errors of `encode` */
  write(value: T): boolean {
    const bytes = this.format.encode(value);
    return this.#isAddress && copyToGuest(this.#memory, this.gpa, bytes);
  }

  /**
   * The pointer to the value `index` places further.
   *
   * @param index - an integer, also negative
   * @throws MmError `INVALID_ARGUMENT`
   */
  at(index: number): GuestPtr<T> {
    requireInteger('the index', index, Number.MIN_SAFE_INTEGER);
    return new GuestPtr(this.#memory, this.gpa + BigInt(index) * BigInt(this.format.size), this.format);
  }

  /** The pointer to a value of another format at the same address. @throws MmError `INVALID_ARGUMENT` */
  cast<U>(format: GuestFormat<U>): GuestPtr<U> {
    return new GuestPtr(this.#memory, this.gpa, format);
  }

  get #isAddress(): boolean {
    return BigInt.asUintN(64, this.gpa) === this.gpa;
  }
}
