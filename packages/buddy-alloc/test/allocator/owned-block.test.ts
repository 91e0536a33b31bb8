import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { OwnedBlock, PageAllocator } from '../../src/index.ts';
import { blocksOf, buddyError, heapPages } from '../support/allocators.ts';

test('an owned block is freed at the end of its scope', () => {
  const allocator = new PageAllocator(heapPages(0, 8));
  {
    using block = allocator.own(1);
    expect(block).toBeInstanceOf(OwnedBlock);
    expect(block.region.equals(heapPages(0, 2))).toBe(true);
    expect(block.start).toBe(block.region.start);
    expect(blocksOf(allocator)).toBe('0:1a 2:1f 4:2f');
  }
  expect(blocksOf(allocator)).toBe('0:3f');
});

test('an owned block is freed when an error leaves the scope', () => {
  const allocator = new PageAllocator(heapPages(0, 8));
  expect(() => {
    using _block = allocator.own(0);
    throw new Error('left');
  }).toThrow('left');
  expect(blocksOf(allocator)).toBe('0:3f');
});

test('a released block can neither be used nor released again', () => {
  const allocator = new PageAllocator(heapPages(0, 8));
  const block = allocator.own(0);
  block.release();
  const page = allocator.allocatePage();
  expect(block.isOwned).toBe(false);
  for (const use of [() => block.region, () => block.start, () => block.release(), () => block.leak()]) {
    expect(buddyError('RELEASED_BLOCK', use).details.gone).toBe('released');
  }
  block[Symbol.dispose]();
  expect(allocator.blockOf(page)?.state).toBe('allocated');
});

test('a leaked block stays allocated', () => {
  const allocator = new PageAllocator(heapPages(0, 8));
  const leak = () => {
    using block = allocator.own(2);
    return block.leak();
  };
  const region = leak();
  expect(blocksOf(allocator)).toBe('0:2a 4:2f');
  allocator.freePages(region);
});

test('takeOver passes the block to a new owner, which frees it', () => {
  const allocator = new PageAllocator(heapPages(0, 8));
  const make = () => {
    using block = allocator.own(2);
    const taken = block.takeOver();
    expect(buddyError('RELEASED_BLOCK', () => block.takeOver()).details.gone).toBe('taken over');
    return taken;
  };
  const taken = make();
  expect(taken.isOwned).toBe(true);
  taken.release();
  expect(blocksOf(allocator)).toBe('0:3f');
});

test('allocated blocks and runs can be owned, other pages cannot', () => {
  const allocator = new PageAllocator(heapPages(0, 16));
  const run = allocator.allocateRun(5);
  buddyError('WRONG_SIZE', () => allocator.own(heapPages(0, 8)));
  buddyError('BLOCK_TAIL', () => allocator.own(heapPages(1, 4)));
  buddyError('DOUBLE_FREE', () => allocator.own(heapPages(5, 1)));
  buddyError('INVALID_ORDER', () => allocator.own(9));
  allocator.own(run).release();
  expect(blocksOf(allocator)).toBe('0:4f');
});

test('release throws if someone else has freed the block, and keeps it owned', () => {
  const allocator = new PageAllocator(heapPages(0, 16));
  const block = allocator.own(1);
  allocator.freePages(block.region);
  buddyError('DOUBLE_FREE', () => block.release());
  expect(block.isOwned).toBe(true);
  expect(block.leak().equals(heapPages(0, 2))).toBe(true);
});

test('onLeak gets the blocks of garbage-collected owners that still owned them, and no others', async () => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const leaks: string[] = [];
  const allocator = new PageAllocator(heapPages(0, 16), { onLeak: (block) => leaks.push(String(block)) });
  (() => {
    allocator.own(0);
    allocator.own(1).release();
    allocator.own(2).leak();
  })();
  for (let round = 0; round < 50 && leaks.length === 0; round += 1) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(leaks).toEqual([String(heapPages(0, 1))]);
  expect(allocator.memoryInfo().allocatedPages).toBe(5);
});
