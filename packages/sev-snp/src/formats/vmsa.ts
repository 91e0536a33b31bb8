import { PAGE_SIZE } from '@svsm/address';
import { bytesOfInteger, integerOf, requireFit, requireLength } from './byte-fields.ts';

/**
 * The fields of a VMSA that a model of memory needs: offset and size in bytes (AMD64 APM vol. 2, appendix B, table B-4;
 * COCONUT-SVSM `cpuarch/src/vmsa.rs`, OpenVMM `SevVmsa`).
 */
export const VMSA_FIELDS = {
  csAttributes: [0x012, 2],
  vmpl: [0x0ca, 1],
  cpl: [0x0cb, 1],
  efer: [0x0d0, 8],
  cr4: [0x148, 8],
  cr3: [0x150, 8],
  cr0: [0x158, 8],
  rflags: [0x170, 8],
  rip: [0x178, 8],
  rsp: [0x1d8, 8],
  rax: [0x1f8, 8],
  cr2: [0x240, 8],
  pat: [0x268, 8],
  pkru: [0x2e8, 4],
  tscScale: [0x2f0, 8],
  tscOffset: [0x2f8, 8],
  registerProtectionNonce: [0x300, 8],
  rcx: [0x308, 8],
  rdx: [0x310, 8],
  rbx: [0x318, 8],
  r8: [0x340, 8],
  r9: [0x348, 8],
  exitInfo1: [0x390, 8],
  exitInfo2: [0x398, 8],
  exitIntInfo: [0x3a0, 8],
  nextRip: [0x3a8, 8],
  sevFeatures: [0x3b0, 8],
  vintrCtrl: [0x3b8, 8],
  exitCode: [0x3c0, 8],
  virtualTom: [0x3c8, 8],
  tlbId: [0x3d0, 8],
  pcpuId: [0x3d8, 8],
  eventInjection: [0x3e0, 8],
  xcr0: [0x3e8, 8],
} as const;

/** The name of a field of a VMSA. */
export type VmsaField = keyof typeof VMSA_FIELDS;

/** Bits of SEV_FEATURES (AMD64 APM vol. 2, appendix B, table B-4). */
export const SevFeature = {
  SnpActive: 0x1n,
  VirtualTom: 0x2n,
  ReflectVc: 0x4n,
  RestrictedInjection: 0x8n,
  AlternateInjection: 0x10n,
  DebugVirtualization: 0x20n,
  /** VMPL SSS: supervisor shadow stacks need their bit in the mask (AMD64 APM vol. 2, §15.36.7). */
  VmplSss: 0x100n,
} as const;

/** The bit L of the attributes of a code segment in a VMSA: 64-bit mode while EFER.LMA is 1 (AMD64 APM vol. 2, appendix B). */
export const CS_LONG = 0x200n;

/** EFER.SVME. A VMSA in which it is clear cannot be run (AMD64 APM vol. 2, §15.4). */
export const EFER_SVME = 0x1000n;

/**
 * The value of a field of a VMSA. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `vmsa` is not 4096 bytes long
 *
 * @example
 * ```ts
 * import { readVmsa, writeVmsa } from '@svsm/sev-snp/formats';
 *
 * const vmsa = new Uint8Array(4096);
 * writeVmsa(vmsa, 'rip', 0xfff0n);
 * console.log(readVmsa(vmsa, 'rip'), vmsa[0x178]); // => 65520n 240
 * ```
 */
export function readVmsa(vmsa: Uint8Array, field: VmsaField): bigint {
  const [offset, size] = VMSA_FIELDS[field];
  requireLength(vmsa, PAGE_SIZE, 'a VMSA');
  return integerOf(vmsa.subarray(offset, offset + size));
}

/**
 * Sets a field of a VMSA. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `vmsa` is not 4096 bytes long, `INVALID_MESSAGE` if the value does not fit
 */
export function writeVmsa(vmsa: Uint8Array, field: VmsaField, value: bigint): void {
  const [offset, size] = VMSA_FIELDS[field];
  requireLength(vmsa, PAGE_SIZE, 'a VMSA');
  requireFit(field, value, size);
  vmsa.set(bytesOfInteger(value, size), offset);
}
