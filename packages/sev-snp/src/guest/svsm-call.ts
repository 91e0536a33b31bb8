import type { PhysAddr, VirtAddr } from '@svsm/address';
import type { Vcpu } from '../cpu/vcpu.ts';
import { readArgument, requireInteger, requireOneOf, requireUint64 } from '../formats/arguments.ts';
import { requireOptions } from '../formats/options.ts';
import { isSnpError, SnpError } from '../formats/snp-error.ts';
import {
  encodeSvsmListEntryAt,
  encodeSvsmListHeader,
  SVSM_CALL_BUFFER,
  SVSM_LIST_ENTRY_SIZE,
  SVSM_LIST_MAX,
  SvsmCall,
  type SvsmListEntry,
  type SvsmRegisters,
  SvsmResult,
} from '../formats/svsm-protocol.ts';
import { arrayOf, registersOfCall, requireArea, requireProcessor } from './argument-checks.ts';
import { forgetProcessor, noteCallingArea, noteProcessor } from './calling-areas.ts';
import { requestGhcbMsr } from './msr-protocol.ts';

/** The calling area of a processor: a private page of the guest. */
export interface CallingArea {
  /** The address at which the guest maps it. */
  readonly gva: VirtAddr;
  readonly gpa: PhysAddr;
}

/** The number of attempts after which a call is given up that does not run, or stays BUSY or INCOMPLETE. */
export const SVSM_MAX_ATTEMPTS = 1024;

/**
 * Calls the SVSM through "run VMPL" of the GHCB MSR protocol, and returns the registers afterwards. A call that the
 * hypervisor has not run is repeated. A call that returns INCOMPLETE is not: the caller has to repeat it.
 *
 * @param registers - RAX is the protocol and the call; registers that are not given are 0
 * @throws SnpError `INVALID_ARGUMENT`, `SVSM_NOT_RUN` if it never ran, `INVALID_RESPONSE`; SnpFault
 */
export function callSvsm(vcpu: Vcpu, area: CallingArea, registers: Partial<SvsmRegisters>): SvsmRegisters {
  requireProcessor(vcpu);
  requireArea(area);
  const arguments_ = registersOfCall(registers);
  noteCallingArea(vcpu, area.gpa);
  for (let attempt = 0; attempt < SVSM_MAX_ATTEMPTS; attempt += 1) {
    Object.assign(vcpu.registers, arguments_);
    vcpu.write(area.gva, Uint8Array.of(1));
    let isPending = true;
    try {
      requestGhcbMsr(vcpu, { type: 'run-vmpl-request', vmpl: 0 }, 'run-vmpl');
    } finally {
      // The exchange with 0 tells whether the call has run. It is one instruction: the hypervisor can run the call at an exit
      // between a read and a write. Do this after an invalid answer too: a call that stayed pending could be run at any later
      // time.
      isPending = vcpu.exchange(area.gva, 0) !== 0;
    }
    if (!isPending) return { ...vcpu.registers };
  }
  throw new SnpError('SVSM_NOT_RUN', { attempts: SVSM_MAX_ATTEMPTS });
}

/**
 * Asks the SVSM to validate pages, or to rescind that (PVALIDATE). The entries go in lists of at most 510 in the calling
 * area, and each list is repeated until it is done, also while the SVSM returns BUSY.
 *
 * @param area - the calling area of `vcpu`; everything after its first 8 bytes is overwritten
 * @throws SnpError `SVSM_REFUSED` with the result and the index of the entry, `INVALID_MESSAGE` if an entry does not fit,
 *   else as {@link callSvsm}; SnpFault
 */
export function pvalidateBySvsm(vcpu: Vcpu, area: CallingArea, entries: readonly SvsmListEntry[]): void {
  processLists(vcpu, area, SvsmCall.Pvalidate, arrayOf('the entries', entries));
}

/**
 * The number of entries of the last list in the calling area that the SVSM has done. Call it after a failure: it withdraws
 * the call first, so that the hypervisor cannot run it later. `undefined` if the calling area cannot be reached: then the
 * number is unknown.
 */
export function entriesDone(vcpu: Vcpu, area: CallingArea): number | undefined {
  try {
    vcpu.write(area.gva, new Uint8Array(1));
    return nextEntry(vcpu, area);
  } catch {
    return undefined;
  }
}

/** The index of the entry that the SVSM processes next. The calling area is private: only the SVSM writes it. */
function nextEntry(vcpu: Vcpu, area: CallingArea): number {
  const next = vcpu.read((area.gva + BigInt(SVSM_CALL_BUFFER + 2)) as VirtAddr, 2);
  return next[0]! | (next[1]! << 8);
}

/** Makes a call for each list of entries. */
function processLists(
  vcpu: Vcpu,
  area: CallingArea,
  call: SvsmCall,
  entries: readonly SvsmListEntry[],
): void {
  requireProcessor(vcpu);
  requireArea(area);
  for (let first = 0; first < entries.length; first += SVSM_LIST_MAX) {
    const list = entries.slice(first, first + SVSM_LIST_MAX);
    writeList(vcpu, area, list);
    processWritten(vcpu, area, call, list.length);
  }
}

