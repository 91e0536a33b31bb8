import {
  type AccessKind,
  allowsAccess,
  type CpuState,
  cpuState,
  type MappedPage,
  PageFaultCode,
  PteFlags,
} from '@svsm/pagetable';
import type { FaultAccess } from './virtual-mapping.ts';

/** A page fault, as its error code describes it. */
export interface PageFault extends FaultAccess {
  readonly kind: AccessKind;
  /** Whether the access was made in user mode. */
  readonly user: boolean;
}

/** Faults that no mapping resolves: a corrupted entry, a protection key, and the RMP. */
const FOREIGN = PageFaultCode.Reserved | PageFaultCode.ProtectionKey | PageFaultCode.Rmp;

/** The fault of an error code, or `undefined` if no mapping resolves it. `vmrFlags`: the flags of all its pages. */
export function faultOf(errorCode: number, vmrFlags: number): PageFault | undefined {
  if ((errorCode & FOREIGN) !== 0) return undefined;
  const user = (errorCode & PageFaultCode.User) !== 0;
  const kind = kindOf(errorCode);
  const isUserPage = (vmrFlags & PteFlags.User) !== 0;
  // SMEP: an SVSM never executes user pages in supervisor mode.
  const isDenied = (user && !isUserPage) || (kind === 'fetch' && !user && isUserPage);
  if (isDenied) return undefined;
  return { kind, user, shadowStack: (errorCode & PageFaultCode.ShadowStack) !== 0 };
}

/**
 * Whether the entry of a page allows the access that has faulted. Then another processor has resolved the fault already, and
 * the instruction can run again: a processor walks the tables again before it raises the next fault.
 *
 * @param state - the state of the processor; without it, SMAP does not deny the access
 */
export function isAllowed(page: MappedPage, fault: PageFault, state: CpuState | undefined): boolean {
  const { kind, user, shadowStack } = fault;
  const base = state ?? NO_SMAP;
  const cpu = { ...base, cpl: user ? 3 : 0, cet: base.cet || shadowStack } as CpuState;
  const mode = shadowStack ? ({ shadowStack: user ? 'user' : 'current' } as const) : {};
  return allowsAccess(page, kind, cpuState(cpu), mode);
}

const NO_SMAP: CpuState = /* @__PURE__ */ cpuState({ smap: false });

function kindOf(errorCode: number): AccessKind {
  if ((errorCode & PageFaultCode.Write) !== 0) return 'write';
  return (errorCode & PageFaultCode.Fetch) !== 0 ? 'fetch' : 'read';
}
