import {
  PAGE_SIZE,
  PAGE_SIZE_2M,
  PageSize,
  type PhysAddr,
  physAddr,
  type VirtAddr,
  virtAddr,
} from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import { type Guest, type MachineEvent, SnpMachine, type SysPhysAddr, type Vcpu } from '@svsm/sev-snp';

/** A small SVSM after boot, with its surroundings. */
export interface World {
  readonly machine: SnpMachine;
  readonly guest: Guest;
  readonly vcpu: Vcpu;
  /** The SVSM's page table, in its own private memory. */
  readonly pgtable: PageTable;
  readonly tlb: Tlb;
  /** A region of virtual addresses that 2 MiB pages map. */
  readonly heap: MemoryRegion<VirtAddr>;
  readonly allocator: PageAllocator<VirtAddr>;
  /** Instructions and exits, in order. */
  readonly events: MachineEvent[];
  /** The system-physical address of the byte at `gva`. */
  systemAddress(gva: VirtAddr): SysPhysAddr;
}

const GUEST_SIZE = 64 * 1024 * 1024;
const HEAP_START = virtAddr(0xffff_8000_0000_0000n);
const HEAP_SIZE = 16 * 1024 * 1024;
/** Guest-physical: 1 MiB of page tables at 1 MiB, and the heap from 16 MiB on. */
const TABLES = physRegion(physAddr(0x10_0000), 0x10_0000);
const HEAP_FRAMES = physAddr(16 * 1024 * 1024);

/** Launches a guest of 64 MiB, private and validated, with a page table and a heap that 2 MiB pages map. */
export function bootWorld(): World {
  const events: MachineEvent[] = [];
  const machine = new SnpMachine({ memorySize: 2 * GUEST_SIZE, trace: (event) => events.push(event) });
  const guest = machine.hypervisor.launch({ size: GUEST_SIZE });
  const tlb = new Tlb();
  const vcpu = guest.createVcpu({ tlb });

  const tables = new PageAllocator(TABLES);
  const frames = {
    allocateFrame: (): PhysAddr => tables.allocatePage(),
    freeFrame: (frame: PhysAddr): void => tables.freePage(frame),
  };
  const pgtable = PageTable.create({ memory: vcpu.memory, frames, tlb, config: guest.paging });
  const heap = virtRegion(HEAP_START, HEAP_SIZE);
  for (const page of heap.iterPages(PageSize.Huge)) {
    pgtable.map2m(page, physAddr(HEAP_FRAMES + (page - heap.start)), PtePreset.Data);
  }
  vcpu.loadCr3(pgtable.cr3);

  return {
    machine,
    guest,
    vcpu,
    pgtable,
    tlb,
    heap,
    allocator: new PageAllocator(heap),
    events,
    systemAddress: (gva) => {
      const gpa = pgtable.translate(gva);
      const nested = gpa === undefined ? undefined : guest.nested.lookup(gpa);
      if (nested === undefined) throw new Error(`0x${gva.toString(16)} is not mapped`);
      return nested.spa;
    },
  };
}

/** The 2 MiB page that `address` lies in. */
export function largePageOf(address: VirtAddr): VirtAddr {
  return virtAddr(address - (address % BigInt(PAGE_SIZE_2M)));
}

/** The addresses of `count` pages from `address` on. */
export function pagesFrom(address: VirtAddr, count: number): VirtAddr[] {
  return [...virtRegion(address, count * PAGE_SIZE).iterPages(PageSize.Regular)];
}
