import {
  type Address,
  type AddressKind,
  assertIsAddressKind,
  PAGE_SIZE,
  showInConsoles,
} from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import { isIntegerUpTo } from '../pages/integers.ts';
import type { PageMemory } from '../pages/page-memory.ts';

/** A buffer, or an object that has one and may replace it as it grows, such as a `WebAssembly.Memory`. */
export type ByteSource = ArrayBufferLike | { readonly buffer: ArrayBufferLike };

/** The constructor of a view, such as `Float64Array` or `Uint8Array`. */
export interface ViewConstructor<View> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): View;
}

/**
 * Bytes behind addresses, for `PageAllocator` and `HeapAllocator`. Every method is O(1), or O(bytes) if it writes.
 *
 * @example
 * ```ts
 * import { Phys, physAddr } from '@svsm/address';
 * import { ByteMemory, PageAllocator } from '@svsm/buddy-alloc';
 * import { physRegion } from '@svsm/memory-region';
 *
 * // 64 KiB of bytes at addresses from 0x10_0000.
 * const memory = new ByteMemory(Phys, new ArrayBuffer(0x1_0000), physAddr(0x10_0000));
 * const allocator = new PageAllocator(physRegion(physAddr(0x10_0000), 0x1_0000), { memory });
 * const page = allocator.allocateZeroedPage();
 * memory.view(Uint32Array, page, 1)[0] = 7;
 * console.log(memory.bytes(page, 4).join()); // => 7,0,0,0
 * ```
 */
export class ByteMemory<A extends Address> implements PageMemory<A> {
  static {
    showInConsoles(this, 'ByteMemory', ({ origin, byteLength }) => ({ origin, byteLength }));
  }

  readonly #kind: AddressKind<A>;
  readonly #source: ByteSource;
  readonly #origin: A;

  /**
   * @param kind - the kind of the addresses
   * @param source - an `ArrayBuffer`, a `SharedArrayBuffer` or a `WebAssembly.Memory`
   * @param origin - the address of the first byte; 0 for the addresses that a WebAssembly module uses
   * @throws BuddyError `INVALID_OPTION` if `source` has no buffer; AddressError `INVALID_KIND`, or if `origin` is not an
   *   address of this kind
   */
  constructor(kind: AddressKind<A>, source: ByteSource, origin: A) {
    assertIsAddressKind(kind);
    requireSource(source);
    kind.assertIsAddress(origin);
    this.#kind = kind;
    this.#source = source;
    this.#origin = origin;
  }

  /** The address of the first byte. */
  get origin(): A {
    return this.#origin;
  }

  /** The present number of bytes. */
  get byteLength(): number {
    return this.#buffer().byteLength;
  }

  /**
   * Returns a view of `length` bytes at `address`, not a copy. It is valid until the source replaces its buffer.
   *
   * @throws BuddyError `OUTSIDE_MEMORY`; AddressError for an invalid address
   */
  bytes(address: A, length: number): Uint8Array {
    return this.view(Uint8Array, address, length);
  }

  /**
   * Returns a view of `length` elements at `address`, in the byte order of the machine. It is valid as long as for `bytes`.
   *
   * @throws BuddyError `INVALID_OPTION` if `type` does not construct views; `OUTSIDE_MEMORY`, `MISALIGNED_VIEW`; AddressError
   *   for an invalid address
   */
  view<View>(type: ViewConstructor<View>, address: A, length: number): View {
    requireViewConstructor(type);
    this.#kind.assertIsAddress(address);
    const buffer = this.#buffer();
    const offset = Number(address - this.#origin);
    const bytes = typeof length === 'number' ? length * type.BYTES_PER_ELEMENT : NaN;
    if (!isIntegerUpTo(length, buffer.byteLength) || offset < 0 || offset + bytes > buffer.byteLength) {
      const available = Math.max(0, buffer.byteLength - Math.max(0, offset));
      throw new BuddyError('OUTSIDE_MEMORY', { address, bytes, available });
    }
    if (offset % type.BYTES_PER_ELEMENT !== 0) {
      throw new BuddyError('MISALIGNED_VIEW', { address, alignment: type.BYTES_PER_ELEMENT });
    }
    return new type(buffer, offset, length);
  }

  /** Fills the page at `page` with zeros. @throws BuddyError `OUTSIDE_MEMORY`; AddressError for an invalid address */
  clearPage(page: A): void {
    this.bytes(page, PAGE_SIZE).fill(0);
  }

  /** Copies `length` bytes. The two ranges may overlap. @throws BuddyError `OUTSIDE_MEMORY`; AddressError for an invalid address */
  copy(from: A, to: A, length: number): void {
    this.bytes(to, length).set(this.bytes(from, length));
  }

  #buffer(): ArrayBufferLike {
    return 'buffer' in this.#source ? this.#source.buffer : this.#source;
  }
}

/** @throws BuddyError `INVALID_OPTION` unless `type` has the fields of a {@link ViewConstructor} */
export function requireViewConstructor(type: ViewConstructor<unknown>): void {
  if (typeof type === 'function' && type.BYTES_PER_ELEMENT >= 1) return;
  const expected = 'a constructor of views, such as Uint8Array';
  throw new BuddyError('INVALID_OPTION', { option: 'type', value: type, expected });
}

/** @throws BuddyError `INVALID_OPTION` unless `source` is a buffer or has one */
function requireSource(source: ByteSource): void {
  let cause: unknown;
  try {
    if (isBuffer(source) || isBuffer((source as { readonly buffer?: unknown } | null | undefined)?.buffer))
      return;
  } catch (error) {
    cause = error;
  }
  const expected = 'an ArrayBuffer, a SharedArrayBuffer or an object that has one as its `buffer`';
  const options = cause === undefined ? undefined : { cause };
  throw new BuddyError('INVALID_OPTION', { option: 'source', value: source, expected }, options);
}

/** Whether `value` is a buffer, of this realm or of another. */
function isBuffer(value: unknown): boolean {
  const tag = Object.prototype.toString.call(value);
  return tag === '[object ArrayBuffer]' || tag === '[object SharedArrayBuffer]';
}
