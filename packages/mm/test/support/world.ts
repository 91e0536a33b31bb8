import { type PhysAddr, physAddr } from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import {
  type Guest,
  HostileHypervisor,
  type MachineEvent,
  NestedTlb,
  SnpMachine,
  type Vcpu,
} from '@svsm/sev-snp';
import type { BootOptions } from '../../src/boot/boot-options.ts';
import { Svsm } from '../../src/boot/svsm.ts';
import { forbidStale, watchedTlb } from './forbid-stale.ts';

export const MIB: number = 1 << 20;

/** A region of physical memory, by start and size in MiB. */
export function mib(start: number, size: number): MemoryRegion<PhysAddr> {
  return physRegion(physAddr(BigInt(start) * BigInt(MIB)), BigInt(size) * BigInt(MIB));
}

/** A machine with a guest, whose hypervisor lies on demand, and TLBs that report each use of a stale translation. */
export interface World {
  readonly machine: SnpMachine;
  readonly hypervisor: HostileHypervisor;
  readonly guest: Guest;
  /** The events that the machine has reported. A test may replace `hook.onEvent` to make an event fail. */
  readonly events: MachineEvent[];
  readonly hook: { onEvent: (event: MachineEvent) => void };
  /** The uses of stale translations: a flush was forgotten. */
  readonly stale: string[];
  readonly options: BootOptions;
}

/** Launches a guest of `size` bytes, 64 MiB if not given, validated, whose SVSM has 8 MiB from 16 MiB on. */
export function launch(
  options: Partial<BootOptions> & {
    readonly levels?: 4 | 5;
    readonly virtualTom?: bigint;
    readonly size?: number;
  } = {},
): World {
  const events: MachineEvent[] = [];
  const stale: string[] = [];
  forbidStale(stale);
  const { levels, virtualTom, size = 64 * MIB, ...boot } = options;
  const hook = { onEvent: (_: MachineEvent): void => {} };
  const machine = new SnpMachine({
    memorySize: 160 * MIB,
    hypervisor: (it) => new HostileHypervisor(it),
    trace: (event) => {
      events.push(event);
      hook.onEvent(event);
    },
  });
  const hypervisor = machine.hypervisor as HostileHypervisor;
  const guest = hypervisor.launch({
    size,
    ...(levels === undefined ? {} : { levels }),
    ...(virtualTom === undefined ? {} : { virtualTom }),
  });
  return {
    machine,
    hypervisor,
    guest,
    events,
    hook,
    stale,
    options: {
      guest,
      memory: [[mib(0, 64), 'guest']],
      own: mib(16, 8),
      createVcpu: () => strictVcpu(guest, stale),
      ...boot,
    },
  };
}

/** A processor whose TLB reports stale uses. */
function strictVcpu(guest: Guest, stale: string[]): Vcpu {
  const tlb = watchedTlb(stale, { levels: guest.paging.levels });
  return guest.createVcpu({ vmpl: 0, tlb, nestedTlb: new NestedTlb() });
}

/** A world with a booted SVSM. */
export function bootWorld(options: Parameters<typeof launch>[0] = {}): World & { readonly svsm: Svsm } {
  const world = launch(options);
  return Object.assign(world, { svsm: Svsm.boot(world.options) });
}
