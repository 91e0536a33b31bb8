import type { PhysAddr, VirtAddr } from '@svsm/address';
import { requestGhcbMsr } from './msr-protocol.ts';
import { SnpError } from './snp-error.ts';
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
} from './svsm-protocol.ts';
import type { Vcpu } from './vcpu.ts';

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
 * @throws SnpError `SVSM_NOT_RUN` if it never ran, and what {@link requestGhcbMsr} throws; SnpFault
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
    pvalidateList(vcpu, area, entries.slice(first, first + SVSM_LIST_MAX));
  }
}

function pvalidateList(vcpu: Vcpu, area: CallingArea, entries: readonly SvsmListEntry[]): void {
  const list = new Uint8Array(SVSM_LIST_ENTRY_SIZE * (entries.length + 1));
  list.set(encodeSvsmListHeader({ count: entries.length, next: 0 }));
  for (const [i, entry] of entries.entries())
    list.set(encodeSvsmListEntry(entry), SVSM_LIST_ENTRY_SIZE * (i + 1));
  const gva = (area.gva + BigInt(SVSM_CALL_BUFFER)) as VirtAddr;
  vcpu.write(gva, list);
  const rcx = area.gpa + BigInt(SVSM_CALL_BUFFER);
  // At most one call for each entry, if each gets on by one.
  for (let calls = 0; calls <= entries.length; calls += 1) {
    const { rax } = callSvsm(vcpu, area, { rax: BigInt(SvsmCall.Pvalidate), rcx });
    const result = Number(BigInt.asUintN(32, rax));
    if (result === SvsmResult.Success) return;
    const next = vcpu.read((gva + 2n) as VirtAddr, 2);
    const entry = next[0]! | (next[1]! << 8);
    if (result !== SvsmResult.Incomplete)
      throw new SnpError('SVSM_REFUSED', { call: SvsmCall.Pvalidate, result, entry });
  }
  throw new SnpError('SVSM_REFUSED', { call: SvsmCall.Pvalidate, result: SvsmResult.Incomplete, entry: 0 });
}