/** Writes a list into a calling area, all or nothing. @throws SnpError `INVALID_MESSAGE`; SnpFault */
export function writeList(vcpu: Vcpu, area: CallingArea, entries: readonly SvsmListEntry[]): void {
  const list = new Uint8Array(SVSM_LIST_ENTRY_SIZE * (entries.length + 1));
  list.set(encodeSvsmListHeader({ count: entries.length, next: 0 }));
  for (let i = 0; i < entries.length; i += 1)
    encodeSvsmListEntryAt(entries[i]!, list, SVSM_LIST_ENTRY_SIZE * (i + 1));
  vcpu.write((area.gva + BigInt(SVSM_CALL_BUFFER)) as VirtAddr, list);
}

/**
 * Makes a call with the list that was written last, until it is done.
 *
 * @param progress - `next` becomes the number of entries that the calls before the last one have done
 */
export function processWritten(
  vcpu: Vcpu,
  area: CallingArea,
  call: SvsmCall,
  count: number,
  progress: { next: number } = { next: 0 },
): void {
  const rcx = area.gpa + BigInt(SVSM_CALL_BUFFER);
  // An INCOMPLETE call has to advance by at least one entry.
  let [done, busy] = [0, 0];
  for (;;) {
    const { rax } = callSvsm(vcpu, area, { rax: BigInt(call), rcx });
    const result = Number(BigInt.asUintN(32, rax));
    if (result === SvsmResult.Success) return;
    const entry = nextEntry(vcpu, area);
    if (result === SvsmResult.Busy) busy += 1;
    else if (result === SvsmResult.Incomplete) done += 1;
    const isGivenUp = busy === SVSM_MAX_ATTEMPTS || done > count;
    const isRepeated = result === SvsmResult.Busy || result === SvsmResult.Incomplete;
    if (!isRepeated || isGivenUp) throw new SnpError('SVSM_REFUSED', { call, result, entry });
    progress.next = entry;
  }
}

/**
 * Moves the calling area of `vcpu` to `next` (REMAP_CA). Use `next` for later calls.
 *
 * @throws SnpError as {@link requestSvsm}
 */
export function remapCallingArea(vcpu: Vcpu, area: CallingArea, next: CallingArea): void {
  // The SVSM clears CALL_PENDING in the old area, where this call looks for it.
  requireArea(area);
  requireArea(next);
  requestSvsm(vcpu, area, SvsmCall.RemapCa, { rcx: next.gpa });
  noteCallingArea(vcpu, next.gpa);
}

/**
 * Asks the SVSM to make a page of the guest a VMSA with the calling area at `caa` (CREATE_VCPU).
 *
 * @throws SnpError as {@link requestSvsm}
 */
export function createVcpuBySvsm(
  vcpu: Vcpu,
  area: CallingArea,
  processor: { readonly vmsa: PhysAddr; readonly caa: PhysAddr; readonly apicId: number },
): void {
  const expected = 'pass an object with vmsa, caa and apicId';
  const { vmsa, caa, apicId } = readArgument('the processor', processor, expected, () => ({ ...processor }));
  requireUint64('the address of the VMSA', vmsa);
  requireUint64('the address of the calling area', caa);
  requireInteger('the APIC ID', apicId, 0, 2 ** 32 - 1);
  requireProcessor(vcpu);
  const takeBack = noteProcessor(vcpu.guest, vmsa, caa);
  try {
    requestSvsm(vcpu, area, SvsmCall.CreateVcpu, { rcx: vmsa, rdx: caa, r8: BigInt(apicId) });
  } catch (error) {
    // After another error, the SVSM may have made the processor.
    if (isSnpError(error, 'SVSM_REFUSED')) takeBack();
    throw error;
  }
}

/** Turns a VMSA back into an ordinary page (DELETE_VCPU). @throws SnpError as {@link requestSvsm} */
export function deleteVcpuBySvsm(vcpu: Vcpu, area: CallingArea, vmsa: PhysAddr): void {
  requireUint64('the address of the VMSA', vmsa);
  requestSvsm(vcpu, area, SvsmCall.DeleteVcpu, { rcx: vmsa });
  forgetProcessor(vcpu.guest, vmsa);
}

/**
 * Gives pages to the SVSM (DEPOSIT_MEM), in lists as {@link pvalidateBySvsm} does.
 *
 * @param pages - `size` is 0 for 4 KiB, 1 for 2 MiB
 * @throws SnpError as {@link pvalidateBySvsm}
 */
export function depositToSvsm(
  vcpu: Vcpu,
  area: CallingArea,
  pages: readonly { readonly gpa: PhysAddr; readonly size: 0 | 1 }[],
): void {
  const expected = 'pass an array of objects with gpa and size';
  const entries = readArgument('the pages', pages, expected, () =>
    arrayOf('the pages', pages).map(({ gpa, size }) => ({ ...FLAGS, gpa, size })),
  );
  processLists(vcpu, area, SvsmCall.DepositMem, entries);
}

const FLAGS = { validate: false, ignoreUnchanged: false, reserved: 0 } as const;

