import { PAGE_SIZE, PAGE_SIZE_2M, PageSize } from '@svsm/address';
import { type PageState, pageStateOf, type RmpEntry, type SnpMachine, type SysPhysAddr } from '@svsm/sev-snp';

/** The entries of 2 MiB of system-physical memory: one that decides for all of it, or one for each page. */
type RmpRegion = readonly RmpEntry[];

/**
 * The reverse map table at one moment: the regions of 2 MiB that are not the hypervisor's alone, by their index. Regions that have
 * not changed are the same arrays as in the moment before.
 */
export interface RmpImage {
  /** Bytes of the machine's memory. */
  readonly size: bigint;
  readonly regions: ReadonlyMap<number, RmpRegion>;
}

const HUGE = BigInt(PAGE_SIZE_2M);
const PAGES = PAGE_SIZE_2M / PAGE_SIZE;

/** Regions below this index are looked at always: the host hands out pages from the bottom up. 1 GiB. */
const LOW_REGIONS = 512;

/**
 * Reads the RMP. O(1 GiB / 2 MiB + regions of single pages · 512).
 *
 * @param touched - indexes of further regions that instructions have changed
 */
export function captureRmp(machine: SnpMachine, touched: Iterable<number>, previous?: RmpImage): RmpImage {
  const { rmp } = machine;
  const { size } = rmp.covered;
  const regions = new Map<number, RmpRegion>();
  const last = Math.min(LOW_REGIONS, Number(size / HUGE));
  const indexes = new Set([...Array(last).keys(), ...touched]);
  for (const index of indexes) {
    const start = BigInt(index) * HUGE;
    if (rmp.isRegionUnassigned(start as SysPhysAddr)) continue;
    const entries = entriesOf(machine, start);
    const before = previous?.regions.get(index);
    regions.set(index, before !== undefined && alike(entries, before) ? before : entries);
  }
  const isSame = regions.size === previous?.regions.size;
  if (isSame && [...regions].every(([index, region]) => previous?.regions.get(index) === region))
    return previous!;
  return { size, regions };
}

/** The entry that decides for the page of `spa`; `undefined` for a page of the hypervisor. */
export function entryAt(image: RmpImage, spa: bigint): RmpEntry | undefined {
  const region = image.regions.get(Number(spa / HUGE));
  if (region === undefined) return undefined;
  return region.length === 1 ? region[0] : region[Number((spa % HUGE) / BigInt(PAGE_SIZE))];
}

export function stateAt(image: RmpImage, spa: bigint): PageState {
  const entry = entryAt(image, spa);
  return entry === undefined ? 'HYPERVISOR' : pageStateOf(entry);
}

function entriesOf({ rmp }: SnpMachine, start: bigint): RmpRegion {
  const first = rmp.entry(start as SysPhysAddr)!;
  if (first.assigned && first.pageSize === PageSize.Huge) return [first];
  return Array.from(
    { length: PAGES },
    (_, page) => rmp.entry((start + BigInt(page * PAGE_SIZE)) as SysPhysAddr)!,
  );
}

function alike(a: RmpRegion, b: RmpRegion): boolean {
  return a.length === b.length && a.every((entry, page) => sameEntry(entry, b[page]!));
}

function sameEntry(a: RmpEntry, b: RmpEntry): boolean {
  return (
    a.assigned === b.assigned &&
    a.validated === b.validated &&
    a.pageSize === b.pageSize &&
    a.immutable === b.immutable &&
    a.subpageCount === b.subpageCount &&
    a.gpa === b.gpa &&
    a.asid === b.asid &&
    a.vmsa === b.vmsa &&
    a.lock === b.lock &&
    a.vmplMasks.every((mask, vmpl) => mask === b.vmplMasks[vmpl])
  );
}
