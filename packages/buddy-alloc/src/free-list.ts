const NONE = -1;

// A record describes 64 blocks in four words: two of bits, one for each block that is in the list, then the links
// to the next and the previous record, as indexes of words. The records with a bit set are linked. So a block
// costs two bits, and one that leaves changes its record and the two beside it at most, wherever it is.
const RECORD_BLOCKS = 64;
const RECORD_WORDS = 4;
const NEXT = 2;
const PREVIOUS = 3;

/**
 * The free blocks of one order, by number: a set of integers from 0 up that adds, removes and takes in constant
 * time, however many there are.
 */
export class FreeList {
  /** How many blocks are in the list. */
  count = 0;
  /**
   * A block of the list that is in no record, or −1. Most blocks are split off to be taken next, or freed to be
   * merged next: they get no further than here.
   */
  spare: number = NONE;
  /** The first record, or −1. */
  head: number = NONE;
  /** The records. Zeros mean that none of the blocks is in the list. */
  words: Int32Array<ArrayBuffer> = new Int32Array(0);

  /** Makes room for block numbers below `capacity`. O(capacity). */
  grow(capacity: number): void {
    const words = new Int32Array(Math.ceil(capacity / RECORD_BLOCKS) * RECORD_WORDS);
    words.set(this.words);
    this.words = words;
  }

  /** Whether `block` is in the list. O(1). */
  has(block: number): boolean {
    return block === this.spare || ((this.words[wordOf(block)] as number) & (1 << block)) !== 0;
  }

  /** Adds `block`, which must not be in the list. O(1). */
  add(block: number): void {
    this.count += 1;
    if (this.spare === NONE) this.spare = block;
    else setBit(this, block);
  }

  /** Removes `block`, which must be in the list. O(1). */
  remove(block: number): void {
    this.count -= 1;
    if (this.spare === block) {
      this.spare = NONE;
    } else {
      const word = wordOf(block);
      putBits(this, word, (this.words[word] as number) & ~(1 << block));
    }
  }

  /** Removes a block and returns it; the list must not be empty. O(1). */
  take(): number {
    this.count -= 1;
    const { spare } = this;
    if (spare === NONE) return takeLowest(this);
    this.spare = NONE;
    return spare;
  }
}

/** What is wrong with the links, bits or count of `list`, or `undefined`. O(capacity), whatever the words hold. */
export function freeListProblem(list: FreeList): string | undefined {
  const { words } = list;
  let linked = 0;
  let previous = NONE;
  for (let record = list.head; record !== NONE; record = words[record + NEXT] as number) {
    if (record < 0 || record >= words.length || record % RECORD_WORDS !== 0) {
      return `a link leads to ${record}`;
    }
    if (words[record + PREVIOUS] !== previous) return `record ${record} does not link back to ${previous}`;
    if (words[record] === 0 && words[record + 1] === 0) return `record ${record} is linked, but empty`;
    previous = record;
    linked += 1;
  }
  let filled = 0;
  let blocks = list.spare === NONE ? 0 : 1;
  for (let record = 0; record < words.length; record += RECORD_WORDS) {
    const here = bitCount(words[record] as number) + bitCount(words[record + 1] as number);
    if (here > 0) filled += 1;
    blocks += here;
  }
  if (filled !== linked) return `${filled} records have blocks, ${linked} are linked`;
  if (blocks !== list.count) return `it has ${blocks} blocks, and its count is ${list.count}`;
  return undefined;
}

// Functions and not private methods: engines check the receiver of those at every call, which costs as much again
// as the work.

function setBit(list: FreeList, block: number): void {
  const { words, head } = list;
  const word = wordOf(block);
  const bits = words[word] as number;
  words[word] = bits | (1 << block);
  if ((bits | (words[word ^ 1] as number)) !== 0) return;
  const record = word & ~1;
  words[record + NEXT] = head;
  words[record + PREVIOUS] = NONE;
  if (head !== NONE) words[head + PREVIOUS] = record;
  list.head = record;
}

/** Puts `bits` into `word`, which had one bit more. */
function putBits(list: FreeList, word: number, bits: number): void {
  const { words } = list;
  words[word] = bits;
  if ((bits | (words[word ^ 1] as number)) !== 0) return;
  const record = word & ~1;
  const next = words[record + NEXT] as number;
  const previous = words[record + PREVIOUS] as number;
  if (next !== NONE) words[next + PREVIOUS] = previous;
  if (previous !== NONE) words[previous + NEXT] = next;
  else list.head = next;
}

/** Takes the lowest block of the first record, which there must be. */
function takeLowest(list: FreeList): number {
  let word = list.head;
  if (list.words[word] === 0) word += 1;
  const bits = list.words[word] as number;
  putBits(list, word, bits & (bits - 1));
  return firstOf(word) + 31 - Math.clz32(bits & -bits);
}

function wordOf(block: number): number {
  return ((block >> 6) << 2) + ((block >> 5) & 1);
}

/** The first block of `word`: {@link wordOf} backward. */
function firstOf(word: number): number {
  return ((word >> 2) << 6) + ((word & 1) << 5);
}

function bitCount(bits: number): number {
  let count = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
