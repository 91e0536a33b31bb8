import { PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import { type MappedPage, PteFlags } from '@svsm/pagetable';

/** An address without paging: it is the guest-physical address, and the access is private (AMD64 APM vol. 2, §15.34.5). */
export function physicalPage(linear: VirtAddr): MappedPage {
  const paddr = linear as bigint as PhysAddr;
  const { Present, Writable, User, Accessed, Dirty } = PteFlags;
  return {
    size: PageSize.Regular,
    frame: (paddr & -BigInt(PageSize.Regular)) as PhysAddr,
    paddr,
    shared: false,
    flags: Present | Writable | User | Accessed | Dirty,
    writable: true,
    user: true,
    executable: true,
    shadowStack: false,
  };
}

/** The offset of an address in its page. Constants: to make a bigint of each size takes longer than the rest. */
export function offsetIn(gva: VirtAddr, size: PageSize): bigint {
  if (size === PageSize.Regular) return gva & 0xfffn;
  return gva & (size === PageSize.Huge ? 0x1f_ffffn : 0x3fff_ffffn);
}
