import { type PhysAddr, physAddr } from '@svsm/address';
import { Cr0Flags, Cr4Flags, EferFlags, has } from './control-flags.ts';
import {
  type ControlState,
  currentPcid,
  invalid,
  keptCr0,
  pagingMode,
  processorMode,
  requirePossible,
  requireRegister,
  withLma,
} from './control-state.ts';
import {
  type ProcessorFeatures,
  processorFeatures,
  requireFeatures,
  reservedAddressBits,
  reservedCr3Bits,
} from './processor-features.ts';

/**
 * The reasons for which a write to a control register raises #GP(0), each with a sentence for messages. Sources: Intel SDM
 * vol. 3A, §2.5, §4.1.2, §4.4.1, §4.5, §4.10.1; AMD64 APM vol. 2, §3.1, §5.5.1, §14.6.2; rules P5, P32 and P49 to P53.
 */
export const CONTROL_FAULTS = {
  'cr0-high-bits': 'bits 63:32 of CR0 are reserved',
  'paging-needs-protection': 'CR0.PG needs CR0.PE',
  'nw-needs-cd': 'CR0.NW needs CR0.CD',
  'cet-needs-wp': 'CR4.CET needs CR0.WP',
  'long-mode-needs-pae': 'EFER.LME with paging needs CR4.PAE',
  'long-mode-needs-32-bit-code': 'EFER.LME with paging cannot become active while CS.L is 1',
  'paging-off-in-64-bit-mode': 'CR0.PG stays set in 64-bit mode',
  'paging-off-with-pcide': 'CR0.PG stays set while CR4.PCIDE is 1',
  'cr3-high-bits': 'CR3 has bits above the physical width',
  'cr4-reserved-bits': 'CR4 has bits that the processor does not have',
  'la57-change-in-long-mode': 'CR4.LA57 does not change while EFER.LMA is 1',
  'pcide-needs-long-mode': 'CR4.PCIDE cannot be set while EFER.LMA is 0',
  'pcide-needs-pcid-0': 'CR4.PCIDE cannot be set while bits 11:0 of CR3 are not 0',
  'efer-reserved-bits': 'EFER has bits that the processor does not have',
  'lme-change-with-paging': 'EFER.LME does not change while CR0.PG is 1',
  'lma-change': 'EFER.LMA does not change by a write',
  'reserved-pdpte': 'a present PDPTE has reserved bits set',
} as const;

/** A reason of {@link CONTROL_FAULTS}. */
export type ControlFault = keyof typeof CONTROL_FAULTS;

/** The entries of a TLB that a write drops, at the least. A processor may drop more. */
export interface TlbFlush {
  /** The only PCID whose entries are dropped; `undefined` for all of them. */
  readonly pcid: number | undefined;
  /** Whether global entries are dropped, too. */
  readonly includeGlobal: boolean;
}

/** The processor has taken the value. */
export interface ControlWritten {
  readonly type: 'written';
  /** The registers afterwards. */
  readonly state: ControlState;
  /** The entries of the TLB that must be dropped; `undefined` if none have to be. */
  readonly flush: TlbFlush | undefined;
  /** The four PDPTEs that the processor has loaded; `undefined` if it has not loaded them. */
  readonly pdptes: readonly bigint[] | undefined;
}

/** #GP(0). Nothing was changed. */
export interface ControlRefused {
  readonly type: 'general-protection';
  readonly errorCode: 0;
  /** The reason. If several apply, which one is returned is unspecified. Processors do not report it. */
  readonly reason: ControlFault;
  /** The registers: the object that was passed. */
  readonly state: ControlState;
}

/** The result of a write to a control register. */
export type ControlWrite = ControlWritten | ControlRefused;

/**
 * Reads one PDPTE, the 64 bits at a multiple of 8, when a write makes PAE paging load the four of them: for example
 * `(paddr) => readPhys64(memory, paddr)`. Its errors go to the caller of the write.
 */
export type ReadPdpte = (paddr: PhysAddr) => bigint;

const EVERYTHING: TlbFlush = /* @__PURE__ */ Object.freeze({ pcid: undefined, includeGlobal: true });

/** Bit 63 of the value of a MOV to CR3 while CR4.PCIDE is 1 (Intel SDM vol. 3A, §4.10.4.1). */
const KEEP_TLB = 1n << 63n;

