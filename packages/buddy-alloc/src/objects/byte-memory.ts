import { type Address, type AddressKind, PAGE_SIZE } from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import { isIntegerUpTo } from '../pages/integers.ts';
import type { PageMemory } from '../pages/page-memory.ts';

/** Bytes: a buffer, or what has one and may replace it when it grows, as a `WebAssembly.Memory` does. */
export type ByteSource = ArrayBufferLike | { readonly buffer: ArrayBufferLike };

/** What makes a view: `Float64Array`, `Uint8Array` and the like. */
export interface ViewConstructor<View> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): View;
}

/** Real bytes behind addresses, for `PageAllocator` and `HeapAllocator`. Every method is O(1), or O(bytes) that it writes. */
export class ByteMemory<A extends Address> implements PageMemory<A> {
  readonly #kind: AddressKind<A>;
  readonly #source: ByteSource;
  readonly #origin: A;

  /**
   * @param kind - what addresses it has
   * @param source - an `ArrayBuffer`, a `SharedArrayBuffer`, a `WebAssembly.Memory`
   * @param origin - the address of the first byte: 0 for the addresses that a WebAssembly module uses
   * @throws AddressError if `origin` is none of this kind
   */
  constructor(kind: AddressKind<A>, source: ByteSource, origin: A) {
    kind.assertIsAddress(origin);
    this.#kind = kind;
    this.#source = source;
    this.#origin = origin;
  }

  /** Bytes that there are now. */
  get byteLength(): number {
    return this.#buffer().byteLength;
  }

  /**
   * The `length` bytes from `address` on, as they are: what is written is written. It ends to be valid when the source
   * replaces its buffer.
   *
   * @throws BuddyError `OUTSIDE_MEMORY`; AddressError if it is no address
   */
  bytes(address: A, length: number): Uint8Array {
    return this.view(Uint8Array, address, length);
  }

  /**
   * `length` elements from `address` on, in the machine's byte order. As `bytes`.
   *
   * @throws BuddyError `OUTSIDE_MEMORY`, `MISALIGNED_VIEW`; AddressError if it is no address
   */
  view<View>(type: ViewConstructor<View>, address: A, length: number): View {
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

  /** Fills a page with zeros. @throws BuddyError `OUTSIDE_MEMORY` */
  clearPage(page: A): void {
    this.bytes(page, PAGE_SIZE).fill(0);
  }

  /** Copies `length` bytes; what overlaps is copied right. @throws BuddyError `OUTSIDE_MEMORY` */
  copy(from: A, to: A, length: number): void {
    this.bytes(to, length).set(this.bytes(from, length));
  }

  #buffer(): ArrayBufferLike {
    return 'buffer' in this.#source ? this.#source.buffer : this.#source;
  }
}
