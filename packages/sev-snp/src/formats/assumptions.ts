import { SnpError } from './snp-error.ts';
import { VmplPermission } from './vmpl.ts';

/**
 * What no source settles, or where sources disagree, decided in one place and switchable. Each field is a behaviour;
 * {@link ASSUMPTIONS} has its choices, the default first, and the rule that it belongs to. Everything else in this package
 * follows a source.
 */
export interface Assumptions {
  /** Which comes first where both are due: #UD for an instruction that does not exist, or #GP(0) for a CPL above 0. */
  readonly exceptionOrder: 'UD-first' | 'GP-first';
  /** The flags by a result: those of its comparison with 0, parity too, or ZF alone and the others clear. */
  readonly resultFlags: 'of-EAX' | 'ZF-alone';
  /** PVALIDATE above VMPL0: #GP(0), as the VeriSMo model has it, or the result FAIL_PERMISSION. */
  readonly pvalidateAboveVmpl0: 'GP' | 'FAIL_PERMISSION';
  /** The carry flag of a PVALIDATE that fails with a code. */
  readonly carryOnFailure: 'clear' | 'set';
  /** Bits 11:0 of the address operand of PVALIDATE, RMPADJUST, RMPUPDATE and PSMASH: the page is meant, or FAIL_INPUT. */
  readonly lowAddressBits: 'ignored' | 'FAIL_INPUT';
  /** What PVALIDATE, RMPADJUST and RMPQUERY do to their page as far as the guest's and the nested table's rights go. */
  readonly operandAccess: 'read' | 'write';
  /** An operand mapped shared (C-bit clear): fails like a page of another owner, or the C-bit does not matter. */
  readonly sharedOperand: 'not-owned' | 'as-private';
  /**
   * Whether the guest's own mapping must be of 2 MiB for an operand of 2 MiB; if so, a smaller one gives
   * FAIL_SIZEMISMATCH. COCONUT-SVSM asks for 2 MiB only if it has them so mapped, which fits both.
   */
  readonly guestSizeMatters: boolean;
  /** Whether the masks of a page are reset by RMPUPDATE (AMD64 APM vol. 2), or by its first validation (white paper). */
  readonly defaultMasks: 'RMPUPDATE' | 'PVALIDATE';
  /** What VMPL0 is given when the masks are reset: "all" (AMD64 APM vol. 2, §15.36.7), shadow stacks included or not. */
  readonly resetMaskOfVmpl0: number;
  /** Where RMPUPDATE tests whether the page is in use: after its operands and before the entry, before all, after all. */
  readonly inUseTest: 'before-entry' | 'first' | 'last';
  /**
   * Whether the first page of a 2 MiB region, assigned as 4 KiB, makes RMPUPDATE of the whole region fail, although the
   * sub-page count leaves it out. The manual's wording, "any 4KB entry", says that it does.
   */
  readonly alignedPageBlocksHuge: boolean;
  /**
   * When RMPUPDATE clears validated, VMSA and the masks: if it changes assigned, ASID, GPA or size (`compare`: setting
   * `immutable` on a valid page must keep it valid, AMD-ASPFW's PRE-SWAP state), or whenever it succeeds (`always`).
   */
  readonly rmpupdateReset: 'compare' | 'always';
  /**
   * RMPUPDATE of 4 KiB inside a 2 MiB page, beside its first page: silicon refuses it, the printed pseudo-code has no test
   * (KVM mailing list, July 2021).
   */
  readonly smallUpdateInHuge: 'FAIL_OVERLAP' | 'allowed';
  /** PSMASH of what does not qualify: 7 (compilers' intrinsics, later Linux), or 4 (Linux patches of early 2021). */
  readonly psmashBadPage: 'FAIL_BADADDR' | 'FAIL_OVERLAP';
  /** PSMASH of an immutable 2 MiB page: one more page that does not qualify, or a matter of permission. */
  readonly psmashImmutable: 'bad-page' | 'FAIL_PERMISSION';
  /** Whether RMPUPDATE and PSMASH keep the sub-page count in the entry, as the firmware does, or it shows 0. */
  readonly subpageCount: 'maintained' | 'unmaintained';
  /** Which levels RMPQUERY may ask for; of others it answers FAIL_PERMISSION. */
  readonly rmpqueryLevels: 'own-and-lower' | 'lower' | 'any';
  /** Whether RMPQUERY of a page that is not validated raises #VC, as RMPADJUST does, or answers. */
  readonly rmpqueryNeedsValidated: boolean;
  /** RMPADJUST with a reserved bit of RDX set: FAIL_INPUT, or as if it were clear. */
  readonly rmpadjustReservedBits: 'FAIL_INPUT' | 'ignored';
  /** RMPADJUST for a level that does not exist. */
  readonly rmpadjustVmplRange: 'FAIL_INPUT' | 'FAIL_PERMISSION';
  /**
   * Whether a page in use, 4 KiB at a multiple of 2 MiB, makes the host's writes through a 2 MiB mapping of its region fault:
   * an erratum of shipping parts, gone where CPUID Fn8000_001F EAX[30] is set.
   */
  readonly inUseErratum: boolean;
  /** Which reads of the host's own page tables the RMP checks: all (table 15-39), or only accessed and dirty updates. */
  readonly hostTableReads: 'checked' | 'unchecked';
  /** EXITINFO2 of a nested page fault: the address of the byte, or of its page. */
  readonly exitInfo2: 'byte' | 'page';
  /** CR2 of a #PF or #VC of an access that crosses a page: its first byte in the page that faults, or its first byte. */
  readonly cr2OnCrossing: 'faulting-page' | 'first-byte';
  /** Whether a #PF for a reserved bit has P set: Intel SDM and KVM, or clear: QEMU. */
  readonly reservedFaultPresent: boolean;
  /** Whether upper entries of a walk that ends in a #PF get their accessed bits: KVM does not set them, QEMU does. */
  readonly accessedOnFault: 'none' | 'upper-entries';
  /** Bit 8 of a PML4E or PML5E of a guest: reserved, as KVM has it for AMD, or ignored, as QEMU has it. */
  readonly topLevelBit8: 'reserved' | 'ignored';
  /** The error in bits 63:32 of the answer to "run VMPL" if there is nothing to run at that level. */
  readonly runVmplError: number;
  /** Where PAGE_INFO has the masks: 0x65 VMPL1 to 0x67 VMPL3 (AMD-ASPFW), or 0x64 VMPL3 to 0x66 VMPL1 (sev-snp-measure). */
  readonly pageInfoMasks: 'vmpl1-first' | 'vmpl3-first';
  /** The unit of RmpSegSize: 2^n bytes (the manual's formula, Linux), or 2^n MiB (the manual's prose). */
  readonly rmpSegSizeUnit: 'byte' | 'MiB';
  /** Where SVSM_CORE_CONFIGURE_VTOM leaves the minimum of a query: the text names RCX for both that and the flags. */
  readonly svsmVtomMinimum: 'RDX' | 'RCX';
  /** The levels of a VMSA that SVSM_CORE_CREATE_VCPU accepts: the caller's and less privileged (SVSM), or its own (COCONUT). */
  readonly svsmVmsaLevels: 'own-and-lower' | 'own';
}

