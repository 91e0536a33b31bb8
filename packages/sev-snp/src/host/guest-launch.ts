import { PAGE_SIZE, PageSize, Phys, type PhysAddr, pageNumber } from '@svsm/address';
import { MemoryRegion, physRegion, RegionSet } from '@svsm/memory-region';
import { type PhysMemory, pagingConfig, writePhys } from '@svsm/pagetable';
import type { GuestContext, SnpPlatform } from '../cpu/platform.ts';
import { type LaunchPage, LaunchPageType } from '../formats/launch-digest.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { readVmsa } from '../formats/vmsa.ts';
import { Guest } from '../guest/guest.ts';
import { noteUse } from '../guest/pages-in-use.ts';
import type { HostFrames } from '../memory/host-frames.ts';
import { type NestedPage, type NestedRange, NestedTable } from '../memory/nested-table.ts';
import type { RmpState } from '../rmp/host-instructions.ts';
import type { HostVcpus } from './host-vcpus.ts';
import { type CheckedLaunch, type CheckedPage, isMapped } from './launch-options.ts';

/** The parts of a hypervisor that a launch needs. */
interface LaunchHost {
  readonly machine: SnpPlatform;
  readonly memory: PhysMemory;
  givePageToFirmware(): SysPhysAddr;
  rmpupdatePages(spa: SysPhysAddr, count: number, state: RmpState): RmpResult;
  write(spa: SysPhysAddr, bytes: Uint8Array): void;
}

/** The parts of a hypervisor that a launch takes from. */
interface LaunchSources {
  readonly frames: HostFrames;
  readonly vcpus: HostVcpus;
  /** Returns an ASID that no guest has had. Called once the free memory is known to suffice. */
  takeAsid(): number;
}

/**
 * Launches a guest: the firmware makes a context and binds an ASID to it; the host writes each page, RMPUPDATE makes it
 * PRE-GUEST, and the firmware encrypts and validates it. First the pages of the launch in their order, then all other
 * validated memory, then the VMSAs. SNP_LAUNCH_FINISH is left to the caller. Memory without content costs nothing:
 * O(content), and O(512) for each page of the launch and each region of memory.
 *
 * @throws SnpError `OUT_OF_MEMORY`: nothing was launched. `HOST_INSTRUCTION_FAILED`, `FIRMWARE_REFUSED`
 */
export function launchGuest(host: LaunchHost, sources: LaunchSources, launch: CheckedLaunch): Guest {
  const { frames, vcpus } = sources;
  const { memory, pages, vmsas, validated, pageSize, levels, nestedLevels, virtualTom } = launch;
  const place = (run: LaunchRun): LaunchRange => ({ ...run, spa: frames.allocatePages(run.size, run.count) });
  const runsByPage = pages.map((page) =>
    page.type === LaunchPageType.Vmsa ? [] : runsOfPage(page, pageSize),
  );
  const rest = [...validated].flatMap((region) => [...runsOf(region, pageSize)]);
  const runs = [...runsByPage.flat(), ...rest];
  const tables = tablesOf(runs, nestedLevels);
  requireFree(frames, launch, runs, tables);
  const rangesByPage = runsByPage.map((ofPage) => ofPage.map(place));
  const ranges = rest.map(place);
  const nested = new NestedTable({
    memory: host.memory,
    frames,
    config: pagingConfig({ levels: nestedLevels, physicalBits: host.machine.hostPhysicalBits }),
    gmet: launch.gmet,
    accessedDirty: launch.nestedAccessedDirty,
    ranges: [...rangesByPage.flat(), ...ranges],
    rangeFrames: frames.reserve(tables),
  });
  const context = createContext(host, sources.takeAsid());
  const guest = new Guest(host.machine, { context, nested, memory, levels, virtualTom });
  let apicId = 0;
  for (const [k, page] of pages.entries()) {
    if (page.type === LaunchPageType.Vmsa) launchVmsa(host, vcpus, guest, page, apicId++);
    else for (const range of rangesByPage[k]!) launchContent(host, guest, range, page);
  }
  launchRest(host, guest, ranges, launch);
  for (const page of vmsas) launchVmsa(host, vcpus, guest, page, apicId++);
  return guest;
}

/** Launches a range of a page with its content. */
function launchContent(host: LaunchHost, guest: Guest, range: LaunchRange, page: CheckedPage): void {
  const { spa, gpa, size, count } = range;
  const at = Number(gpa - page.gpa);
  if (page.bytes !== undefined) host.write(spa, page.bytes.subarray(at, at + size * count));
  launchPages(host, guest, range, page);
}

/** Launches a VMSA, which becomes a processor. */
function launchVmsa(
  host: LaunchHost,
  vcpus: HostVcpus,
  guest: Guest,
  page: CheckedPage,
  apicId: number,
): void {
  const { gpa, bytes = new Uint8Array(PAGE_SIZE) } = page;
  const spa = vcpus.allocatePage();
  host.write(spa, bytes);
  if (isMapped(page, guest.memory)) {
    guest.nested.map(gpa, spa, PageSize.Regular);
    noteUse(guest, gpa, 'VMSA');
  }
  launchPages(host, guest, { spa, gpa, size: PageSize.Regular, count: 1 }, page);
  vcpus.add(guest, apicId, Number(readVmsa(bytes, 'vmpl')), { spa, gpa });
}

