import type { PhysAddr } from '@svsm/address';

/**
 * Where a page table takes the frames of its tables from. Two lines make one of a `PageAllocator<PhysAddr>` of
 * `@svsm/buddy-alloc`.
 */
export interface FrameAllocator {
  /**
   * A frame of 4 KiB that nobody else uses, whatever its bytes: the page table clears it. Throws if there is none left;
   * what it throws becomes the `cause` of `OUT_OF_MEMORY`.
   */
  allocateFrame(): PhysAddr;
  /** Takes back a frame that {@link allocateFrame} gave. */
  freeFrame(frame: PhysAddr): void;
}
