import { formatAddress, PAGE_SIZE_1G, type PhysAddr, physAddr } from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import { isMmError, type MemoryKind, renderLayout, Svsm } from '@svsm/mm';
import { type Guest, HostileHypervisor, HypervisorFeature, SnpMachine } from '@svsm/sev-snp';

/** A region of guest-physical memory, as `0x…` texts, with its size in MiB and its purpose. */
export interface MapRow {
  readonly start: string;
  readonly end: string;
  readonly mib: number;
  readonly kind: MemoryKind;
}

/** A step of the boot: its name, what it did, and the instructions and exits of the machine meanwhile, by name. */
interface StepRow {
  readonly step: string;
  readonly text: string;
  readonly events: Readonly<Record<string, number>>;
}

/** The report on the boots. */
export interface StoryReport {
  readonly launched: readonly MapRow[];
  readonly steps: readonly StepRow[];
  readonly map: readonly MapRow[];
  /** The layout of the address space, as text. */
  readonly layout: string;
  readonly cpus: readonly { readonly apicId: number; readonly cr3: string; readonly ghcb: string }[];
  readonly freePages: number;
  readonly totalPages: number;
  readonly validatedMib: number;
  /** Boots that must fail, and their errors. */
  readonly refusals: readonly { readonly what: string; readonly error: string }[];
}

const MIB = 1n << 20n;
const mib = (start: bigint, size: bigint): MemoryRegion<PhysAddr> =>
  physRegion(physAddr(start * MIB), size * MIB);

const LOW = mib(0n, 3072n);
const HIGH = physRegion(physAddr(4n * BigInt(PAGE_SIZE_1G)), 1021n * BigInt(PAGE_SIZE_1G));
/** The code before the SVSM has run in the first 640 KiB. */
const EARLY = physRegion(physAddr(0), 0xa_0000);
const OWN = mib(512n, 64n);
/** The launch has validated the image, and 2 MiB of the heap. */
const MEASURED = mib(512n, 4n);

const MAP: readonly (readonly [MemoryRegion<PhysAddr>, MemoryKind])[] = [
  [physRegion(LOW.start, 0xa_0000), 'guest'],
  [physRegion(physAddr(0xa_0000), 0x6_0000), 'hole'],
  [mib(1n, 1023n), 'guest'],
  [mib(1024n, 2048n), 'guest'],
  [HIGH, 'guest'],
];

/** Boots an SVSM, and tries boots that must fail. */
export function tellStory(): StoryReport {
  const { guest, counts } = launch();
  const options = { guest, memory: MAP, own: OWN, validated: [mib(0n, 2n), MEASURED], early: [EARLY] };
  const steps: StepRow[] = [];
  counts.clear();
  using svsm = Svsm.boot({
    ...options,
    cpus: 4,
    trace: (event) => {
      if (event.type !== 'boot') return;
      steps.push({ step: event.step, text: event.text, events: Object.fromEntries(counts) });
      counts.clear();
    },
  });
  const { freePages, totalPages } = svsm.pages.memoryInfo();
  return {
    launched: MAP.map(rowOf),
    steps,
    map: Array.from(svsm.memoryMap, rowOf),
    layout: renderLayout(svsm.layout),
    cpus: svsm.cpus.map(({ apicId, pageTable, ghcb }) => ({
      apicId,
      cr3: `0x${pageTable.cr3.toString(16)}`,
      ghcb: formatAddress(ghcb.gpa),
    })),
    freePages,
    totalPages,
    validatedMib: Number(svsm.validated.size) / Number(MIB),
    refusals: [
      { what: 'a second SVSM in the guest', error: errorOf(() => Svsm.boot(options)) },
      ...refusedBoots(),
    ],
  };
}

/** Boots in another guest, which fail and are undone, until one works. */
function refusedBoots(): { what: string; error: string }[] {
  const { guest, hypervisor } = launch();
  const options = { guest, memory: MAP, own: OWN, validated: [mib(0n, 2n), MEASURED], early: [EARLY] };
  const requiredFeatures = HypervisorFeature.Snp | HypervisorFeature.RestrictedInjection;
  const missing = errorOf(() => Svsm.boot({ ...options, requiredFeatures }));
  hypervisor.answers = { page: () => ({ info1: 0n, info2: 1n }) };
  const refused = errorOf(() => Svsm.boot(options));
  hypervisor.answers = {};
  const again = errorOf(() => Svsm.boot(options)[Symbol.dispose]());
  return [
    { what: 'a hypervisor without a feature', error: missing },
    { what: 'a hypervisor that refuses page states', error: refused },
    { what: 'the same boot, once it agrees', error: again },
  ];
}

/** A guest of 1 TiB, and a count of the machine's events. */
function launch(): { guest: Guest; hypervisor: HostileHypervisor; counts: Map<string, number> } {
  const counts = new Map<string, number>();
  const machine = new SnpMachine({
    memorySize: 2n ** 41n,
    hypervisor: (it) => new HostileHypervisor(it),
    trace: ({ type }) => counts.set(type, (counts.get(type) ?? 0) + 1),
  });
  const hypervisor = machine.hypervisor as HostileHypervisor;
  const guest = hypervisor.launch({
    memory: [
      { region: mib(0n, 2n), validated: true },
      { region: mib(2n, 510n), validated: false },
      { region: MEASURED, validated: true },
      { region: mib(516n, 2556n), validated: false },
      { region: HIGH, validated: false },
    ],
  });
  return { guest, hypervisor, counts };
}

function rowOf([region, kind]: readonly [MemoryRegion<PhysAddr>, MemoryKind]): MapRow {
  const end = `0x${region.end.toString(16).padStart(16, '0')}`;
  return { start: formatAddress(region.start), end, mib: Number(region.size) / Number(MIB), kind };
}

/** The message of a MmError and of its cause; 'none' if nothing is thrown. */
function errorOf(run: () => void): string {
  try {
    run();
    return 'none';
  } catch (error) {
    if (!isMmError(error)) throw error;
    const cause =
      error.cause instanceof Error && error.code === 'BOOT_FAILED' ? `: ${error.cause.message}` : '';
    return `${error.message}${cause}`;
  }
}
