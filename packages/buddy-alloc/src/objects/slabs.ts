import { type Address, PAGE_SIZE } from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import { Steps } from '../pages/call-guard.ts';
import type { PageSource } from '../pages/page-source.ts';
import type { SlabDirectory } from './slab-directory.ts';

const NONE = -1;
/** The number of low bits in a number of the directory that name the user of the page. */
export const USER_BITS = 6;
const MAX_SLABS = 2 ** (31 - USER_BITS) - 1;

/** The parameters of {@link Slabs}. */
export interface SlabsSpec<A extends Address> {
  readonly source: PageSource<A>;
  readonly directory: SlabDirectory;
  /** The number of this user of the directory, 0 to 63. */
  readonly user: number;
  /** Bytes from one object to the next: 8 to 4096. */
  readonly stride: number;
  /** The number of empty pages to keep. */
  readonly keepEmpty: number;
  /** The class whose operations `CALLBACK_FAILED` names. */
  readonly owner: 'SlabCache' | 'HeapAllocator';
}

/**
 * Objects of one size in pages. A slab is a page. It has a bit for each object, set if the object is free, in up to 16
 * words, and one more word that tells which of them have a bit set. So two bit scans find a free object, and one bit finds a
 * double free. Slabs with both free and used objects are in one linked list, empty slabs in another, full slabs in none.
 *
 * The spare is one free object whose address is at hand: it was freed last and is allocated next. In the tables it counts as
 * used, so its slab never counts as empty.
 */
export class Slabs<A extends Address> {
  readonly stride: number;
  /** Objects in a slab. */
  readonly slots: number;
  /** Allocated objects. */
  live = 0;
  /** Pages that are slabs, and the number of empty ones. */
  pages = 0;
  empty = 0;
  readonly #source: PageSource<A>;
  readonly #directory: SlabDirectory;
  readonly #user: number;
  readonly #keepEmpty: number;
  readonly #words: number;
  readonly #owner: SlabsSpec<A>['owner'];
  // The tables, by the number of the slab: its address, the bits of its objects, the words that have a bit set, the number of
  // used objects, and its links. Numbers without a slab are in the list `unused`, linked by `next`. Only tests of `problem`
  // write to these fields from outside.
  bases: BigUint64Array<ArrayBuffer> = new BigUint64Array(0);
  bits: Int32Array<ArrayBuffer> = new Int32Array(0);
  filled: Int32Array<ArrayBuffer> = new Int32Array(0);
  used: Int32Array<ArrayBuffer> = new Int32Array(0);
  next: Int32Array<ArrayBuffer> = new Int32Array(0);
  previous: Int32Array<ArrayBuffer> = new Int32Array(0);
  partial: number = NONE;
  emptySlabs: number = NONE;
  unused: number = NONE;
  spare: A | undefined;
  spareSlab: number = NONE;
  spareOffset = 0;

  constructor({ source, directory, user, stride, keepEmpty, owner }: SlabsSpec<A>) {
    this.#owner = owner;
    this.stride = stride;
    this.slots = Math.floor(PAGE_SIZE / stride);
    this.#words = Math.ceil(this.slots / 32);
    this.#source = source;
    this.#directory = directory;
    this.#user = user;
    this.#keepEmpty = keepEmpty;
  }

  /** Allocates an object. Returns its address. O(1), amortized; a new slab costs a page. Throws what the source throws. */
  allocate(): A {
    const spare = this.spare;
    if (spare !== undefined) {
      this.spare = undefined;
      this.spareSlab = NONE;
      this.live += 1;
      return spare;
    }
    const slab = this.partial;
    if (slab === NONE) return this.#allocateInNew();
    const filled = this.filled[slab]!;
    const index = 31 - Math.clz32(filled & -filled);
    const word = slab * this.#words + index;
    const bits = this.bits[word]!;
    const rest = bits & (bits - 1);
    this.bits[word] = rest;
    if (rest === 0) {
      const left = filled & (filled - 1);
      this.filled[slab] = left;
      if (left === 0) this.#unlinkPartial(slab);
    }
    this.used[slab] = this.used[slab]! + 1;
    this.live += 1;
    const slot = index * 32 + 31 - Math.clz32(bits & -bits);
    // `imul` makes the product an int32. Only then is the sum compiled to 64-bit arithmetic, which saves 15 ns.
    return BigInt.asUintN(64, this.bases[slab]! + BigInt(Math.imul(slot, this.stride))) as A;
  }

