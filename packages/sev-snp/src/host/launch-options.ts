import { type Bytes, byteCount, PAGE_SIZE, PAGE_SIZE_2M, PageSize, Phys, type PhysAddr } from '@svsm/address';
import { MemoryRegion, physRegion, RegionSet } from '@svsm/memory-region';
import type { SnpPlatform } from '../cpu/platform.ts';
import { requireBoolean } from '../formats/arguments.ts';
import { copyOfBytes, requireLength } from '../formats/byte-fields.ts';
import {
  type LaunchPage,
  LaunchPageType,
  requireLaunchPage,
  requirePageBytes,
  VMSA_LAUNCH_GPA,
} from '../formats/launch-digest.ts';
import { requireOptions } from '../formats/options.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { isSnpError, SnpError } from '../formats/snp-error.ts';
import { GuestRegions } from '../memory/guest-regions.ts';
import { nestedEnd } from '../memory/nested-table.ts';

/** A part of a guest's initial content. */
export interface LaunchImage {
  /** The address of the first byte. */
  readonly gpa: PhysAddr;
  readonly bytes: Uint8Array;
  /**
   * Whether its pages are launched as UNMEASURED: the launch digest does not cover their content, so the guest cannot trust
   * it. `false` if not given.
   */
  readonly unmeasured?: boolean;
}

/** A region of a guest's memory. */
export interface LaunchMemory {
  /** Whole 4 KiB pages, apart from all other regions. */
  readonly region: MemoryRegion<PhysAddr>;
  /**
   * Whether the launch makes it private and validated. Else it is unaccepted memory: it has no system pages. Each of its
   * pages gets one when the guest first asks for a change of its state.
   */
  readonly validated: boolean;
}

/** Options of a launch. */
export interface LaunchOptions {
  /** The memory map. Give this or {@link size}. */
  readonly memory?: Iterable<LaunchMemory>;
  /**
   * The short form of a {@link memory} of one region, which starts at address 0 and is validated: its size in bytes, a
   * multiple of 4096.
   */
  readonly size?: Bytes;
  /**
   * The pages that the firmware launches first, in this order, in validated memory or not. Their digest is that of the guest
   * if the map has no other validated memory: see `ovmfLaunchPages`, `svsmLaunchPages` and `igvmLaunchPages`. `Unmeasured`
   * and `Cpuid` pages have their `bytes` too, if given. A `Vmsa` page is the processor with the next APIC id; it is mapped
   * only if its address is memory. None if not given.
   */
  readonly pages?: Iterable<LaunchPage>;
  /** The initial content of validated memory without {@link pages}. All the rest of it is zero. */
  readonly image?: readonly LaunchImage[];
  /** The largest page size in the RMP and the nested page table: 2 MiB if not given. */
  readonly pageSize?: RmpPageSize;
  /** The number of levels of its page tables: 4 if not given. */
  readonly levels?: 4 | 5;
  /**
   * The number of levels of its nested page table: 4 if not given, which map addresses below 2^48. Memory lies below 2^48 in
   * any case, because the RMP has no larger addresses.
   */
  readonly nestedLevels?: 4 | 5;
  /**
   * VIRTUAL_TOM: a multiple of 2 MiB at or above the guest's memory. Above it, each page of memory has a second
   * address, at which it is shared. If not given, the C-bit makes pages private.
   */
  readonly virtualTom?: bigint;
  /** Guest mode execute trap: see `NestedTableOptions.gmet`. `false` if not given. */
  readonly gmet?: boolean;
  /** Whether processors set accessed and dirty bits in nested entries: see `NestedTableOptions.accessedDirty`. */
  readonly nestedAccessedDirty?: boolean;
  /**
   * More initial VMSAs, after those of {@link pages}: see `createVmsa`. They are launched last. None if not given;
   * `Guest.createVcpu` works without one.
   */
  readonly vmsas?: readonly Uint8Array[];
}

/** A page of a launch, with its size in bytes. */
export type CheckedPage = Required<Omit<LaunchPage, 'bytes'>> & Pick<LaunchPage, 'bytes'>;

