import { PAGE_SIZE, PageSize, type PhysAddr, pageNumber } from '@svsm/address';
import { type MemoryRegion, physRegion, type RegionSet } from '@svsm/memory-region';
import { type PhysMemory, pagingConfig, writePhys } from '@svsm/pagetable';
import type { GuestContext, SnpPlatform } from '../cpu/platform.ts';
import { LaunchPageType } from '../formats/launch-digest.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { Guest } from '../guest/guest.ts';
import type { HostFrames } from '../memory/host-frames.ts';
import { type NestedPage, NestedTable } from '../memory/nested-table.ts';
import type { RmpState } from '../rmp/host-instructions.ts';
import type { CheckedLaunch } from './launch-options.ts';

/** The parts of a hypervisor that a launch needs. */
interface LaunchHost {
  readonly machine: SnpPlatform;
  readonly memory: PhysMemory;
  givePageToFirmware(): SysPhysAddr;
  rmpupdate(spa: SysPhysAddr, state: RmpState): RmpResult;
  write(spa: SysPhysAddr, bytes: Uint8Array): void;
}

/**
 * Launches a guest with its validated memory: the firmware makes a context and binds an ASID to it; the host writes each page,
 * RMPUPDATE makes it PRE-GUEST, and the firmware encrypts and validates it. VMSAs and SNP_LAUNCH_FINISH are left to the
 * caller. O(size / 4096).
 *
 * @param takeAsid - returns an ASID that no guest has had. Called once the free memory is known to suffice
 * @throws SnpError `OUT_OF_MEMORY`: nothing was launched. `HOST_INSTRUCTION_FAILED`, `FIRMWARE_REFUSED`
 */
export function launchGuest(
  host: LaunchHost,
  frames: HostFrames,
  takeAsid: () => number,
  launch: CheckedLaunch,
): Guest {
  const { memory, validated, image, vmsas, pageSize, levels, virtualTom } = launch;
  // Each VMSA needs a VMCB too.
  requireFree(frames, validated, pageSize, 2 * vmsas.length);
  const config = pagingConfig({ levels: launch.nestedLevels, physicalBits: host.machine.hostPhysicalBits });
  const nested = new NestedTable({
    memory: host.memory,
    frames,
    config,
    gmet: launch.gmet,
    accessedDirty: launch.nestedAccessedDirty,
  });
  const context = createContext(host, takeAsid());
  const guest = new Guest(host.machine, { context, nested, memory, levels, virtualTom });
  const pages = Array.from(validated, (region) => [...pagesOf(region, pageSize)]).flat();
  for (const [gpa, size] of pages) nested.map(gpa, frames.allocatePage(size), size);
  for (const { gpa, bytes } of image) load(host, guest, gpa, bytes);
  const unmeasured = image.flatMap(({ gpa, bytes, unmeasured }) =>
    unmeasured ? [physRegion(gpa, bytes.length)] : [],
  );
  for (const [gpa, size] of pages) {
    const isUnmeasured = unmeasured.some((region) => region.overlaps(physRegion(gpa, size)));
    const type = isUnmeasured ? LaunchPageType.Unmeasured : LaunchPageType.Normal;
    launchPage(host, guest, (nested.lookup(gpa) as NestedPage).spa, gpa, size, type);
  }
  return guest;
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

/** Refuses a launch for which the free memory is too small, before it begins. */
function requireFree(
  { free }: HostFrames,
  memory: RegionSet<PhysAddr>,
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