  /** Makes a slab with free objects and allocates the first one. */
  #allocateInNew(): A {
    const steps = new Steps();
    this.#refill(steps);
    const object = this.allocate();
    steps.end(`${this.#owner}.allocate`, object);
    return object;
  }

  /** Frees the object at `address`, which is `offset` in `slab`. Returns `false` if no object is allocated there. O(1). */
  free(address: A, slab: number, offset: number): boolean {
    if (!this.isLive(slab, offset)) return false;
    const used = this.used[slab]!;
    if (this.spareSlab === NONE && used > 1) {
      this.live -= 1;
      this.spare = address;
      this.spareSlab = slab;
      this.spareOffset = offset;
      return true;
    }
    // The spare is freed with the last other object of its slab, so that the empty slab can be freed.
    if (used === 1 || (used === 2 && this.spareSlab === slab)) this.#freeLast(slab, offset);
    else {
      this.live -= 1;
      this.#setFree(slab, offset);
    }
    return true;
  }

  /** Frees the last object of a slab, apart from the spare, and the slab unless it is to be kept. */
  #freeLast(slab: number, offset: number): void {
    // The page is freed first: nothing has changed if that fails.
    const steps = this.empty < this.#keepEmpty ? undefined : this.#freePage(slab);
    this.live -= 1;
    this.#setFree(slab, offset);
    if (this.spareSlab === slab) {
      this.#setFree(slab, this.spareOffset);
      this.spare = undefined;
      this.spareSlab = NONE;
    }
    this.#linkEmpty(slab);
    if (steps === undefined) return;
    this.#drop();
    steps.end(`${this.#owner}.free`);
  }

  /** Whether an object is allocated at `offset` in `slab`. O(1). */
  isLive(slab: number, offset: number): boolean {
    const slot = (offset / this.stride) | 0;
    if (slot * this.stride !== offset || slot >= this.slots) return false;
    if (slab === this.spareSlab && offset === this.spareOffset) return false;
    return (this.bits[slab * this.#words + (slot >> 5)]! & (1 << slot)) === 0;
  }

  /** Frees every empty slab. Each is a step. O(empty slabs · orders). */
  trim(steps: Steps): void {
    while (this.emptySlabs !== NONE) {
      this.#freePage(this.emptySlabs, steps);
      this.#drop();
    }
  }

  /** The first contradiction in the tables, or `undefined`. O(slabs · objects). Ends, whatever they hold. */
  problem(): string | undefined {
    const slabs = this.bases.length;
    const listed = new Uint8Array(slabs);
    const lists = [this.partial, this.emptySlabs, this.unused] as const;
    for (const [index, first] of lists.entries()) {
      let previous = NONE;
      for (let slab = first; slab !== NONE; slab = this.next[slab]!) {
        if (slab < 0 || slab >= slabs || listed[slab] !== 0)
          return `slab ${slab} is in a list twice, or does not exist`;
        if (index < 2 && this.previous[slab] !== previous) return `slab ${slab} does not link back`;
        listed[slab] = index + 1;
        previous = slab;
      }
    }
    let live = 0;
    const count = [0, 0, 0, 0];
    for (let slab = 0; slab < slabs; slab += 1) {
      const list = listed[slab]!;
      count[list]! += 1;
      if (list === 3) continue;
      const used = this.used[slab]!;
      if (list !== (used === 0 ? 2 : used === this.slots ? 0 : 1))
        return `slab ${slab} with ${used} objects is in the wrong list`;
      let free = 0;
      let filled = 0;
      for (let index = 0; index < this.#words; index += 1) {
        const bits = this.bits[slab * this.#words + index]!;
        for (let rest = bits; rest !== 0; rest &= rest - 1) free += 1;
        if (bits !== 0) filled |= 1 << index;
      }
      if (filled !== this.filled[slab])
        return `slab ${slab} has words 0x${filled.toString(16)} filled, and its field is ${this.filled[slab]}`;
      if (free + used !== this.slots)
        return `slab ${slab} has ${used} objects and ${free} free ones of ${this.slots}`;
      live += used;
      const base = this.bases[slab]!;
      if (this.#directory.at(base) !== this.#number(slab) || (base & 0xfffn) !== 0n)
        return `slab ${slab} is not in the directory`;
    }
    const spare = this.#spareProblem();
    if (spare !== undefined) return spare;
    if (this.spare !== undefined) live -= 1;
    if (live !== this.live) return `${live} objects are allocated, but the counter is ${this.live}`;
    if (count[2] !== this.empty) return `${count[2]} slabs are empty, but the counter is ${this.empty}`;
    const pages = slabs - count[3]!;
    return pages === this.pages ? undefined : `there are ${pages} slabs, but the counter is ${this.pages}`;
  }

  #spareProblem(): string | undefined {
    const slab = this.spareSlab;
    if (this.spare === undefined)
      return slab === NONE ? undefined : `slab ${slab} has a spare without an address`;
    const slot = this.spareOffset / this.stride;
    const base = this.bases[slab];
    const bits = this.bits[slab * this.#words + (slot >> 5)] ?? -1;
    const isUsed = (bits & (1 << slot)) === 0 && this.used[slab]! > 1;
    const isThere = base !== undefined && this.spare === base + BigInt(this.spareOffset);
    return isUsed && isThere ? undefined : `slab ${slab} has a spare that is not its own`;
  }

  /** Sets the bit of the object at `offset` in `slab`, which is not set. */
  #setFree(slab: number, offset: number): void {
    const slot = (offset / this.stride) | 0;
    const index = slot >> 5;
    const word = slab * this.#words + index;
    const bits = this.bits[word]!;
    this.bits[word] = bits | (1 << slot);
    this.used[slab] = this.used[slab]! - 1;
    if (bits !== 0) return;
    const filled = this.filled[slab]!;
    this.filled[slab] = filled | (1 << index);
    if (filled === 0) this.#linkPartial(slab);
  }

  /** Makes an empty slab or a new one the first with free objects. Its page is a step. */
  #refill(steps: Steps): void {
    let slab = this.emptySlabs;
    if (slab === NONE) {
      if (this.unused === NONE) this.#grow();
      slab = this.unused;
      const base = steps.run(() => this.#source.allocate(1, PAGE_SIZE));
      try {
        this.#directory.set(base, this.#number(slab));
      } catch (error) {
        // The directory cannot grow, and nothing has been written.
        steps.run(() => this.#source.free(base));
        throw error;
      }
      this.unused = this.next[slab]!;
      this.bases[slab] = base;
      const first = slab * this.#words;
      this.bits.fill(-1, first, first + this.#words);
      if (this.slots % 32 !== 0) this.bits[first + this.#words - 1] = (1 << (this.slots % 32)) - 1;
      this.filled[slab] = 2 ** this.#words - 1;
      this.pages += 1;
    } else {
      this.#unlinkEmpty();
    }
    this.#linkPartial(slab);
  }

  #linkEmpty(slab: number): void {
    // Even a slab of one object, which was full, has been in the list of partial ones since its bit was set.
    this.#unlinkPartial(slab);
    const next = this.emptySlabs;
    this.next[slab] = next;
    this.previous[slab] = NONE;
    if (next !== NONE) this.previous[next] = slab;
    this.emptySlabs = slab;
    this.empty += 1;
  }

  /** Frees the page of a slab, as a step. Returns the steps. */
  #freePage(slab: number, steps: Steps = new Steps()): Steps {
    const base = this.bases[slab] as A;
    steps.run(() => this.#source.free(base));
    return steps;
  }

  /** Drops the first empty slab, whose page has been freed. */
  #drop(): void {
    const slab = this.emptySlabs;
    this.#unlinkEmpty();
    this.#directory.set(this.bases[slab]!, 0);
    this.next[slab] = this.unused;
    this.unused = slab;
    this.pages -= 1;
  }

  #unlinkEmpty(): void {
    const next = this.next[this.emptySlabs]!;
    if (next !== NONE) this.previous[next] = NONE;
    this.emptySlabs = next;
    this.empty -= 1;
  }

  #linkPartial(slab: number): void {
    const next = this.partial;
    this.next[slab] = next;
    this.previous[slab] = NONE;
    if (next !== NONE) this.previous[next] = slab;
    this.partial = slab;
  }

  #unlinkPartial(slab: number): void {
    const next = this.next[slab]!;
    const previous = this.previous[slab]!;
    if (next !== NONE) this.previous[next] = previous;
    if (previous !== NONE) this.next[previous] = next;
    else this.partial = next;
  }

  #number(slab: number): number {
    return ((slab + 1) << USER_BITS) | this.#user;
  }

  #grow(): void {
    const old = this.bases.length;
    if (old === MAX_SLABS) throw new BuddyError('METADATA_FULL', { pages: MAX_SLABS });
    const slabs = Math.min(MAX_SLABS, Math.max(4, old + (old >> 1)));
    const grown = (from: Int32Array<ArrayBuffer>, size: number) => {
      const to = new Int32Array(size);
      to.set(from);
      return to;
    };
    const bases = new BigUint64Array(slabs);
    bases.set(this.bases);
    const bits = grown(this.bits, slabs * this.#words);
    const filled = grown(this.filled, slabs);
    const used = grown(this.used, slabs);
    const next = grown(this.next, slabs);
    const previous = grown(this.previous, slabs);
    // All tables have been allocated. Assigning earlier would leave some grown and some not if one cannot grow.
    this.bases = bases;
    this.bits = bits;
    this.filled = filled;
    this.used = used;
    this.next = next;
    this.previous = previous;
    for (let slab = slabs - 1; slab >= old; slab -= 1) {
      this.next[slab] = this.unused;
      this.unused = slab;
    }
  }
}

/** The number of the slab in a number of the directory. */
export function slabOf(number: number): number {
  return (number >> USER_BITS) - 1;
}
