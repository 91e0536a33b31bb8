import { readArgument, refuseArgument, requireInstance, requireUint64 } from './arguments.ts';
import { requireFit } from './byte-fields.ts';
import { GHCB_FIELDS, GhcbExit, GhcbPage } from './ghcb-page.ts';
import { requireOptions } from './options.ts';

/** The fields of a GHCB that hold registers of a processor, and have a bit in the valid bitmap. */
export const GHCB_REGISTERS = [
  'rax',
  'rbx',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
  'rbp',
  'rsp',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
  'rip',
  'cpl',
  'dr7',
  'xcr0',
  'xss',
] as const;

/** The name of a register in a GHCB. */
export type GhcbRegister = (typeof GHCB_REGISTERS)[number];

/** Registers in a GHCB: those that are marked valid. CPL has 8 bits, the others have 64. */
export type GhcbRegisters = { readonly [Register in GhcbRegister]?: bigint | undefined };

/** The fields of a GHCB that an exit uses, in addition to SW_EXITCODE, SW_EXITINFO1 and SW_EXITINFO2. */
export interface GhcbExitFormat {
  /** The fields that a request has to mark valid. */
  readonly inputs: readonly (GhcbRegister | 'scratch')[];
  /** The registers that a successful answer has to mark valid. */
  readonly answers: readonly GhcbRegister[];
  /** The registers that an answer can have in some cases. */
  readonly optional: readonly GhcbRegister[];
}

const XSAVE_LEAF = 0xdn;
const IOIO_IN = 0x1n;
const IOIO_STRING = 0x4n;
const AP_DESTROY = 2n;

/**
 * The fields that an exit uses (KVM `sev_es_validate_vmgexit`; for answers Linux `arch/x86/coco/sev/vc-shared.c`). An
 * unknown exit uses none. O(1).
 *
 * @param info1 - SW_EXITINFO1: the direction of an access to an MSR or a port, the request of AP creation
 * @param rax - the leaf of CPUID: leaf 0xd needs XCR0
 * @throws SnpError `INVALID_ARGUMENT` if a value is not an unsigned bigint of 64 bits
 *
 * @example
 * ```ts
 * import { GhcbExit, ghcbExitFormat } from '@svsm/sev-snp/formats';
 *
 * const { inputs, answers } = ghcbExitFormat(GhcbExit.Msr, 0n); // 0: RDMSR
 * console.log(inputs.join(), answers.join()); // => rcx rax,rdx
 * ```
 */
export function ghcbExitFormat(exitCode: bigint, info1: bigint, rax?: bigint): GhcbExitFormat {
  requireUint64('SW_EXITCODE', exitCode);
  requireUint64('SW_EXITINFO1', info1);
  if (rax !== undefined) requireUint64('RAX', rax);
  switch (exitCode) {
    case GhcbExit.ReadDr7:
      return format([], ['rax']);
    case GhcbExit.WriteDr7:
      return format(['rax']);
    case GhcbExit.Rdtsc:
      return format([], ['rax', 'rdx']);
    case GhcbExit.Rdtscp:
      return format([], ['rax', 'rcx', 'rdx']);
    case GhcbExit.Rdpmc:
      return format(['rcx'], ['rax', 'rdx']);
    case GhcbExit.Cpuid:
      return format(rax === XSAVE_LEAF ? ['rax', 'rcx', 'xcr0'] : ['rax', 'rcx'], [
        'rax',
        'rbx',
        'rcx',
        'rdx',
      ]);
    case GhcbExit.Ioio:
      return ioio(info1);
    case GhcbExit.Msr:
      return info1 === 0n ? format(['rcx'], ['rax', 'rdx']) : format(['rcx', 'rax', 'rdx']);
    case GhcbExit.Vmmcall:
      return format(['rax', 'cpl'], ['rax']);
    case GhcbExit.Monitor:
      return format(['rax', 'rcx', 'rdx']);
    case GhcbExit.Mwait:
      return format(['rax', 'rcx']);
    case GhcbExit.MmioRead:
    case GhcbExit.MmioWrite:
    case GhcbExit.PageStateChange:
      return format(['scratch']);
    case GhcbExit.SnpApCreation:
      return format((info1 & 0xffffn) === AP_DESTROY ? [] : ['rax']);
    case GhcbExit.ExtendedGuestRequest:
      return format(['rax', 'rbx'], [], ['rbx']);
    case GhcbExit.GetApicIds:
      return format(['rax'], [], ['rax']);
    default:
      return format([]);
  }
}

function ioio(info1: bigint): GhcbExitFormat {
  if ((info1 & IOIO_STRING) !== 0n) return format(['scratch']);
  return (info1 & IOIO_IN) === 0n ? format(['rax']) : format([], ['rax']);
}

function format(
  inputs: GhcbExitFormat['inputs'],
  answers: readonly GhcbRegister[] = [],
  optional: readonly GhcbRegister[] = [],
): GhcbExitFormat {
  return { inputs, answers, optional };
}

/** The registers that a GHCB marks valid. O(1). @throws SnpError `INVALID_ARGUMENT` for a register that does not exist */
export function readGhcbRegisters(
  page: GhcbPage,
  names: readonly GhcbRegister[] = GHCB_REGISTERS,
): GhcbRegisters {
  requirePage(page);
  const held = registersIn(names).map((name) => [name, page.get(name)] as const);
  return Object.fromEntries(held.filter(([, value]) => value !== undefined));
}

/**
 * Writes registers to a GHCB and marks them valid. Those that are not given stay as they are. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` for a register that does not exist, `INVALID_MESSAGE` if a value does not fit; nothing
 *   is written then
 */
export function writeGhcbRegisters(page: GhcbPage, registers: GhcbRegisters): void {
  requirePage(page);
  requireOptions('the registers', registers, GHCB_REGISTERS);
  const given = GHCB_REGISTERS.map((name) => [name, registers[name]] as const);
  for (const [name, value] of given) if (value !== undefined) requireFit(name, value, GHCB_FIELDS[name][1]);
  for (const [name, value] of given) if (value !== undefined) page.set(name, value);
}

/** A copy of a list of registers. @throws SnpError `INVALID_ARGUMENT` */
export function registersIn<Register extends GhcbRegister>(names: readonly Register[]): readonly Register[] {
  const expected = `pass an array of names: ${GHCB_REGISTERS.join(', ')}`;
  const copy = readArgument('the registers', names, expected, () =>
    Array.isArray(names) ? [...names] : [undefined],
  );
  if (copy.every((name) => GHCB_REGISTERS.includes(name as Register))) return copy as Register[];
  return refuseArgument('the registers', names, expected);
}

function requirePage(page: GhcbPage): void {
  requireInstance('the GHCB', page, GhcbPage, 'a GhcbPage');
}
