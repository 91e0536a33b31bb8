import { PAGE_SIZE, PageSize, type PhysAddr, pageNumber } from '@svsm/address';
import { requireCount, requireFunction, requireInstance } from '../formats/arguments.ts';
import { PageOperation } from '../formats/ghcb-msr.ts';
import { GHCB_BUFFER, GhcbPage } from '../formats/ghcb-page.ts';
import {
  decodePscEntryAt,
  decodePscHeader,
  encodePscEntryAt,
  encodePscHeader,
  PSC_ENTRY_SIZE,
  type PscEntry,
  type PscHeader,
} from '../formats/page-state-list.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';

/** Changes one page. Returns 0 or an error. If it fails for 2 MiB, it is called for the 4 KiB pages. */
export type ChangePage = (gpa: PhysAddr, operation: PageOperation, pageSize: RmpPageSize) => number;

/** Refuses the pages of a GHCB: the answer to the list goes there, so its page stays shared. */
export function exceptGhcb(ghcb: PhysAddr, change: ChangePage): ChangePage {
  const frame = pageNumber(ghcb);
  return (gpa, operation, size) => {
    const first = pageNumber(gpa);
    return frame >= first && frame < first + size / PAGE_SIZE ? 1 : change(gpa, operation, size);
  };
}

/** The values of SW_EXITINFO2 after a page state change (KVM `VMGEXIT_PSC_*`). */
export const PscResult = {
  /** No error so far. The header has the progress. */
  NoError: 0n,
  InvalidHeader: 0x1_0000_0001n,
  InvalidEntry: 0x1_0000_0002n,
  GenericError: 0x100_0000_0000n,
} as const;

/**
 * The hypervisor's side of a page state change. Processes the list in the buffer of a GHCB as KVM does (Linux
 * `arch/x86/kvm/svm/sev.c`, `snp_begin_psc`), and records its progress in the header and the entries at the end, also if `change`
 * throws. Header and entries are read once, checked, and used as read: the guest may change them at any time. O(pages).
 *
 * @param start - the offset of the list in the buffer, in bytes
 * @param limit - the number of entries to process before the guest has to ask again: unlimited if not given
 * @returns SW_EXITINFO2
 * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type, or the header does not lie in the buffer
 */
export function processPageStateChange(
  page: GhcbPage,
  start: number,
  change: ChangePage,
  limit: number = Number.POSITIVE_INFINITY,
): bigint {
  requireInstance('the GHCB', page, GhcbPage, 'a GhcbPage');
  requireFunction('the change', change);
  requireCount('the limit', limit);
  const header = decodePscHeader(page.readBuffer(start, PSC_ENTRY_SIZE));
  const room = Math.floor((GHCB_BUFFER.size - start - PSC_ENTRY_SIZE) / PSC_ENTRY_SIZE);
  if (header.end >= room) return PscResult.InvalidHeader;
  const count = Math.min(header.end + 1 - header.current, limit);
  if (count <= 0) return PscResult.NoError;
  const offset = start + PSC_ENTRY_SIZE * (header.current + 1);
  const entries = page.readBuffer(offset, PSC_ENTRY_SIZE * count);
  let touched = 0;
  let finished = 0;
  try {
    for (; finished < count; finished += 1) {
      const at = PSC_ENTRY_SIZE * finished;
      const entry = decodePscEntryAt(entries, at);
      const pages = entry.pageSize / PAGE_SIZE;
      const isAligned = pageNumber(entry.gpa) % pages === 0;
      if (entry.donePages > pages || !isAligned) return PscResult.InvalidEntry;
      const done = isPageOperation(entry.operation) ? changeEntry(entry, change) : pages;
      const { gpa, operation, pageSize, reserved } = entry;
      encodePscEntryAt({ gpa, operation, pageSize, donePages: done, reserved }, entries, at);
      touched = finished + 1;
      if (done < pages) return PscResult.GenericError;
    }
    return PscResult.NoError;
  } finally {
    if (touched > 0) page.writeBuffer(offset, entries.subarray(0, PSC_ENTRY_SIZE * touched));
    if (finished > 0) advance(page, start, header, header.current + finished);
  }
}

/** Changes the rest of an entry. Returns the number of its 4 KiB pages that are done. */
function changeEntry({ gpa, operation, pageSize, donePages }: PscEntry, change: ChangePage): number {
  const pages = pageSize / PAGE_SIZE;
  const asked = operation as PageOperation;
  if (pageSize === PageSize.Huge && donePages === 0 && change(gpa, asked, pageSize) === 0) return pages;
  for (let page = donePages; page < pages; page += 1) {
    const at = (gpa + BigInt(page * PAGE_SIZE)) as PhysAddr;
    if (change(at, asked, PageSize.Regular) !== 0) return page;
  }
  return pages;
}

function advance(page: GhcbPage, start: number, header: PscHeader, current: number): void {
  page.writeBuffer(start, encodePscHeader({ ...header, current }).subarray(0, 2));
}

/** Whether an operation is one of the protocol that changes a page. */
export function isPageOperation(operation: number): operation is PageOperation {
  return operation === PageOperation.Private || operation === PageOperation.Shared;
}

/** The offset of a scratch address in the buffer of the GHCB at `gpa`, if `bytes` from there lie in it (protocol 2). */
export function scratchOffset(gpa: PhysAddr, scratch: bigint, bytes: number): number | undefined {
  const offset = scratch - gpa - BigInt(GHCB_BUFFER.offset);
  return offset >= 0n && offset + BigInt(bytes) <= BigInt(GHCB_BUFFER.size) ? Number(offset) : undefined;
}
