import type { Address, AddressKind } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { BuddyError } from '../pages/buddy-error.ts';
import { requireMethods } from '../pages/options.ts';
import type { AllocatorSnapshot, SnapshotBlock, SnapshotRange } from '../pages/snapshot.ts';

/** The parts of a snapshot from which `PageAllocator.restore` makes an allocator. */
export interface SnapshotOptions<A extends Address> {
  readonly maxOrder: number;
  readonly space: MemoryRegion<A>;
  readonly regions: readonly MemoryRegion<A>[];
  readonly reserved: readonly MemoryRegion<A>[];
}

/**
 * Reads a snapshot, any value, once: the options of its allocator, and its blocks. O(blocks).
 *
 * @throws BuddyError `INVALID_OPTION` if it is not a snapshot; AddressError and RegionError if a bound is not valid
 */
export function readSnapshot<A extends Address>(
  kind: AddressKind<A>,
  snapshot: AllocatorSnapshot,
): [options: SnapshotOptions<A>, blocks: readonly SnapshotBlock[]] {
  requireMethods('kind', kind, 'assertIsAddress', 'isAddress', 'runEnd');
  const bounds = ({ start, end }: SnapshotRange): SnapshotRange => ({ start, end });
  let read: AllocatorSnapshot;
  try {
    read = {
      maxOrder: snapshot.maxOrder,
      space: bounds(snapshot.space),
      regions: listIn(snapshot.regions).map(bounds),
      reserved: listIn(snapshot.reserved).map(bounds),
      blocks: listIn(snapshot.blocks).map((block) => ({
        ...bounds(block),
        kind: block.kind,
        references: block.references,
      })),
    };
  } catch (cause) {
    const details = { option: 'snapshot', value: snapshot, expected: 'a snapshot of an allocator' };
    throw new BuddyError('INVALID_OPTION', details, { cause });
  }
  // An allocator takes `undefined` for its default.
  if (read.maxOrder === undefined) throw new BuddyError('INVALID_MAX_ORDER', { maxOrder: undefined });
  const region = ({ start, end }: SnapshotRange) => MemoryRegion.fromAddresses(kind, start as A, end);
  const { maxOrder, space, regions, reserved, blocks } = read;
  const options = {
    maxOrder,
    space: region(space),
    regions: regions.map(region),
    reserved: reserved.map(region),
  };
  return [options, blocks];
}

/** The items of an array. A snapshot that has anything else at its place is not one. */
function listIn<Item>(list: readonly Item[]): Item[] {
  if (!Array.isArray(list)) throw new TypeError('not an array');
  return [...list];
}
