import { PAGE_SIZE, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { PageAllocator } from '@svsm/buddy-alloc';
import { MemoryRegion } from '@svsm/memory-region';
import type { PageTablePart } from '@svsm/pagetable';
import type { ValidatedPages } from '@svsm/sev-snp';
import type { PerCpu } from '../cpu/per-cpu.ts';
import { readArgument, refuseArgument, requireInstance, requireMethods } from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';
import type { DirectMap } from '../layout/direct-map.ts';
import type { MemoryMap } from '../layout/memory-map.ts';
import type { PageVisibility } from '../visibility/page-visibility.ts';

/** The parts of an SVSM that {@link checkInvariants} compares. `Svsm` is one. */
export interface InvariantSubject {
  readonly pages: PageAllocator<VirtAddr>;
  readonly directMap: DirectMap;
  readonly kernel: PageTablePart;
  readonly cpus: readonly PerCpu[];
  readonly validated: ValidatedPages;
  readonly visibility: PageVisibility;
  readonly memoryMap: MemoryMap;
}

/**
 * Compares what different parts say about the same pages:
 *
 * - The allocator agrees with itself.
 * - Each page of the heap is mapped at its place in the direct map. It is exactly one of these: private and validated; shared,
 *   allocated and not validated; or lost.
 * - No page of the image or the heap can be both written and executed.
 * - The record has no page outside of the memory map.
 *
 * O(leaves of the shared tables + blocks).
 *
 * @throws MmError `INVALID_ARGUMENT`, `INVARIANT_BROKEN`; BuddyError as `checkInvariants`
 */
export function checkInvariants(subject: InvariantSubject): void {
  const svsm = partsOf(subject);
  const { pages, directMap, kernel, validated, memoryMap, visibility } = svsm;
  pages.checkInvariants();
  const { start, end } = directMap.virt;
  const { lost } = visibility;
  let next: bigint = start;
  for (const leaf of kernel.leaves()) {
    if (leaf.writable && leaf.executable) broken(leaf.vaddr, 'can be written and executed');
    if (leaf.vaddr < start || leaf.vaddr >= end) continue;
    if (leaf.vaddr !== next) broken(next, 'is not mapped');
    next = leaf.vaddr + BigInt(leaf.size);
    if (leaf.frame !== directMap.toPhys(leaf.vaddr)) broken(leaf.vaddr, 'is mapped to another page');
    const leafPages = new MemoryRegion(Phys, leaf.frame, leaf.size);
    for (const part of lost.gaps(leafPages)) checkPages(svsm, directMap.virtOf(part), part, leaf.shared);
  }
  if (next !== end) broken(next, 'is not mapped');
  for (const region of validated)
    if (memoryMap.kindOf(region.start) === undefined) broken(region.start, 'is validated, and not memory');
}

/** The parts of an SVSM, each with its type. @throws MmError `INVALID_ARGUMENT` */
function partsOf(svsm: InvariantSubject): InvariantSubject {
  const parts = readArgument('the SVSM', svsm, 'pass an Svsm', () => {
    const { pages, directMap, kernel, cpus, validated, visibility, memoryMap } = svsm;
    return { pages, directMap, kernel, cpus, validated, visibility, memoryMap };
  });
  requireMethods('pages', parts.pages, ['checkInvariants', 'blockOf']);
  requireInstance('directMap', parts.directMap, 'DirectMap');
  requireInstance('kernel', parts.kernel, 'PageTablePart');
  requireInstance('validated', parts.validated, 'ValidatedPages');
  requireInstance('visibility', parts.visibility, 'PageVisibility');
  requireInstance('memoryMap', parts.memoryMap, 'MemoryMap');
  const { cpus } = parts;
  if (!readArgument('cpus', cpus, 'pass an array', () => Array.isArray(cpus)))
    refuseArgument('cpus', cpus, 'pass an array');
  for (const cpu of cpus) requireInstance('a processor', cpu, 'PerCpu');
  return parts;
}

/** Compares pages of the heap that are mapped alike, and not lost, with the records. */
function checkPages(
  { validated, visibility, pages, cpus }: InvariantSubject,
  virt: MemoryRegion<VirtAddr>,
  phys: MemoryRegion<PhysAddr>,
  isShared: boolean,
): void {
  const wrong = isShared ? validated.firstIn(phys) : validated.firstMissingIn(phys);
  if (wrong !== undefined)
    broken(
      virt.start + (wrong - phys.start),
      isShared ? 'is shared and validated' : 'is private and not validated',
    );
  if (!isShared) return;
  for (const page of virt.iterPages(PAGE_SIZE)) {
    if (!visibility.isShared(page) && !cpus.some(({ ghcb }) => ghcb.gva === page))
      broken(page, 'is shared, and nobody has shared it');
    if (pages.blockOf(page)?.state !== 'allocated') broken(page, 'is shared, and not allocated');
  }
}

function broken(vaddr: bigint, problem: string): never {
  throw new MmError('INVARIANT_BROKEN', { vaddr, problem });
}