/** Options of a launch that have been checked. Nobody else has the objects. */
export interface CheckedLaunch {
  readonly memory: GuestRegions;
  /** The pages to launch first. */
  readonly pages: readonly CheckedPage[];
  /** The memory that is not in these pages: to validate, and to leave unaccepted. */
  readonly validated: RegionSet<PhysAddr>;
  readonly unaccepted: RegionSet<PhysAddr>;
  readonly image: readonly Required<LaunchImage>[];
  /** The VMSAs to launch last. */
  readonly vmsas: readonly CheckedPage[];
  readonly pageSize: RmpPageSize;
  readonly levels: 4 | 5;
  readonly nestedLevels: 4 | 5;
  readonly virtualTom: bigint | undefined;
  readonly gmet: boolean;
  readonly nestedAccessedDirty: boolean;
}

/**
 * Checks the options of a launch, for which each byte of an image is read once: the checks see what is launched.
 *
 * @throws SnpError `INVALID_ARGUMENT`
 */
export function checkLaunch(options: LaunchOptions, { cBit }: Pick<SnpPlatform, 'cBit'>): CheckedLaunch {
  requireOptions('options', options, OPTIONS);
  const { pageSize = PageSize.Huge, levels = 4, nestedLevels = 4, virtualTom } = options;
  if (pageSize !== PageSize.Regular && pageSize !== PageSize.Huge) {
    refuse('pageSize', pageSize, 'pass 4096 or 0x200000');
  }
  for (const [name, value] of Object.entries({ levels, nestedLevels }))
    if (value !== 4 && value !== 5) refuse(name, value, 'pass 4 or 5');
  const map = mapOf(options.memory, options.size);
  // A page table entry has no more address bits.
  const addresses = 1n << BigInt(cBit);
  const memory = new GuestRegions(map.map(({ region }) => region));
  const validated = new RegionSet(
    Phys,
    map.flatMap((entry) => (entry.validated ? [entry.region] : [])),
  );
  const pages = pagesOf(options.pages, memory);
  const all = new RegionSet(Phys, memory).subtract(coveredBy(pages, memory));
  const rest = validated.intersect(all);
  requireBelow(memory, min(GPA_END, addresses));
  requireTom(virtualTom, memory, min(nestedEnd(nestedLevels), addresses));
  const { gmet = false, nestedAccessedDirty = false } = options;
  requireBoolean('gmet', gmet);
  requireBoolean('nestedAccessedDirty', nestedAccessedDirty);
  return {
    memory,
    pages,
    validated: rest,
    unaccepted: all.subtract(rest),
    image: listOf('image', options.image, (part) => imagePart(part, rest)),
    vmsas: listOf('vmsas', options.vmsas, vmsaPage),
    pageSize,
    levels,
    nestedLevels,
    virtualTom,
    gmet,
    nestedAccessedDirty,
  };
}

/** The memory map, in any order. */
function mapOf(memory: Iterable<LaunchMemory> | undefined, size: Bytes | undefined): readonly LaunchMemory[] {
  if ((memory === undefined) === (size === undefined)) {
    refuse('the memory of a guest', memory, 'pass memory or size, and not both');
  }
  if (size === undefined) return entriesOf(memory as Iterable<LaunchMemory>);
  const bytes = byteCount(size);
  if (bytes === 0n || bytes % BigInt(PAGE_SIZE) !== 0n) {
    refuse('guest memory size', bytes, 'pass a multiple of 4096');
  }
  return [{ region: physRegion(0n as PhysAddr, bytes), validated: true }];
}

/** A copy of a memory map. @throws SnpError `INVALID_ARGUMENT` if regions overlap or a value has another type */
function entriesOf(memory: Iterable<LaunchMemory>): readonly LaunchMemory[] {
  const entries = listOf('memory', memory, ({ region, validated }) => ({
    region: MemoryRegion.from(Phys, region),
    validated,
  }));
  const seen = new RegionSet(Phys);
  for (const { region, validated } of entries) {
    if (typeof validated !== 'boolean') refuse('validated of a region', validated, 'pass true or false');
    if (seen.overlaps(region)) refuse('a region of memory', region.toString(), 'regions may not overlap');
    seen.add(region);
  }
  return entries;
}

/** Copies of pages to launch, for which each field is read once. */
function pagesOf(pages: Iterable<LaunchPage> | undefined, memory: GuestRegions): readonly CheckedPage[] {
  const copies = listOf('pages', pages, pageCopy);
  const seen = new RegionSet(Phys);
  for (const page of copies) {
    const region = physRegion(page.gpa, page.size);
    if (page.type === LaunchPageType.Vmsa && !isMapped(page, memory)) continue;
    if (!memory.containsRegion(region))
      refuse('a page of the launch', region.toString(), 'it must lie in memory');
    if (seen.overlaps(region)) refuse('a page of the launch', region.toString(), 'pages may not overlap');
    seen.add(region);
  }
  return copies;
}

