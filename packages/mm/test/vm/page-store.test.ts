import { PAGE_SIZE, type VirtAddr, virtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { virtRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { type PageContents, pageStore } from '../../src/vm/index.ts';

const HEAP = 0xffff_ff80_4000_0000n;
const setUp = (changes: Partial<PageContents<VirtAddr>> = {}) => {
  const pages = new PageAllocator(virtRegion(virtAddr(HEAP), 8 * PAGE_SIZE));
  const steps: string[] = [];
  const store = pageStore(pages, {
    toPhys: (page) => (page - HEAP) as never,
    fromPhys: (frame) => (frame + HEAP) as never,
    clear: (page) => steps.push(`clear ${page - HEAP}`),
    copy: (from, to) => steps.push(`copy ${from - HEAP} ${to - HEAP}`),
    ...changes,
  });
  return { pages, store, steps };
};

test('pages are cleared or copied, at the addresses of the allocator, and counted', () => {
  const { pages, store, steps } = setUp();
  const first = store.allocate();
  const second = store.copy(first);
  expect(steps).toEqual([`clear ${first}`, `copy ${first} ${second}`]);
  expect(store.reference(first)).toBe(2);
  expect([store.release(first), store.release(first), store.release(second)]).toEqual([1, 0, 0]);
  expect(pages.memoryInfo().freePages).toBe(8);
});

test.each(['clear', 'copy', 'toPhys'] as const)('a page whose %s fails is free again', (method) => {
  const { store: whole, pages } = setUp();
  const page = whole.allocate();
  const failing = pageStore(pages, {
    toPhys: (at) => (at - HEAP) as never,
    fromPhys: (frame) => (frame + HEAP) as never,
    clear: () => {},
    copy: () => {},
    [method]: () => {
      throw new Error(method);
    },
  });
  expect(() => (method === 'copy' ? failing.copy(page) : failing.allocate())).toThrow(method);
  expect(pages.memoryInfo().freePages).toBe(7);
});

test('what is not a page of the store is refused', () => {
  const { store, pages } = setUp();
  const block = pages.allocatePage();
  expect(() => store.reference((block - HEAP) as never)).toThrow('NOT_FILE_PAGE');
  expect(() => pageStore({} as never, {} as never)).toThrow('INVALID_ARGUMENT');
});
