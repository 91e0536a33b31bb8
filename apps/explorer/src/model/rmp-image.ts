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
  /** The RMP's versions of these regions: the next capture reads again only those that have another one. */
  readonly versions: ReadonlyMap<number, number>;
}

const HUGE = BigInt(PAGE_SIZE_2M);
const PAGES = PAGE_SIZE_2M / PAGE_SIZE;

/** Regions below this index are looked at always: the host hands out pages from the bottom up. 1 GiB. */
const LOW_REGIONS = 512;

/**
 * Reads the RMP. O(1 GiB / 2 MiB + changed regions of single pages · 512).
 *
 * @param touched - indexes of further regions that instructions have changed
 * @param masks - whether VMPL masks may have changed since: versions do not count those
 */
export function captureRmp(
  machine: SnpMachine,
  touched: Iterable<number>,
  { previous, masks }: { readonly previous: RmpImage | undefined; readonly masks: boolean },
): RmpImage {
  const { rmp } = machine;
  const { size } = rmp.covered;
  const regions = new Map<number, RmpRegion>();
  const versions = new Map<number, number>();
  const last = Math.min(LOW_REGIONS, Number(size / HUGE));
  const indexes = new Set([...Array(last).keys(), ...touched]);
  for (const index of indexes) {
    const start = (BigInt(index) * HUGE) as SysPhysAddr;
    if (rmp.isRegionUnassigned(start)) continue;
    const version = rmp.version(start, PageSize.Huge);
    const before = previous?.regions.get(index);
    const isRead = before === undefined || masks || previous?.versions.get(index) !== version;
    regions.set(index, isRead ? entriesOf(machine, start, before) : before);
    versions.set(index, version);
  }
  const isSame = regions.size === previous?.regions.size;
  if (isSame && [...regions].every(([index, region]) => previous?.regions.get(index) === region))
    return previous!;
  return { size, regions, versions };
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

/** The entries of a region. Those that have not changed are the same objects as before; if none has, so is the region. */
function entriesOf({ rmp }: SnpMachine, start: bigint, before: RmpRegion | undefined): RmpRegion {
  const read = (page: number): RmpEntry => {
    const entry = rmp.entry((start + BigInt(page * PAGE_SIZE)) as SysPhysAddr)!;
    const old = before?.[page];
    return old !== undefined && sameEntry(entry, old) ? old : entry;
  };
  const first = read(0);
  const isWhole = first.assigned && first.pageSize === PageSize.Huge;
  const entries = isWhole
    ? [first]
    : Array.from({ length: PAGES }, (_, page) => (page === 0 ? first : read(page)));
  const isSame = before?.length === entries.length && entries.every((entry, page) => entry === before[page]);
  return isSame ? before : entries;
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
