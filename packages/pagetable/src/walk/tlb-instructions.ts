import { PageSize, type VirtAddr } from '@svsm/address';
import { CELL, HALVES, is64Bit, isCanonical } from '../entry/words.ts';
import type { AccessGeneralProtection } from './access.ts';
import { isTlb } from './is-tlb.ts';
import type { Tlb } from './tlb.ts';
import { DESCRIPTOR, INVLPGB_CONTEXT, INVLPGB_REGISTERS, invalidFlush as invalid } from './tlb-options.ts';

/** The result of an instruction that invalidates translations: it was executed, or it raises #GP(0) and does nothing. */
export type InvalidationResult = { readonly type: 'done' } | AccessGeneralProtection;

/** The memory operand of INVPCID. */
export interface InvpcidDescriptor {
  /** Bits 63:0: the PCID in bits 11:0; the others are reserved. */
  readonly pcid: number;
  /** Bits 127:64: the linear address. Read by type 0 only. 0 if not given. */
  readonly vaddr?: VirtAddr;
}

/** The registers of INVLPGB. */
export interface InvlpgbRegisters {
  /** RAX: {@link InvlpgbFlag} in bits 5:0, the virtual address in bits 63:12. */
  readonly rax: bigint;
  /** ECX: the number of pages after the first in bits 15:0; bit 31 if pages are 2 MiB apart. */
  readonly ecx: number;
  /** EDX: the ASID in bits 15:0, the PCID in bits 27:16. */
  readonly edx: number;
}

/** The processor that executes INVLPGB, and the guest whose translations the TLB holds. */
export interface InvlpgbContext {
  /** The ASID of the translations in the TLB: 0 for the host. 0 if not given. */
  readonly asid?: number;
  /** CPUID Fn8000_0008 EDX[15:0]: the largest value of ECX[15:0]. 7 if not given. */
  readonly maxCount?: number;
  /** CPUID Fn8000_000A EBX: the number of ASIDs. 65536 if not given. */
  readonly asids?: number;
}

/** Bits of RAX of INVLPGB (Linux, arch/x86/include/asm/tlb.h). A qualifier that is clear matches everything. */
export const InvlpgbFlag = {
  /** Bits 63:12 of RAX qualify: only translations of these addresses. */
  Va: 0x1n,
  /** Bits 27:16 of EDX qualify: only translations of this PCID. */
  Pcid: 0x2n,
  /** Bits 15:0 of EDX qualify: only translations of this ASID. */
  Asid: 0x4n,
  /** Global translations too. */
  IncludeGlobal: 0x8n,
  /** Only final translations, not those of upper levels. */
  FinalOnly: 0x10n,
  /** Nested translations too. */
  IncludeNested: 0x20n,
} as const;

/** TLB_CONTROL of a VMCB, bits 39:32 at offset 058h (AMD64 APM vol. 2, §15.16.1). */
export const TlbControl = {
  /** Nothing is flushed. */
  None: 0,
  /** Every entry of every ASID, global ones too. */
  FlushAll: 1,
  /** Every entry of the guest's ASID, global ones too. */
  FlushGuest: 3,
  /** The entries of the guest's ASID that are not global. */
  FlushGuestNonGlobal: 7,
} as const;

const DONE: InvalidationResult = Object.freeze({ type: 'done' });
const GENERAL_PROTECTION: InvalidationResult = Object.freeze({ type: 'general-protection', errorCode: 0 });

/**
 * INVPCID (Intel SDM vol. 2A). #GP(0) for a type above 3, a PCID above 4095, an address that is not canonical with type 0,
 * and a PCID other than 0 with types 0 and 1 while CR4.PCIDE is 0. Costs as the flush that the type stands for.
 *
 * @param type - the register operand: 0 one address of one PCID, 1 one PCID, 2 everything, 3 everything that is not global
 * @throws PageTableError `BUSY`; `INVALID_FLUSH` if an operand does not fit its register
 *
 * @example
 * ```ts
 * import { invpcid, Tlb } from '@svsm/pagetable';
 *
 * const tlb = new Tlb({ pcids: false });
 * console.log(invpcid(tlb, 1, { pcid: 5 }).type); // => general-protection
 * console.log(invpcid(tlb, 2, { pcid: 0 }).type); // => done
 * ```
 */
