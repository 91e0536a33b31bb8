import { PageSize, type VirtAddr } from '@svsm/address';
import type { Assumptions } from '../formats/assumptions.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { decodeRmpState, encodeRmpState, RMP_STATE_SIZE } from '../formats/rmp-state.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import type { Vmpl } from '../formats/vmpl.ts';
import type { RmpreadAnswer, RmpState } from '../rmp/host-instructions.ts';
import { SnpFault } from '../rmp/snp-fault.ts';
import type { PvalidateAnswer, RmpAdjustment, RmpqueryAnswer } from './guest-instructions.ts';
import type { SnpPlatform } from './platform.ts';

/** The registers that the instructions on the RMP read and write. */
export interface InstructionRegisters {
  readonly rax: bigint;
  readonly rcx: bigint;
  readonly rdx: bigint;
  readonly rflags: bigint;
}

/** The flags that they write. */
export const ResultFlag = {
  Carry: 0x1n,
  Parity: 0x4n,
  Auxiliary: 0x10n,
  Zero: 0x40n,
  Sign: 0x80n,
  Overflow: 0x800n,
} as const;

/** What is known of each instruction: its bytes, where it is executed, and whether outside of 64-bit mode too. */
export const RMP_INSTRUCTIONS: Readonly<
  Record<
    RmpInstruction,
    { readonly bytes: readonly number[]; readonly host: boolean; readonly in32: boolean }
  >
> = /* @__PURE__ */ Object.freeze({
  // Intel XED `xed-amd-snp.txt`, LLVM `X86InstrSNP.td`.
  RMPUPDATE: { bytes: [0xf2, 0x0f, 0x01, 0xfe], host: true, in32: false },
  PSMASH: { bytes: [0xf3, 0x0f, 0x01, 0xff], host: true, in32: false },
  RMPREAD: { bytes: [0xf2, 0x0f, 0x01, 0xfd], host: true, in32: false },
  PVALIDATE: { bytes: [0xf2, 0x0f, 0x01, 0xff], host: false, in32: true },
  RMPADJUST: { bytes: [0xf3, 0x0f, 0x01, 0xfe], host: false, in32: false },
  RMPQUERY: { bytes: [0xf3, 0x0f, 0x01, 0xfd], host: false, in32: false },
});

/** The name of an instruction on the RMP. */
export type RmpInstruction = 'RMPUPDATE' | 'PSMASH' | 'RMPREAD' | 'PVALIDATE' | 'RMPADJUST' | 'RMPQUERY';

/** The instruction whose four bytes these are, or `undefined`. */
export function rmpInstructionOf(bytes: Uint8Array): RmpInstruction | undefined {
  const names = Object.keys(RMP_INSTRUCTIONS) as RmpInstruction[];
  return names.find((name) => RMP_INSTRUCTIONS[name].bytes.every((byte, i) => bytes[i] === byte));
}

/** In what an instruction is executed. */
export interface ExecutionMode {
  /** 64 if not given. */
  readonly bits?: 32 | 64;
  /** Whether SNP is enabled (host), or active in the guest. `true` if not given. */
  readonly snp?: boolean;
}

/** A processor of a guest, by the typed forms of its instructions: a `Vcpu` is one. */
interface GuestInstructions {
  readonly cpl: number;
  readonly guest: { readonly machine: SnpPlatform };
  pvalidate(gva: VirtAddr, pageSize: RmpPageSize, validate: boolean): PvalidateAnswer;
  rmpadjust(gva: VirtAddr, pageSize: RmpPageSize, adjustment: RmpAdjustment): RmpResult;
  rmpquery(gva: VirtAddr, vmpl: Vmpl): RmpqueryAnswer;
}

/**
 * PVALIDATE, RMPADJUST or RMPQUERY with registers as they are: rAX is the address, rCX[0] the size, EDX[0] whether to validate, or
 * RDX the level, mask and VMSA bit. EAX, the flags, and what RMPQUERY answers in RCX and RDX come back.
 *
 * @throws SnpFault `UD` where the instruction does not exist, `GP` above CPL 0, and what the typed form throws
 */
