import type { Address } from '@svsm/address';
import type { Block } from './block.ts';
import { BuddyError } from './buddy-error.ts';

/**
 * The reason why the `size` bytes at `address` are not a block that can be freed.
 *
 * @param found - the block that contains `address`
 * @param references - the number of references, if the block is a file page
 */
export function refusalOf<A extends Address>(
  { region: block, order, state, kind }: Block<A>,
  address: A,
  size: bigint,
  references: number,
): BuddyError {
  if ((address & 0xfffn) !== 0n) {
    return new BuddyError('MISALIGNED_ADDRESS', { address, block, order, state });
  }
  if (state === 'free') return new BuddyError('DOUBLE_FREE', { address, block, order });
  if (state === 'reserved') return new BuddyError('RESERVED_PAGE', { address, reserved: block });
  if (kind === 'file') return new BuddyError('FILE_PAGE', { address, references });
  if (kind === 'slab') return new BuddyError('SLAB_PAGE', { address });
  if (kind === 'heap') return new BuddyError('HEAP_BLOCK', { address, block });
  if (address !== block.start) return new BuddyError('BLOCK_TAIL', { address, block, order });
  return new BuddyError('WRONG_SIZE', { freed: { start: address, end: address + size }, block, order });
}
