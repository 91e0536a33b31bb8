import type { PhysAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { GuestMemoryInput } from '../memory/guest-regions.ts';
import type { SvsmProtocol } from './other-protocol.ts';
import type { VtomRange } from './svsm-vtom.ts';

/** The memory of a guest with an SVSM. */
export interface SvsmMemoryMap {
  /** All guest-physical memory, including the SVSM's own: one region, or several. */
  readonly memory: GuestMemoryInput;
  /** The SVSM's own memory. */
  readonly own: Iterable<MemoryRegion<PhysAddr>>;
  /** The memory that is validated from the start: all of it if not given. */
  readonly validated?: Iterable<MemoryRegion<PhysAddr>>;
}

/** Options of an `SvsmState`. */
export interface SvsmStateOptions extends SvsmMemoryMap {
  /** SEV_FEATURES of the boot processor, which every VMSA has to have: only SNP active if not given. */
  readonly sevFeatures?: bigint;
  /** The virtual tops of memory that CONFIGURE_VTOM accepts. If not given, the SVSM offers none. */
  readonly vtom?: VtomRange;
  /** The protocols in addition to the core protocol, by number. If not given, the SVSM has none. */
  readonly protocols?: ReadonlyMap<number, SvsmProtocol>;
  /** The number of list entries that one call processes, at least 0; the guest calls again for the rest. Unlimited if not given. */
  readonly entriesPerCall?: number;
  /** Whether a VMSA runs at the moment and so cannot be deleted. If not given, the machine decides. */
  readonly isRunning?: (vmsa: PhysAddr) => boolean;
}
