import { PAGE_SIZE, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { PageAllocator } from '@svsm/buddy-alloc';
import { MemoryRegion } from '@svsm/memory-region';
import type { FrameAllocator } from '@svsm/pagetable';
import { MmError } from '../formats/mm-error.ts';
import type { DirectMap } from '../layout/direct-map.ts';

/**
 * The frames of page tables. Before there is an allocator, they are the first pages of the heap, one after another, which the
 * launch has validated. {@link handOver} makes them pages of the allocator, which serves all later requests.
 */
export class BootFrames implements FrameAllocator {
  readonly #region: MemoryRegion<PhysAddr>;
  #taken = 0n;
  #after: FrameAllocator | undefined;

  /** @param region - the part of the heap that is validated, from its start on */
  constructor(region: MemoryRegion<PhysAddr>) {
    this.#region = region;
  }

  /** The frames that were taken before {@link handOver}. */
  get taken(): MemoryRegion<PhysAddr> {
    return new MemoryRegion(Phys, this.#region.start, this.#taken);
  }

  /** @throws MmError `INVALID_MEMORY_MAP` if the launch has validated too little of the heap */
  allocateFrame(): PhysAddr {
    if (this.#after !== undefined) return this.#after.allocateFrame();
    if (this.#taken >= this.#region.size)
      throw new MmError('INVALID_MEMORY_MAP', {
        region: String(this.#region),
        problem:
          'is all that the launch has validated of the heap, which is too little for the first page tables',
      });
    const frame = (this.#region.start + this.#taken) as PhysAddr;
    this.#taken += BigInt(PAGE_SIZE);
    return frame;
  }

  /** Before {@link handOver}, a frame that comes back stays taken. */
  freeFrame(frame: PhysAddr): void {
    this.#after?.freeFrame(frame);
  }

  /** Allocates each frame that was taken as a page of `pages`, so that it can be freed like others. */
  handOver(pages: PageAllocator<VirtAddr>, directMap: DirectMap): void {
    for (const frame of this.taken.iterPages(PAGE_SIZE)) {
      const page = new MemoryRegion(directMap.virt.kind, directMap.toVirt(frame), PAGE_SIZE);
      pages.allocateAt(page);
    }
    this.#after = directMap.framesOf(pages);
  }
}
