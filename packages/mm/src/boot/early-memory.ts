import { PageSize, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import { acceptRegion, releaseRegion, type ValidatedPages } from '@svsm/sev-snp';
import type { PerCpu } from '../cpu/per-cpu.ts';
import {
  regionArgument,
  requireBoolean,
  requireInstance,
  requireIterable,
  requireOptions,
} from '../formats/arguments.ts';
import { rescindRegion } from './heap-validation.ts';

/**
 * The step `early-memory`: invalidates memory that only code before the boot has used. Nobody can read what is left in it
 * afterwards: a page that is validated again is cleared first.
 *
 * @param record - the SVSM's record, from which the memory is removed
 * @param options - `startsShared`: also give the memory back to the hypervisor
 * @throws MmError `INVALID_ARGUMENT`; SnpError `NOT_VALIDATED` if a page is not validated; as `releaseRegion`. A part that was
 *   invalidated stays so, and the record says which
 */
export function invalidateEarlyMemory(
  cpu: PerCpu,
  record: ValidatedPages,
  regions: Iterable<MemoryRegion<PhysAddr>>,
  options: { readonly startsShared?: boolean } = {},
): void {
  requireInstance('the processor', cpu, 'PerCpu');
  requireInstance('the record', record, 'ValidatedPages');
  requireIterable('the regions', regions);
  requireOptions('options', options, ['startsShared']);
  const { startsShared = false } = options;
  requireBoolean('startsShared', startsShared);
  for (const given of regions) {
    const region = regionArgument('a region', given, Phys);
    record.requireAll(region);
    for (const part of piecesOf(region)) {
      using guard = cpu.map(part);
      if (startsShared) releaseRegion(cpu.ghcb, cpu.pageTable, guard.region, { validated: record });
      else {
        const toPhys = (page: VirtAddr): PhysAddr => (part.start + (page - guard.region.start)) as PhysAddr;
        rescindRegion(cpu.vcpu, guard.region, ({ start, size }) =>
          record.remove(new MemoryRegion(Phys, toPhys(start), size)),
        );
      }
    }
  }
}

/**
 * The reverse of {@link invalidateEarlyMemory}, for a boot that fails afterwards: the memory is validated again, and clear. What was
 * not invalidated yet is cleared too.
 *
 * @throws SnpError as `acceptRegion`; SnpFault
 */
export function revalidateEarlyMemory(
  cpu: PerCpu,
  record: ValidatedPages,
  regions: Iterable<MemoryRegion<PhysAddr>>,
): void {
  for (const region of regions) {
    for (const part of piecesOf(region)) {
      if (record.firstMissingIn(part) === undefined) continue;
      using guard = cpu.map(part);
      const { start } = guard.region;
      for (const { start: first, size } of new RegionSet(Phys, record).intersect(
        new RegionSet(Phys, [part]),
      )) {
        const from = (start + (first - part.start)) as VirtAddr;
        rescindRegion(cpu.vcpu, new MemoryRegion(guard.region.kind, from, size));
        record.remove(new MemoryRegion(Phys, first, size));
      }
      acceptRegion(cpu.ghcb, cpu.pageTable, guard.region, { validated: record });
    }
  }
}

/** The number of pages that are mapped at a time. */
const AT_A_TIME = 256;

/** The parts of a region that are made of pages of one size, at most 256 each. */
function* piecesOf(region: MemoryRegion<PhysAddr>): Generator<MemoryRegion<PhysAddr>> {
  for (const { start, pageSize, count } of region.pageRuns({ maxPageSize: PageSize.Huge })) {
    for (let done = 0; done < count; done += AT_A_TIME) {
      const pages = BigInt(Math.min(AT_A_TIME, count - done));
      const from = (start + BigInt(done) * BigInt(pageSize)) as PhysAddr;
      yield new MemoryRegion(region.kind, from, pages * BigInt(pageSize));
    }
  }
}
