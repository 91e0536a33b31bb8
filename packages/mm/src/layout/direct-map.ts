import { PAGE_SIZE, Phys, type PhysAddr, showInConsoles, type VirtAddr } from '@svsm/address';
import type { PageAllocator } from '@svsm/buddy-alloc';
import { MemoryRegion } from '@svsm/memory-region';
import type { FrameAllocator } from '@svsm/pagetable';
import { refuseArgument, regionArgument, requireMethods, virtRegionArgument } from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';

/**
 * The direct map of the heap: consecutive virtual addresses for consecutive physical ones. It translates by arithmetic,
 * whatever the page tables say. Every method is O(1).
 *
 * @example
 * ```ts
 * import { physAddr, virtAddr } from '@svsm/address';
 * import { physRegion, virtRegion } from '@svsm/memory-region';
 * import { DirectMap } from '@svsm/mm';
 *
 * const map = new DirectMap(virtRegion(virtAddr(0xffff_ff80_4000_0000n), 0x10_0000), physRegion(physAddr(0x20_0000), 0x10_0000));
 * console.log(map.toPhys(virtAddr(0xffff_ff80_4000_1234n)).toString(16)); // => 201234
 * ```
 */
export class DirectMap {
  static {
    showInConsoles(this, 'DirectMap', ({ virt, phys }) => ({ virt, phys }));
  }

  readonly virt: MemoryRegion<VirtAddr>;
  readonly phys: MemoryRegion<PhysAddr>;

  /** @throws MmError `INVALID_ARGUMENT` unless both regions are whole 4 KiB pages, of the same size */
  constructor(virt: MemoryRegion<VirtAddr>, phys: MemoryRegion<PhysAddr>) {
    const virtPages = virtRegionArgument('the virtual addresses', virt);
    const physPages = regionArgument('the physical addresses', phys, Phys);
    const page = BigInt(PAGE_SIZE);
    const isWhole =
      virtPages.start % page === 0n && physPages.start % page === 0n && virtPages.size % page === 0n;
    if (!isWhole) refuseArgument('the direct map', virtPages, 'pass regions of whole 4 KiB pages');
    if (virtPages.size !== physPages.size)
      refuseArgument('the direct map', virtPages, `pass regions of one size: the other is ${physPages}`);
    this.virt = virtPages;
    this.phys = physPages;
  }

  /** The physical address of a byte of the heap. @throws MmError `INVALID_ARGUMENT`, `NOT_DIRECT_MAPPED` */
  toPhys(vaddr: VirtAddr): PhysAddr {
    const offset = offsetIn(this.virt, vaddr);
    return (this.phys.start + offset) as PhysAddr;
  }

  /** The virtual address of a byte of the heap. @throws MmError `INVALID_ARGUMENT`, `NOT_DIRECT_MAPPED` */
  toVirt(paddr: PhysAddr): VirtAddr {
    const offset = offsetIn(this.phys, paddr);
    return (this.virt.start + offset) as VirtAddr;
  }

  /** The physical addresses of a part of the heap. @throws MmError `INVALID_ARGUMENT`, `NOT_DIRECT_MAPPED` */
  physOf(value: MemoryRegion<VirtAddr>): MemoryRegion<PhysAddr> {
    const region = regionArgument('the region', value, this.virt.kind);
    if (!this.virt.containsRegion(region)) throw notMapped(region.start);
    return new MemoryRegion(
      Phys,
      (this.phys.start + (region.start - this.virt.start)) as PhysAddr,
      region.size,
    );
  }

  /** The virtual addresses of a part of the heap. @throws MmError `INVALID_ARGUMENT`, `NOT_DIRECT_MAPPED` */
  virtOf(value: MemoryRegion<PhysAddr>): MemoryRegion<VirtAddr> {
    const region = regionArgument('the region', value, Phys);
    if (!this.phys.containsRegion(region)) throw notMapped(region.start);
    const start = (this.virt.start + (region.start - this.phys.start)) as VirtAddr;
    return new MemoryRegion(this.virt.kind, start, region.size);
  }

  /** Frames for page tables: pages of an allocator of the heap. @throws MmError `INVALID_ARGUMENT` */
  framesOf(pages: PageAllocator<VirtAddr>): FrameAllocator {
    requireMethods('the allocator', pages, ['allocatePage', 'freePage']);
    return {
      allocateFrame: () => this.toPhys(pages.allocatePage()),
      freeFrame: (frame) => pages.freePage(this.toVirt(frame)),
    };
  }
}

function offsetIn({ start, end }: MemoryRegion<VirtAddr> | MemoryRegion<PhysAddr>, address: bigint): bigint {
  if (typeof address !== 'bigint') refuseArgument('the address', address, 'pass a bigint');
  if (address >= start && address < end) return address - start;
  throw notMapped(address);
}

function notMapped(address: bigint): MmError<'NOT_DIRECT_MAPPED'> {
  return new MmError('NOT_DIRECT_MAPPED', { address });
}
