/** Corrupts the tables of an allocator, one word at a time. */
import { expect } from 'vitest';
import { isBuddyError } from '../../src/index.ts';
import type { PageRange } from '../../src/pages/page-range.ts';
import { ALLOCATED, FILE, FREE, HEAP, KIND, ORDER, REST, RUN, SLAB } from '../../src/tree/buddy-level.ts';
import { BuddyTree } from '../../src/tree/buddy-tree.ts';
import { checkTree } from '../../src/tree/check-tree.ts';

/** A word of the tables. */
export interface Word {
  readonly name: string;
  readonly bits: number;
  get(): number | bigint;
  set(value: number | bigint): void;
}

/** A tree, and the pages of its range that are in no block. */
export interface Sample {
  readonly tree: BuddyTree;
  readonly absent: readonly PageRange[];
}

/** Pages 7 to 4999, in two nodes of level 0: some are reserved, some free, some in blocks and runs of several orders. */
export function smallSample(): Sample {
  const tree = new BuddyTree({ start: 7, end: 5000 });
  tree.addFreeRange({ start: 7, end: 1000 });
  tree.addFreeRange({ start: 1010, end: 5000 });
  for (const order of [0, 0, 3, 1, 9, 10]) tree.allocate(order);
  tree.takeRange({ start: 500, end: 511 }, RUN, REST, 12);
  // Every fourth page, so that the free lists are long.
  for (let page = 520; page < 800; page += 4)
    tree.takeRange({ start: page, end: page + 1 }, ALLOCATED, REST, 12);
  return { tree, absent: [{ start: 1000, end: 1010 }] };
}

/** A page in each of ten nodes, one of which has been closed again. The tables have room for two more nodes. */
export function wideSample(): Sample {
  const tree = new BuddyTree({ start: 0, end: 16 * 1024 });
  tree.addFreeRange(tree.range);
  for (let node = 0; node < 9; node += 1) {
    tree.takeRange({ start: node * 1024, end: node * 1024 + 1 }, ALLOCATED, REST, 14);
  }
  tree.freeRange({ start: 4096, end: 4097 });
  return { tree, absent: [] };
}

/** Fields that are fixed when a table is created. */
const CONSTANTS = new Set(['unitOrder', 'maxOrder', 'parent']);

/** Every word of every table of the tree, and every number next to them. */
function wordsOf(tree: BuddyTree): Word[] {
  const words: Word[] = [];
  const seen = new Set<unknown>();
  const collect = (where: string, holder: object) => {
    for (const key of Object.keys(holder).filter((key) => !CONSTANTS.has(key))) {
      const value: unknown = holder[key as keyof typeof holder];
      const numbers = holder as Record<string, number | bigint>;
      if (typeof value === 'number') {
        words.push({
          name: `${where}.${key}`,
          bits: 32,
          get: () => numbers[key] as number,
          set: (value) => {
            numbers[key] = value;
          },
        });
      } else if (ArrayBuffer.isView(value) && !seen.has(value)) {
        seen.add(value);
        const table = value as unknown as Record<number, number | bigint> & Int32Array;
        for (let index = 0; index < table.length; index += 1) {
          words.push({
            name: `${where}.${key}[${index}]`,
            bits: 8 * table.BYTES_PER_ELEMENT,
            get: () => table[index] as number | bigint,
            set: (value) => {
              table[index] = value as number;
            },
          });
        }
      }
    }
  };
  for (const [index, level] of tree.levels.entries()) collect(`level ${index}`, level);
  return words;
}

/** `value` with one bit flipped, and extreme values. */
function* wrongValues(value: number | bigint, bits: number, flips: number): Generator<number | bigint> {
  if (typeof value === 'bigint') {
    for (let bit = 0n; bit < BigInt(bits); bit += 1n) yield value ^ (1n << bit);
    yield* [0n, 2n ** 64n - 1n].filter((other) => other !== value);
    return;
  }
  const seen = new Set<number>([value]);
  // For long tables, the flips are spread over the bits.
  for (let flip = 0; flip < bits; flip += Math.ceil(bits / flips)) {
    seen.add(bits === 8 ? value ^ (1 << flip) : (value ^ (1 << flip)) | 0);
  }
  if (bits === 8) for (const other of [0, 0xff]) seen.add(other);
  else for (const other of [0, -1, 1, value + 1, value - 1, 2 ** 31 - 1, -(2 ** 31)]) seen.add(other | 0);
  seen.delete(value);
  yield* seen;
}

