import { physAddr } from '@svsm/address';
import { getOrder, PageAllocator } from '@svsm/buddy-alloc';
import { physRegion } from '@svsm/memory-region';
import { Svsm } from '@svsm/mm';
import { type MachineEvent, SnpMachine, type ValidatedPages } from '@svsm/sev-snp';
import type { World } from './frame.ts';

const MIB = 1 << 20;
/** Bytes of memory of the machine: the map of the RMP zooms to all of it. */
const MACHINE = 2 ** 40;

/** A world with an SVSM that has booted. */
export interface SvsmWorld extends World {
  readonly heap: PageAllocator<import('@svsm/address').VirtAddr>;
  readonly svsm: Svsm;
  readonly validated: ValidatedPages;
}

/**
 * Launches a guest of 64 MiB in a machine of 1 TiB, boots an SVSM in it, and makes a heap of 4 MiB that two pages of 2 MiB map.
 *
 * @param onEvent - called for each event of the machine
 */
export function svsmWorld(onEvent: (event: MachineEvent) => void): SvsmWorld {
  const machine = new SnpMachine({ memorySize: MACHINE, trace: onEvent });
  const memory = physRegion(physAddr(0), 64 * MIB);
  const guest = machine.hypervisor.launch({ size: memory.size });
  const own = physRegion(physAddr(8 * MIB), 10 * MIB);
  const svsm = Svsm.boot({ guest, memory: [[memory, 'guest']], own });
  const heap = new PageAllocator(svsm.pages.allocatePages(getOrder(4 * MIB)));
  const { vcpu, pageTable: table, tlb } = svsm.thisCpu();
  return { machine, guest, svsm, heap, vcpu, table, tlb, validated: svsm.validated, pages: [] };
}

/** The lines of code that make a {@link svsmWorld}, for a module. */
export const SVSM_WORLD_SOURCE = `const MIB = 1 << 20;
const machine = new SnpMachine({ memorySize: 2 ** 40 });
const { hypervisor } = machine;
const memory = physRegion(physAddr(0), 64 * MIB);
const guest = hypervisor.launch({ size: memory.size });
const svsm = Svsm.boot({ guest, memory: [[memory, 'guest']], own: physRegion(physAddr(8 * MIB), 10 * MIB) });
const heap = new PageAllocator(svsm.pages.allocatePages(getOrder(4 * MIB)));
const { vcpu, pageTable } = svsm.thisCpu();
const { validated } = svsm;`;
