import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { getOrder, PageAllocator } from '@svsm/buddy-alloc';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { Svsm } from '@svsm/mm';
import { type MachineEvent, SnpMachine, type SysPhysAddr } from '@svsm/sev-snp';

const MIB = 1 << 20;

/** An SVSM after its boot, and the machine around it. */
export type World = ReturnType<typeof bootWorld>;

/** Launches a guest of 64 MiB, private and validated, and boots an SVSM in it. */
export function bootWorld() {
  const events: MachineEvent[] = [];
  const machine = new SnpMachine({ memorySize: 128 * MIB, trace: (event) => events.push(event) });
  const memory = physRegion(physAddr(0), 64 * MIB);
  const guest = machine.hypervisor.launch({ size: memory.size });
  const own = physRegion(physAddr(8 * MIB), 34 * MIB);
  const svsm = Svsm.boot({ guest, memory: [[memory, 'guest']], own });
  // 16 MiB of the SVSM's heap that 2 MiB pages still map.
  const heap = new PageAllocator(svsm.pages.allocatePages(getOrder(16 * MIB)));
  return { machine, guest, svsm, heap, events };
}

/** The system-physical address of the byte at `gva`. */
export function systemAddress({ guest, svsm }: World, gva: VirtAddr): SysPhysAddr {
  const nested = guest.nested.lookup(svsm.virtToPhys(gva));
  if (nested === undefined) throw new Error(`0x${gva.toString(16)} is not mapped`);
  return nested.spa;
}

/** The 2 MiB page that `address` lies in. */
export function largePageOf(address: VirtAddr): VirtAddr {
  return virtAddr(address - (address % BigInt(PAGE_SIZE_2M)));
}

/** The addresses of `count` pages from `address` on. */
export function pagesFrom(address: VirtAddr, count: number): VirtAddr[] {
  return [...virtRegion(address, count * PAGE_SIZE).iterPages(PageSize.Regular)];
}
