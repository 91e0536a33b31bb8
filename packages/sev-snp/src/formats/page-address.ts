import type { Address } from '@svsm/address';
import { isRegionError, type PageCursor, pageAddress } from '@svsm/memory-region';

/**
 * The address of a page that is an address or a cursor. It is read once, at the head of an operation: the cursor may move later.
 * Any other value is returned as it is, for the check that refuses it.
 *
 * @throws RegionError `NOT_ON_PAGE`
 */
export function addressOf<A extends Address>(page: A | PageCursor<A>): A {
  if (typeof page === 'bigint') return page;
  try {
    return pageAddress(page);
  } catch (error) {
    if (isRegionError(error, 'NOT_ON_PAGE')) throw error;
    return page as unknown as A;
  }
}