/**
 * The future behaviour of an allocator: it allocates all free pages in many sizes and frees them again. `text` has the
 * results, `end` the final state.
 */
function futureOf({ tree, absent }: Sample): { text: string; end: string } {
  const blocks: bigint[] = [];
  let text = '';
  for (let round = 0; round < 6000; round += 1) {
    const order = [0, 1, 0, 4, 0, 9, 10, 2][round % 8]!;
    const block = order <= tree.maxOrder ? tree.allocate(order) : undefined;
    text += `${block} `;
    if (block !== undefined) blocks.push(block);
  }
  for (let index = 0; index < blocks.length; index += 1) {
    text += tree.free(blocks[(index * 7919) % blocks.length]!, undefined);
  }
  checkTree(tree, absent);
  let end = '';
  for (let page = tree.range.start; page < tree.range.end; ) {
    const block = tree.find(page);
    end += ` ${page}:${block?.order}:${block?.kind}`;
    page += 2 ** (block?.order ?? 0);
  }
  return { text, end };
}

/**
 * Whether a mark has become the mark of an allocated block of the same order but another kind. Only the mark holds the
 * kind, so this is a valid state, too.
 */
function isOtherState(name: string, right: number, wrong: number): boolean {
  const isAllocated = (mark: number) => [ALLOCATED, RUN, REST, FILE, SLAB, HEAP].includes(mark & KIND);
  return (
    /\.marks\[/.test(name) && isAllocated(right) && isAllocated(wrong) && (right & ORDER) === (wrong & ORDER)
  );
}

/**
 * Corrupts every word of a sample in turn. Each time, `checkTree` ends. Either it finds the corruption, or the word does not
 * matter: the tree behaves the same from then on. Returns the number of wrong values found, and the words in which some were
 * not.
 *
 * @param isChosen - selects the words to corrupt
 * @param flips - the most bits of a word to flip, in addition to the extreme values
 */
export function corruptEveryWord(
  make: () => Sample,
  isChosen: (word: Word, index: number) => boolean,
  flips: number,
): { found: number; harmless: string[] } {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  let found = 0;
  const harmless: string[] = [];
  const sample = make();
  const names = wordsOf(sample.tree).filter(isChosen);
  let future: ReturnType<typeof futureOf> | undefined;
  try {
    for (const word of names) {
      const right = word.get();
      for (const wrong of wrongValues(right, word.bits, flips)) {
        word.set(wrong);
        let caught: unknown;
        try {
          checkTree(sample.tree, sample.absent);
        } catch (error) {
          caught = error;
        }
        word.set(right);
        if (caught !== undefined) {
          if (!isBuddyError(caught, 'BROKEN_INVARIANT')) {
            expect.fail(`${word.name} = ${wrong} instead of ${right}: ${caught}`);
          }
          found += 1;
          continue;
        }
        future ??= futureOf(make());
        const other = make();
        const same = wordsOf(other.tree).find(({ name }) => name === word.name) as Word;
        same.set(wrong);
        if (isOtherState(word.name, Number(right), Number(wrong))) continue;
        const { text, end } = futureOf(other);
        const matters = `${word.name} = ${wrong} instead of ${right} matters`;
        expect(end, matters).toBe(future.end);
        expect(text, matters).toBe(future.text);
        harmless.push(word.name);
      }
    }
    checkTree(sample.tree, sample.absent);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  return { found, harmless };
}

/**
 * Checks that only these words may hold anything: the place of nodes that are not open, the owner of a root, the links of a
 * pair of units without a free block, and the link from the first block of a list to the block before.
 */
export function expectUnread(names: readonly string[], { tree }: Sample): void {
  for (const name of names) {
    const [, index, word] = /^level (\d+)\.links\[(\d+)\]$/.exec(name) ?? [];
    const level = tree.levels[Number(index)];
    if (level === undefined) {
      expect(
        /^level 0\.(bases|offsets|owners)\[(9|10)\]$/.test(name) || name === 'level 1.owners[0]',
        name,
      ).toBe(true);
      continue;
    }
    const pair = [Number(word) & -2, Number(word) | 1];
    const block = pair.find((unit) => (level.marks[unit]! & KIND) === FREE);
    if (block === undefined) continue;
    expect([Number(word) % 2, level.heads[level.marks[block]! & ORDER]], name).toEqual([1, block]);
  }
}