const PDPTE_PRESENT = 1n;
/** Bits 1, 2 and 8:5 of a present PDPTE of PAE paging (Intel SDM vol. 3A, table 4-8). */
const PDPTE_RESERVED = 0x1e6n;

/**
 * MOV to CR0 at CPL 0: rules P49, P51 and P54. ET reads as 1; bits 28:19, 17 and 15:6 are dropped; EFER.LMA follows. O(1).
 *
 * @param value - 64 bits in 64-bit mode, else 32 bits
 * @param readPdpte - see {@link setCr3}
 * @throws PageTableError `INVALID_CPU_STATE` if the value does not have that width, `readPdpte` is missing or does not
 * return 64 bits, or a processor cannot be in `state`; `INVALID_CONFIG` if `cpu` is not a processor
 *
 * @example
 * ```ts
 * import { Cr0Flags, Cr4Flags, controlState, EferFlags, pagingMode } from '@svsm/pagetable';
 * import { processorFeatures, processorMode, setCr0, setCr3, setCr4, writeEfer } from '@svsm/pagetable';
 *
 * // From reset to long mode (AMD64 APM vol. 2, §14.6.1).
 * const cpu = processorFeatures();
 * const protection = setCr0(controlState(), Cr0Flags.Pe, cpu).state;
 * const pae = setCr4(protection, Cr4Flags.Pae, cpu).state;
 * const root = setCr3(pae, 0x1000n, cpu).state;
 * const enabled = writeEfer(root, EferFlags.Lme | EferFlags.Nxe, cpu).state;
 * const active = setCr0(enabled, enabled.cr0 | Cr0Flags.Pg, cpu).state;
 *
 * console.log(processorMode(active), pagingMode(active)); // => compatibility 4-level
 * console.log(processorMode({ ...active, csL: true })); // => 64-bit
 *
 * const refused = setCr4(active, 0n, cpu);
 * console.log(refused.type, refused.state === active); // => general-protection true
 * ```
 */
export function setCr0(
  state: ControlState,
  value: bigint,
  cpu: ProcessorFeatures,
  readPdpte?: ReadPdpte,
): ControlWrite {
  const features = requireWrite(state, cpu, readPdpte);
  requireOperand(state, 'cr0', value);
  const reason = faultOfCr0(state, value);
  if (reason !== undefined) return refused(state, reason);
  const cr0 = keptCr0(value);
  const next = Object.freeze({ ...state, cr0, efer: withLma(state.efer, cr0) });
  const { Pg, Cd, Nw } = Cr0Flags;
  const loads = has(cr0 ^ state.cr0, Pg | Cd | Nw);
  const pdptes = loads ? loadPdptes(next, features, readPdpte) : undefined;
  if (haveReserved(pdptes, features)) return refused(state, 'reserved-pdpte');
  return written(next, flushOfCr0(state, cr0, features), pdptes);
}

/**
 * MOV to CR3 at CPL 0: rules P5, P53 and P54. With CR4.PCIDE, bit 63 of the value asks to keep the TLB and is not
 * stored. O(1).
 *
 * @param value - 64 bits in 64-bit mode, else 32 bits
 * @param readPdpte - reads the PDPTEs if the processor walks PAE tables afterwards. A processor of Intel needs it. Without
 * it, one of AMD reads them on demand, as current ones and guests do (AMD64 APM vol. 2, §5.5.3)
 * @throws PageTableError as {@link setCr0}
 */
export function setCr3(
  state: ControlState,
  value: bigint,
  cpu: ProcessorFeatures,
  readPdpte?: ReadPdpte,
): ControlWrite {
  const features = requireWrite(state, cpu, readPdpte);
  requireOperand(state, 'cr3', value);
  const keeps = has(state.cr4, Cr4Flags.Pcide) && has(value, KEEP_TLB);
  const cr3 = keeps ? value & ~KEEP_TLB : value;
  if (has(cr3, reservedCr3Bits(features))) return refused(state, 'cr3-high-bits');
  const next = Object.freeze({ ...state, cr3 });
  const pdptes = loadPdptes(next, features, readPdpte);
  if (haveReserved(pdptes, features)) return refused(state, 'reserved-pdpte');
  return written(next, keeps ? undefined : flushOfPcid(next), pdptes);
}

/**
 * MOV to CR4 at CPL 0: rules P32, P52, P53 and P54. O(1).
 *
 * @param value - 64 bits in 64-bit mode, else 32 bits
 * @param readPdpte - see {@link setCr3}
 * @throws PageTableError as {@link setCr0}
 */
