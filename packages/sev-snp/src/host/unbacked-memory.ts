import { PageSize, Phys, type PhysAddr } from '@svsm/address';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import { isPageTableError } from '@svsm/pagetable';
import type { GuestContext } from '../cpu/platform.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { isSnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { pageRegion } from '../guest/validated-pages.ts';
import type { HostFrames } from '../memory/host-frames.ts';
import type { RmpState } from '../rmp/host-instructions.ts';

/** The memory of one guest that has no system pages, and the largest size of a page that it gets. */
interface Unbacked {
  readonly pages: RegionSet<PhysAddr>;
  readonly pageSize: RmpPageSize;
}

/**
 * The memory of guests that has no system pages: unaccepted memory, before the first page state change of each page, or the first
 * private access to it. On Linux, guest_memfd has it. Memory is O(runs of such pages).
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
   * Backs the page of a private access, as KVM does (Linux `arch/x86/kvm/svm/sev.c`, `sev_gmem_prepare`): the largest page that
   * can be backed gets its system page, and is assigned to the guest, not validated. Returns whether it did. O(log runs).
   *
   * @param rmpupdate - RMPUPDATE of the system page
   */
  backPrivate(
    guest: GuestContext,
    gpa: PhysAddr,
    rmpupdate: (spa: SysPhysAddr, state: RmpState) => RmpResult,
  ): boolean {
    const { asid } = guest;
    for (const pageSize of [PageSize.Huge, PageSize.Regular] as const) {
      const page = (gpa & -BigInt(pageSize)) as PhysAddr;
      const spa = this.back(guest, page, pageSize);
      if (spa === undefined) continue;
      return rmpupdate(spa, { assigned: true, gpa: page, asid, pageSize }) === RmpResult.SUCCESS;
    }
    return false;
  }

  /**
   * Gives a page its system page, maps it, and returns it. The page is the hypervisor's. `undefined`, and nothing has changed, if
   * the page is not unaccepted memory, the hypervisor has no memory left, or parts of the page have system pages already.
   * O(log runs).
   */
  back(guest: GuestContext, gpa: PhysAddr, size: RmpPageSize): SysPhysAddr | undefined {
    const unbacked = this.#guests.get(guest);
    if (unbacked === undefined || unbacked.pages.isEmpty || size > unbacked.pageSize) return undefined;
    const region = pageRegion(gpa, size);
    if (!unbacked.pages.containsRegion(region)) return undefined;
    // The hypervisor can have mapped another page there.
    if (guest.nested.lookup(gpa) !== undefined) return undefined;
    let spa: SysPhysAddr | undefined;
    try {
      spa = this.#frames.allocatePage(size);
      guest.nested.map(gpa, spa, size);
    } catch (error) {
      if (spa !== undefined) this.#frames.freePage(spa, size);
      // The hypervisor can have mapped any other part of 2 MiB too.
      const isRefused = isPageTableError(error, 'OUT_OF_MEMORY') || isPageTableError(error, 'ALREADY_MAPPED');
      if (isRefused || isSnpError(error, 'OUT_OF_MEMORY')) return undefined;
      throw error;
    }
    unbacked.pages.remove(region);
    return spa;
  }
}
