/** Other allocators of blocks of 2^order pages, by page number, to compare with `PageAllocator`. None of them checks a free. */

/**
 * The algorithm of COCONUT-SVSM's kernel/src/mm/alloc.rs, ported without changes, for orders 0 to 5. Each order has a singly
 * linked list, so removing a buddy walks from the head. Splits and merges mark every page of a block.
 */
export class LinearLists {
  readonly #type: Uint8Array;
  readonly #order: Uint8Array;
  readonly #next: Int32Array;
  readonly #heads = new Int32Array(6).fill(-1);

  constructor(pages: number) {
    this.#type = new Uint8Array(pages);
    this.#order = new Uint8Array(pages);
    this.#next = new Int32Array(pages);
    for (let page = 0; page < pages; page += 32) {
      this.#mark(page, 5);
      this.#push(page, 5);
    }
  }

  allocate(order: number): number {
    let have = order;
    while (have < 6 && this.#heads[have] === -1) have += 1;
    if (have === 6) return -1;
    while (have > order) {
      const page = this.#pop(have);
      have -= 1;
      this.#mark(page, have);
      this.#mark(page + (1 << have), have);
      this.#push(page + (1 << have), have);
      this.#push(page, have);
    }
    const page = this.#pop(order);
    this.#type[page] = 1;
    return page;
  }

  free(page: number): void {
    if (this.#type[page] !== 1) throw new Error('not allocated');
    let head = page;
    let order = this.#order[page]!;
    while (order < 5) {
      const buddy = head ^ (1 << order);
      if (buddy >= this.#type.length || this.#type[buddy] !== 0 || this.#order[buddy] !== order) break;
      this.#unlink(buddy, order);
      head = Math.min(head, buddy);
      order += 1;
      this.#mark(head, order);
    }
    this.#push(head, order);
  }

  #mark(page: number, order: number): void {
    this.#order.fill(order, page, page + (1 << order));
    this.#type.fill(3, page + 1, page + (1 << order));
  }

  #push(page: number, order: number): void {
    this.#type[page] = 0;
    this.#next[page] = this.#heads[order]!;
    this.#heads[order] = page;
  }

  #pop(order: number): number {
    const page = this.#heads[order]!;
    this.#heads[order] = this.#next[page]!;
    return page;
  }

  #unlink(page: number, order: number): void {
    if (this.#heads[order] === page) {
      this.#pop(order);
      return;
    }
    let previous = this.#heads[order]!;
    while (this.#next[previous] !== page) previous = this.#next[previous]!;
    this.#next[previous] = this.#next[page]!;
  }
}

/** The common part of the buddy allocators that merge up to the whole region. Subclasses decide how free blocks are stored. */
abstract class Buddies {
  /** For each page, 0x80 and the order if a free block starts there, or 0x40 and the order if an allocated block does. */
  readonly marks: Uint8Array;
  readonly maxOrder: number;
  /** Bit n is set if a block of order n is free. */
  filled = 0;

  constructor(pages: number) {
    this.marks = new Uint8Array(pages);
    this.maxOrder = Math.log2(pages);
  }

  /** The share of the free pages in blocks of less than `order`. */
  fragmentation(order: number): number {
    let small = 0;
    let all = 0;
    for (const mark of this.marks) {
      if (mark < 0x80) continue;
      const pages = 2 ** (mark & 0x3f);
      all += pages;
      if ((mark & 0x3f) < order) small += pages;
    }
    return small / all;
  }
}

/**
 * Doubly linked lists in one Int32Array, the newest block first, and a byte for each page. At 9 bytes a page, it is about as
 * fast as a buddy allocator can be.
 */
export class BareLists extends Buddies {
  readonly #links: Int32Array;
  readonly #heads = new Int32Array(32).fill(-1);

  constructor(pages: number) {
    super(pages);
    this.#links = new Int32Array(2 * pages);
    this.add(0, this.maxOrder);
  }