/**
 * Takes back pages that the SVSM does not need any more (WITHDRAW_MEM). Returns the addresses of 4 KiB pages, at most
 * as many as a calling area holds; an empty array means that nothing is left.
 *
 * @throws SnpError as {@link requestSvsm}
 */
export function withdrawFromSvsm(vcpu: Vcpu, area: CallingArea): readonly PhysAddr[] {
  requireArea(area);
  const gva = (area.gva + BigInt(SVSM_CALL_BUFFER)) as VirtAddr;
  requestSvsm(vcpu, area, SvsmCall.WithdrawMem, { rcx: area.gpa + BigInt(SVSM_CALL_BUFFER) });
  const { buffer } = vcpu.read(gva, SVSM_LIST_ENTRY_SIZE * (SVSM_LIST_MAX + 1));
  const words = new BigUint64Array(buffer);
  return Array.from(words.subarray(1, 1 + Number(words[0]! & 0xffffn)), (gpa) => gpa as PhysAddr);
}

/**
 * The versions of a protocol that the SVSM supports, or `undefined` if it does not support this one (QUERY_PROTOCOL).
 *
 * @throws SnpError as {@link requestSvsm}
 */
export function querySvsmProtocol(
  vcpu: Vcpu,
  area: CallingArea,
  protocol: number,
  version: number,
): { readonly min: number; readonly max: number } | undefined {
  requireInteger('the protocol', protocol, 0, 2 ** 32 - 1);
  requireInteger('the version', version, 0, 2 ** 32 - 1);
  const asked = (BigInt(protocol) << 32n) | BigInt(version);
  const { rcx } = requestSvsm(vcpu, area, SvsmCall.QueryProtocol, { rcx: asked });
  if (rcx === 0n) return undefined;
  return { min: Number(BigInt.asUintN(32, rcx)), max: Number(rcx >> 32n) };
}

/**
 * The virtual tops of memory that the SVSM offers, or `undefined` if it offers none (a query of CONFIGURE_VTOM).
 *
 * @throws SnpError as {@link requestSvsm}
 */
export function querySvsmVtom(
  vcpu: Vcpu,
  area: CallingArea,
): { readonly min: bigint; readonly max: bigint; readonly alignment: bigint } | undefined {
  const { rcx, rdx, r8 } = requestSvsm(vcpu, area, SvsmCall.ConfigureVtom, { rcx: 1n });
  if ((rcx & 2n) === 0n) return undefined;
  return { min: rdx, max: r8, alignment: 1n << ((rcx >> 12n) & 0xffn) };
}

/** The fields of its VMSA that a processor asks the SVSM to set together with a virtual top of memory. */
export interface VtomSettings {
  /** The virtual top of memory; `undefined` disables it. */
  readonly virtualTom: bigint | undefined;
  readonly cr3?: bigint;
  readonly rip?: bigint;
  readonly rsp?: bigint;
}

/**
 * Asks the SVSM to set a virtual top of memory (CONFIGURE_VTOM). Fields that are not given stay. A failure changes
 * nothing.
 *
 * @throws SnpError as {@link requestSvsm}
 */
export function configureSvsmVtom(vcpu: Vcpu, area: CallingArea, settings: VtomSettings): void {
  requireOptions('settings', settings, ['virtualTom', 'cr3', 'rip', 'rsp']);
  const { virtualTom, cr3, rip, rsp } = settings;
  for (const value of [virtualTom, cr3, rip, rsp]) if (value !== undefined) requireUint64('a setting', value);
  const flags =
    (virtualTom === undefined ? 0n : 2n) |
    (cr3 === undefined ? 0n : 4n) |
    (rip === undefined ? 0n : 8n) |
    (rsp === undefined ? 0n : 0x10n);
  const values = { rcx: (virtualTom ?? 0n) | flags, rdx: cr3 ?? 0n, r8: rip ?? 0n, r9: rsp ?? 0n };
  requestSvsm(vcpu, area, SvsmCall.ConfigureVtom, values);
}

/**
 * Makes a call of the core protocol, and repeats it while the SVSM returns BUSY or INCOMPLETE. Returns the registers.
 *
 * @throws SnpError `SVSM_REFUSED` with the result, else as {@link callSvsm}; SnpFault
 */
export function requestSvsm(
  vcpu: Vcpu,
  area: CallingArea,
  call: SvsmCall,
  registers: Partial<SvsmRegisters>,
): SvsmRegisters {
  requireOneOf('the call', call, Object.values(SvsmCall));
  const values = registersOfCall(registers);
  let result: number = SvsmResult.Busy;
  for (let attempt = 0; attempt < SVSM_MAX_ATTEMPTS; attempt += 1) {
    const after = callSvsm(vcpu, area, { ...values, rax: BigInt(call) });
    result = Number(BigInt.asUintN(32, after.rax));
    if (result === SvsmResult.Success) return after;
    if (result !== SvsmResult.Busy && result !== SvsmResult.Incomplete) break;
  }
  throw new SnpError('SVSM_REFUSED', { call, result, entry: 0 });
}
