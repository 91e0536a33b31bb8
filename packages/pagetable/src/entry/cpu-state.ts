import { ANY, allOptional, BOOLEAN, type Field, Fields, oneOf, optional } from './fields.ts';
import { PageTableError } from './page-table-error.ts';

/**
 * The state of a processor that decides access rights. The registers that decide the layout of entries (CR4.LA57,
 * EFER.NXE) are in the table's `PagingConfig`. Frozen; made by {@link cpuState} or {@link cpuStateFromRegisters}.
 */
export interface CpuState {
  /** The privilege level of the access: 3 is user mode, 0 to 2 are supervisor mode. */
  readonly cpl: 0 | 1 | 2 | 3;
  /** CR0.WP: R/W restricts supervisor writes too. */
  readonly wp: boolean;
  /** CR4.SMEP: supervisor fetches from user pages are denied. */
  readonly smep: boolean;
  /** CR4.SMAP: supervisor data accesses to user pages are denied, unless {@link ac} permits them. */
  readonly smap: boolean;
  /**
   * CR0.PG: whether paging is on. Without it, addresses are physical addresses of 32 bits, no right is checked, and under
   * memory encryption every access is private (AMD64 APM vol. 2, §15.34.5).
   */
  readonly paging: boolean;
  /** The width of LAM for addresses with bit 63 clear: CR3.LAM_U48 or LAM_U57 (Intel SDM vol. 3A, §4.4); `undefined`: off. */
  readonly lamUser: 48 | 57 | undefined;
  /** CR4.LAM_SUP: LAM for addresses with bit 63 set, of the width of the page tables: 48 with 4 levels, 57 with 5. */
  readonly lamSupervisor: boolean;
  /** EFER.UAIE: bits 63:57 of the address of a data access are ignored (AMD64 APM vol. 2, §5.10). */
  readonly uai: boolean;
  /** CR4.CET: shadow-stack accesses exist. */
  readonly cet: boolean;
  /** EFLAGS.AC: suspends SMAP for explicit accesses. */
  readonly ac: boolean;
  /** PKRU, the rights of the protection keys of user pages, 32 bits; `undefined` if CR4.PKE is 0. */
  readonly pkru: number | undefined;
  /** IA32_PKRS, the rights of the protection keys of supervisor pages, 32 bits; `undefined` if CR4.PKS is 0. */
  readonly pkrs: number | undefined;
}

/** The registers that {@link cpuStateFromRegisters} reads. */
export interface CpuRegisters {
  /** CR0, 64 bits. */
  readonly cr0: number | bigint;
  /** CR4, 64 bits. */
  readonly cr4: number | bigint;
  /** CR3, 64 bits, for LAM_U57 and LAM_U48. 0 if not given. */
  readonly cr3?: number | bigint;
  /** EFER, 64 bits, for UAIE. 0 if not given. */
  readonly efer?: number | bigint;
  /** The current privilege level. */
  readonly cpl: 0 | 1 | 2 | 3;
  /** RFLAGS, 64 bits. 0 if not given: EFLAGS.AC is clear. */
  readonly rflags?: number | bigint;
  /** PKRU, 32 bits. Read only if CR4.PKE is 1. 0 if not given. */
  readonly pkru?: number | bigint;
  /** IA32_PKRS, 32 bits. Read only if CR4.PKS is 1. 0 if not given. */
  readonly pkrs?: number | bigint;
}

/**
 * Makes the state of a processor, checked and frozen. The defaults are those of a running kernel: CPL 0; WP, SMEP and
 * SMAP set; AC clear; paging on; no shadow stacks, no protection keys, no masked addresses. O(1).
 *
 * @throws PageTableError `INVALID_CPU_STATE`
 */
export function cpuState(options: Partial<CpuState> = {}): CpuState {
  OPTIONS.require(options);
  const { cpl = 0, wp = true, smep = true, smap = true, cet = false, ac = false, pkru, pkrs } = options;
  const { paging = true, lamUser, lamSupervisor = false, uai = false } = options;
  if (cet && !wp) throw invalid('cet', cet, 'pass wp: true as well: CR4.CET needs CR0.WP');
  return Object.freeze({
    cpl,
    wp,
    smep,
    smap,
    cet,
    ac,
    pkru,
    pkrs,
    paging,
    lamUser,
    lamSupervisor,
    uai,
  });
}

