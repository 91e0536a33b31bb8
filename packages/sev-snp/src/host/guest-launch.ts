import {
  type Bytes,
  byteCount,
  PAGE_SIZE,
  PAGE_SIZE_2M,
  PageSize,
  type PhysAddr,
  pageNumber,
  physAddr,
} from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import { type PhysMemory, pagingConfig, writePhys } from '@svsm/pagetable';
import type { GuestContext, SnpPlatform } from '../cpu/platform.ts';
import { copyOfBytes, requireLength } from '../formats/byte-fields.ts';
import { LaunchPageType } from '../formats/launch-digest.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { Guest } from '../guest/guest.ts';
import type { HostFrames } from '../memory/host-frames.ts';
import { type NestedPage, NestedTable } from '../memory/nested-table.ts';
import type { RmpState } from '../rmp/host-instructions.ts';

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

/** Options of a launch. */
export interface LaunchOptions {
  /** The size of the guest's memory in bytes, from address 0 on: a multiple of 4096. */
  readonly size: Bytes;
  /** The initial content. All other memory is zero. */
  readonly image?: readonly LaunchImage[];
  /** The largest page size in the RMP and the nested page table: 2 MiB if not given. */
  readonly pageSize?: RmpPageSize;
  /** The number of levels of its page tables: 4 if not given. */
  readonly levels?: 4 | 5;
  /**
   * VIRTUAL_TOM: a multiple of 2 MiB at or above the guest's memory. Above it, each page of memory has a second
   * address, at which it is shared. If not given, the C-bit makes pages private.
   */
  readonly virtualTom?: bigint;
  /** Guest mode execute trap: see `NestedTableOptions.gmet`. `false` if not given. */
  readonly gmet?: boolean;
  /** Whether processors set accessed and dirty bits in nested entries: see `NestedTableOptions.accessedDirty`. */
  readonly nestedAccessedDirty?: boolean;
  /** The initial VMSAs, for APIC ids 0 on: see `createVmsa`. None if not given; `Guest.createVcpu` works without one. */
  readonly vmsas?: readonly Uint8Array[];
}

/** The parts of a hypervisor that a launch needs. */
interface LaunchHost {
  readonly machine: SnpPlatform;
  readonly memory: PhysMemory;
  givePageToFirmware(): SysPhysAddr;
  rmpupdate(spa: SysPhysAddr, state: RmpState): RmpResult;
  write(spa: SysPhysAddr, bytes: Uint8Array): void;
}

/**
 * Launches a guest with all its memory: the firmware makes a context and binds an ASID to it; the host writes each page,
 * RMPUPDATE makes it PRE-GUEST, and the firmware encrypts and validates it. VMSAs and SNP_LAUNCH_FINISH are left to the
 * caller. O(size / 4096).
 *
 * @param takeAsid - returns an ASID that no guest has had. Called once the options are checked
 * @throws SnpError `INVALID_ARGUMENT`, `OUT_OF_MEMORY`: nothing was launched. `HOST_INSTRUCTION_FAILED`,
 *   `FIRMWARE_REFUSED`
 */
export function launchGuest(
  host: LaunchHost,
  frames: HostFrames,
  takeAsid: () => number,
  options: LaunchOptions,
): Guest {
  const { size, image = [], pageSize = PageSize.Huge, levels = 4, virtualTom, vmsas = [] } = options;
  const memory = memoryOf(size, image);
  requireTom(virtualTom, memory);
  for (const image of vmsas) requireLength(image, PAGE_SIZE, 'a VMSA');
  // Each VMSA needs a VMCB too.
  requireFree(frames, memory, pageSize, 2 * vmsas.length);
  const config = pagingConfig({ physicalBits: host.machine.hostPhysicalBits });
  const nested = new NestedTable({
    memory: host.memory,
    frames,
    config,
    gmet: options.gmet === true,
    accessedDirty: options.nestedAccessedDirty === true,
  });
  const context = createContext(host, takeAsid());
  const guest = new Guest(host.machine, { context, nested, memory, levels, virtualTom });
  const pages = [...pagesOf(memory, pageSize)];
  const allocate = (size: RmpPageSize): SysPhysAddr =>
    size === PageSize.Huge ? frames.allocateBlock() : (frames.allocateFrame() as bigint as SysPhysAddr);
  for (const [gpa, size] of pages) nested.map(gpa, allocate(size), size);
  for (const { gpa, bytes } of image) load(host, guest, gpa, bytes);
  const unmeasured = image.flatMap(({ gpa, bytes, unmeasured = false }) =>
    unmeasured ? [physRegion(gpa, bytes.length)] : [],
  );
  for (const [gpa, size] of pages) {
    const isUnmeasured = unmeasured.some((region) => region.overlaps(physRegion(gpa, size)));
    const type = isUnmeasured ? LaunchPageType.Unmeasured : LaunchPageType.Normal;
    launchPage(host, guest, (nested.lookup(gpa) as NestedPage).spa, gpa, size, type);
  }
  return guest;
}

/**
 * A copy of the options, for which each of them, and each byte of an image, is read once: the checks see what is launched.
 *
 * @throws SnpError `INVALID_ARGUMENT` if an image is not a `Uint8Array`
 */
