import { PAGE_SIZE, type VirtAddr } from '@svsm/address';
import type { AccessKind } from '@svsm/pagetable';
import type { Vmpl } from '../formats/vmpl.ts';
import { accessBit } from './guest-access.ts';
import type { GuestMmu } from './guest-mmu.ts';
import type { NestedTlb } from './nested-tlb.ts';
import type { GuestContext } from './platform.ts';
import type { DataAccessOptions } from './vcpu-options.ts';

// Memory splits an address into halves: several times faster than shifts of bigints.
const CELL = new BigUint64Array(1);
const HALVES = new Uint32Array(CELL.buffer);

/**
 * The system frame of a private access within one page, if both TLBs allow it; else -1. Most accesses take this path, which
 * makes no bigint and no object. O(1).
 */
export function cachedFrame(
  cpu: { readonly guest: GuestContext; readonly vmpl: Vmpl },
  mmu: GuestMmu,
  nestedTlb: NestedTlb,
  gva: VirtAddr,
  length: number,
  kind: AccessKind,
  options: DataAccessOptions,
): number {
  if (typeof gva !== 'bigint' || !Number.isInteger(length) || length <= 0) return -1;
  // Reading the cell to compare would make a bigint.
  if (gva < 0n || gva > 0xffff_ffff_ffff_ffffn) return -1;
  CELL[0] = gva;
  const low = HALVES[0]!;
  if ((low & 0xfff) + length > PAGE_SIZE) return -1;
  const page = mmu.privatePage(gva, kind, options);
  if (page === undefined) return -1;
  CELL[0] = page.frame;
  const first = HALVES[1]! * 2 ** 20 + (HALVES[0]! >>> 12);
  const frame = first + ((low >>> 12) & (page.size / PAGE_SIZE - 1));
  return nestedTlb.frameOf(cpu.guest, cpu.vmpl, frame, accessBit(kind, true, mmu.cpl));
}
