import { PAGE_SIZE_2M, type PhysAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import {
  refuseArgument,
  requireCount,
  requireFunction,
  requireIterable,
  requireMethods,
  requireUint64,
} from '../formats/arguments.ts';
import { type Check, optional, requireFields } from '../formats/options.ts';
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

/** Regions and protocols are checked again, one by one, when they are copied. */
const SVSM_OPTIONS: Readonly<Record<keyof SvsmStateOptions, Check>> = {
  memory: () => {},
  own: requireIterable,
  validated: /* @__PURE__ */ optional(requireIterable),
  sevFeatures: /* @__PURE__ */ optional(requireUint64),
  vtom: /* @__PURE__ */ optional((what, vtom) => requireFields(what, vtom as object, VTOM_RANGE)),
  protocols: /* @__PURE__ */ optional((what, map) => requireMethods(what, map, ['get', 'entries'])),
  entriesPerCall: /* @__PURE__ */ optional(requireCount),
  isRunning: /* @__PURE__ */ optional(requireFunction),
};

const VTOM_RANGE: Readonly<Record<keyof VtomRange, Check>> = { min: requireVtom, max: requireVtom };

/** Requires options that exist, each of its type. @throws SnpError `INVALID_ARGUMENT` */
export function requireSvsmOptions(options: SvsmStateOptions): void {
  requireFields('options', options, SVSM_OPTIONS);
}

function requireVtom(what: string, value: unknown): void {
  requireUint64(what, value);
  if (value % BigInt(PAGE_SIZE_2M) !== 0n) refuseArgument(what, value, 'pass a multiple of 2 MiB');
}
