import { PageSize } from '@svsm/address';
import type { Mapping } from '@svsm/pagetable';
import { requireOptional, requireOptions } from '../source/arguments.ts';
import { DumpError } from '../source/dump-error.ts';
import type { DumpView } from './dump-view.ts';
import { requireView } from './dump-view.ts';
import {
  DOCUMENTED,
  KERNEL_START,
  LARGE_IMAGE,
  type LayoutRegion,
  layoutOf,
  MODULES_END,
  RANDOM_END,
  type RegionName,
  SMALL_IMAGE,
  TEXT_MAP,
} from './linux-layout.ts';
import { dumpRecord, mappingsOf, requireListable } from './listing.ts';
import type { DumpListingOptions } from './listing-options.ts';
import type { DumpRecord, EndRecord, FaultRecord, RegionRecord } from './record.ts';
import { openView } from './view.ts';

/** Fewer bytes than this are not a direct map. */
const MIN_DIRECT_MAP = 1n << 21n;
/** The bases that are randomized are multiples of it. */
const GIB = 1n << 30n;

/** The facts about mappings of the kernel's half that tell where its regions are. */
interface Traces {
  /** The distance of the direct map: of the lowest mapping with a distance that is a multiple of 1 GiB. */
  directMap: bigint | undefined;
  /** The number of bytes that are mapped with it. */
  directMapBytes: bigint;
  /** The lowest mapping above that is not of the direct map. */
  vmalloc: bigint | undefined;
  /** The start of the highest GiB below the end of the randomized regions that follows an empty one. */
  vmemmap: bigint | undefined;
  vmemmapEnd: bigint;
  hasText: boolean;
  hasSmallPagesOnly: boolean;
  hasUpperHalfOfModules: boolean;
  hasLowerHalfOfModules: boolean;
}

/**
 * The regions of virtual memory of the Linux kernel in a dump, ascending. The places of most are documented. Those that a kernel
 * chooses at random (`direct-map`, `vmalloc`, `vmemmap`) follow from the mappings, which are all read: O(n) for n pages. The end of
 * `text` is noted in VMCOREINFO, else it follows from the mappings too.
 *
 * @throws DumpError `NOT_LINUX` if no kernel's text and direct map are mapped; `NO_MEMORY` if VMCOREINFO names a table that is not in
 *   the dump; {@link listRuns}
 */
export function linuxRegions(view: DumpView): readonly LayoutRegion[] {
  requireView('view', view);
  const { levels } = view.config;
  const traces = tracesOf(kernelView(view));
  const { kernel } = view.dump;
  // The user half under page-table isolation has some pages of the kernel, but not its direct map.
  const isSure = traces.directMapBytes >= MIN_DIRECT_MAP;
  const directMap = kernel?.directMap ?? (isSure ? traces.directMap : undefined);
  if (directMap === undefined || !traces.hasText)
    throw new DumpError('NOT_LINUX', {}, { file: view.dump.name });
  const known = DOCUMENTED[levels];
  const isRandom = directMap !== known.directMap;
  const vmemmap = isRandom ? (traces.vmemmap ?? RANDOM_END) : known.vmemmap;
  const vmalloc = isRandom ? (traces.vmalloc ?? vmemmap) : known.vmalloc;
  return layoutOf(levels, { directMap, vmalloc, vmemmap }, kernel?.imageSize ?? imageSizeOf(traces), {
    directMap: kernel?.directMap !== undefined ? 'headers' : isRandom ? 'tables' : 'documented',
    random: isRandom ? 'tables' : 'documented',
    image: kernel?.imageSize === undefined ? 'tables' : 'vmcoreinfo',
  });
}

/**
 * The regions of the Linux kernel in a dump, each with the number of bytes that are mapped in it.
 *
 * @throws DumpError as {@link linuxRegions}
 */
