import type { PhysAddr } from '@svsm/address';
import { type GuestPageAccess, pageRegion } from '@svsm/sev-snp';
import type { PerCpu } from './per-cpu.ts';

/**
 * How a processor of the SVSM reaches pages of the guest: each is mapped in the processor's own slot for the time of its use, so
 * nothing of the guest is mapped permanently. Pass it to `SvsmState.on`.
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { physRegion } from '@svsm/memory-region';
 * import { pageAccessOf, Svsm } from '@svsm/mm';
 * import { SnpMachine } from '@svsm/sev-snp';
 *
 * const guest = new SnpMachine({ memorySize: 64 << 20 }).hypervisor.launch({ size: 32 << 20 });
 * const own = physRegion(physAddr(0), 8 << 20);
 * const svsm = Svsm.boot({ guest, memory: [[physRegion(physAddr(0), 32 << 20), 'guest']], own });
 * const core = svsm.state.on(svsm.thisCpu().vcpu, pageAccessOf(svsm.thisCpu()));
 * console.log(core.memory.write(0x90_0000n, Uint8Array.of(1, 2)), core.memory.read(0x90_0001n, 1)); // => 0 Uint8Array(1) [ 2 ]
 * ```
 */
export function pageAccessOf(cpu: PerCpu): GuestPageAccess {
  return (gpa: PhysAddr, size, use) => {
    using guard = cpu.map(pageRegion(gpa, size));
    return use(guard.region.start);
  };
}
