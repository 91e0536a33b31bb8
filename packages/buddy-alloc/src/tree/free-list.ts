/** The number of hints: the most recently added blocks that a list remembers. */
export const HINTS = 64;

// A list is one table. It starts with the hints. Pairs of words follow: a link, and 32 bits, one for each block. The link
// is 0 if the word of bits is not linked, otherwise the index of the next linked word of bits, or LAST. Every word with a
// bit set is linked.
const WORD_BLOCKS = 32;
const LAST = -1;

const NO_WORDS: Int32Array<ArrayBuffer> = /* @__PURE__ */ new Int32Array(0);
const NO_MARKS: Uint8Array<ArrayBuffer> = /* @__PURE__ */ new Uint8Array(0);

/**
 * Finds the free blocks of one order. The marks say which blocks are free; the list only says where to look.
 *
 * A hint names each of the blocks that were added last. It counts only if the mark of its block says free, so a stale hint
 * does no harm. When the hints are full, each valid one becomes a bit, and the word of that bit is linked to the other
 * words with bits, in one direction. A word stays linked until a request reaches it and finds it empty. So most blocks
 * come and go with one write, and no write depends on the rest of the list.
 */
export class FreeList {
  /** The number of free blocks of this order. */
  count = 0;
  /** The number of hints. A hint is the first unit of a block; the words after the last hint are not used. */
  hinted = 0;
  /** The first linked word, or LAST. Every free block is hinted or has its bit set, but not both. */
  first: number = LAST;
  /** The hints, then links and bits. Zeros at first; empty while the level has no units. */
  words: Int32Array<ArrayBuffer> = NO_WORDS;
  /** The marks of the level's units. */
  marks: Uint8Array<ArrayBuffer> = NO_MARKS;
  readonly order: number;
  /** The mark of a free block of this order. */
  readonly mark: number;

  constructor(order: number, mark: number) {
    this.order = order;
    this.mark = mark;
  }

  /** Makes room for the blocks of more units, whose marks are `marks`. O(units). */
  grow(marks: Uint8Array<ArrayBuffer>): void {
    const words = new Int32Array(HINTS + 2 * Math.ceil((marks.length >>> this.order) / WORD_BLOCKS));
    words.set(this.words);
    this.words = words;
    this.marks = marks;
  }

  /** Whether the list can find the free block at `unit`. O(1). */
  knows(unit: number): boolean {
    const block = unit >> this.order;
    if ((this.words[wordOf(block)]! & (1 << block)) !== 0) return true;
    return this.words.subarray(0, this.hinted).includes(unit);
  }

  /** Adds the block at `unit`, which has the mark of a free block. O(1). */
  add(unit: number): void {
    this.count += 1;
    this.words[this.hinted] = unit;
    this.hinted += 1;
    if (this.hinted === HINTS) keepHints(this);
  }

  /** Removes the block at `unit`. The caller changes its mark. O(1). */
  remove(unit: number): void {
    const { words } = this;
    const block = unit >> this.order;
    const word = wordOf(block);
    words[word] = words[word]! & ~(1 << block);
    this.count -= 1;
  }

  /** Removes any block and returns its first unit. The list must not be empty. The caller changes the mark. O(1), amortized. */
  take(): number {
    const { words, marks, mark } = this;
    this.count -= 1;
    for (let hinted = this.hinted - 1; hinted >= 0; hinted -= 1) {
      const unit = words[hinted]!;
      if (marks[unit] === mark) {
        this.hinted = hinted;
        return unit;
      }
    }
    this.hinted = 0;
    return takeLinked(this);
  }
}

/** The first contradiction in `list`, or `undefined`. O(units), whatever the words hold. */
export function freeListProblem(list: FreeList): string | undefined {
  const { words, marks, mark, hinted, first } = list;
  if (!(hinted >= 0 && hinted < HINTS)) return `it has ${hinted} hints`;
  let links = 0;
  for (let word = first; word !== LAST; word = words[word - 1]!) {
    if (word < HINTS || word >= words.length || word % 2 === 0) return `a link leads to ${word}`;
    if (words[word - 1] === 0) return `word ${word} is linked, but has no link`;
    links += 1;
    if (links > words.length) return 'the links go round in a circle';
  }
  const recent = new Set(words.subarray(0, hinted));
  let linked = 0;
  for (let word = HINTS + 1; word < words.length; word += 2) {
    if (words[word - 1] !== 0) linked += 1;
    else if (words[word] !== 0) return `word ${word} has blocks, but is not linked`;
    for (let bits = words[word]!; bits !== 0; bits &= bits - 1) {
      const unit = lowestIn(word, bits) << list.order;
      if (marks[unit] !== mark) return `unit ${unit} has a bit, but is not a free block`;
      if (recent.has(unit)) return `unit ${unit} has a bit, and is hinted`;
    }
  }
  return linked === links ? undefined : `${linked} words have links, ${links} are linked`;
}

// These are functions, not private methods: engines check the receiver of a private method at every call, which costs as
// much as the work itself.

/** Sets the bit of each hinted block that is free, and drops the hints. O(1). */
function keepHints(list: FreeList): void {
  const { words, marks, mark, order } = list;
  for (let hint = 0; hint < HINTS; hint += 1) {
    const unit = words[hint]!;
    if (marks[unit] !== mark) continue;
    const block = unit >> order;
    const word = wordOf(block);
    words[word] = words[word]! | (1 << block);
    if (words[word - 1] !== 0) continue;
    words[word - 1] = list.first;
    list.first = word;
  }
  list.hinted = 0;
}

/** Takes the lowest block of the first linked word that has one, and unlinks the empty words before it. */
function takeLinked(list: FreeList): number {
  const { words, order } = list;
  let word = list.first;
  while (words[word] === 0) {
    const next = words[word - 1]!;
    words[word - 1] = 0;
    word = next;
  }
  list.first = word;
  const bits = words[word]!;
  words[word] = bits & (bits - 1);
  return lowestIn(word, bits) << order;
}

/** The index of the word that has the bit of `block`. */
function wordOf(block: number): number {
  return HINTS + ((block >> 5) << 1) + 1;
}

/** The lowest block whose bit is set in `bits`, the contents of `word`. */
function lowestIn(word: number, bits: number): number {
  return (((word - HINTS) >> 1) << 5) + 31 - Math.clz32(bits & -bits);
}
