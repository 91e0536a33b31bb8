import { PAGE_SIZE } from '@svsm/address';
import { requireFit } from './byte-fields.ts';
import { requireOptions } from './options.ts';
import { SnpError } from './snp-error.ts';
import { type VmsaField, writeVmsa } from './vmsa.ts';

/**
 * The software that launches a guest. Each leaves other values in a VMSA at reset: QEMU with KVM, EC2 of Amazon, and the
 * Compute Engine of Google.
 */
export type Vmm = 'qemu' | 'ec2' | 'gce';

/** The parameters of {@link createResetVmsa}. */
export interface ResetVmsaOptions {
  /** `qemu` if not given. */
  readonly vmm?: Vmm;
  /** The 32-bit address of the first instruction: 0xFFFF_FFF0 if not given, the reset vector. */
  readonly eip?: number;
  /**
   * EAX of CPUID function 1: see `cpuSignature` and `CPU_SIGNATURES`. QEMU leaves it in EDX, so it needs one. The others
   * leave 0x600, and ignore it.
   */
  readonly cpuSignature?: number | undefined;
  /** SEV_FEATURES: SNP active alone if not given. */
  readonly sevFeatures?: bigint;
}

const SVSM_OPTIONS: readonly (keyof ResetVmsaOptions)[] = ['eip', 'cpuSignature', 'sevFeatures'];
const OPTIONS: readonly (keyof ResetVmsaOptions)[] = ['vmm', ...SVSM_OPTIONS];

/** The reset vector: the address of the first instruction of the boot processor. */
const RESET_EIP = 0xffff_fff0;

/**
 * The VMSA of a processor at reset, in real mode, as the launch measures it (virtee/sev-snp-measure `vmsa.py`). The boot
 * processor starts at the reset vector, all others at the address in the SEV-ES reset block of the firmware.
 *
 * @returns 4096 bytes
 * @throws SnpError `INVALID_ARGUMENT` if the address or the signature is not an unsigned integer of 32 bits, QEMU gets no
 *   signature, or an option does not exist; `INVALID_MESSAGE` if `sevFeatures` does not fit
 *
 * @example
 * ```ts
 * import { CPU_SIGNATURES, createResetVmsa, readVmsa } from '@svsm/sev-snp/formats';
 *
 * const vmsa = createResetVmsa({ eip: 0x80_b004, cpuSignature: CPU_SIGNATURES['EPYC-Milan'] });
 * console.log(readVmsa(vmsa, 'csBase'), readVmsa(vmsa, 'rip')); // => 8388608n 45060n
 * ```
 */
export function createResetVmsa(options: ResetVmsaOptions = {}): Uint8Array {
  requireOptions('the options of a reset VMSA', options, OPTIONS);
  const { vmm = 'qemu', eip = RESET_EIP, sevFeatures = 1n } = options;
  requireFit('sevFeatures', sevFeatures, 8);
  require32('the address of the first instruction', eip);
  const atVector = eip === RESET_EIP;
  const vmsa = filled(COMMON, segments(REAL_MODE), {
    csSelector: 0xf000,
    csBase: Math.floor(eip / 0x1_0000) * 0x1_0000,
    rip: eip % 0x1_0000,
    cr0: 0x10,
    sevFeatures,
  });
  if (vmm === 'qemu') return fill(vmsa, QEMU, { rdx: signatureOf(options) });
  if (vmm === 'gce') return fill(vmsa, GCE);
  if (vmm === 'ec2') return fill(vmsa, EC2, { csAttributes: atVector ? 0x9a : 0x9b });
  throw new SnpError('INVALID_ARGUMENT', {
    what: 'the launching software',
    value: vmm,
    expected: 'pass qemu, ec2 or gce',
  });
}

