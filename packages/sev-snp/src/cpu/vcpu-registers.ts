import { type CpuState, cpuStateFromRegisters } from '@svsm/pagetable';
import { SnpError } from '../formats/snp-error.ts';
import { SnpFault } from '../rmp/snp-fault.ts';

/** The registers of a processor that decide how it accesses memory. */
export interface ControlRegisters {
  readonly cr0: bigint;
  /** The root of the page table, with the C-bit if it was loaded with it, and the PCID with CR4.PCIDE. */
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly rflags: bigint;
  readonly pkru: bigint;
  /** IA32_PKRS: the rights of keys on supervisor pages, with CR4.PKS. */
  readonly pkrs: bigint;
}

/** The name of one of the {@link ControlRegisters}. */
export type ControlRegister = keyof ControlRegisters;

/** Bits of the registers (AMD64 APM vol. 2, §3.1; PKS: Intel SDM vol. 3A, §2.5). */
export const ControlBit = {
  Cr0Pe: 0x1n,
  Cr0Wp: 0x1_0000n,
  Cr0Pg: 0x8000_0000n,
  Cr4Pae: 0x20n,
  Cr4Pge: 0x80n,
  Cr4La57: 0x1000n,
  Cr4Pcide: 0x2_0000n,
  Cr4Smep: 0x10_0000n,
  Cr4Smap: 0x20_0000n,
  Cr4Pke: 0x40_0000n,
  Cr4Pks: 0x100_0000n,
  EferLme: 0x100n,
  EferLma: 0x400n,
  EferNxe: 0x800n,
  EferSvme: 0x1000n,
  RflagsAc: 0x4_0000n,
} as const;

const { Cr0Pe, Cr0Wp, Cr0Pg, Cr4Pae, Cr4Pge, Cr4La57, Cr4Pcide, Cr4Smep } = ControlBit;
const { EferLme, EferLma, EferNxe, EferSvme } = ControlBit;

/**
 * The registers of a new processor: 64-bit mode, CR0.WP, CR4.PGE and EFER.NXE set; SMEP, SMAP and protection keys off.
 */
export const START_REGISTERS: ControlRegisters = /* @__PURE__ */ Object.freeze({
  cr0: Cr0Pe | Cr0Wp | Cr0Pg,
  cr3: 0n,
  cr4: Cr4Pae | Cr4Pge,
  efer: EferLme | EferLma | EferNxe | EferSvme,
  rflags: 2n,
  pkru: 0n,
  pkrs: 0n,
});

/** The entries of the TLB that a load of a register drops (AMD64 APM vol. 2, §5.5.2; Intel SDM vol. 3A, §4.10.4.1). */
export type TlbEffect =
  /** None: rights are decided on every access. */
  | 'none'
  /** All but global entries: of one PCID, or of the whole TLB without PCIDs. */
  | 'address-space'
  /** All entries, global ones too. */
  | 'all';

/** A load: the new value of the register, and the effect on the TLB. */
export interface RegisterLoad {
  readonly value: bigint;
  readonly effect: TlbEffect;
  /** The PCID of a load of CR3, with CR4.PCIDE. */
  readonly pcid: number | undefined;
}

/**
 * The effect of a load of `value` into a register, in 64-bit mode. O(1).
 *
 * @param physicalBits - the guest's physical width: higher bits of CR3 must be 0, except the C-bit
 * @param cBit - the mask of the C-bit, or 0
 * @throws SnpFault `GP` for a value that the processor refuses; SnpError `INVALID_ARGUMENT` for a value that does not fit
 *   the register
 */
export function loadRegister(
  held: ControlRegisters,
  register: ControlRegister,
  value: bigint,
  { physicalBits, cBit }: { readonly physicalBits: number; readonly cBit: bigint },
): RegisterLoad {
  const width = register === 'pkru' || register === 'pkrs' ? 32 : 64;
  if (typeof value !== 'bigint' || BigInt.asUintN(width, value) !== value) {
    const expected = `pass a bigint of at most ${width} bits`;
    throw new SnpError('INVALID_ARGUMENT', { what: `the value of ${register}`, value, expected });
  }
  const changed = held[register] ^ value;
  const done = (effect: TlbEffect, stored = value, pcid?: number): RegisterLoad => ({
    value: stored,
    effect,
    pcid,
  });
  const has = (bit: bigint): boolean => (value & bit) !== 0n;
  const pcide = (held.cr4 & Cr4Pcide) !== 0n;
  switch (register) {
    case 'cr0':
      if (!has(Cr0Pg) || !has(Cr0Pe)) refuse('CR0.PG and CR0.PE stay set in 64-bit mode');
      if (value >> 32n !== 0n) refuse('bits 63:32 of CR0 are reserved');
      return done('none');
    case 'cr3': {
      const keep = pcide && value >> 63n === 1n;
      const stored = keep ? value & ~(1n << 63n) : value;
      if ((stored & ~cBit) >> BigInt(physicalBits) !== 0n) refuse('CR3 is wider than a physical address');
      const pcid = pcide ? Number(stored & 0xfffn) : undefined;
      return done(keep ? 'none' : 'address-space', stored, pcid);
    }
    case 'cr4':
      if (!has(Cr4Pae)) refuse('CR4.PAE stays set in 64-bit mode');
      if ((changed & Cr4La57) !== 0n) refuse('CR4.LA57 cannot change while paging is on');
      if (has(Cr4Pcide) && !pcide && (held.cr3 & 0xfffn) !== 0n)
        refuse('CR4.PCIDE needs a CR3 with bits 11:0 clear');
      if ((changed & Cr4Pge) !== 0n || (pcide && !has(Cr4Pcide))) return done('all');
      return done((changed & Cr4Smep) !== 0n && has(Cr4Smep) ? 'address-space' : 'none');
    case 'efer':
      if ((changed & (EferLme | EferLma)) !== 0n) refuse('EFER.LME and LMA cannot change while paging is on');
      return done('none');
    default:
      return done('none');
  }
}

/** The rights of the registers at a privilege level. */
export function rightsOf(registers: ControlRegisters, cpl: number): CpuState {
  return cpuStateFromRegisters({ ...registers, cpl: cpl as CpuState['cpl'] });
}

function refuse(reason: string): never {
  throw new SnpFault('GP', { errorCode: 0, reason });
}
