import { PAGE_SIZE, PAGE_SIZE_2M, type PhysAddr } from '@svsm/address';
import type { FrameAllocator } from '@svsm/pagetable';
import { SnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';

/**
 * The hypervisor's free memory: 2 MiB blocks from the bottom up, single frames from the top down, so that guests get
 * whole blocks. The first 2 MiB stay unused, so that no guest's addresses are the machine's by chance.
 */
export class HostFrames implements FrameAllocator {
  #low = BigInt(PAGE_SIZE_2M);
  #high: bigint;
  readonly #returned: PhysAddr[] = [];

  constructor(size: bigint) {
    this.#high = size;
  }

  /** Bytes that are free, in blocks or frames. */
  get free(): bigint {
    return this.#high - this.#low + BigInt(this.#returned.length * PAGE_SIZE);
  }

  /** A frame. The page-table package calls it physical; it is system-physical. */
  allocateFrame(): PhysAddr {
    const returned = this.#returned.pop();
    if (returned !== undefined) return returned;
    this.#require(BigInt(PAGE_SIZE));
    this.#high -= BigInt(PAGE_SIZE);
    return this.#high as PhysAddr;
  }

  freeFrame(frame: PhysAddr): void {
    this.#returned.push(frame);
  }

  /** A block of 2 MiB at a multiple of its size. */
  allocateBlock(): SysPhysAddr {
    this.#require(BigInt(PAGE_SIZE_2M));
    const block = this.#low;
    this.#low += BigInt(PAGE_SIZE_2M);
    return block as SysPhysAddr;
  }

  #require(needed: bigint): void {
    if (this.#high - this.#low < needed) {
      throw new SnpError('OUT_OF_MEMORY', { needed, free: this.#high - this.#low });
    }
  }
}
