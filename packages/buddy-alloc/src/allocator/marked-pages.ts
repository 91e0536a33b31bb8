import type { Address } from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import type { PageSource } from '../pages/page-source.ts';
import { pageNumberOf } from '../pages/words.ts';
import { HEAP, SLAB } from '../tree/buddy-level.ts';
import type { Callbacks } from './callbacks.ts';
import type { PageSpace } from './page-space.ts';

const MARKS = { slab: SLAB, heap: HEAP } as const;

/** Pages for an allocator of smaller objects: `space` shows them as `kind`, and only the source frees them. O(1). @throws BuddyError `INVALID_OPTION` */
export function markedPages<A extends Address>(
  space: PageSpace<A>,
  callbacks: Callbacks<A> | undefined,
  kind: 'slab' | 'heap',
): PageSource<A> {
  if (kind !== 'slab' && kind !== 'heap') {
    throw new BuddyError('INVALID_OPTION', { option: 'kind', value: kind, expected: "'slab' or 'heap'" });
  }
  return {
    guard: callbacks?.guard,
    allocate: (pages, alignment) => {
      callbacks?.enter('PageSource.allocate');
      const { start } = space.allocateRun(pages, alignment);
      space.setMark(start, MARKS[kind]);
      callbacks?.allocated(start, start);
      return start;
    },
    free: (start) => {
      callbacks?.enter('PageSource.free');
      const freed = callbacks?.toFree(start, undefined, [kind]);
      freeMarked(space, start, kind);
      callbacks?.freed(freed);
    },
  };
}

/**
 * Frees the block or run of this kind that starts at `start`. O(orders) for each of its blocks.
 *
 * @throws BuddyError `WRONG_KIND`, `BLOCK_TAIL`, and what `refusal` returns for pages that are not allocated
 */
function freeMarked<A extends Address>(space: PageSpace<A>, start: A, kind: 'slab' | 'heap'): void {
  const page = typeof start === 'bigint' ? pageNumberOf(start) : -1;
  const block = space.tree.find(page);
  if (block?.start !== page || block.kind !== MARKS[kind]) throw refusal(space, start, kind);
  space.tree.freeRange(space.tree.runAround(block));
}

/** The reason why no block of this kind starts at `address`. */
function refusal<A extends Address>(space: PageSpace<A>, address: A, expected: 'slab' | 'heap'): BuddyError {
  space.kind.assertIsAddress(address);
  const found = space.blockAround(pageNumberOf(address));
  if (found?.kind === undefined) return space.refusal(address);
  const { region: block, order, kind } = found;
  return kind === expected
    ? new BuddyError('BLOCK_TAIL', { address, block, order })
    : new BuddyError('WRONG_KIND', { address, block, kind, expected });
}