export function launchInputs(options: LaunchOptions): LaunchOptions {
  const given = Object.fromEntries(LAUNCH_OPTIONS.map((name) => [name, options[name]]));
  const { image = [], vmsas = [], ...rest } = given as unknown as LaunchOptions;
  const copyPart = ({ gpa, bytes, unmeasured = false }: LaunchImage): LaunchImage => ({
    gpa,
    bytes: copyOfBytes(bytes, 'an image'),
    unmeasured,
  });
  return { ...rest, image: image.map(copyPart), vmsas: vmsas.map((bytes) => copyOfBytes(bytes, 'a VMSA')) };
}

/** A context in state LAUNCH with an ASID. Returns its page. */
function createContext(host: LaunchHost, asid: number): SysPhysAddr {
  const { firmware } = host.machine;
  const context = host.givePageToFirmware();
  firmware.guestContextCreate(context);
  firmware.launchStart(context);
  firmware.activate(context, asid);
  return context;
}

/** Launches one page, which the host has written. @throws SnpError `HOST_INSTRUCTION_FAILED`, `FIRMWARE_REFUSED` */
export function launchPage(
  host: LaunchHost,
  { asid, context }: Guest,
  spa: SysPhysAddr,
  gpa: PhysAddr,
  pageSize: RmpPageSize,
  type: LaunchPageType,
): void {
  const state = { assigned: true, immutable: true, asid, gpa, pageSize };
  const result = host.rmpupdate(spa, state);
  if (result !== RmpResult.SUCCESS) {
    throw new SnpError('HOST_INSTRUCTION_FAILED', { instruction: 'RMPUPDATE', spa, result });
  }
  host.machine.firmware.launchUpdate(context, spa, { type, pageSize });
}

function memoryOf(size: Bytes, image: NonNullable<LaunchOptions['image']>): MemoryRegion<PhysAddr> {
  const bytes = byteCount(size);
  if (bytes === 0n || bytes % BigInt(PAGE_SIZE) !== 0n) {
    refuse('guest memory size', bytes, 'pass a multiple of 4096');
  }
  const memory = physRegion(physAddr(0), bytes);
  const outside = image.find(({ gpa, bytes }) => !memory.containsRegion(physRegion(gpa, bytes.length)));
  if (outside !== undefined) refuse('the address of an image', outside.gpa, 'it must lie in guest memory');
  return memory;
}

/** Refuses a launch for which the free memory is too small, before it begins. */
function requireFree(
  { free }: HostFrames,
  memory: MemoryRegion<PhysAddr>,
  pageSize: RmpPageSize,
  otherPages: number,
): void {
  const count = (unit: number): bigint => memory.size / BigInt(unit) + 1n;
  const tables = 3n + count(PageSize.Giant) + (pageSize === PageSize.Huge ? 1n : count(PageSize.Huge));
  // A 2 MiB page can need a table of 4 KiB pages later; it is not counted.
  const needed = memory.size + (tables + BigInt(otherPages)) * BigInt(PAGE_SIZE);
  if (free < needed) throw new SnpError('OUT_OF_MEMORY', { needed, free });
}

function load(host: LaunchHost, { nested }: GuestContext, gpa: PhysAddr, bytes: Uint8Array): void {
  const byGpa: PhysMemory = {
    epoch: Number.NaN,
    words: (frame, write) => {
      const page = nested.lookup((BigInt(frame) * BigInt(PAGE_SIZE)) as PhysAddr) as NestedPage;
      return host.memory.words(pageNumber(page.spa), write);
    },
    wordOffset: () => 0,
  };
  writePhys(byGpa, gpa, bytes);
}

/** Checks that the nested page table reaches the second address of each page. */
function requireTom(tom: bigint | undefined, memory: MemoryRegion<PhysAddr>): void {
  if (tom === undefined) return;
  if (tom % BigInt(PAGE_SIZE_2M) === 0n && tom >= memory.end && tom + memory.end <= NestedTable.end) return;
  const end = (NestedTable.end - memory.end).toString(16);
  const expected = `pass a multiple of 2 MiB from 0x${memory.end.toString(16)} to 0x${end}`;
  throw new SnpError('INVALID_ARGUMENT', { what: 'the virtual top of memory', value: tom, expected });
}

/** The pages to launch a guest's memory with: the largest that fit, up to `largest`. */
function* pagesOf(
  memory: MemoryRegion<PhysAddr>,
  largest: RmpPageSize,
): Generator<[PhysAddr, RmpPageSize], void, undefined> {
  const huge = largest === PageSize.Huge ? memory.alignInward(PageSize.Huge) : undefined;
  for (const gpa of huge?.iterPages(PageSize.Huge) ?? []) yield [gpa, PageSize.Huge];
  for (const rest of huge === undefined ? [memory] : memory.subtract(huge)) {
    for (const gpa of rest.iterPages(PageSize.Regular)) yield [gpa, PageSize.Regular];
  }
}

function refuse(what: string, value: unknown, expected: string): never {
  throw new SnpError('INVALID_ARGUMENT', { what, value, expected });
}

/** The names of the options of a launch. */
export const LAUNCH_OPTIONS: readonly (keyof LaunchOptions)[] = [
  'size',
  'image',
  'pageSize',
  'levels',
  'virtualTom',
  'gmet',
  'nestedAccessedDirty',
  'vmsas',
];
