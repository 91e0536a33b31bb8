import type { PhysAddr, VirtAddr } from '@svsm/address';
import type { Vcpu } from '../cpu/vcpu.ts';
import { SnpError } from '../formats/snp-error.ts';
import {
  encodeSvsmListEntry,
  encodeSvsmListHeader,
  SVSM_CALL_BUFFER,
  SVSM_LIST_ENTRY_SIZE,
  SVSM_LIST_MAX,
  SvsmCall,
  type SvsmListEntry,
  type SvsmRegisters,
  SvsmResult,
} from '../formats/svsm-protocol.ts';
import { requestGhcbMsr } from './msr-protocol.ts';

/** A processor's calling area: a private page of the guest's. */
export interface CallingArea {
  /** Where the guest has it mapped. */
  readonly gva: VirtAddr;
  readonly gpa: PhysAddr;
}

/** How often in a row a call may not have run, or not have come further, before it is given up. */
export const SVSM_MAX_ATTEMPTS = 1024;

/**
 * Calls the SVSM, by "run VMPL" in the GHCB MSR protocol, and returns the registers after it. A call that the hypervisor did
 * not let run is repeated; one that is INCOMPLETE is the caller's to repeat.
 *
 * @param registers - RAX is the protocol and the call; what is not given is 0
 * @throws SnpError `SVSM_NOT_RUN` if it never ran, `INVALID_RESPONSE`; SnpFault
 */
export function callSvsm(vcpu: Vcpu, area: CallingArea, registers: Partial<SvsmRegisters>): SvsmRegisters {
  const arguments_ = { rax: 0n, rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, ...registers };
  for (let attempt = 0; attempt < SVSM_MAX_ATTEMPTS; attempt += 1) {
    Object.assign(vcpu.registers, arguments_);
    vcpu.write(area.gva, Uint8Array.of(1));
    let isPending = true;
    try {
      requestGhcbMsr(vcpu, { type: 'run-vmpl-request', vmpl: 0 }, 'run-vmpl');
    } finally {
      // Exchanged with 0: what is pending still has not run. Also after an answer that is none: a call that stayed pending
      // could be run whenever the hypervisor likes.
      isPending = vcpu.read(area.gva, 1)[0] !== 0;
      vcpu.write(area.gva, new Uint8Array(1));
    }
    if (!isPending) return { ...vcpu.registers };
  }
  throw new SnpError('SVSM_NOT_RUN', { attempts: SVSM_MAX_ATTEMPTS });
}

/**
 * Has the SVSM validate pages, or take that back: lists of at most 510 in the calling area, each repeated until it is done.
 *
 * @param area - of `vcpu`; what it holds beside its first 8 bytes is overwritten
 * @throws SnpError `SVSM_REFUSED` with the result and the entry that it is about; what {@link callSvsm} throws
 */
export function pvalidateBySvsm(vcpu: Vcpu, area: CallingArea, entries: readonly SvsmListEntry[]): void {
  for (let first = 0; first < entries.length; first += SVSM_LIST_MAX) {
    processList(vcpu, area, SvsmCall.Pvalidate, entries.slice(first, first + SVSM_LIST_MAX));
  }
}

function processList(vcpu: Vcpu, area: CallingArea, call: SvsmCall, entries: readonly SvsmListEntry[]): void {
  const list = new Uint8Array(SVSM_LIST_ENTRY_SIZE * (entries.length + 1));
  list.set(encodeSvsmListHeader({ count: entries.length, next: 0 }));
  for (const [i, entry] of entries.entries())
    list.set(encodeSvsmListEntry(entry), SVSM_LIST_ENTRY_SIZE * (i + 1));
  const gva = (area.gva + BigInt(SVSM_CALL_BUFFER)) as VirtAddr;
  vcpu.write(gva, list);
  const rcx = area.gpa + BigInt(SVSM_CALL_BUFFER);
  // At most one call for each entry, if each gets on by one.
  for (let calls = 0; calls <= entries.length; calls += 1) {
    const { rax } = callSvsm(vcpu, area, { rax: BigInt(call), rcx });
    const result = Number(BigInt.asUintN(32, rax));
    if (result === SvsmResult.Success) return;
    const next = vcpu.read((gva + 2n) as VirtAddr, 2);
    const entry = next[0]! | (next[1]! << 8);
    if (result !== SvsmResult.Incomplete) throw new SnpError('SVSM_REFUSED', { call, result, entry });
  }
  throw new SnpError('SVSM_REFUSED', { call, result: SvsmResult.Incomplete, entry: 0 });
}

/** Moves the calling area of `vcpu`: `next` is the one to use from now on (REMAP_CA). @throws as {@link requestSvsm} */
export function remapCallingArea(vcpu: Vcpu, area: CallingArea, next: CallingArea): void {
  // The answer is found pending in the old area, which the SVSM clears.
  requestSvsm(vcpu, area, SvsmCall.RemapCa, { rcx: next.gpa });
}

/** Has the SVSM make a page of the guest's a VMSA, whose calling area is at `caa` (CREATE_VCPU). @throws as {@link requestSvsm} */
export function createVcpuBySvsm(
  vcpu: Vcpu,
  area: CallingArea,
  { vmsa, caa, apicId }: { readonly vmsa: PhysAddr; readonly caa: PhysAddr; readonly apicId: number },
): void {
  requestSvsm(vcpu, area, SvsmCall.CreateVcpu, { rcx: vmsa, rdx: caa, r8: BigInt(apicId) });
}

