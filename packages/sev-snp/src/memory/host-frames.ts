import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr } from '@svsm/address';
import type { FrameAllocator } from '@svsm/pagetable';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';

/**
 * The free memory of the hypervisor. Blocks of 2 MiB come from the bottom, single frames from the top, so that guests get
 * whole blocks. The first 2 MiB are for the firmware alone, so that guest-physical and system-physical addresses are never
 * equal by chance.
 */
export class HostFrames implements FrameAllocator {
  #low = BigInt(PAGE_SIZE_2M);
  #high: bigint;
  /** The end of the free frames of the first 2 MiB. Frame 0 stays unused. */
  #firmware = BigInt(PAGE_SIZE_2M);
  readonly #returned: PhysAddr[] = [];

  constructor(size: bigint) {
    this.#high = size;
  }

  /** The number of free bytes that nobody has had. */
  get unused(): bigint {
    return this.#high - this.#low;
  }

  /** A frame. It is system-physical, though `@svsm/pagetable` calls it physical. @throws SnpError `OUT_OF_MEMORY` */
  allocateFrame(): PhysAddr {
    const returned = this.#returned.pop();
    if (returned !== undefined) return returned;
    this.#require(BigInt(PAGE_SIZE));
    this.#high -= BigInt(PAGE_SIZE);
    return this.#high as PhysAddr;
  }

  /** A frame for the firmware: from the first 2 MiB, as long as it has one. @throws SnpError `OUT_OF_MEMORY` */
  allocateFirmwareFrame(): SysPhysAddr {
    if (this.#firmware === BigInt(PAGE_SIZE)) return this.allocateFrame() as bigint as SysPhysAddr;
    this.#firmware -= BigInt(PAGE_SIZE);
    return this.#firmware as SysPhysAddr;
  }

  freeFrame(frame: PhysAddr): void {
    this.#returned.push(frame);
  }

  /** A block of 2 MiB at a multiple of its size. @throws SnpError `OUT_OF_MEMORY` */
  allocateBlock(): SysPhysAddr {
    this.#require(BigInt(PAGE_SIZE_2M));
    const block = this.#low;
    this.#low += BigInt(PAGE_SIZE_2M);
    return block as SysPhysAddr;
  }

  /** `count` consecutive pages of guest memory of one size. O(1). @throws SnpError `OUT_OF_MEMORY` */
  allocatePages(size: RmpPageSize, count: number): SysPhysAddr {
    const bytes = BigInt(count) * BigInt(size);
    this.#require(bytes);
    if (size === PageSize.Huge) this.#low += bytes;
    else this.#high -= bytes;
    return (size === PageSize.Huge ? this.#low - bytes : this.#high) as SysPhysAddr;
  }

  /**
   * Sets frames aside. Returns an allocator that has them, and takes others when they are used up. O(1).
   *
   * @throws SnpError `OUT_OF_MEMORY`
   */
  reserve(count: number): FrameAllocator {
    let next: bigint = this.allocatePages(PageSize.Regular, count);
    const end = next + BigInt(count * PAGE_SIZE);
    return {
      allocateFrame: () => {
        if (next === end) return this.allocateFrame();
        next += BigInt(PAGE_SIZE);
        return (next - BigInt(PAGE_SIZE)) as PhysAddr;
      },
      freeFrame: (frame) => this.freeFrame(frame),
    };
  }

  /** A page of guest memory of either size. @throws SnpError `OUT_OF_MEMORY` */
  allocatePage(size: RmpPageSize): SysPhysAddr {
    return size === PageSize.Huge ? this.allocateBlock() : (this.allocateFrame() as bigint as SysPhysAddr);
  }

  /** Takes back the last page that {@link allocatePage} returned. */
  freePage(spa: SysPhysAddr, size: RmpPageSize): void {
    if (size === PageSize.Huge) this.#low = spa;
    else this.freeFrame(spa as bigint as PhysAddr);
  }

  #require(needed: bigint): void {
    if (this.#high - this.#low < needed) {
      throw new SnpError('OUT_OF_MEMORY', { needed, free: this.#high - this.#low });
    }
  }
}
