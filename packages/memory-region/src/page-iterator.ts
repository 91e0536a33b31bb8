import type { Address } from '@svsm/address';

/**
 * The start addresses of consecutive pages, ascending: an iterator that can also be iterated over, once. It has the type of
 * an array's iterator, so the compiler offers the iterator helpers (`map`, `take`, …) exactly if its library has them.
 */
export type PageIterator<A extends Address> = ReturnType<A[]['values']>;

/**
 * Iterates over `count` pages of `step` bytes from `start` on. `next` is O(1): one bigint addition.
 *
 * @internal
 */
export function pagesFrom<A extends Address>(start: A, count: number, step: number): PageIterator<A> {
  return new AddressIterator(start, count, step);
}

// %IteratorPrototype%. Every runtime has this object, and Node 22 and later have the iterator helpers on it. The global
// `Iterator` is newer.
const IteratorBase = /* @__PURE__ */ (() => {
  function Base(): void {}
  Base.prototype = Object.getPrototypeOf(Object.getPrototypeOf([].values()));
  return Base as unknown as new <A extends Address>() => PageIterator<A>;
})();

class AddressIterator<A extends Address> extends IteratorBase<A> {
  // Counting pages costs less than comparing bigints, and needs no value past the last page, which may end at 2^64.
  #left: number;
  #next: bigint;
  readonly #step: bigint;

  constructor(start: A, count: number, step: number) {
    super();
    this.#next = start;
    this.#left = count;
    this.#step = BigInt(step);
  }

  override next(): IteratorResult<A, undefined> {
    if (this.#left === 0) return { done: true, value: undefined };
    this.#left -= 1;
    const value = this.#next as A;
    this.#next = BigInt.asUintN(64, value + this.#step);
    return { done: false, value };
  }

  override [Symbol.iterator](): this {
    return this;
  }
}