/** Where an assumption comes from, and its choices. */
export interface AssumptionEntry<Value> {
  /** The rules of `docs/hardware.md` that leave it open: ids with commas between them. */
  readonly rule: string;
  /** `unverified`: no source is known. `disagreement`: sources contradict each other. */
  readonly why: 'unverified' | 'disagreement';
  /** The choices, the default first. */
  readonly choices: readonly [Value, ...Value[]];
}

/** An entry for each assumption. */
export type AssumptionTable = { readonly [Name in keyof Assumptions]: AssumptionEntry<Assumptions[Name]> };

/** Every assumption: where it comes from and what it may be. Frozen. */
export const ASSUMPTIONS: AssumptionTable = /* @__PURE__ */ table();

/** The defaults. Frozen. */
export const DEFAULT_ASSUMPTIONS: Assumptions = /* @__PURE__ */ defaults();

/**
 * All assumptions, those given in place of the defaults. Frozen.
 *
 * @throws SnpError `INVALID_ARGUMENT` for a name that is none, or a value that is no choice of it
 */
export function assumptionsOf(switched: Partial<Assumptions>): Assumptions {
  for (const [name, value] of Object.entries(switched)) {
    const choices: readonly unknown[] = ASSUMPTIONS[name as keyof Assumptions]?.choices ?? [];
    if (choices.includes(value)) continue;
    const expected =
      choices.length === 0
        ? `pass one of ${Object.keys(ASSUMPTIONS).join(', ')}`
        : `pass ${choices.join(' or ')}`;
    const what = choices.length === 0 ? 'the name of an assumption' : `the assumption ${name}`;
    throw new SnpError('INVALID_ARGUMENT', { what, value: choices.length === 0 ? name : value, expected });
  }
  return Object.freeze({ ...DEFAULT_ASSUMPTIONS, ...switched });
}

