import { requireOptions } from './options.ts';
import { SnpError } from './snp-error.ts';
import { VmplPermission } from './vmpl.ts';

/**
 * The behaviours that no source settles, or on which sources disagree. Each field is one of them and can be switched.
 * {@link ASSUMPTIONS} has the choices, the default first, and the rules of `docs/hardware.md` that leave them open.
 * Everything else in this package follows a source.
 */
export interface Assumptions {
  /** The exception if two are due: #UD for an instruction that does not exist, or #GP(0) for a CPL above 0. */
  readonly exceptionOrder: 'UD-first' | 'GP-first';
  /** How a result code sets RFLAGS: as a comparison with 0 does, PF included, or ZF alone with the others cleared. */
  readonly resultFlags: 'of-EAX' | 'ZF-alone';
  /** PVALIDATE above VMPL0: #GP(0), as in the VeriSMo model, or the result FAIL_PERMISSION. */
  readonly pvalidateAboveVmpl0: 'GP' | 'FAIL_PERMISSION';
  /** The carry flag of a PVALIDATE that fails with a code. */
  readonly carryOnFailure: 'clear' | 'set';
  /** Bits 11:0 of the address operand of PVALIDATE, RMPADJUST, RMPUPDATE and PSMASH: ignored, or FAIL_INPUT. */
  readonly lowAddressBits: 'ignored' | 'FAIL_INPUT';
  /** The kind of access that PVALIDATE, RMPADJUST and RMPQUERY are for the rights of the guest's and the nested table. */
  readonly operandAccess: 'read' | 'write';
  /** An operand that is mapped shared (C-bit clear): fails like a page of another owner, or the C-bit does not matter. */
  readonly sharedOperand: 'not-owned' | 'as-private';
  /**
   * Whether an operand of 2 MiB needs a 2 MiB mapping in the guest's own table. If so, a smaller mapping gives
   * FAIL_SIZEMISMATCH. COCONUT-SVSM asks for 2 MiB only if its own mapping has 2 MiB, which fits both choices.
   */
  readonly guestSizeMatters: boolean;
  /** The event that resets the masks of a page: RMPUPDATE (AMD64 APM vol. 2), or the first validation (white paper). */
  readonly defaultMasks: 'RMPUPDATE' | 'PVALIDATE';
  /** The mask of VMPL0 after a reset: "all" (AMD64 APM vol. 2, §15.36.7), with shadow stacks or without. */
  readonly resetMaskOfVmpl0: number;
  /** When RMPUPDATE tests whether the page is in use: after its operands and before the entry, first, or last. */
  readonly inUseTest: 'before-entry' | 'first' | 'last';
  /**
   * Whether RMPUPDATE of a 2 MiB region fails if its first page is assigned as 4 KiB. The sub-page count leaves that page
   * out, but the manual says "any 4KB entry".
   */
  readonly alignedPageBlocksHuge: boolean;
  /**
   * When RMPUPDATE clears validated, VMSA and the masks. `compare`: if it changes assigned, ASID, GPA or size; the
   * PRE-SWAP state of AMD-ASPFW needs a valid page to stay valid when it becomes immutable. `always`: whenever it
   * succeeds.
   */
  readonly rmpupdateReset: 'compare' | 'always';
  /**
   * RMPUPDATE of 4 KiB inside a 2 MiB page, except its first page: silicon refuses it, but the printed pseudo-code has no
   * test (KVM mailing list, July 2021).
   */
  readonly smallUpdateInHuge: 'FAIL_OVERLAP' | 'allowed';
  /**
   * PSMASH of a page that does not qualify: 7 (compilers' intrinsics, later Linux), or 4 (Linux patches of early 2021).
   */
  readonly psmashBadPage: 'FAIL_BADADDR' | 'FAIL_OVERLAP';
  /** PSMASH of an immutable 2 MiB page: the result for a page that does not qualify, or FAIL_PERMISSION. */
  readonly psmashImmutable: 'bad-page' | 'FAIL_PERMISSION';
  /** Whether RMPUPDATE and PSMASH maintain the sub-page count in the entry, as the firmware does, or leave it 0. */
  readonly subpageCount: 'maintained' | 'unmaintained';
  /**
   * The VMSA bit of the source of SNP_SWAP_OUT and SNP_PAGE_MOVE: cleared, or kept, as in the published code (AMD-ASPFW).
   * If it is kept, the host can swap a VMSA out, reclaim the source, which is GUEST-INVALID then, and run the registers of
   * that time again (attack A34): VMRUN does not need a valid page.
   */
  readonly sourceVmsa: 'cleared' | 'kept';
  /** The levels that RMPQUERY accepts; for others it returns FAIL_PERMISSION. */
  readonly rmpqueryLevels: 'own-and-lower' | 'lower' | 'any';
  /** Whether RMPQUERY of a page that is not validated raises #VC, as RMPADJUST does, or succeeds. */
  readonly rmpqueryNeedsValidated: boolean;
  /** RMPADJUST with a reserved bit of RDX set: FAIL_INPUT, or the bit is ignored. */
  readonly rmpadjustReservedBits: 'FAIL_INPUT' | 'ignored';
  /** RMPADJUST for a level that does not exist. */
  readonly rmpadjustVmplRange: 'FAIL_INPUT' | 'FAIL_PERMISSION';
  /**
   * Whether a 4 KiB page in use, at a multiple of 2 MiB, makes writes of the host fault that go through a 2 MiB mapping
   * of the region: an erratum of shipping parts. Parts with CPUID Fn8000_001F EAX[30] do not have it.
   */
  readonly inUseErratum: boolean;
  /** Whether the RMP checks the host's reads of its page tables (table 15-39), or only updates of A and D bits. */
  readonly hostTableReads: 'checked' | 'unchecked';
  /** EXITINFO2 of a nested page fault: the address of the byte, or of its page. */
  readonly exitInfo2: 'byte' | 'page';
  /** CR2 after a #PF or #VC of an access across two pages: its first byte in the page that faults, or its first byte. */
  readonly cr2OnCrossing: 'faulting-page' | 'first-byte';
  /** Whether a #PF for a reserved bit has P set (Intel SDM, KVM) or clear (QEMU). */
  readonly reservedFaultPresent: boolean;
  /** The entries that get accessed bits in a walk that ends in a #PF: none (KVM), or the upper ones (QEMU). */
  readonly accessedOnFault: 'none' | 'upper-entries';
  /**
   * The bit LMA of a value written to EFER: without effect (Intel, QEMU, Bochs for AMD), or #GP(0) if it differs from the
   * register's (AMD64 APM vol. 2, §3.1.7).
   */
  readonly eferLmaWrites: 'ignored' | 'checked';
  /** Bit 8 of a PML4E or PML5E of a guest: reserved (KVM, for AMD), or ignored (QEMU). */
  readonly topLevelBit8: 'reserved' | 'ignored';
  /** The error in bits 63:32 of the answer to "run VMPL" if the level has no VMSA and no software. */
  readonly runVmplError: number;
  /** The masks in PAGE_INFO: 0x65 VMPL1 to 0x67 VMPL3 (AMD-ASPFW), or 0x64 VMPL3 to 0x66 VMPL1 (sev-snp-measure). */
  readonly pageInfoMasks: 'vmpl1-first' | 'vmpl3-first';
  /** The unit of RmpSegSize: 2^n bytes (the manual's formula, Linux), or 2^n MiB (the manual's prose). */
  readonly rmpSegSizeUnit: 'byte' | 'MiB';
  /** The register of the minimum in a query of SVSM_CORE_CONFIGURE_VTOM: the text has RCX for it and for the flags. */
  readonly svsmVtomMinimum: 'RDX' | 'RCX';
  /**
   * The levels of a VMSA that SVSM_CORE_CREATE_VCPU accepts: the caller's and less privileged ones (specification), or
   * the caller's alone (COCONUT-SVSM).
   */
  readonly svsmVmsaLevels: 'own-and-lower' | 'own';
  /**
   * A call with a CALL_PENDING other than 0 and 1: processed (COCONUT-SVSM), or refused with INVALID_FORMAT
   * (specification).
   */
  readonly svsmCallPending: 'processed' | 'INVALID_FORMAT';
  /**
   * SVSM_CORE_CREATE_VCPU for an APIC id and a level that have a VMSA: accepted, because Linux makes the new VMSA of a
   * processor before it deletes the old one (`wakeup_cpu_via_vmgexit`), and firmware leaves its VMSAs; or refused with
   * INVALID_PARAMETER. The specification does not say.
   */
  readonly svsmSecondVmsa: 'accepted' | 'refused';
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

/** An entry for each assumption, by its name. */
export type AssumptionTable = { readonly [Name in keyof Assumptions]: AssumptionEntry<Assumptions[Name]> };

/** Every assumption with its rules and choices. Frozen. */
export const ASSUMPTIONS: AssumptionTable = /* @__PURE__ */ table();

/** The default of every assumption. Frozen. */
export const DEFAULT_ASSUMPTIONS: Assumptions = /* @__PURE__ */ defaults();

/**
 * All assumptions: the given ones, and the defaults of the others. Frozen.
 *
 * @throws SnpError `INVALID_ARGUMENT` for an unknown name, or a value that is not one of its choices
 */
export function assumptionsOf(switched: Partial<Assumptions>): Assumptions {
  requireOptions('assumptions', switched, Object.keys(ASSUMPTIONS));
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
    sourceVmsa: open('T8, T9', 'cleared', 'kept'),
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
    eferLmaWrites: disputed('P50', 'ignored', 'checked'),
    topLevelBit8: disputed('P8', 'reserved', 'ignored'),
    runVmplError: open('GHCB MSR 0x017', 1, 0xffff_ffff),
    pageInfoMasks: disputed('L4', 'vmpl1-first', 'vmpl3-first'),
    rmpSegSizeUnit: disputed('R8', 'byte', 'MiB'),
    svsmVtomMinimum: disputed('SVSM call 7', 'RDX', 'RCX'),
    svsmVmsaLevels: disputed('SVSM call 2', 'own-and-lower', 'own'),
    svsmCallPending: disputed('S2', 'processed', 'INVALID_FORMAT'),
    svsmSecondVmsa: open('SVSM call 2', 'accepted', 'refused'),
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
 * Some choices have no switch, because another choice would need other code or changes nothing here. They are listed in
 * docs/hardware.md, "Choices without a switch".
 */
