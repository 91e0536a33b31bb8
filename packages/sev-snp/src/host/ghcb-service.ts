import { PAGE_SIZE, Phys, type PhysAddr } from '@svsm/address';
import type { GuestContext } from '../cpu/platform.ts';
import { refuseArgument, requireUint64 } from '../formats/arguments.ts';
import {
  GHCB_REGISTERS,
  type GhcbRegisters,
  ghcbExitFormat,
  readGhcbRegisters,
  writeGhcbRegisters,
} from '../formats/ghcb-exits.ts';
import { HypervisorFeature } from '../formats/ghcb-msr.ts';
import { GHCB_FIELDS, GhcbExit, GhcbPage, GhcbRefusal } from '../formats/ghcb-page.ts';
import { type Check, optional, requireFields, requireOptions } from '../formats/options.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import type { NestedPage } from '../memory/nested-table.ts';

/** A request in a GHCB, read once. */
export interface GhcbRequest {
  /** The guest-physical address of the GHCB. */
  readonly gpa: PhysAddr;
  readonly exitCode: bigint;
  readonly info1: bigint;
  readonly info2: bigint;
  /** SW_SCRATCH; `undefined` if it is not marked valid. */
  readonly scratch: bigint | undefined;
  /** The registers that are marked valid. */
  readonly registers: GhcbRegisters;
}

/** The answer in a GHCB: SW_EXITINFO1 and SW_EXITINFO2, and the registers to mark valid. */
export interface GhcbAnswer {
  readonly info1: bigint;
  readonly info2: bigint;
  readonly registers?: GhcbRegisters;
}

const REQUEST: readonly (keyof GhcbRequest)[] = ['gpa', 'exitCode', 'info1', 'info2', 'scratch', 'registers'];

/** Requires a request whose fields have their types. @throws SnpError `INVALID_ARGUMENT`; AddressError */
export function requireGhcbRequest(request: GhcbRequest): void {
  requireOptions('the request', request, REQUEST);
  const { gpa, exitCode, info1, info2, scratch, registers } = request;
  Phys.assertIsAddress(gpa);
  for (const [name, value] of Object.entries({ exitCode, info1, info2 })) requireUint64(name, value);
  if (scratch !== undefined) requireUint64('scratch', scratch);
  requireOptions('the registers', registers, GHCB_REGISTERS);
  for (const [name, value] of Object.entries(registers)) if (value !== undefined) requireUint64(name, value);
}

/** Registers of an answer are cut to their width: a handler of VMMCALL answers a negative number. */
const requireRegisters: Check = (what, registers) => {
  requireOptions(what, registers as object, GHCB_REGISTERS);
  for (const [name, value] of Object.entries(registers as object))
    if (value !== undefined && typeof value !== 'bigint') refuseArgument(name, value, 'pass a bigint');
};

/** The fields of an answer, which a subclass of the hypervisor can have made. */
const ANSWER: Readonly<Record<string, Check>> = {
  info1: requireUint64,
  info2: requireUint64,
  registers: /* @__PURE__ */ optional(requireRegisters),
};

/** System memory as the host reads and writes it. `Hypervisor` has it. */
interface HostMemory {
  read(spa: SysPhysAddr, length: number): Uint8Array;
  write(spa: SysPhysAddr, bytes: Uint8Array): void;
}

/** The GHCB of a guest at `gpa`, for the host; `undefined` if no shared page is mapped there. */
export function ghcbOfGuest(host: HostMemory, guest: GuestContext, gpa: PhysAddr): GhcbPage | undefined {
  const nested = guest.nested.lookup(gpa);
  if (nested === undefined || guest.machine.rmp.entry(nested.spa)?.assigned === true) return undefined;
  const at = ({ spa }: NestedPage, offset: number): SysPhysAddr => (spa + BigInt(offset)) as SysPhysAddr;
  return new GhcbPage({
    read: (offset, length) => host.read(at(nested, offset), length),
    write: (offset, bytes) => host.write(at(nested, offset), bytes),
  });
}

/** The features that it announces. */
export const FEATURES: bigint =
  HypervisorFeature.Snp | HypervisorFeature.ApCreation | HypervisorFeature.MultiVmpl;

/** The version of the GHCB protocol that the hypervisor announces. */
export const GHCB_VERSION = 2;

/**
 * The request in a GHCB, or the refusal of it (KVM `sev_es_validate_vmgexit`). The GHCB is registered. A request has the standard
 * usage and the version of the protocol, and marks valid: exit code, both infos, and the inputs of its exit. The two pages of a
 * guest request differ, and their addresses are multiples of 4096. The page is read once.
 */
export function readGhcbRequest(
  live: GhcbPage,
  gpa: PhysAddr,
  isRegistered = true,
): GhcbRequest | GhcbAnswer {
  if (!isRegistered) return refusal(GhcbRefusal.NotRegistered);
  const page = live.snapshot();
  if (page.get('usage') !== 0n) return refusal(GhcbRefusal.BadUsage);
  if (page.get('protocolVersion') !== BigInt(GHCB_VERSION)) return refusal(GhcbRefusal.InvalidInput);
  const [exitCode, info1, info2] = [page.get('exitCode'), page.get('exitInfo1'), page.get('exitInfo2')];
  if (exitCode === undefined || info1 === undefined || info2 === undefined) {
    return refusal(GhcbRefusal.MissingInput);
  }
  const registers = readGhcbRegisters(page);
  const { inputs } = ghcbExitFormat(exitCode, info1, registers.rax);
  const isComplete = inputs.every((input) => page.isValid(input));
  if (!isComplete || !isSound(exitCode, info1, info2)) return refusal(GhcbRefusal.MissingInput);
  return { gpa, exitCode, info1, info2, scratch: page.get('scratch'), registers };
}

/** Whether the infos of a guest request are the addresses of two pages. KVM refuses others as a missing input. */
function isSound(exitCode: bigint, info1: bigint, info2: bigint): boolean {
  if (exitCode !== GhcbExit.GuestRequest && exitCode !== GhcbExit.ExtendedGuestRequest) return true;
  return info1 % PAGE === 0n && info2 % PAGE === 0n && info1 !== info2;
}

const PAGE = BigInt(PAGE_SIZE);

/**
 * Writes an answer to a GHCB. No other field is marked valid afterwards. Registers are cut to the width of their field.
 *
 * @throws SnpError `INVALID_ARGUMENT` for an answer that is malformed: nothing is written then
 */
export function writeGhcbAnswer(page: GhcbPage, answer: GhcbAnswer): void {
  requireFields('the answer', answer, ANSWER);
  const { info1, info2, registers = {} } = answer;
  page.invalidate();
  const given = GHCB_REGISTERS.flatMap((name) => {
    const value = registers[name];
    return value === undefined ? [] : [[name, BigInt.asUintN(8 * GHCB_FIELDS[name][1], value)] as const];
  });
  writeGhcbRegisters(page, Object.fromEntries(given));
  page.set('exitInfo1', info1);
  page.set('exitInfo2', info2);
}

/** The answer that refuses a request: 2 in SW_EXITINFO1, the reason in SW_EXITINFO2. */
export function refusal(why: bigint): GhcbAnswer {
  return { info1: 2n, info2: why };
}