function table(): AssumptionTable {
  const entries: AssumptionTable = {
    exceptionOrder: open('I2', 'UD-first', 'GP-first'),
    resultFlags: open('I1', 'of-EAX', 'ZF-alone'),
    pvalidateAboveVmpl0: open('V5, PVALIDATE preconditions', 'GP', 'FAIL_PERMISSION'),
    carryOnFailure: open('I10', 'clear', 'set'),
    lowAddressBits: open('I3', 'ignored', 'FAIL_INPUT'),
    operandAccess: open('PVALIDATE step 2', 'read', 'write'),
    sharedOperand: open('PVALIDATE step 2', 'not-owned', 'as-private'),
    guestSizeMatters: open('I13', false, true),
    defaultMasks: disputed('V2', 'RMPUPDATE', 'PVALIDATE'),
    resetMaskOfVmpl0: open('V2', VmplPermission.All as number, VmplPermission.Rwx),
    inUseTest: open('RMPUPDATE step 4', 'before-entry', 'first', 'last'),
    alignedPageBlocksHuge: open('I6', true, false),
    rmpupdateReset: disputed('I4', 'compare', 'always'),
    smallUpdateInHuge: disputed('RMPUPDATE step 6', 'FAIL_OVERLAP', 'allowed'),
    psmashBadPage: disputed('PSMASH step 3', 'FAIL_BADADDR', 'FAIL_OVERLAP'),
    psmashImmutable: open('PSMASH step 4', 'bad-page', 'FAIL_PERMISSION'),
    subpageCount: open('R13', 'maintained', 'unmaintained'),
    rmpqueryLevels: disputed('RMPQUERY step 1', 'own-and-lower', 'lower', 'any'),
    rmpqueryNeedsValidated: open('RMPQUERY step 3', true, false),
    rmpadjustReservedBits: open('RMPADJUST step 1', 'FAIL_INPUT', 'ignored'),
    rmpadjustVmplRange: open('RMPADJUST step 1', 'FAIL_INPUT', 'FAIL_PERMISSION'),
    inUseErratum: open('R25', true, false),
    hostTableReads: disputed('R2', 'checked', 'unchecked'),
    exitInfo2: open('R26', 'byte', 'page'),
    cr2OnCrossing: open('P18', 'faulting-page', 'first-byte'),
    reservedFaultPresent: disputed('P19', true, false),
    accessedOnFault: disputed('P25', 'none', 'upper-entries'),
    topLevelBit8: disputed('P8', 'reserved', 'ignored'),
    runVmplError: open('GHCB MSR 0x017', 1, 0xffff_ffff),
    pageInfoMasks: disputed('L4', 'vmpl1-first', 'vmpl3-first'),
    rmpSegSizeUnit: disputed('R8', 'byte', 'MiB'),
    svsmVtomMinimum: disputed('SVSM call 7', 'RDX', 'RCX'),
    svsmVmsaLevels: disputed('SVSM call 2', 'own-and-lower', 'own'),
  };
  return Object.freeze(entries);
}

function open<Value>(rule: string, ...choices: [Value, ...Value[]]): AssumptionEntry<Value> {
  return Object.freeze({ rule, why: 'unverified', choices: Object.freeze(choices) });
}

function disputed<Value>(rule: string, ...choices: [Value, ...Value[]]): AssumptionEntry<Value> {
  return Object.freeze({ rule, why: 'disagreement', choices: Object.freeze(choices) });
}

function defaults(): Assumptions {
  const entries = Object.entries(ASSUMPTIONS).map(([name, { choices }]) => [name, choices[0]] as const);
  return Object.freeze(Object.fromEntries(entries)) as unknown as Assumptions;
}

/*
 * Further assumptions, which have no switch because another choice would need other code, or changes nothing here:
 *
 * - The APM vol. 3 pages of PSMASH, PVALIDATE, RMPADJUST, RMPQUERY and RMPREAD were not at hand: their steps combine vol. 2,
 *   the tables of return codes and the VeriSMo model.
 * - RMPUPDATE with a GPA or ASID that does not fit the entry (2^48, 1023) is FAIL_INPUT.
 * - RMPUPDATE of 2 MiB over an HV-FIXED page, which is not assigned, is FAIL_PERMISSION.
 * - RMPREAD tells the page's own sixteen bytes, not those of the 2 MiB page that it is part of.
 * - A PVALIDATE or RMPADJUST of 2 MiB whose GPA is no multiple of 2 MiB fails the reverse-map check.
 * - DMA of a device is checked as a host's accesses are; what an IOMMU reports then is not modelled.
 * - The raw layout of RMP entries is that of Zen 3 and Zen 4; nothing is said of later parts.
 * - An accessed or dirty update is a write of 4 KiB to the host's tables; in a guest, the page-size check compares the
 *   nested translation with the entry, as for every access.
 * - A load of EFER that changes NXE flushes nothing: software does. LA57 cannot change while paging is on.
 * - No stack-segment references (#SS), no LAM, no shadow stacks.
 * - In calls of an SVSM, a misaligned address is INVALID_PARAMETER, also in CREATE_VCPU, where COCONUT-SVSM has
 *   INVALID_ADDRESS.
 * - A 2 MiB page of which an SVSM has a part as validated gives the result of FAIL_SIZEMISMATCH, and is not tried.
 * - WITHDRAW_MEM returns pages of 4 KiB, zeroed, whatever the size that they were deposited with.
 * - The wording of the GHCB specification was not at hand: the protocol is what Linux, KVM, EDK2, COCONUT-SVSM and OpenVMM do.
 */