export function setCr4(
  state: ControlState,
  value: bigint,
  cpu: ProcessorFeatures,
  readPdpte?: ReadPdpte,
): ControlWrite {
  const features = requireWrite(state, cpu, readPdpte);
  requireOperand(state, 'cr4', value);
  const reason = faultOfCr4(state, value, features);
  if (reason !== undefined) return refused(state, reason);
  const next = Object.freeze({ ...state, cr4: value });
  const { Pae, Pge, Pse, Smep } = Cr4Flags;
  const loads = has(value ^ state.cr4, Pae | Pge | Pse | Smep);
  const pdptes = loads ? loadPdptes(next, features, readPdpte) : undefined;
  if (haveReserved(pdptes, features)) return refused(state, 'reserved-pdpte');
  return written(next, flushOfCr4(state, value, features), pdptes);
}

/**
 * WRMSR to EFER at CPL 0: rule P50. The bit LMA of the value has no effect, or is compared, as `cpu.lmaWrites` says. The
 * write drops nothing from a TLB, even if NXE changes (rule P41). O(1).
 *
 * @param value - 64 bits in every mode
 * @throws PageTableError `INVALID_CPU_STATE` if the value does not have 64 bits, or a processor cannot be in `state`;
 * `INVALID_CONFIG` if `cpu` is not a processor
 */
export function writeEfer(state: ControlState, value: bigint, cpu: ProcessorFeatures): ControlWrite {
  const { eferMask, lmaWrites } = requireWrite(state, cpu);
  requireRegister('efer', value, 64, 'pass a bigint of 64 bits');
  const changed = value ^ state.efer;
  if (has(value, ~eferMask)) return refused(state, 'efer-reserved-bits');
  if (has(changed, EferFlags.Lme) && has(state.cr0, Cr0Flags.Pg)) {
    return refused(state, 'lme-change-with-paging');
  }
  if (has(changed, EferFlags.Lma) && lmaWrites === 'checked') return refused(state, 'lma-change');
  const next = Object.freeze({ ...state, efer: withLma(value, state.cr0) });
  return written(next, undefined, undefined);
}

function faultOfCr0({ cr0, cr4, efer, csL }: ControlState, value: bigint): ControlFault | undefined {
  const { Pe, Pg, Cd, Nw, Wp } = Cr0Flags;
  if (value >> 32n !== 0n) return 'cr0-high-bits';
  if (has(value, Pg) && !has(value, Pe)) return 'paging-needs-protection';
  if (has(value, Nw) && !has(value, Cd)) return 'nw-needs-cd';
  if (!has(value, Wp) && has(cr4, Cr4Flags.Cet)) return 'cet-needs-wp';
  const turnsOn = has(value & ~cr0, Pg);
  if (turnsOn && has(efer, EferFlags.Lme)) {
    if (!has(cr4, Cr4Flags.Pae)) return 'long-mode-needs-pae';
    if (csL) return 'long-mode-needs-32-bit-code';
  }
  const turnsOff = has(cr0 & ~value, Pg);
  if (turnsOff && has(efer, EferFlags.Lma) && csL) return 'paging-off-in-64-bit-mode';
  if (turnsOff && has(cr4, Cr4Flags.Pcide)) return 'paging-off-with-pcide';
  return undefined;
}

function faultOfCr4(
  { cr0, cr3, cr4, efer }: ControlState,
  value: bigint,
  { cr4Mask }: ProcessorFeatures,
): ControlFault | undefined {
  const { Pae, La57, Pcide, Cet } = Cr4Flags;
  if (has(value, ~cr4Mask)) return 'cr4-reserved-bits';
  if (has(value, Cet) && !has(cr0, Cr0Flags.Wp)) return 'cet-needs-wp';
  const isLong = has(efer, EferFlags.Lma);
  if (isLong && !has(value, Pae)) return 'long-mode-needs-pae';
  if (isLong && has(value ^ cr4, La57)) return 'la57-change-in-long-mode';
  const setsPcide = has(value & ~cr4, Pcide);
  if (setsPcide && !isLong) return 'pcide-needs-long-mode';
  if (setsPcide && has(cr3, 0xfffn)) return 'pcide-needs-pcid-0';
  return undefined;
}