export function* listRegions(
  view: DumpView,
  options: Pick<DumpListingOptions, 'onProgress'> = {},
): Generator<DumpRecord | RegionRecord | FaultRecord | EndRecord, undefined, undefined> {
  requireOptions('options', options, ['onProgress']);
  requireOptional('onProgress', options.onProgress, 'function');
  const regions = linuxRegions(view);
  yield dumpRecord(view);
  const faults: FaultRecord[] = [];
  const mapped = new Map<RegionName, bigint>();
  let runs = 0;
  for (const { region } of mappingsOf(view, {}, (fault) => faults.push(fault))) {
    runs += 1;
    options.onProgress?.(runs, undefined, 'runs');
    for (const { name, start, end } of regions) {
      const from = region.start > start ? region.start : start;
      const to = region.end < end ? region.end : end;
      if (from < to) mapped.set(name, (mapped.get(name) ?? 0n) + (to - from));
    }
  }
  const { kernelOffset, textStart } = view.dump.kernel ?? {};
  const ofText = {
    ...(kernelOffset === undefined ? {} : { kernelOffset }),
    ...(textStart === undefined ? {} : { textStart }),
  };
  for (const region of regions) {
    const text = region.name === 'text' ? ofText : {};
    yield { type: 'region', ...region, mapped: mapped.get(region.name) ?? 0n, ...text };
  }
  yield* faults;
  yield { type: 'end', what: 'regions', count: regions.length, bytes: null, faults: faults.length };
}

/** The kernel's own page table, if VMCOREINFO names it: under page-table isolation, that of a processor may have the user half only. */
function kernelView(view: DumpView): DumpView {
  const { dump, config } = view;
  const cr3 = dump.kernel?.cr3;
  if (cr3 === undefined || cr3 === (view.table.root as bigint)) return view;
  const { notices: _, ...quiet } = dump;
  const { levels, physicalBits, encryption, noExecute, vendor } = config;
  return openView(quiet, { cr3, levels, physicalBits, encryption, noNx: !noExecute, vendor });
}

function tracesOf(view: DumpView): Traces {
  requireListable(view, {});
  const traces: Traces = {
    directMap: undefined,
    directMapBytes: 0n,
    vmalloc: undefined,
    vmemmap: undefined,
    vmemmapEnd: 0n,
    hasText: false,
    hasSmallPagesOnly: true,
    hasUpperHalfOfModules: false,
    hasLowerHalfOfModules: false,
  };
  const first = KERNEL_START[view.config.levels];
  for (const mapping of mappingsOf(view, {}, () => {})) {
    const { start } = mapping.region;
    if (start < first) continue;
    if (start < RANDOM_END) addRandom(traces, mapping);
    else if (start >= TEXT_MAP && start < MODULES_END) addText(traces, mapping);
  }
  return traces;
}

function addRandom(traces: Traces, { region, paddr }: Mapping): void {
  const distance = region.start - paddr;
  if (distance % GIB === 0n) traces.directMap ??= distance;
  if (traces.directMap === undefined) return;
  if (distance === traces.directMap) traces.directMapBytes += region.size;
  else traces.vmalloc ??= region.start - (region.start % GIB);
  const start = region.start - (region.start % GIB);
  if (traces.vmemmap === undefined || start > traces.vmemmapEnd) traces.vmemmap = start;
  traces.vmemmapEnd = region.end - ((region.end - 1n) % GIB) - 1n + GIB;
}

function addText(traces: Traces, { region, pageSize }: Mapping): void {
  const { start } = region;
  if (start < TEXT_MAP + SMALL_IMAGE) traces.hasText = true;
  else if (start >= TEXT_MAP + LARGE_IMAGE) traces.hasUpperHalfOfModules = true;
  else {
    // The text of a randomized kernel may be here too.
    traces.hasText = true;
    traces.hasLowerHalfOfModules = true;
    if (pageSize !== PageSize.Regular) traces.hasSmallPagesOnly = false;
  }
}

/** Distributions enable the randomization of the text, even if it is off at boot. */
function imageSizeOf(traces: Traces): bigint {
  const { hasUpperHalfOfModules, hasLowerHalfOfModules, hasSmallPagesOnly } = traces;
  const isSmall = hasLowerHalfOfModules && hasSmallPagesOnly && !hasUpperHalfOfModules;
  return isSmall ? SMALL_IMAGE : LARGE_IMAGE;
}
