import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import type { GuestContext } from '../cpu/platform.ts';

/**
 * Maps an address above the virtual top of memory to the page at the same offset from 0, if that page is shared. Returns
 * whether it did.
 */
export function mapSharedAlias({ machine, nested, virtualTom }: GuestContext, gpa: PhysAddr): boolean {
  if (virtualTom === undefined || gpa < virtualTom) return false;
  const page = (gpa & -BigInt(PAGE_SIZE)) as PhysAddr;
  const target = nested.lookup((page - virtualTom) as PhysAddr);
  if (target === undefined || machine.rmp.entry(target.spa)?.assigned === true) return false;
  nested.map(page, target.spa, PageSize.Regular);
  return true;
}