/** Has a VMSA be a page like others again (DELETE_VCPU). @throws as {@link requestSvsm} */
export function deleteVcpuBySvsm(vcpu: Vcpu, area: CallingArea, vmsa: PhysAddr): void {
  requestSvsm(vcpu, area, SvsmCall.DeleteVcpu, { rcx: vmsa });
}

/** Gives pages to the SVSM (DEPOSIT_MEM), in lists as {@link pvalidateBySvsm} does. @throws as {@link pvalidateBySvsm} */
export function depositToSvsm(
  vcpu: Vcpu,
  area: CallingArea,
  pages: readonly { readonly gpa: PhysAddr; readonly size: 0 | 1 }[],
): void {
  const entries = pages.map((page) => ({ ...page, validate: false, ignoreUnchanged: false, reserved: 0 }));
  for (let first = 0; first < entries.length; first += SVSM_LIST_MAX) {
    processList(vcpu, area, SvsmCall.DepositMem, entries.slice(first, first + SVSM_LIST_MAX));
  }
}

/**
 * Takes back what the SVSM needs no more (WITHDRAW_MEM): pages of 4 KiB; as many as a calling area holds at a time, none if there
 * are none.
 *
 * @throws as {@link requestSvsm}
 */
export function withdrawFromSvsm(vcpu: Vcpu, area: CallingArea): readonly PhysAddr[] {
  const gva = (area.gva + BigInt(SVSM_CALL_BUFFER)) as VirtAddr;
  requestSvsm(vcpu, area, SvsmCall.WithdrawMem, { rcx: area.gpa + BigInt(SVSM_CALL_BUFFER) });
  const { buffer } = vcpu.read(gva, SVSM_LIST_ENTRY_SIZE * (SVSM_LIST_MAX + 1));
  const words = new BigUint64Array(buffer);
  return Array.from(words.subarray(1, 1 + Number(words[0]! & 0xffffn)), (gpa) => gpa as PhysAddr);
}

/** The versions of a protocol that the SVSM has, or `undefined` if it has not this one (QUERY_PROTOCOL). @throws as {@link requestSvsm} */
export function querySvsmProtocol(
  vcpu: Vcpu,
  area: CallingArea,
  protocol: number,
  version: number,
): { readonly min: number; readonly max: number } | undefined {
  const asked = (BigInt(protocol) << 32n) | BigInt(version);
  const { rcx } = requestSvsm(vcpu, area, SvsmCall.QueryProtocol, { rcx: asked });
  if (rcx === 0n) return undefined;
  return { min: Number(BigInt.asUintN(32, rcx)), max: Number(rcx >> 32n) };
}

/** What virtual tops of memory the SVSM offers, or `undefined` for none (a query of CONFIGURE_VTOM). @throws as {@link requestSvsm} */
export function querySvsmVtom(
  vcpu: Vcpu,
  area: CallingArea,
): { readonly min: bigint; readonly max: bigint; readonly alignment: bigint } | undefined {
  const { rcx, rdx, r8 } = requestSvsm(vcpu, area, SvsmCall.ConfigureVtom, { rcx: 1n });
  if ((rcx & 2n) === 0n) return undefined;
  return { min: rdx, max: r8, alignment: 1n << ((rcx >> 12n) & 0xffn) };
}

/** What a processor has the SVSM change of its VMSA with its virtual top of memory; what is not given stays. */
export interface VtomSettings {
  /** `undefined`: none. */
  readonly virtualTom: bigint | undefined;
  readonly cr3?: bigint;
  readonly rip?: bigint;
  readonly rsp?: bigint;
}

/** Has the SVSM set a virtual top of memory (CONFIGURE_VTOM). @throws as {@link requestSvsm}; nothing has changed then */
export function configureSvsmVtom(vcpu: Vcpu, area: CallingArea, settings: VtomSettings): void {
  const { virtualTom, cr3, rip, rsp } = settings;
  const flags =
    (virtualTom === undefined ? 0n : 2n) |
    (cr3 === undefined ? 0n : 4n) |
    (rip === undefined ? 0n : 8n) |
    (rsp === undefined ? 0n : 0x10n);
  const values = { rcx: (virtualTom ?? 0n) | flags, rdx: cr3 ?? 0n, r8: rip ?? 0n, r9: rsp ?? 0n };
  requestSvsm(vcpu, area, SvsmCall.ConfigureVtom, values);
}

/**
 * Makes one call of the core protocol, and again as long as the SVSM is BUSY or says INCOMPLETE. Returns the registers.
 *
 * @throws SnpError `SVSM_REFUSED` with the result; what {@link callSvsm} throws
 */
export function requestSvsm(
  vcpu: Vcpu,
  area: CallingArea,
  call: SvsmCall,
  registers: Partial<SvsmRegisters>,
): SvsmRegisters {
  let result: number = SvsmResult.Busy;
  for (let attempt = 0; attempt < SVSM_MAX_ATTEMPTS; attempt += 1) {
    const after = callSvsm(vcpu, area, { ...registers, rax: BigInt(call) });
    result = Number(BigInt.asUintN(32, after.rax));
    if (result === SvsmResult.Success) return after;
    if (result !== SvsmResult.Busy && result !== SvsmResult.Incomplete) break;
  }
  throw new SnpError('SVSM_REFUSED', { call, result, entry: 0 });
}
