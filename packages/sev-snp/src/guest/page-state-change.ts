import { Phys, type PhysAddr } from '@svsm/address';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import { requireInstance, requireIterable } from '../formats/arguments.ts';
import { GHCB_BUFFER, GhcbExit } from '../formats/ghcb-page.ts';
import {
  decodePscEntryAt,
  decodePscHeader,
  encodePscEntryAt,
  encodePscHeader,
  PSC_ENTRY_SIZE,
  PSC_MAX_ENTRIES,
  type PscEntry,
} from '../formats/page-state-list.ts';
import { SnpError } from '../formats/snp-error.ts';
import { Ghcb } from './ghcb.ts';
import { changing } from './pages-in-use.ts';
import { pageRegion } from './validated-pages.ts';

/**
 * The number of exits in a row after which a list without progress is given up. An honest hypervisor can return for each
 * 4 KiB of a 2 MiB page. A real guest would wait forever.
 */
export const PSC_MAX_IDLE_EXITS = 1024;

/**
 * Asks the hypervisor to change the state of pages. The entries go in lists of at most 253, and each list is requested
 * again until the hypervisor reports that it is done. A reported success proves nothing: a page is private only once
 * PVALIDATE has reported a change.
 *
 * The header of each answer is read once and compared with the one before. Progress backwards or past the end, another
 * end and reserved bits are refused (Linux `arch/x86/coco/sev/core.c`, `vmgexit_psc`). Entries are never read back.
 * O(entries).
 *
 * @param batchSize - the greatest number of entries in a list: 1 to 253
 * @returns the number of VMGEXITs
 * @throws SnpError `RELEASED_GHCB`, `INVALID_ARGUMENT` for another batch size, `INVALID_MESSAGE` if a field of an entry does not fit,
 *   `PAGE_IN_USE` if a processor uses a page of a list: that list is not requested; `VMGEXIT_FAILED`, `PSC_REFUSED`,
 *   `INVALID_PSC_RESPONSE`, `UNSUPPORTED_VMGEXIT`; SnpFault
 */
export function requestPageStates(
  ghcb: Ghcb,
  entries: Iterable<PscEntry>,
  batchSize: number = PSC_MAX_ENTRIES,
): number {
  requireInstance('the GHCB', ghcb, Ghcb, 'a Ghcb');
  const whileUnused: RunList = (pages, request) =>
    changing(ghcb.vcpu.guest, new RegionSet(Phys, pages), request);
  return requestLists(ghcb, entries, batchSize, whileUnused);
}

/** Runs the request of a list with these pages. */
type RunList = (pages: readonly MemoryRegion<PhysAddr>[], request: () => number) => number;

/** {@link requestPageStates} of pages that change already. */
export function changePageStates(ghcb: Ghcb, entries: Iterable<PscEntry>): void {
  requestLists(ghcb, entries, PSC_MAX_ENTRIES, (_, request) => request());
}

function requestLists(ghcb: Ghcb, entries: Iterable<PscEntry>, batchSize: number, run: RunList): number {
  requireIterable('the entries', entries);
  if (!Number.isInteger(batchSize) || batchSize < 1 || batchSize > PSC_MAX_ENTRIES) {
    const expected = `pass 1 to ${PSC_MAX_ENTRIES}`;
    throw new SnpError('INVALID_ARGUMENT', { what: 'the size of a batch', value: batchSize, expected });
  }
  let exits = 0;
  let batch: PscEntry[] = [];
  for (const entry of entries) {
    batch.push(entry);
    if (batch.length < batchSize) continue;
    exits += requestBatch(ghcb, batch, run);
    batch = [];
  }
  return batch.length === 0 ? exits : exits + requestBatch(ghcb, batch, run);
}

function requestBatch(ghcb: Ghcb, batch: readonly PscEntry[], run: RunList): number {
  const list = new Uint8Array(PSC_ENTRY_SIZE * (batch.length + 1));
  list.set(encodePscHeader({ current: 0, end: batch.length - 1, reserved: 0 }));
  const sent = batch.map((entry, i) => {
    const at = PSC_ENTRY_SIZE * (i + 1);
    encodePscEntryAt(entry, list, at);
    return decodePscEntryAt(list, at);
  });
  const pages = sent.map(({ gpa, pageSize }) => pageRegion((gpa & -BigInt(pageSize)) as PhysAddr, pageSize));
  return run(pages, () => requestList(ghcb, list, sent));
}

function requestList(ghcb: Ghcb, list: Uint8Array, batch: readonly PscEntry[]): number {
  const end = batch.length - 1;
  ghcb.page.writeBuffer(0, list);
  let exits = 0;
  let idle = 0;
  for (let current = 0; current <= end; ) {
    const scratch = ghcb.gpa + BigInt(GHCB_BUFFER.offset);
    const info2 = ghcb.vmgexit({ exitCode: GhcbExit.PageStateChange, scratch });
    exits += 1;
    const reached = readProgress(ghcb, current, end);
    if (info2 !== 0n) {
      const entry = Math.min(reached, end);
      throw new SnpError('PSC_REFUSED', { gpa: batch[entry]!.gpa, entry, info2 });
    }
    idle = reached === current ? idle + 1 : 0;
    if (idle === PSC_MAX_IDLE_EXITS) throw bad('cur_entry', reached, `no progress in ${idle} exits`);
    current = reached;
  }
  return exits;
}

/** The progress that the hypervisor reports: read once, checked, and used as read. */
function readProgress(ghcb: Ghcb, before: number, end: number): number {
  const header = decodePscHeader(ghcb.page.readBuffer(0, PSC_ENTRY_SIZE));
  if (header.reserved !== 0) throw bad('reserved', header.reserved, 'it was 0');
  if (header.end !== end) throw bad('end_entry', header.end, `it was ${end}`);
  if (header.current < before) throw bad('cur_entry', header.current, `it had reached ${before}`);
  if (header.current > end + 1) throw bad('cur_entry', header.current, `the list ends at ${end}`);
  return header.current;
}

function bad(field: string, value: number, problem: string): SnpError<'INVALID_PSC_RESPONSE'> {
  return new SnpError('INVALID_PSC_RESPONSE', { field, value, problem });
}
