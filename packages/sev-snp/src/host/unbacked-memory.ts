import { Phys, type PhysAddr } from '@svsm/address';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import { isPageTableError } from '@svsm/pagetable';
import type { GuestContext } from '../cpu/platform.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { isSnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { pageRegion } from '../guest/validated-pages.ts';
import type { HostFrames } from '../memory/host-frames.ts';

/** The memory of one guest that has no system pages, and the largest size of a page that it gets. */
interface Unbacked {
  readonly pages: RegionSet<PhysAddr>;
  readonly pageSize: RmpPageSize;
}

/**
 * The memory of guests that has no system pages: unaccepted memory, before the first page state change of each page. On
 * Linux, guest_memfd has it. Memory is O(runs of such pages).
 */
export class UnbackedMemory {
  readonly #frames: HostFrames;
  readonly #guests: WeakMap<GuestContext, Unbacked> = new WeakMap();

  constructor(frames: HostFrames) {
    this.#frames = frames;
  }

  /** Sets the memory of a guest that has no system pages. */
  add(guest: GuestContext, regions: Iterable<MemoryRegion<PhysAddr>>, pageSize: RmpPageSize): void {
    this.#guests.set(guest, { pages: new RegionSet(Phys, regions), pageSize });
  }

  /**
   * Gives a page its system page, and maps it. The page is the hypervisor's. Does nothing if the hypervisor has no memory
   * left, or if parts of the page have system pages already. O(log runs).
   */
  back(guest: GuestContext, gpa: PhysAddr, size: RmpPageSize): void {
    const unbacked = this.#guests.get(guest);
    const region = pageRegion(gpa, size);
    if (unbacked === undefined || size > unbacked.pageSize || !unbacked.pages.containsRegion(region)) return;
    // The hypervisor can have mapped another page there.
    if (guest.nested.lookup(gpa) !== undefined) return;
    let spa: SysPhysAddr | undefined;
    try {
      spa = this.#frames.allocatePage(size);
      guest.nested.map(gpa, spa, size);
    } catch (error) {
      if (spa !== undefined) this.#frames.freePage(spa, size);
      // The hypervisor can have mapped any other part of 2 MiB too.
      const isRefused = isPageTableError(error, 'OUT_OF_MEMORY') || isPageTableError(error, 'ALREADY_MAPPED');
      if (isRefused || isSnpError(error, 'OUT_OF_MEMORY')) return;
      throw error;
    }
    unbacked.pages.remove(region);
  }
}
