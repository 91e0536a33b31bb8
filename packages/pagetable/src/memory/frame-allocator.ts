import type { PhysAddr } from '@svsm/address';

/**
 * The source of frames for the tables of a page table. A `PageAllocator<PhysAddr>` of `@svsm/buddy-alloc` becomes one with
 * two lines.
 */
export interface FrameAllocator {
  /**
   * Returns a frame of 4 KiB that has no other user. Its content does not matter: the page table clears it. Throws if no
   * frame is left; the error becomes the `cause` of `OUT_OF_MEMORY`.
   */
  allocateFrame(): PhysAddr;
  /** Takes back a frame that {@link allocateFrame} returned. */
  freeFrame(frame: PhysAddr): void;
}
