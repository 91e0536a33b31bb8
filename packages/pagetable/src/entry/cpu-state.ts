import { PageTableError } from './page-table-error.ts';

/**
 * What a processor's registers say about access rights. What they say about the layout of entries (CR4.LA57, EFER.NXE) is
 * in the table's `PagingConfig`. Frozen; made by {@link cpuState} or {@link cpuStateFromRegisters}.
 */
export interface CpuState {
  /** The privilege level that the access is made at: 3 is user mode, all else supervisor mode. */
  readonly cpl: 0 | 1 | 2 | 3;
  /** CR0.WP: supervisor writes respect R/W. */
  readonly wp: boolean;
  /** CR4.SMEP: no supervisor fetches from user pages. */
  readonly smep: boolean;
  /** CR4.SMAP: no supervisor data accesses to user pages, unless {@link ac}. */
  readonly smap: boolean;
  /** EFLAGS.AC, which suspends SMAP for explicit accesses. */
  readonly ac: boolean;
  /** PKRU, 32 bits, or `undefined` while CR4.PKE is 0: protection keys of user pages. */
  readonly pkru: number | undefined;
  /** IA32_PKRS, 32 bits, or `undefined` while CR4.PKS is 0: protection keys of supervisor pages. */
  readonly pkrs: number | undefined;
}

/** The registers that {@link cpuStateFromRegisters} takes apart. */
export interface CpuRegisters {
  readonly cr0: number | bigint;
  readonly cr4: number | bigint;
  readonly cpl: 0 | 1 | 2 | 3;
  /** 0 if not given, so EFLAGS.AC is clear. */
  readonly rflags?: number | bigint;
  /** 0 if not given. Matters while CR4.PKE is 1. */
  readonly pkru?: number | bigint;
  /** 0 if not given. Matters while CR4.PKS is 1. */
  readonly pkrs?: number | bigint;
}

/**
 * The state of a processor, checked and frozen. What is not given is as a kernel runs: CPL 0, WP, SMEP and SMAP on, AC
 * clear, no protection keys. O(1).
 *
 * @throws PageTableError `INVALID_CPU_STATE`
 */
export function cpuState(options: Partial<CpuState> = {}): CpuState {
  const { cpl = 0, wp = true, smep = true, smap = true, ac = false, pkru, pkrs } = options;
  if (cpl !== 0 && cpl !== 1 && cpl !== 2 && cpl !== 3) throw invalid('cpl', cpl, 'pass 0, 1, 2 or 3');
  for (const [field, value] of Object.entries({ wp, smep, smap, ac })) {
    if (typeof value !== 'boolean') throw invalid(field, value, 'pass true or false');
  }
  for (const [field, value] of Object.entries({ pkru, pkrs })) {
    if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff)) {
      throw invalid(field, value, 'pass 32 bits, or undefined while it is off');
    }
  }
  return Object.freeze({ cpl, wp, smep, smap, ac, pkru, pkrs });
}

/**
 * The state of a processor from its registers: CR0.WP is bit 16 (AMD64 APM vol. 2, §3.1.1); CR4.SMEP 20, SMAP 21, PKE 22
 * (§3.1.3), PKS 24 (Intel SDM vol. 3A, §2.5); EFLAGS.AC 18 (APM vol. 2, §3.1.4). All other bits are passed over. O(1).
 *
 * @throws PageTableError `INVALID_CPU_STATE` for what is no register of 64 bits, or a key register of more than 32
 */
export function cpuStateFromRegisters(registers: CpuRegisters): CpuState {
  const cr0 = registerBits('cr0', registers.cr0);
  const cr4 = registerBits('cr4', registers.cr4);
  const rflags = registerBits('rflags', registers.rflags ?? 0);
  const has = (value: bigint, bit: number): boolean => ((value >> BigInt(bit)) & 1n) === 1n;
  return cpuState({
    cpl: registers.cpl,
    wp: has(cr0, 16),
    smep: has(cr4, 20),
    smap: has(cr4, 21),
    ac: has(rflags, 18),
    ...(has(cr4, 22) ? { pkru: Number(registerBits('pkru', registers.pkru ?? 0)) } : {}),
    ...(has(cr4, 24) ? { pkrs: Number(registerBits('pkrs', registers.pkrs ?? 0)) } : {}),
  });
}

function registerBits(field: string, value: number | bigint): bigint {
  const bits =
    typeof value === 'bigint' ? value : Number.isSafeInteger(value) ? BigInt(value as number) : undefined;
  if (bits === undefined || BigInt.asUintN(64, bits) !== bits) {
    throw invalid(field, value, 'pass a register of 64 bits');
  }
  return bits;
}

function invalid(field: string, value: unknown, expected: string): PageTableError {
  return new PageTableError('INVALID_CPU_STATE', { field, value, expected });
}