/**
 * Reads the state of a processor from its registers: CR0.WP is bit 16, PG 31 (AMD64 APM vol. 2, §3.1.1); CR4.SMEP is 20, SMAP
 * 21, PKE 22, CET 23 (§3.1.3), PKS 24 and LAM_SUP 28 (Intel SDM vol. 3A, §2.5); CR3.LAM_U57 is 61, LAM_U48 62; EFER.UAIE is 20;
 * EFLAGS.AC is 18 (APM vol. 2, §3.1.4). Other bits are ignored. O(1).
 *
 * @throws PageTableError `INVALID_CPU_STATE` if a register has more than 64 bits, a key register has more than 32, or CET is set
 *   without WP
 */
export function cpuStateFromRegisters(registers: CpuRegisters): CpuState {
  REGISTERS.require(registers);
  const cr0 = BigInt(registers.cr0);
  const cr4 = BigInt(registers.cr4);
  const cr3 = BigInt(registers.cr3 ?? 0);
  const efer = BigInt(registers.efer ?? 0);
  const rflags = BigInt(registers.rflags ?? 0);
  const has = (value: bigint, bit: number): boolean => ((value >> BigInt(bit)) & 1n) === 1n;
  return cpuState({
    cpl: registers.cpl,
    paging: has(cr0, 31),
    wp: has(cr0, 16),
    smep: has(cr4, 20),
    smap: has(cr4, 21),
    cet: has(cr4, 23),
    ac: has(rflags, 18),
    // With both bits, LAM_U57 decides (Intel SDM vol. 3A, §4.4).
    lamUser: has(cr3, 61) ? 57 : has(cr3, 62) ? 48 : undefined,
    lamSupervisor: has(cr4, 28),
    uai: has(efer, 20),
    ...(has(cr4, 22) ? { pkru: Number(registers.pkru ?? 0) } : {}),
    ...(has(cr4, 24) ? { pkrs: Number(registers.pkrs ?? 0) } : {}),
  });
}

/** Requires a state. Those of {@link cpuState} pass at once. @throws PageTableError `INVALID_CPU_STATE` */
export function requireCpuState(cpu: CpuState): void {
  CPU.require(cpu);
}

const KEYS: Field = /* @__PURE__ */ optional({
  accepts: (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff_ffff,
  expected: 'pass a number of 32 bits, or undefined if the register is off',
});

const CPU_FIELDS = {
  cpl: /* @__PURE__ */ oneOf(0, 1, 2, 3),
  wp: BOOLEAN,
  smep: BOOLEAN,
  smap: BOOLEAN,
  cet: BOOLEAN,
  ac: BOOLEAN,
  pkru: KEYS,
  pkrs: KEYS,
  paging: BOOLEAN,
  lamUser: /* @__PURE__ */ oneOf(48, 57, undefined),
  lamSupervisor: BOOLEAN,
  uai: BOOLEAN,
};
const CPU: Fields = /* @__PURE__ */ new Fields('cpu', CPU_FIELDS, invalid, true);
const OPTIONS: Fields = /* @__PURE__ */ new Fields(
  'options',
  /* @__PURE__ */ allOptional(CPU_FIELDS),
  invalid,
);
/** A register that may be a number, if it is a safe one. */
const WORD: Field = {
  accepts: (value) =>
    typeof value === 'bigint'
      ? BigInt.asUintN(64, value) === value
      : Number.isSafeInteger(value) && (value as number) >= 0,
  expected: 'pass a value of 64 bits',
};
/** The registers, which can be those of a `ControlState`. */
const REGISTERS: Fields = /* @__PURE__ */ new Fields(
  'registers',
  {
    cr0: WORD,
    cr4: WORD,
    cr3: /* @__PURE__ */ optional(WORD),
    efer: /* @__PURE__ */ optional(WORD),
    cpl: /* @__PURE__ */ oneOf(0, 1, 2, 3),
    rflags: /* @__PURE__ */ optional(WORD),
    pkru: /* @__PURE__ */ optional(WORD),
    pkrs: /* @__PURE__ */ optional(WORD),
    csL: ANY,
  },
  invalid,
);

function invalid(
  field: string,
  value: unknown,
  expected: string,
  options?: ErrorOptions,
): PageTableError<'INVALID_CPU_STATE'> {
  return new PageTableError('INVALID_CPU_STATE', { field, value, expected }, options);
}
