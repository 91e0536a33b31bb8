import { SnpError } from './snp-error.ts';

/**
 * EAX of CPUID function 1: family, model and stepping of a processor (AMD document 25481). A family above 15 goes to the
 * extended field.
 *
 * @param family - from 0 to 270
 * @param model - from 0 to 255
 * @param stepping - from 0 to 15
 * @throws SnpError `INVALID_ARGUMENT` if one is out of range
 *
 * @example
 * ```ts
 * import { cpuSignature } from '@svsm/sev-snp/formats';
 *
 * console.log(cpuSignature(25, 1, 1).toString(16)); // => a00f11
 * ```
 */
export function cpuSignature(family: number, model: number, stepping: number): number {
  requireWithin('the family of a processor', family, 270);
  requireWithin('the model of a processor', model, 255);
  requireWithin('the stepping of a processor', stepping, 15);
  const extended = Math.max(family - 15, 0);
  return (
    (extended << 20) | ((model >> 4) << 16) | ((family - extended) << 8) | ((model & 15) << 4) | stepping
  );
}

/** The signatures of the processor models of QEMU that run SNP guests (QEMU `target/i386/cpu.c`). */
export const CPU_SIGNATURES = {
  EPYC: 0x80_0f12,
  'EPYC-v1': 0x80_0f12,
  'EPYC-v2': 0x80_0f12,
  'EPYC-IBPB': 0x80_0f12,
  'EPYC-v3': 0x80_0f12,
  'EPYC-v4': 0x80_0f12,
  'EPYC-Rome': 0x83_0f10,
  'EPYC-Rome-v1': 0x83_0f10,
  'EPYC-Rome-v2': 0x83_0f10,
  'EPYC-Rome-v3': 0x83_0f10,
  'EPYC-Milan': 0xa0_0f11,
  'EPYC-Milan-v1': 0xa0_0f11,
  'EPYC-Milan-v2': 0xa0_0f11,
  'EPYC-Genoa': 0xa1_0f10,
  'EPYC-Genoa-v1': 0xa1_0f10,
  'EPYC-Turin': 0xb0_0f00,
} as const;

/** The name of a processor model of QEMU. */
export type CpuModel = keyof typeof CPU_SIGNATURES;

function requireWithin(what: string, value: number, last: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= last) return;
  throw new SnpError('INVALID_ARGUMENT', { what, value, expected: `pass an integer from 0 to ${last}` });
}