export function executeInGuest(
  cpu: GuestInstructions,
  instruction: 'PVALIDATE' | 'RMPADJUST' | 'RMPQUERY',
  registers: InstructionRegisters,
  mode: ExecutionMode = {},
): InstructionRegisters {
  const { assumptions } = cpu.guest.machine.rmp;
  requireExecutable(instruction, cpu.cpl, mode, assumptions);
  const { rcx, rdx } = registers;
  const gva = BigInt.asUintN(mode.bits ?? 64, registers.rax) as VirtAddr;
  const pageSize = (rcx & 1n) === 1n ? PageSize.Huge : PageSize.Regular;
  if (instruction === 'PVALIDATE') {
    const { result, unchanged } = cpu.pvalidate(gva, pageSize, (rdx & 1n) === 1n);
    return finished(registers, result, assumptions, { unchanged });
  }
  const level = Number(rdx & 0xffn);
  if (instruction === 'RMPADJUST') {
    const isReserved = rdx >> 17n !== 0n && assumptions.rmpadjustReservedBits === 'FAIL_INPUT';
    if (isReserved) return finished(registers, RmpResult.FAIL_INPUT, assumptions);
    const permissions = Number((rdx >> 8n) & 0xffn);
    const adjustment = { vmpl: level, permissions, vmsa: ((rdx >> 16n) & 1n) === 1n };
    return finished(registers, cpu.rmpadjust(gva, pageSize, adjustment), assumptions);
  }
  const answer = cpu.rmpquery(gva, level as Vmpl);
  if (answer.result !== RmpResult.SUCCESS) return finished(registers, answer.result, assumptions);
  const vmsa = answer.vmsa ? 0x1_0000n : 0n;
  return finished(registers, answer.result, assumptions, {
    rcx: (rcx & ~1n) | (answer.pageSize === PageSize.Huge ? 1n : 0n),
    rdx: (rdx & ~0x1_ff00n) | (BigInt(answer.permissions) << 8n) | vmsa,
  });
}

/** A host, by the typed forms of its instructions, and its memory: a `Hypervisor` is one. */
interface HostInstructions {
  readonly machine: SnpPlatform;
  rmpupdate(spa: SysPhysAddr, state: RmpState): RmpResult;
  psmash(spa: SysPhysAddr): RmpResult;
  rmpread(spa: SysPhysAddr): RmpreadAnswer;
  read(spa: SysPhysAddr, length: number): Uint8Array;
  write(spa: SysPhysAddr, bytes: Uint8Array): void;
}

/**
 * RMPUPDATE, PSMASH or RMPREAD with registers as they are: RAX is the page, RCX the address of the sixteen bytes of its new state,
 * or of those that RMPREAD writes; here a system-physical one. EAX and the flags come back.
 *
 * @throws SnpFault `UD`, `GP`, `HOST_PF`; PageTableError `BUS_ERROR`; AddressError for what is no system-physical address
 */
export function executeInHost(
  host: HostInstructions,
  instruction: 'RMPUPDATE' | 'PSMASH' | 'RMPREAD',
  registers: InstructionRegisters,
  mode: ExecutionMode & { readonly cpl?: number } = {},
): InstructionRegisters {
  const { assumptions } = host.machine.rmp;
  requireExecutable(instruction, mode.cpl ?? 0, mode, assumptions);
  const spa = registers.rax as SysPhysAddr;
  const operand = registers.rcx as SysPhysAddr;
  if (instruction === 'PSMASH') return finished(registers, host.psmash(spa), assumptions);
  if (instruction === 'RMPUPDATE') {
    const state = decodeRmpState(host.read(operand, RMP_STATE_SIZE));
    return finished(registers, host.rmpupdate(spa, state), assumptions);
  }
  const { result, state } = host.rmpread(spa);
  if (state !== undefined) host.write(operand, encodeRmpState(state));
  return finished(registers, result, assumptions);
}

function requireExecutable(
  instruction: RmpInstruction,
  cpl: number,
  { bits = 64, snp = true }: ExecutionMode,
  { exceptionOrder }: Assumptions,
): void {
  const exists = snp && (bits === 64 || RMP_INSTRUCTIONS[instruction].in32);
  const isUndefined = (): void => {
    if (!exists) throw new SnpFault('UD', { instruction });
  };
  if (exceptionOrder === 'UD-first') isUndefined();
  if (cpl !== 0) throw new SnpFault('GP', { errorCode: 0, reason: `${instruction} at CPL ${cpl}` });
  isUndefined();
}

/** EAX, whose write clears bits 63:32, and the flags by it. */
function finished(
  before: InstructionRegisters,
  result: RmpResult,
  { resultFlags }: Assumptions,
  { unchanged, ...after }: { unchanged?: boolean; rcx?: bigint; rdx?: bigint } = {},
): InstructionRegisters {
  const { Carry, Parity, Auxiliary, Zero, Sign, Overflow } = ResultFlag;
  const written = Parity | Auxiliary | Zero | Sign | Overflow | (unchanged === undefined ? 0n : Carry);
  const isEven = ((0x6996 >> result) & 1) === 0;
  const flags =
    (result === RmpResult.SUCCESS ? Zero : 0n) |
    (resultFlags === 'of-EAX' && isEven ? Parity : 0n) |
    (unchanged === true ? Carry : 0n);
  return Object.freeze({
    ...before,
    ...after,
    rax: BigInt(result),
    rflags: (before.rflags & ~written) | flags,
  });
}
