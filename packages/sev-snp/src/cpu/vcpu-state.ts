import { PAGE_SIZE, PAGE_SIZE_2M } from '@svsm/address';
import { requireBits, requireFit, requireFlags } from '../formats/byte-fields.ts';
import { requireOptions } from '../formats/options.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SvsmRegisters } from '../formats/svsm-protocol.ts';
import { CS_LONG, readVmsa, SevFeature, type VmsaField, writeVmsa } from '../formats/vmsa.ts';
import { ControlBit, type ControlRegisters, givenRegisters, START_REGISTERS } from './vcpu-registers.ts';

/** The state of a processor: in the processor while it runs, in its VMSA while it does not. */
export interface VcpuState {
  readonly cpl: number;
  readonly control: ControlRegisters;
  /** The bit L of the code segment. */
  readonly csL: boolean;
  readonly cr2: bigint;
  /** VIRTUAL_TOM, if SEV_FEATURES enables it. */
  readonly virtualTom: bigint | undefined;
  /** VMPL SSS, by SEV_FEATURES. */
  readonly vmplSss: boolean;
  readonly registers: SvsmRegisters;
}

/** The fields of a new VMSA. Registers that are not given have their start values. */
export interface VmsaOptions {
  /** The privilege level: 0 if not given. */
  readonly vmpl?: number;
  readonly control?: Partial<ControlRegisters>;
  /**
   * The bit L of the code segment, which is in the field `csAttributes`. Not given: set if EFER.LMA is. A VMSA that another
   * program has made with the bit clear starts in compatibility mode.
   */
  readonly csL?: boolean;
  readonly rip?: bigint;
  readonly rsp?: bigint;
  /** SEV_FEATURES: SNP active alone if not given. */
  readonly sevFeatures?: bigint;
  readonly virtualTom?: bigint;
}

/**
 * The 4096 bytes of a VMSA for a new processor.
 *
 * @throws SnpError `INVALID_ARGUMENT` for an option or a register that does not exist, or a register that is not a bigint of 64
 *   bits; `INVALID_MESSAGE` if a field does not fit, the VMPL does not exist, or `virtualTom` is not a multiple of 2 MiB
 *
 * @example
 * ```ts
 * import { createVmsa, SnpMachine } from '@svsm/sev-snp';
 *
 * const machine = new SnpMachine({ memorySize: 32 << 20 });
 * const guest = machine.hypervisor.launch({ size: 8 << 20, vmsas: [createVmsa()] });
 * guest.onStart((vcpu) => console.log(vcpu.vmpl, vcpu.isRunning)); // => 0 true
 * machine.hypervisor.run(guest);
 * ```
 */
export function createVmsa(options: VmsaOptions = {}): Uint8Array {
  requireOptions('options', options, VMSA_OPTIONS);
  const { vmpl = 0, control, rip = 0n, rsp = 0n, sevFeatures = 1n, virtualTom = 0n } = options;
  const { cr0, cr3, cr4, efer, rflags, pkru } = { ...START_REGISTERS, ...givenRegisters(control) };
  requireBits('vmpl', vmpl, 2);
  if (typeof virtualTom === 'bigint' && virtualTom % BigInt(PAGE_SIZE_2M) !== 0n) {
    throw new SnpError('INVALID_MESSAGE', {
      field: 'virtualTom',
      value: virtualTom,
      expected: 'pass a multiple of 2 MiB',
    });
  }
  const image = new Uint8Array(PAGE_SIZE);
  const { csL = (efer & ControlBit.EferLma) !== 0n } = options;
  requireFlags({ csL });
  const csAttributes = csL ? CS_BASIC | CS_LONG : CS_BASIC;
  const fields = {
    csAttributes,
    vmpl: BigInt(vmpl),
    cr0,
    cr3,
    cr4,
    efer,
    rflags,
    pkru,
    rip,
    rsp,
    sevFeatures,
    virtualTom,
  };
  for (const [field, value] of Object.entries({ ...fields, pat: POWER_UP_PAT, xcr0: 1n })) {
    writeVmsa(image, field as VmsaField, value);
  }
  return image;
}

