import { Phys, type PhysAddr } from '@svsm/address';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import { SvsmState } from '@svsm/sev-snp';
import { requireInstance, requireIterable, requireOptions } from '../formats/arguments.ts';
import type { MemoryMap } from '../layout/memory-map.ts';

/** The validated memory when the record is made. */
export interface ValidityAtBoot {
  /** Validated by the launch and by the boot. */
  readonly validated: Iterable<MemoryRegion<PhysAddr>>;
  /** Shared with the hypervisor since. */
  readonly shared: Iterable<MemoryRegion<PhysAddr>>;
}

/**
 * The step `validity-record`: the one record of validated pages, for all processors, and the state of the SVSM that serves the
 * guest. It covers all memory of the map, and the SVSM's own memory.
 *
 * @throws MmError `INVALID_ARGUMENT`; RegionError; SnpError `INVALID_ARGUMENT`
 */
export function createValidityRecord(
  map: MemoryMap,
  validity: ValidityAtBoot,
  options: { readonly entriesPerCall?: number } = {},
): SvsmState {
  requireOptions('the validity', validity, ['validated', 'shared']);
  requireOptions('options', options, ['entriesPerCall']);
  const { validated, shared } = validity;
  requireIterable('validated', validated);
  requireIterable('shared', shared);
  const memory = memoryOf(map);
  const pages = new RegionSet(Phys, validated).intersect(memory).subtract(new RegionSet(Phys, shared));
  return new SvsmState({ memory, own: [map.own], validated: pages, ...options });
}

/** All memory of a map: the regions of all kinds but `hole`. @throws MmError `INVALID_ARGUMENT` */
export function memoryOf(map: MemoryMap): RegionSet<PhysAddr> {
  requireInstance('the memory map', map, 'MemoryMap');
  return new RegionSet(
    Phys,
    Array.from(map)
      .filter(([, kind]) => kind !== 'hole')
      .map(([region]) => region),
  );
}
