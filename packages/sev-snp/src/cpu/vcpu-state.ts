import { PAGE_SIZE } from '@svsm/address';
import type { SvsmRegisters } from '../formats/svsm-protocol.ts';
import { readVmsa, SevFeature, type VmsaField, writeVmsa } from '../formats/vmsa.ts';
import { type ControlRegisters, START_REGISTERS } from './vcpu-registers.ts';

/** What a processor has while it runs, and its VMSA holds while it does not. */
export interface VcpuState {
  readonly cpl: number;
  readonly control: ControlRegisters;
  readonly cr2: bigint;
  /** VIRTUAL_TOM, if SEV_FEATURES enables it. */
  readonly virtualTom: bigint | undefined;
  readonly registers: SvsmRegisters;
}

/** What a new VMSA says; what is not given is as a processor starts. */
export interface VmsaOptions {
  /** 0 if not given. */
  readonly vmpl?: number;
  readonly control?: Partial<ControlRegisters>;
  readonly rip?: bigint;
  readonly rsp?: bigint;
  /** SEV_FEATURES: SNP active alone if not given. */
  readonly sevFeatures?: bigint;
  readonly virtualTom?: bigint;
}

/** The 4096 bytes of a VMSA for a processor that has not run yet. @throws SnpError `INVALID_MESSAGE` for what does not fit */
export function createVmsa(options: VmsaOptions = {}): Uint8Array {
  const { vmpl = 0, control = {}, rip = 0n, rsp = 0n, sevFeatures = 1n, virtualTom = 0n } = options;
  const { cr0, cr3, cr4, efer, rflags, pkru } = { ...START_REGISTERS, ...control };
  const image = new Uint8Array(PAGE_SIZE);
  const fields = { vmpl: BigInt(vmpl), cr0, cr3, cr4, efer, rflags, pkru, rip, rsp, sevFeatures, virtualTom };
  for (const [field, value] of Object.entries({ ...fields, pat: POWER_UP_PAT, xcr0: 1n })) {
    writeVmsa(image, field as VmsaField, value);
  }
  return image;
}

/** IA32_PAT after power-up (AMD64 APM vol. 2, §7.8.1). */
const POWER_UP_PAT = 0x0007_0406_0007_0406n;

const GENERAL = ['rax', 'rcx', 'rdx', 'r8', 'r9'] as const;
// IA32_PKRS is no field of a VMSA that a source names: it stays with the processor.
const CONTROL = ['cr0', 'cr3', 'cr4', 'efer', 'rflags', 'pkru'] as const;

/** The state in a VMSA. `pkrs` is what the processor has. */
export function stateOfVmsa(image: Uint8Array, pkrs: bigint): VcpuState {
  const read = (fields: readonly VmsaField[]): [string, bigint][] =>
    fields.map((field) => [field, readVmsa(image, field)]);
  const hasTom = (readVmsa(image, 'sevFeatures') & SevFeature.VirtualTom) !== 0n;
  return {
    cpl: Number(readVmsa(image, 'cpl')) & 3,
    control: { ...(Object.fromEntries(read(CONTROL)) as unknown as ControlRegisters), pkrs },
    cr2: readVmsa(image, 'cr2'),
    virtualTom: hasTom ? readVmsa(image, 'virtualTom') : undefined,
    registers: Object.fromEntries(read(GENERAL)) as unknown as SvsmRegisters,
  };
}

/** Saves a state, and why the processor has stopped, in a VMSA: what #VMEXIT writes there. */
export function saveState(
  image: Uint8Array,
  { cpl, control, cr2, registers }: VcpuState,
  exit: { readonly exitCode: bigint; readonly exitInfo1: bigint; readonly exitInfo2: bigint },
): void {
  writeVmsa(image, 'cpl', BigInt(cpl));
  writeVmsa(image, 'cr2', cr2);
  for (const field of CONTROL) writeVmsa(image, field, control[field]);
  for (const field of GENERAL) writeVmsa(image, field, BigInt.asUintN(64, registers[field]));
  writeVmsa(image, 'exitCode', BigInt.asUintN(64, exit.exitCode));
  writeVmsa(image, 'exitInfo1', exit.exitInfo1);
  writeVmsa(image, 'exitInfo2', exit.exitInfo2);
}
