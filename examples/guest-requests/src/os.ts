import {
  PAGE_SIZE,
  PAGE_SIZE_2M,
  PageSize,
  type PhysAddr,
  physAddr,
  type VirtAddr,
  virtAddr,
} from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import {
  type CallingArea,
  Ghcb,
  NestedTlb,
  type PageOperation,
  pscEntriesOf,
  pvalidateBySvsm,
  requestPageStates,
  type SvsmListEntry,
  svsmValidator,
  type Vcpu,
  Vmpl,
} from '@svsm/sev-snp';
import { IMAGE, type World } from './world.ts';

/** The kernel of the guest at VMPL2, on one processor. Its page table, calling area and GHCB lie in its image. */
export class Os {
  readonly vcpu: Vcpu;
  readonly #area: CallingArea;
  readonly #ghcb: Ghcb;
  readonly #table: PageTable;

  constructor({ guest, svsm }: World) {
    this.vcpu = guest.createVcpu({ vmpl: Vmpl.Vmpl2, tlb: new Tlb(), nestedTlb: new NestedTlb() });
    let next: bigint = IMAGE.start;
    const takePage = (): PhysAddr => {
      next += BigInt(PAGE_SIZE);
      return physAddr(next);
    };
    const frames = { allocateFrame: takePage, freeFrame: () => {} };
    this.#table = PageTable.create({ memory: this.vcpu.memory, frames, config: guest.paging });
    this.#table.map2m(virtAddr(IMAGE.start), IMAGE.start, PtePreset.Data);
    this.vcpu.loadCr3(this.#table.cr3);
    const gpa = takePage();
    this.#area = { gva: virtAddr(gpa), gpa };
    svsm.service.register(this.vcpu, gpa);
    const validator = svsmValidator(this.#area);
    this.#ghcb = Ghcb.create(this.vcpu, this.#table, virtAddr(takePage()), { validator });
  }

  /** Asks the hypervisor to change the state of a region, in pages of 2 MiB. Returns the number of exits. */
  changeState(region: MemoryRegion<PhysAddr>, operation: PageOperation): number {
    return requestPageStates(this.#ghcb, pscEntriesOf(region, operation));
  }

  /** Asks the SVSM to validate a region in pages of 2 MiB, or to rescind that. A call that is INCOMPLETE is repeated. */
  pvalidate(region: MemoryRegion<PhysAddr>, validate: boolean): void {
    this.call(Array.from(region.iterPages(PAGE_SIZE_2M), (gpa) => entryOf(gpa, PageSize.Huge, validate)));
  }

  /** Makes calls with a list. */
  call(entries: readonly SvsmListEntry[]): void {
    pvalidateBySvsm(this.vcpu, this.#area, entries);
  }

  /** Maps a page of 2 MiB at the address that it has. */
  map(gpa: PhysAddr): VirtAddr {
    const gva = virtAddr(gpa);
    this.#table.map2m(gva, gpa, PtePreset.Data);
    return gva;
  }
}

/** An entry of a list for the SVSM. */
export function entryOf(gpa: PhysAddr, pageSize: PageSize, validate: boolean): SvsmListEntry {
  return { gpa, size: pageSize === PageSize.Huge ? 1 : 0, validate, ignoreUnchanged: false, reserved: 0 };
}