/**
 * The VMSA of a processor that starts in an SVSM binary below the firmware: 32-bit protected mode with flat segments, as
 * QEMU of COCONUT-SVSM leaves it (virtee/sev-snp-measure `vmsa.py`, `VMSA_SVSM`). All processors start alike.
 *
 * @param options - as for {@link createResetVmsa}, without `vmm`
 * @returns 4096 bytes
 * @throws SnpError as {@link createResetVmsa}
 */
export function createSvsmResetVmsa(options: Omit<ResetVmsaOptions, 'vmm'>): Uint8Array {
  requireOptions('the options of a reset VMSA', options, SVSM_OPTIONS);
  const { eip = RESET_EIP, sevFeatures = 1n } = options;
  requireFit('sevFeatures', sevFeatures, 8);
  require32('the address of the first instruction', eip);
  return filled(COMMON, segments(PROTECTED_MODE), {
    csSelector: 8,
    csAttributes: 0xc9b,
    csLimit: 0xffff_ffff,
    rip: eip,
    cr0: 0x11,
    mxcsr: 0x1f80,
    rdx: signatureOf(options),
    sevFeatures,
  });
}

type Values = Partial<Readonly<Record<VmsaField, number | bigint>>>;

/** The values that all have. KVM sets EFER.SVME and CR4.MCE; the others are those of the manual at reset. */
const COMMON: Values = {
  gdtrLimit: 0xffff,
  idtrLimit: 0xffff,
  ldtrLimit: 0xffff,
  ldtrAttributes: 0x82,
  trLimit: 0xffff,
  trAttributes: 0x8b,
  csLimit: 0xffff,
  csAttributes: 0x9b,
  efer: 0x1000,
  cr4: 0x40,
  dr7: 0x400,
  dr6: 0xffff_0ff0,
  rflags: 2,
  pat: 0x0007_0406_0007_0406n,
  xcr0: 1,
};
const QEMU: Values = { mxcsr: 0x1f80, x87Control: 0x37f };
const EC2: Values = { ssAttributes: 0x92, trAttributes: 0x83, rdx: 0x600 };
const GCE: Values = { pat: 0x0007_0106, rdx: 0x600 };

interface DataSegments {
  readonly selector: number;
  readonly attributes: number;
  readonly limit: number;
  readonly names: readonly ('es' | 'ss' | 'ds' | 'fs' | 'gs')[];
}

const REAL_MODE: readonly DataSegments[] = [
  { selector: 0, attributes: 0x93, limit: 0xffff, names: ['es', 'ss', 'ds', 'fs', 'gs'] },
];
const PROTECTED_MODE: readonly DataSegments[] = [
  { selector: 0x10, attributes: 0xc93, limit: 0xffff_ffff, names: ['es', 'ss', 'ds', 'fs'] },
  { selector: 0, attributes: 0x93, limit: 0xffff, names: ['gs'] },
];

function segments(groups: readonly DataSegments[]): Values {
  const values: [string, number][] = [];
  for (const { selector, attributes, limit, names } of groups)
    for (const name of names)
      values.push([`${name}Selector`, selector], [`${name}Attributes`, attributes], [`${name}Limit`, limit]);
  return Object.fromEntries(values);
}

function filled(...values: readonly Values[]): Uint8Array {
  return fill(new Uint8Array(PAGE_SIZE), ...values);
}

function fill(vmsa: Uint8Array, ...values: readonly Values[]): Uint8Array {
  for (const [field, value] of values.flatMap((part) => Object.entries(part)))
    writeVmsa(vmsa, field as VmsaField, BigInt(value));
  return vmsa;
}

function signatureOf({ cpuSignature }: ResetVmsaOptions): number {
  require32('the signature of the processor', cpuSignature);
  return cpuSignature;
}

function require32(what: string, value: number | undefined): asserts value is number {
  if (Number.isInteger(value) && value! >= 0 && value! < 2 ** 32) return;
  throw new SnpError('INVALID_ARGUMENT', { what, value, expected: 'pass an unsigned integer of 32 bits' });
}