/** Turning paging off drops everything; on AMD, turning it on does too: rule P54. */
function flushOfCr0(
  { cr0 }: ControlState,
  value: bigint,
  { vendor }: ProcessorFeatures,
): TlbFlush | undefined {
  const { Pg } = Cr0Flags;
  return has(cr0 & ~value, Pg) || (vendor === 'amd' && has(value & ~cr0, Pg)) ? EVERYTHING : undefined;
}

/** Rule P54: Intel SDM vol. 3A, §4.10.4.1; AMD64 APM vol. 2, §5.5.3, "Implicit Invalidations". */
function flushOfCr4(state: ControlState, value: bigint, { vendor }: ProcessorFeatures): TlbFlush | undefined {
  const { Pae, Pge, Pse, Pcide, Pke, Smep } = Cr4Flags;
  const changed = state.cr4 ^ value;
  const set = value & ~state.cr4;
  const cleared = state.cr4 & ~value;
  if (has(changed, Pge) || has(cleared, Pcide)) return EVERYTHING;
  if (vendor === 'amd' && (has(changed, Pae | Pse) || has(set, Pke))) return EVERYTHING;
  return has(changed, Pae) || has(set, Smep) ? flushOfPcid(state) : undefined;
}

/** The entries of the current PCID that are not global. */
function flushOfPcid(state: ControlState): TlbFlush {
  return Object.freeze({ pcid: currentPcid(state), includeGlobal: false });
}

/**
 * The four entries at bits 31:5 of CR3, if the processor walks PAE tables (Intel SDM vol. 3A, §4.4.1; rule P53) and does not
 * read them on demand.
 */
function loadPdptes(
  state: ControlState,
  { vendor }: ProcessorFeatures,
  readPdpte: ReadPdpte | undefined,
): readonly bigint[] | undefined {
  if (pagingMode(state) !== 'pae') return undefined;
  if (readPdpte === undefined && vendor === 'amd') return undefined;
  if (readPdpte === undefined) {
    throw invalid('readPdpte', readPdpte, 'pass a function that reads a PDPTE: PAE paging loads four');
  }
  const pdptes = [0n, 8n, 16n, 24n].map((offset) => readPdpte(physAddr((state.cr3 & 0xffff_ffe0n) + offset)));
  for (const [i, pdpte] of pdptes.entries()) {
    requireRegister(`PDPTE ${i}`, pdpte, 64, 'return a bigint of 64 bits from `readPdpte`');
  }
  return Object.freeze(pdptes);
}

function haveReserved(pdptes: readonly bigint[] | undefined, features: ProcessorFeatures): boolean {
  const reserved = PDPTE_RESERVED | reservedAddressBits(features);
  return pdptes?.some((pdpte) => has(pdpte, PDPTE_PRESENT) && has(pdpte, reserved)) ?? false;
}

function written(
  state: ControlState,
  flush: TlbFlush | undefined,
  pdptes: readonly bigint[] | undefined,
): ControlWritten {
  return Object.freeze({ type: 'written', state, flush, pdptes });
}

function refused(state: ControlState, reason: ControlFault): ControlRefused {
  return Object.freeze({ type: 'general-protection', errorCode: 0, reason, state });
}

/** Returns the features. Throws unless a processor that has them can be in that state. */
function requireWrite(state: ControlState, cpu: ProcessorFeatures, readPdpte?: ReadPdpte): ProcessorFeatures {
  if (readPdpte !== undefined && typeof readPdpte !== 'function') {
    throw invalid('readPdpte', readPdpte, 'pass a function that reads a PDPTE');
  }
  requireFeatures(cpu);
  const features = processorFeatures(cpu);
  requirePossible(state, 'state.');
  const reserved = {
    cr3: reservedCr3Bits(features),
    cr4: ~features.cr4Mask,
    efer: ~features.eferMask,
  };
  for (const field of ['cr3', 'cr4', 'efer'] as const) {
    if (has(state[field], reserved[field])) {
      throw invalid(`state.${field}`, state[field], 'clear the bits that `cpu` does not have');
    }
  }
  return features;
}

function requireOperand(state: ControlState, register: string, value: bigint): void {
  if (processorMode(state) === '64-bit') requireRegister(register, value, 64, 'pass a bigint of 64 bits');
  else requireRegister(register, value, 32, 'pass a bigint of 32 bits: outside 64-bit mode, MOV has 32');
}
