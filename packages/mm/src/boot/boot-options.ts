import { type Bytes, byteCount, PAGE_SIZE, PAGE_SIZE_2M, Phys, type PhysAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { type Guest, HypervisorFeature, type Vcpu } from '@svsm/sev-snp';
import type { ShootDownOptions } from '../cpu/shoot-down.ts';
import {
  readArgument,
  refuseArgument,
  regionArgument,
  requireBoolean,
  requireFunction,
  requireInstance,
  requireInteger,
  requireIterable,
  requireOptions,
} from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';
import type { MmTrace } from '../formats/mm-event.ts';
import {
  type AddressSpaceLayout,
  addressSpaceLayout,
  COCONUT_LAYOUT,
} from '../layout/address-space-layout.ts';
import type { MemoryMapEntry } from '../layout/memory-map.ts';

/** The parts of the image of an SVSM, in their order: code, what is read-only after the boot, and data. Sizes in bytes. */
export interface ImageSizes {
  /** Mapped for execution. 1 MiB if not given. */
  readonly code?: Bytes;
  /** Written during the boot, and mapped read-only at its end. 64 KiB if not given. */
  readonly readOnlyAfterInit?: Bytes;
  /** Mapped writable. The rest of 2 MiB if not given. */
  readonly data?: Bytes;
}

/** Options of the boot of an SVSM. */
export interface BootOptions {
  readonly guest: Guest;
  /** The memory map of the launch, as `[region, kind]` in any order. The regions of all kinds but `hole` are memory. */
  readonly memory: Iterable<MemoryMapEntry>;
  /** The SVSM's own memory: its image at the start, then its heap. */
  readonly own: MemoryRegion<PhysAddr>;
  /** The parts of the image. 2 MiB in all if not given. */
  readonly image?: ImageSizes;
  /**
   * The memory that the launch has validated: all memory if not given. Of `own`, the image and the first pages of the heap,
   * which hold the first page tables, must be part of it. The boot validates the rest of the heap.
   */
  readonly validated?: Iterable<MemoryRegion<PhysAddr>>;
  /** Memory that only code before this boot has used. The boot invalidates it at its end. None if not given. */
  readonly early?: Iterable<MemoryRegion<PhysAddr>>;
  /** Whether memory starts shared, so that the boot also gives `early` back to the hypervisor. `false` if not given. */
  readonly startsShared?: boolean;
  /** `COCONUT_LAYOUT` if not given, with the levels of the guest's page tables. */
  readonly layout?: AddressSpaceLayout;
  /** The number of processors, whose APIC IDs are 0, 1, …; or their APIC IDs, at least one: 1 if not given. */
  readonly cpus?: number | readonly number[];
  /** An OR of `HypervisorFeature`: SNP, AP creation and several VMPLs if not given. */
  readonly requiredFeatures?: bigint;
  /** The number of entries that one call of the guest may process, as in `SvsmStateOptions`: 128 if not given, then it is INCOMPLETE. */
  readonly entriesPerCall?: number;
  /** Makes the processor with an APIC ID, at VMPL0 and with a `Tlb`. One of `guest.createVcpu` if not given. */
  readonly createVcpu?: (apicId: number) => Vcpu;
  /** How translations are flushed. */
  readonly flush?: Omit<ShootDownOptions, 'trace'>;
  readonly trace?: MmTrace;
}

/** The options with their defaults, checked. */
export interface BootPlan {
  readonly guest: Guest;
  readonly memory: Iterable<MemoryMapEntry>;
  readonly own: MemoryRegion<PhysAddr>;
  /** Bytes of the parts of the image. */
  readonly image: { readonly code: bigint; readonly readOnlyAfterInit: bigint; readonly data: bigint };
  readonly imagePhys: MemoryRegion<PhysAddr>;
  readonly heapPhys: MemoryRegion<PhysAddr>;
  readonly validated: readonly MemoryRegion<PhysAddr>[] | undefined;
  readonly early: readonly MemoryRegion<PhysAddr>[];
  readonly startsShared: boolean;
  readonly layout: AddressSpaceLayout;
  readonly apicIds: readonly number[];
  readonly requiredFeatures: bigint;
  readonly entriesPerCall: number;
  readonly createVcpu: ((apicId: number) => Vcpu) | undefined;
  readonly flush: Omit<ShootDownOptions, 'trace'>;
  readonly trace: MmTrace | undefined;
}

const OPTIONS: readonly (keyof BootOptions)[] = [
  'guest',
  'memory',
  'own',
  'image',
  'validated',
  'early',
  'startsShared',
  'layout',
  'cpus',
  'requiredFeatures',
  'entriesPerCall',
  'createVcpu',
  'flush',
  'trace',
];

/** The features without which an SVSM cannot run. */
const REQUIRED = HypervisorFeature.Snp | HypervisorFeature.ApCreation | HypervisorFeature.MultiVmpl;

/** @throws MmError `INVALID_ARGUMENT`, `INVALID_MEMORY_MAP`, `INVALID_LAYOUT`, `OUTSIDE_LAYOUT` */
export function planOf(options: BootOptions): BootPlan {
  requireOptions('options', options, OPTIONS);
  const { guest, memory, startsShared = false, cpus = 1, createVcpu, trace, flush = {} } = options;
  requireInstance('the guest', guest, 'Guest');
  requireIterable('the memory map', memory);
  requireBoolean('startsShared', startsShared);
  if (createVcpu !== undefined) requireFunction('createVcpu', createVcpu);
  if (trace !== undefined) requireFunction('trace', trace);
  const own = regionOf('own', options.own);
  const image = imageOf(options.image);
  const imageSize = image.code + image.readOnlyAfterInit + image.data;
  if (own.size <= imageSize)
    throw new MmError('INVALID_MEMORY_MAP', {
      region: String(own),
      problem: `has no room for a heap after the image of ${imageSize} bytes`,
    });
  const heapStart = (own.start + imageSize) as PhysAddr;
  const plan: BootPlan = {
    guest,
    memory,
    own,
    image,
    imagePhys: new MemoryRegion(Phys, own.start, imageSize),
    heapPhys: MemoryRegion.fromAddresses(Phys, heapStart, own.end),
    validated: options.validated === undefined ? undefined : regionsOf('validated', options.validated),
    early: regionsOf('early', options.early ?? []),
    startsShared,
    layout: layoutFor(guest, options.layout),
    apicIds: apicIdsOf(cpus),
    requiredFeatures: options.requiredFeatures ?? REQUIRED,
    entriesPerCall: options.entriesPerCall ?? 128,
    createVcpu,
    flush,
    trace,
  };
  requireFit(plan);
  return plan;
}

function regionOf(what: string, value: MemoryRegion<PhysAddr>): MemoryRegion<PhysAddr> {
  const region = regionArgument(what, value, Phys);
  const page = BigInt(PAGE_SIZE);
  if (region.isEmpty || region.start % page !== 0n || region.size % page !== 0n)
    throw new MmError('INVALID_MEMORY_MAP', {
      region: String(region),
      problem: 'is not made of whole 4 KiB pages',
    });
  return region;
}

function regionsOf(what: string, value: Iterable<MemoryRegion<PhysAddr>>): MemoryRegion<PhysAddr>[] {
  requireIterable(what, value);
  return Array.from(value, (region) => regionOf(what, region));
}

function imageOf(sizes: ImageSizes = {}): BootPlan['image'] {
  requireOptions('image', sizes, ['code', 'readOnlyAfterInit', 'data']);
  const bytes = (what: string, value: Bytes): bigint => {
    const size = readArgument(what, value, 'pass a number of bytes', () => byteCount(value));
    if (size % BigInt(PAGE_SIZE) !== 0n) refuseArgument(what, value, 'pass a multiple of 4096');
    return size;
  };
  const code = bytes('image.code', sizes.code ?? 1 << 20);
  const readOnlyAfterInit = bytes('image.readOnlyAfterInit', sizes.readOnlyAfterInit ?? 1 << 16);
  const rest = BigInt(PAGE_SIZE_2M) - code - readOnlyAfterInit;
  const data = bytes('image.data', sizes.data ?? (rest > 0n ? rest : 0n));
  return Object.freeze({ code, readOnlyAfterInit, data });
}

function layoutFor(guest: Guest, given: AddressSpaceLayout | undefined): AddressSpaceLayout {
  const { levels } = guest.paging;
  if (given === undefined) return levels === 4 ? COCONUT_LAYOUT : addressSpaceLayout({ levels });
  const { perTask, ...changes } = readArgument('the layout', given, 'pass a layout', () => ({ ...given }));
  const layout = addressSpaceLayout(changes);
  if (layout.levels !== levels)
    throw new MmError('INVALID_LAYOUT', {
      field: 'levels',
      problem: `is not ${levels}, as the guest's page tables have`,
    });
  return layout;
}

function apicIdsOf(cpus: number | readonly number[]): readonly number[] {
  if (typeof cpus === 'number') {
    requireInteger('cpus', cpus, 1, 4096);
    return Array.from({ length: cpus }, (_, apicId) => apicId);
  }
  requireIterable('cpus', cpus);
  const apicIds = [...cpus];
  for (const apicId of apicIds) requireInteger('an APIC ID', apicId, 0, 0xffff_ffff);
  const isSound = apicIds.length > 0 && new Set(apicIds).size === apicIds.length;
  if (!isSound) refuseArgument('cpus', apicIds.join(), 'pass at least one APIC ID, each once');
  return apicIds;
}

/** The image and the heap have to fit their addresses. */
function requireFit({ layout, imagePhys, heapPhys }: BootPlan): void {
  for (const [phys, virt, part] of [
    [imagePhys, layout.image, 'image'],
    [heapPhys, layout.heap, 'heap'],
  ] as const) {
    const offset = phys.start % BigInt(PAGE_SIZE_2M);
    if (phys.size + offset > virt.size)
      throw new MmError('OUTSIDE_LAYOUT', { region: String(phys), part: `${part} of the layout, ${virt}` });
  }
}
