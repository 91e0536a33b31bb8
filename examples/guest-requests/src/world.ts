import { PAGE_SIZE_1G, PAGE_SIZE_2M, type PhysAddr, physAddr } from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import { type MemoryKind, Svsm } from '@svsm/mm';
import { type Guest, HostileHypervisor, SnpMachine, SvsmResult, Vmpl } from '@svsm/sev-snp';

const GIB = BigInt(PAGE_SIZE_1G);
const MIB = 1n << 20n;
const region = (start: bigint, size: bigint): MemoryRegion<PhysAddr> => physRegion(physAddr(start), size);

/** The guest's image, which the launch has validated: page tables, calling area and GHCB lie there. */
export const IMAGE: MemoryRegion<PhysAddr> = region(0n, BigInt(PAGE_SIZE_2M));
/** The SVSM's memory. The launch has validated its image, and 2 MiB of its heap. */
export const OWN: MemoryRegion<PhysAddr> = region(512n * MIB, 64n * MIB);
const MEASURED = region(OWN.start, 4n * MIB);
/** The devices of the machine lie below 4 GiB. */
export const HOLE: MemoryRegion<PhysAddr> = region(3n * GIB, GIB);

/** A machine with a guest whose memory was not accepted at its launch, and the SVSM in it. */
export interface World {
  readonly hypervisor: HostileHypervisor;
  readonly guest: Guest;
  readonly svsm: Svsm;
  /** The memory that the guest has to accept: multiples of 2 MiB. */
  readonly unaccepted: readonly MemoryRegion<PhysAddr>[];
  /** The instructions and exits of the machine so far, by name. */
  readonly events: ReadonlyMap<string, number>;
  /** The calls of the guest so far, and those that were INCOMPLETE. */
  readonly calls: { all: number; incomplete: number };
}

/**
 * Launches a guest, boots an SVSM in it, and gives the guest's image to VMPL2.
 *
 * @param gib - the guest's memory, at least 4 GiB
 */
export function bootWorld(gib: number): World {
  const high = region(4n * GIB, BigInt(gib - 3) * GIB);
  const unaccepted = [region(IMAGE.end, OWN.start - IMAGE.end), region(OWN.end, HOLE.start - OWN.end), high];
  const events = new Map<string, number>();
  const machine = new SnpMachine({
    memorySize: BigInt(gib + 2) * GIB,
    hypervisor: (it) => new HostileHypervisor(it),
    trace: ({ type }) => events.set(type, (events.get(type) ?? 0) + 1),
  });
  const hypervisor = machine.hypervisor as HostileHypervisor;
  const guest = hypervisor.launch({
    memory: [
      { region: IMAGE, validated: true },
      { region: MEASURED, validated: true },
      { region: region(MEASURED.end, OWN.end - MEASURED.end), validated: false },
      ...unaccepted.map((part) => ({ region: part, validated: false })),
    ],
  });
  const memory: (readonly [MemoryRegion<PhysAddr>, MemoryKind])[] = [
    [region(0n, HOLE.start), 'guest'],
    [HOLE, 'hole'],
    [high, 'guest'],
  ];
  const calls = { all: 0, incomplete: 0 };
  const svsm = Svsm.boot({
    guest,
    memory,
    own: OWN,
    validated: [IMAGE, MEASURED],
    trace: (event) => {
      if (event.type !== 'call') return;
      calls.all += 1;
      calls.incomplete += Number(event.result === SvsmResult.Incomplete);
    },
  });
  svsm.launchFirmware([IMAGE], Vmpl.Vmpl2);
  return { hypervisor, guest, svsm, unaccepted, events, calls };
}