/** The names of the options. */
const VMSA_OPTIONS: readonly (keyof VmsaOptions)[] = [
  'vmpl',
  'control',
  'csL',
  'rip',
  'rsp',
  'sevFeatures',
  'virtualTom',
];

/** A code segment that is present, readable and accessed; without L, D and G (AMD64 APM vol. 2, §4.8.1). */
const CS_BASIC = 0x9bn;

/** IA32_PAT after power-up (AMD64 APM vol. 2, §7.8.1). */
const POWER_UP_PAT = 0x0007_0406_0007_0406n;

const GENERAL = ['rax', 'rcx', 'rdx', 'r8', 'r9'] as const;
// No source names a field of a VMSA for IA32_PKRS, so it stays with the processor.
const CONTROL = ['cr0', 'cr3', 'cr4', 'efer', 'rflags', 'pkru'] as const;

/** The state in a VMSA. `pkrs` is the value in the processor. */
export function stateOfVmsa(image: Uint8Array, pkrs: bigint): VcpuState {
  const read = (fields: readonly VmsaField[]): [string, bigint][] =>
    fields.map((field) => [field, readVmsa(image, field)]);
  const features = readVmsa(image, 'sevFeatures');
  return {
    cpl: Number(readVmsa(image, 'cpl')),
    control: { ...(Object.fromEntries(read(CONTROL)) as unknown as ControlRegisters), pkrs },
    csL: (readVmsa(image, 'csAttributes') & CS_LONG) !== 0n,
    cr2: readVmsa(image, 'cr2'),
    virtualTom: (features & SevFeature.VirtualTom) === 0n ? undefined : readVmsa(image, 'virtualTom'),
    vmplSss: (features & SevFeature.VmplSss) !== 0n,
    registers: Object.fromEntries(read(GENERAL)) as unknown as SvsmRegisters,
  };
}

/** The part of a state that #VMEXIT saves. */
export type SavedState = Omit<VcpuState, 'virtualTom' | 'vmplSss'>;

/** The exit code of a #VMEXIT, and both infos. */
export interface ExitInformation {
  readonly exitCode: bigint;
  readonly exitInfo1: bigint;
  readonly exitInfo2: bigint;
}

/** Requires the values of a #VMEXIT; the code may be negative. @throws SnpError `INVALID_MESSAGE` */
export function requireExit({ exitCode, exitInfo1, exitInfo2 }: ExitInformation): void {
  const isSigned = typeof exitCode === 'bigint' && BigInt.asIntN(64, exitCode) === exitCode;
  if (!isSigned) requireFit('exitCode', exitCode, 8);
  requireFit('exitInfo1', exitInfo1, 8);
  requireFit('exitInfo2', exitInfo2, 8);
}

/** Saves a state and the exit information in a VMSA, as #VMEXIT does. */
export function saveState(
  image: Uint8Array,
  { cpl, control, csL, cr2, registers }: SavedState,
  exit: ExitInformation,
): void {
  writeVmsa(image, 'cpl', BigInt(cpl));
  writeVmsa(image, 'cr2', cr2);
  writeVmsa(image, 'csAttributes', (readVmsa(image, 'csAttributes') & ~CS_LONG) | (csL ? CS_LONG : 0n));
  for (const field of CONTROL) writeVmsa(image, field, control[field]);
  for (const field of GENERAL) writeVmsa(image, field, BigInt.asUintN(64, registers[field]));
  writeVmsa(image, 'exitCode', BigInt.asUintN(64, exit.exitCode));
  writeVmsa(image, 'exitInfo1', exit.exitInfo1);
  writeVmsa(image, 'exitInfo2', exit.exitInfo2);
}
