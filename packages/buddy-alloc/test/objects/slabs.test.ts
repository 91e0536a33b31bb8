import { PAGE_SIZE, type VirtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { PageAllocator } from '../../src/index.ts';
import { SlabDirectory } from '../../src/objects/slab-directory.ts';
import { Slabs } from '../../src/objects/slabs.ts';
import { HEAP, heapPages } from '../support/allocators.ts';

const STRIDE = 96;
const SLOTS = 42;

/** A directory that can be made to have no room. */
class FullDirectory extends SlabDirectory {
  isFull = false;

  override set(address: bigint, number: number): void {
    if (this.isFull) throw new RangeError('no room');
    super.set(address, number);
  }
}

function make() {
  const allocator = new PageAllocator(heapPages(0, 64));
  const directory = new FullDirectory(HEAP);
  const source = allocator.pagesFor('slab');
  const slabs = new Slabs({ source, directory, user: 3, stride: STRIDE, keepEmpty: 2, owner: 'SlabCache' });
  return { allocator, directory, slabs };
}

const free = (slabs: Slabs<VirtAddr>, slab: number, slot: number) =>
  slabs.free((HEAP + BigInt(slab * PAGE_SIZE + slot * STRIDE)) as VirtAddr, slab, slot * STRIDE);

/** Slabs 0, 5 and 6 are full, 1 and 3 partial, 2 and 4 empty; 7 and 8 have no page. The spare is in slab 1. */
function sample() {
  const { slabs } = make();
  for (let object = 0; object < 7 * SLOTS; object += 1) slabs.allocate();
  // The first freed object becomes the spare, and stays it.
  for (const slot of [5, 6, 40]) free(slabs, 1, slot);
  for (const slab of [2, 4]) for (let slot = 0; slot < SLOTS; slot += 1) free(slabs, slab, slot);
  for (let slot = 0; slot < SLOTS - 1; slot += 1) free(slabs, 3, slot);
  return slabs;
}

test('the sample is as its comment says', () => {
  const slabs = sample();
  expect(slabs.problem()).toBeUndefined();
  expect([...slabs.used]).toEqual([42, 40, 0, 1, 0, 42, 42, 0, 0]);
  expect([slabs.pages, slabs.empty, slabs.live]).toEqual([7, 2, 166]);
  expect([slabs.spareSlab, slabs.spareOffset]).toEqual([1, 5 * STRIDE]);
  for (const slab of [2, 4]) expect(free(slabs, slab, 0)).toBe(false);
  expect(free(slabs, 1, 5)).toBe(false);
});

/** Whether the table is not read: the links of full slabs, and all but `next` of a number without a page. */
function isUnread(field: string, slab: number): boolean {
  if (slab > 6) return field !== 'next';
  return [0, 5, 6].includes(slab) && (field === 'next' || field === 'previous');
}

describe('a wrong value in any word of the tables is found, or the word is never read', () => {
  const fields = ['bases', 'bits', 'filled', 'used', 'next', 'previous'] as const;
  const counters = [
    'live',
    'pages',
    'empty',
    'partial',
    'emptySlabs',
    'unused',
    'spareSlab',
    'spareOffset',
  ] as const;

  test.each(fields)('%s', (field) => {
    const slabs = sample();
    const table = slabs[field] as unknown as Record<number, number | bigint> & { readonly length: number };
    const isWide = field === 'bases';
    for (let index = 0; index < table.length; index += 1) {
      const right = table[index]!;
      const wrongs = new Set<number | bigint>();
      for (let bit = 0; bit < (isWide ? 64 : 32); bit += 1) {
        wrongs.add(typeof right === 'bigint' ? right ^ (1n << BigInt(bit)) : right ^ (1 << bit));
      }
      // Other bits may be as valid as these, if they are as many.
      if (!isWide && field !== 'bits') for (const wrong of [-1, 0, 1, 100, -(2 ** 31)]) wrongs.add(wrong);
      wrongs.delete(right);
      const slab = field === 'bits' ? index >> 1 : index;
      for (const wrong of wrongs) {
        table[index] = wrong;
        const problem = slabs.problem();
        expect(problem === undefined, `${field}[${index}] = ${wrong}: ${problem}`).toBe(
          isUnread(field, slab),
        );
      }
      table[index] = right;
    }
    expect(slabs.problem()).toBeUndefined();
  });

  test.each(counters)('%s', (counter) => {
    const slabs = sample();
    const right = slabs[counter];
    for (const wrong of [-2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1000, right + 1, right - 1]) {
      if (wrong === right) continue;
      slabs[counter] = wrong;
      expect(slabs.problem(), `${counter} = ${wrong}`).toBeTypeOf('string');
    }
    slabs[counter] = right;
    expect(slabs.problem()).toBeUndefined();
  });

  test('the spare', () => {
    const slabs = sample();
    const { spare } = slabs;
    slabs.spare = ((spare as bigint) + 96n) as VirtAddr;
    expect(slabs.problem()).toBe('slab 1 has a spare that is not its own');
    slabs.spare = undefined;
    expect(slabs.problem()).toBe('slab 1 has a spare without an address');
    slabs.spareSlab = -1;
    // The tables count the spare as used, so now one more object is allocated than the counter says.
    expect(slabs.problem()).toBe('167 objects are allocated, but the counter is 166');
    slabs.spare = spare;
    expect(slabs.problem()).toBeTypeOf('string');
  });
});

test('if the directory has no room for a slab, its page is freed', () => {
  const { allocator, directory, slabs } = make();
  directory.isFull = true;
  expect(() => slabs.allocate()).toThrow('no room');
  expect(allocator.memoryInfo().freePages).toBe(64);
  expect(slabs.problem()).toBeUndefined();
  directory.isFull = false;
  expect(slabs.allocate()).toBe(HEAP);
});
