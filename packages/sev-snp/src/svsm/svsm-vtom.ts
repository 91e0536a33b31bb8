import { PAGE_SIZE_2M } from '@svsm/address';
import type { Assumptions } from '../formats/assumptions.ts';
import { type SvsmRegisters, SvsmResult } from '../formats/svsm-protocol.ts';
import { readVmsa, SevFeature, type VmsaField, writeVmsa } from '../formats/vmsa.ts';

/** The virtual tops of memory that an SVSM accepts: multiples of 2 MiB, both ends included. */
export interface VtomRange {
  readonly min: bigint;
  readonly max: bigint;
}

const QUERY = 0x1n;
const ENABLE = 0x2n;
const RESERVED = 0xfe0n;
const PAGE_MASK = ~0xfffn;

/** The bits of RCX that load a field of the VMSA, and from which register. */
const LOADS: readonly (readonly [bigint, VmsaField, 'rdx' | 'r8' | 'r9'])[] = [
  [0x4n, 'cr3', 'rdx'],
  [0x8n, 'rip', 'r8'],
  [0x10n, 'rsp', 'r9'],
];

/**
 * SVSM_CORE_CONFIGURE_VTOM (AMD document 58019, §6.8): returns the offered range, or sets or clears the virtual top of
 * memory in the caller's VMSA. If no range is offered, a configuration is INVALID_REQUEST (COCONUT-SVSM `core.rs`). A value
 * outside of the range is INVALID_ADDRESS. A failure changes nothing. O(1).
 */
export function configureVtom(
  registers: SvsmRegisters,
  offered: VtomRange | undefined,
  vmsa: Uint8Array | undefined,
  minimumIn: Assumptions['svsmVtomMinimum'],
): number {
  const { rcx } = registers;
  if ((rcx & QUERY) !== 0n) {
    if (rcx !== QUERY) return SvsmResult.InvalidParameter;
    // Bit 1: supported; 19:12: the binary logarithm of the alignment.
    const answer = offered === undefined ? 0n : ENABLE | (21n << 12n);
    registers.rcx = answer;
    if (offered === undefined) return SvsmResult.Success;
    registers.r8 = offered.max;
    if (minimumIn === 'RDX') registers.rdx = offered.min;
    else registers.rcx = answer | offered.min;
    return SvsmResult.Success;
  }
  if (offered === undefined || vmsa === undefined) return SvsmResult.InvalidRequest;
  const tom = rcx & PAGE_MASK;
  const isEnabled = (rcx & ENABLE) !== 0n;
  const isAligned = tom % BigInt(PAGE_SIZE_2M) === 0n;
  if ((rcx & RESERVED) !== 0n || !(isEnabled ? isAligned : tom === 0n)) return SvsmResult.InvalidParameter;
  if (isEnabled && (tom < offered.min || tom > offered.max)) return SvsmResult.InvalidAddress;
  const features = readVmsa(vmsa, 'sevFeatures') & ~SevFeature.VirtualTom;
  writeVmsa(vmsa, 'sevFeatures', isEnabled ? features | SevFeature.VirtualTom : features);
  writeVmsa(vmsa, 'virtualTom', tom);
  for (const [bit, field, register] of LOADS) {
    if ((rcx & bit) !== 0n) writeVmsa(vmsa, field, BigInt.asUintN(64, registers[register]));
  }
  return SvsmResult.Success;
}