/** Launches the validated memory that is not in pages of the launch, with the image. */
function launchRest(
  host: LaunchHost,
  guest: Guest,
  ranges: readonly LaunchRange[],
  { image }: CheckedLaunch,
): void {
  for (const { gpa, bytes } of image) load(host, guest, gpa, bytes);
  const unmeasured = image.flatMap(({ gpa, bytes, unmeasured }) =>
    unmeasured && bytes.length > 0 ? [physRegion(gpa, bytes.length)] : [],
  );
  for (const range of ranges) {
    for (const [part, isUnmeasured] of partsOf(range, unmeasured)) {
      const type = isUnmeasured ? LaunchPageType.Unmeasured : LaunchPageType.Normal;
      launchPages(host, guest, part, { type });
    }
  }
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

/**
 * Launches pages, which the host has written.
 *
 * @throws SnpError `HOST_INSTRUCTION_FAILED`, `FIRMWARE_REFUSED`
 */
function launchPages(
  host: LaunchHost,
  { asid, context }: Guest,
  { spa, gpa, size: pageSize, count }: LaunchRange,
  { type, permissions = [0, 0, 0], imi = false }: Pick<LaunchPage, 'type' | 'permissions' | 'imi'>,
): void {
  const state = { assigned: true, immutable: true, asid, gpa, pageSize };
  const result = host.rmpupdatePages(spa, count, state);
  if (result !== RmpResult.SUCCESS) {
    throw new SnpError('HOST_INSTRUCTION_FAILED', { instruction: 'RMPUPDATE', spa, result });
  }
  host.machine.firmware.launchUpdate(context, spa, { type, pageSize, count, permissions, imi });
}

/** Consecutive pages of a launch, in both address spaces. */
type LaunchRange = NestedRange & { readonly size: RmpPageSize };

/** Consecutive pages of a launch that have no place yet. */
type LaunchRun = Omit<LaunchRange, 'spa'>;

/** The pages to launch a region with: the largest that fit, up to `largest`. */
function* runsOf(
  region: MemoryRegion<PhysAddr>,
  largest: RmpPageSize,
): Generator<LaunchRun, void, undefined> {
  const runOf = ({ start: gpa, size: bytes }: MemoryRegion<PhysAddr>, size: RmpPageSize): LaunchRun => ({
    gpa,
    size,
    count: Number(bytes / BigInt(size)),
  });
  const huge = largest === PageSize.Huge ? region.alignInward(PageSize.Huge) : undefined;
  if (huge === undefined || huge.isEmpty) yield runOf(region, PageSize.Regular);
  else {
    yield runOf(huge, PageSize.Huge);
    for (const rest of region.subtract(huge)) yield runOf(rest, PageSize.Regular);
  }
}

/** The pages to launch a page of the launch with. One of secrets or of CPUID has 4 KiB. */
function runsOfPage({ gpa, size }: CheckedPage, largest: RmpPageSize): readonly LaunchRun[] {
  return [...runsOf(physRegion(gpa, size), largest)];
}

/** The number of tables that map the pages, below the root: for each level, one for each unit of a page. */
function tablesOf(runs: readonly LaunchRun[], levels: 4 | 5): number {
  let tables = 0;
  for (const { gpa, size, count } of runs) {
    const last = gpa + BigInt(size) * BigInt(count) - 1n;
    for (let bits = size === PageSize.Huge ? 30n : 21n; bits < (levels === 4 ? 48n : 57n); bits += 9n) {
      tables += Number((last >> bits) - (gpa >> bits)) + 1;
    }
  }
  return tables;
}

/** The parts of a range, and whether each contains a part of an unmeasured image in every page, or in none. */
function partsOf(
  range: LaunchRange,
  unmeasured: readonly MemoryRegion<PhysAddr>[],
): readonly (readonly [LaunchRange, boolean])[] {
  const { size } = range;
  const all = new MemoryRegion(Phys, range.gpa, BigInt(size) * BigInt(range.count));
  const marked = new RegionSet(Phys);
  for (const region of unmeasured) {
    const part = region.alignOutward(size).intersect(all);
    if (part !== undefined && !part.isEmpty) marked.add(part);
  }
  const partOf = ({ start, size: bytes }: MemoryRegion<PhysAddr>): LaunchRange => ({
    gpa: start,
    spa: (range.spa + (start - range.gpa)) as SysPhysAddr,
    size,
    count: Number(bytes / BigInt(size)),
  });
  const parts = [
    ...Array.from(marked, (region) => [partOf(region), true] as const),
    ...Array.from(marked.gaps(all), (region) => [partOf(region), false] as const),
  ];
  return parts.sort(([a], [b]) => (a.gpa < b.gpa ? -1 : 1));
}

/** Refuses a launch for which the free memory is too small, before it begins. */
function requireFree(
  { unused: free }: HostFrames,
  { memory, pages, vmsas, nestedLevels }: CheckedLaunch,
  runs: readonly LaunchRun[],
  tables: number,
): void {
  const cpus = [...pages, ...vmsas].filter(({ type }) => type === LaunchPageType.Vmsa);
  const mapped = cpus.filter((page) => isMapped(page, memory)).flatMap((page) => runsOfPage(page, PAGE_SIZE));
  // Each VMSA needs a VMCB too, and neither lies at a multiple of 2 MiB. The root of the nested page table and the context
  // are one page each. A 2 MiB page can need a table of 4 KiB pages later; it is not counted.
  const skipped = Math.ceil((2 * cpus.length) / 511);
  const others = tables + tablesOf(mapped, nestedLevels) + 2 * cpus.length + skipped + 2;
  const bytes = runs.reduce((sum, { size, count }) => sum + BigInt(size) * BigInt(count), 0n);
  const needed = bytes + BigInt(others) * BigInt(PAGE_SIZE);
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