export function invpcid(tlb: Tlb, type: number, descriptor: InvpcidDescriptor): InvalidationResult {
  requireTlb(tlb);
  DESCRIPTOR.require(descriptor);
  const { pcid, vaddr } = descriptor;
  const address = vaddr ?? (0n as VirtAddr);
  if (!Number.isInteger(type) || type < 0) throw invalid('type', type, 'pass an integer, 0 or more');
  if (!Number.isInteger(pcid) || pcid < 0) throw invalid('pcid', pcid, 'pass an integer, 0 or more');
  if (type > 3 || pcid > 0xfff) return GENERAL_PROTECTION;
  if (type < 2 && pcid !== 0 && !tlb.pcids) return GENERAL_PROTECTION;
  if (type === 0 && !isCanonicalIn(tlb, address)) return GENERAL_PROTECTION;
  if (type === 0) tlb.flushPageOf(pcid, address);
  else if (type === 2) tlb.flushAll();
  else if (type === 1) tlb.flushNonGlobal(pcid);
  else tlb.flushNonGlobal();
  return DONE;
}

/**
 * INVLPGB by its registers, for one TLB that hears the broadcast (AMD64 APM vol. 3; docs/hardware.md, P33). #GP(0) if ECX[15:0]
 * is above the processor's maximum, if a reserved bit is set (RAX[11:6], ECX[30:16], EDX[31:28]), if the address qualifies
 * and is not canonical, and if an ASID qualifies that does not exist. Nothing happens in a TLB of another ASID. Costs as
 * `Tlb.flushRange`.
 *
 * @throws PageTableError `BUSY`; `INVALID_FLUSH` if a value does not fit its register
 */
export function invlpgb(
  tlb: Tlb,
  registers: InvlpgbRegisters,
  context: InvlpgbContext = {},
): InvalidationResult {
  requireTlb(tlb);
  INVLPGB_REGISTERS.require(registers);
  INVLPGB_CONTEXT.require(context);
  const { rax, ecx, edx } = registers;
  const { asid = 0, maxCount = 7, asids = 0x1_0000 } = context;
  if (!is64Bit(rax as VirtAddr)) throw invalid('rax', rax, 'pass a bigint of 64 bits');
  requireWord('ecx', ecx);
  requireWord('edx', edx);
  const has = (flag: bigint): boolean => (rax & flag) !== 0n;
  const start = BigInt.asUintN(64, rax & ~0xfffn) as VirtAddr;
  const count = ecx & 0xffff;
  if ((rax & 0xfc0n) !== 0n || (ecx & 0x7fff_0000) !== 0 || edx >>> 28 !== 0) return GENERAL_PROTECTION;
  if (count > maxCount) return GENERAL_PROTECTION;
  if (has(InvlpgbFlag.Asid) && (edx & 0xffff) >= asids) return GENERAL_PROTECTION;
  if (has(InvlpgbFlag.Va) && !isCanonicalIn(tlb, start)) return GENERAL_PROTECTION;
  if (has(InvlpgbFlag.Asid) && (edx & 0xffff) !== asid) return DONE;
  tlb.flushRange({
    ...(has(InvlpgbFlag.Va) ? { start, pages: count + 1 } : {}),
    ...(has(InvlpgbFlag.Pcid) ? { pcid: (edx >>> 16) & 0xfff } : {}),
    stride: ecx >>> 31 === 1 ? PageSize.Huge : PageSize.Regular,
    includeGlobal: has(InvlpgbFlag.IncludeGlobal),
  });
  return DONE;
}

/**
 * Drops the entries that VMRUN drops from a guest's TLB for TLB_CONTROL of the VMCB (AMD64 APM vol. 2, §15.16.1). For an SNP guest,
 * 7 drops global entries too (§15.36.15; docs/hardware.md, P34). Returns `false`, and does nothing, for an encoding that does not
 * exist.
 *
 * @throws PageTableError `INVALID_FLUSH`, `BUSY`
 */
export function applyTlbControl(tlb: Tlb, control: number, isSnpGuest = false): boolean {
  requireTlb(tlb);
  if (!Number.isInteger(control)) throw invalid('control', control, 'pass an integer');
  if (typeof isSnpGuest !== 'boolean') throw invalid('isSnpGuest', isSnpGuest, 'pass true or false');
  if (control === TlbControl.FlushAll || control === TlbControl.FlushGuest) tlb.flushAll();
  else if (control === TlbControl.FlushGuestNonGlobal) {
    if (isSnpGuest) tlb.flushAll();
    else tlb.flushNonGlobal();
  } else if (control !== TlbControl.None) return false;
  return true;
}

function isCanonicalIn(tlb: Tlb, address: VirtAddr): boolean {
  CELL[0] = address;
  return isCanonical(HALVES[1]! | 0, tlb.levels);
}

function requireWord(field: string, value: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) return;
  throw invalid(field, value, 'pass an integer of 32 bits');
}

function requireTlb(tlb: Tlb): void {
  if (!isTlb(tlb)) throw invalid('tlb', tlb, 'pass a Tlb');
}