  allocate(order: number): number {
    const fitting = this.filled >>> order;
    if (fitting === 0) return -1;
    let have = order + 31 - Math.clz32(fitting & -fitting);
    const page = this.#heads[have]!;
    this.remove(page, have);
    while (have > order) {
      have -= 1;
      this.add(page + (1 << have), have);
    }
    this.marks[page] = 0x40 | order;
    return page;
  }

  free(page: number): void {
    const { marks } = this;
    let order = marks[page]! & 0x3f;
    let head = page;
    marks[page] = 0;
    while (order < this.maxOrder) {
      const buddy = head ^ (1 << order);
      if (marks[buddy] !== (0x80 | order)) break;
      marks[buddy] = 0;
      this.remove(buddy, order);
      head &= buddy;
      order += 1;
    }
    this.add(head, order);
  }

  add(page: number, order: number): void {
    const next = this.#heads[order]!;
    this.#links[2 * page] = next;
    this.#links[2 * page + 1] = -1;
    if (next >= 0) this.#links[2 * next + 1] = page;
    this.#heads[order] = page;
    this.marks[page] = 0x80 | order;
    this.filled |= 1 << order;
  }

  remove(page: number, order: number): void {
    const next = this.#links[2 * page]!;
    const previous = this.#links[2 * page + 1]!;
    if (next >= 0) this.#links[2 * next + 1] = previous;
    if (previous >= 0) this.#links[2 * previous] = next;
    else this.#heads[order] = next;
    if (this.#heads[order]! < 0) this.filled &= ~(1 << order);
  }
}

/** A bitmap for each order, with levels of summary words that cover 32 words each. It takes the block at the lowest address. */
export class LowestFirst extends Buddies {
  /** The words for each order and each level of its bitmap. The last level has one word. */
  readonly #bits: readonly (readonly Int32Array[])[];

  constructor(pages: number) {
    super(pages);
    this.#bits = Array.from({ length: this.maxOrder + 1 }, (_, order) => {
      const levels: Int32Array[] = [];
      let words = pages >> order;
      do {
        words = Math.ceil(words / 32);
        levels.push(new Int32Array(words));
      } while (words > 1);
      return levels;
    });
    this.add(0, this.maxOrder);
  }

  allocate(order: number): number {
    const fitting = this.filled >>> order;
    if (fitting === 0) return -1;
    let have = order + 31 - Math.clz32(fitting & -fitting);
    const levels = this.#bits[have]!;
    let block = 0;
    for (let level = levels.length - 1; level >= 0; level -= 1) {
      const word = levels[level]![block]!;
      block = block * 32 + 31 - Math.clz32(word & -word);
    }
    const page = block << have;
    this.remove(page, have);
    while (have > order) {
      have -= 1;
      this.add(page + (1 << have), have);
    }
    this.marks[page] = 0x40 | order;
    return page;
  }

  free(page: number): void {
    const { marks } = this;
    let order = marks[page]! & 0x3f;
    let head = page;
    marks[page] = 0;
    while (order < this.maxOrder) {
      const buddy = head ^ (1 << order);
      if (marks[buddy] !== (0x80 | order)) break;
      marks[buddy] = 0;
      this.remove(buddy, order);
      head &= buddy;
      order += 1;
    }
    this.add(head, order);
  }

  add(page: number, order: number): void {
    this.marks[page] = 0x80 | order;
    this.filled |= 1 << order;
    let bit = page >> order;
    for (const words of this.#bits[order]!) {
      const before = words[bit >> 5]!;
      words[bit >> 5] = before | (1 << bit);
      if (before !== 0) return;
      bit >>= 5;
    }
  }

  remove(page: number, order: number): void {
    let bit = page >> order;
    for (const words of this.#bits[order]!) {
      const after = words[bit >> 5]! & ~(1 << bit);
      words[bit >> 5] = after;
      if (after !== 0) return;
      bit >>= 5;
    }
    this.filled &= ~(1 << order);
  }
}