function pageCopy(given: LaunchPage): CheckedPage {
  const { bytes, ...page } = requireLaunchPage(given);
  const content = bytes === undefined ? {} : { bytes: copyOfBytes(bytes, 'the bytes of a page') };
  const size = requirePageBytes({ ...page, ...content });
  const { type, gpa, permissions = [0, 0, 0], imi = false } = page;
  if (gpa < 0n || gpa + BigInt(size) > GPA_END) refuse('the address of a page', gpa, 'pages end below 2^48');
  const [vmpl1, vmpl2, vmpl3] = permissions;
  return { type, gpa, size, permissions: [vmpl1, vmpl2, vmpl3], imi, ...content };
}

/** The memory that pages cover. */
function coveredBy(pages: readonly CheckedPage[], memory: GuestRegions): RegionSet<PhysAddr> {
  const mapped = pages.filter((page) => isMapped(page, memory));
  return new RegionSet(
    Phys,
    mapped.map(({ gpa, size }) => physRegion(gpa, size)),
  );
}

/** Whether a page is memory. A VMSA need not be; at the address that all VMSAs share on KVM, it never is. */
export function isMapped({ type, gpa }: CheckedPage, memory: GuestRegions): boolean {
  return type !== LaunchPageType.Vmsa || (gpa !== VMSA_LAUNCH_GPA && memory.contains(gpa));
}

/** A copy of an option that is a list: empty if it is not given. @throws SnpError `INVALID_ARGUMENT` */
function listOf<In, Out>(
  name: string,
  values: Iterable<In> = [],
  copyOf: (value: In) => Out,
): readonly Out[] {
  try {
    if (typeof values !== 'object') throw new TypeError('not a list');
    return [...values].map((value) => copyOf(value));
  } catch (cause) {
    if (isSnpError(cause)) throw cause;
    return refuse(name, values, 'pass a list of what its type says', cause);
  }
}

function imagePart(
  { gpa, bytes, unmeasured = false }: LaunchImage,
  validated: RegionSet<PhysAddr>,
): Required<LaunchImage> {
  const copy = copyOfBytes(bytes, 'an image');
  requireBoolean('unmeasured of an image', unmeasured);
  if (!validated.containsRegion(physRegion(gpa, copy.length))) {
    refuse('the address of an image', gpa, 'it must lie in validated memory without pages');
  }
  return { gpa, bytes: copy, unmeasured };
}

function vmsaPage(bytes: Uint8Array): CheckedPage {
  const copy = copyOfBytes(bytes, 'a VMSA');
  requireLength(copy, PAGE_SIZE, 'a VMSA');
  return pageCopy({ type: LaunchPageType.Vmsa, gpa: VMSA_LAUNCH_GPA, bytes: copy });
}

/** Checks that memory has addresses that guest and RMP can express. */
function requireBelow(memory: GuestRegions, limit: bigint): void {
  const expected = `guest memory ends at 0x${limit.toString(16)} or before`;
  if (memory.end > limit) refuse('guest memory', memory.toString(), expected);
}

/** Checks that guest and nested page table reach the second address of each page. */
function requireTom(tom: bigint | undefined, { end }: GuestRegions, limit: bigint): void {
  if (tom === undefined) return;
  const isTop = typeof tom === 'bigint' && tom % BigInt(PAGE_SIZE_2M) === 0n;
  if (isTop && tom >= end && tom + end <= limit) return;
  const last = (limit - end).toString(16);
  const expected = `pass a multiple of 2 MiB from 0x${end.toString(16)} to 0x${last} as a bigint`;
  refuse('the virtual top of memory', tom, expected);
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function refuse(what: string, value: unknown, expected: string, cause?: unknown): never {
  const details = { what, value, expected };
  throw new SnpError('INVALID_ARGUMENT', details, cause === undefined ? undefined : { cause });
}

/** The end of the addresses that the RMP has: 36 bits of frame number. */
const GPA_END = 1n << 48n;

const OPTIONS: readonly (keyof LaunchOptions)[] = [
  'memory',
  'size',
  'pages',
  'image',
  'pageSize',
  'levels',
  'nestedLevels',
  'virtualTom',
  'gmet',
  'nestedAccessedDirty',
  'vmsas',
];
