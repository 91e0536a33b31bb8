import type { PhysAddr } from '@svsm/address';

/**
 * The source of frames for the tables of a page table. A `PageAllocator<PhysAddr>` of `@svsm/buddy-alloc` becomes one with
 * two lines.
 *
 * Its methods may use memory and other page tables. They may not call the page table or part that calls them, which throws
 * `BUSY`, and may not change its tables.
 */
export interface FrameAllocator {
  /**
   * Returns a frame of 4 KiB that has no other user. Its content does not matter: the page table clears it. Throws if no
   * frame is left; the error becomes the `cause` of `OUT_OF_MEMORY`.
   */
  allocateFrame(): PhysAddr;
  /**
   * Takes back a frame that {@link allocateFrame} returned. If it throws, the change is in place already: the other frames are
   * given back too, and the operation throws `CALLBACK_FAILED`. An operation that fails for another reason, and gives back
   * the frames that it took, throws that error.
   */
  freeFrame(frame: PhysAddr): void;
}
