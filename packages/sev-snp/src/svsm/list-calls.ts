import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import {
  decodeSvsmListEntryAt,
  decodeSvsmListHeader,
  SVSM_LIST_ENTRY_SIZE,
  type SvsmListEntry,
  SvsmResult,
  svsmEntrySize,
} from '../formats/svsm-protocol.ts';
import type { Vmpl } from '../formats/vmpl.ts';
import { pageRegion } from '../guest/validated-pages.ts';
import { FlushBatch } from './flush-batch.ts';
import { levelsWithout, rightsBefore } from './page-rights.ts';
import { requireAligned, type SvsmCallContext, tryUsingRun, using, usingPage } from './svsm-call-context.ts';
import { attempt, isDone, SvsmRefusal } from './svsm-refusal.ts';

/** SVSM_CORE_PVALIDATE (AMD document 58019, §6.2). O(entries). */
export function pvalidateList(call: SvsmCallContext, list: bigint): number {
  return eachEntry(call, list, (entry, batch) => {
    const { gpa, validate, ignoreUnchanged, reserved } = entry;
    const size = requireSize(entry);
    if (reserved !== 0) throw new SvsmRefusal(SvsmResult.InvalidParameter);
    const { memory, vmpl } = call;
    if (validate) {
      batch.flush();
      usingPage(call, gpa, size, 'change', () => memory.validate(gpa, size, vmpl, ignoreUnchanged));
    } else {
      batch.using(gpa, size, () => memory.rescind(gpa, size, vmpl, ignoreUnchanged, 'revokeUnflushed'));
    }
  });
}

/** SVSM_CORE_DEPOSIT_MEM (AMD document 58019, §6.5). O(entries). */
export function depositList(call: SvsmCallContext, list: bigint): number {
  return eachEntry(call, list, (entry, batch) => {
    const { gpa, validate, ignoreUnchanged, reserved } = entry;
    const size = requireSize(entry);
    if (reserved !== 0 || validate || ignoreUnchanged) throw new SvsmRefusal(SvsmResult.InvalidParameter);
    const { state, vmpl } = call;
    const { rights } = call.memory;
    batch.using(gpa, size, () => {
      const before = rights.require(gpa, size, vmpl);
      const withheld = rights.undoing((journal) => {
        rights.revokeUnflushed(gpa, size, journal);
        return levelsWithout([...before, rightsBefore(before[0]!, journal)]);
      });
      state.addDeposit(gpa, size, vmpl, withheld);
    });
  });
}

/**
 * SVSM_CORE_WITHDRAW_MEM (AMD document 58019, §6.6): gives back as many deposited pages as the buffer has room for. A caller
 * gets what its level, or a less privileged one, has deposited. O(pages).
 */
export function withdraw(call: SvsmCallContext, buffer: bigint): number {
  const { state, memory, vmpl } = call;
  requireAligned(buffer, 8);
  const room = PAGE_SIZE - Number(buffer % BigInt(PAGE_SIZE)) - 8;
  if (room === 0) throw new SvsmRefusal(SvsmResult.InvalidParameter);
  const pages = state.depositsFor(vmpl, room / 8);
  return using(call, [[buffer, 8 + room, 'access']], () =>
    claimingDeposits(call, pages, () => {
      memory.rights.requireAccess(buffer, vmpl as Vmpl);
      for (const gpa of pages) memory.clear(gpa, PageSize.Regular);
      const granted: PhysAddr[] = [];
      try {
        grantEach(call, pages, granted);
        const words = new BigUint64Array([BigInt(granted.length), ...granted]);
        memory.write(buffer, new Uint8Array(words.buffer));
      } catch (error) {
        // A page that cannot be taken back, because the hypervisor hides it, is the guest's: others may use it.
        const kept = granted.filter((gpa) => !attempt(() => memory.rights.revoke(gpa, PageSize.Regular)));
        state.removeDeposits(kept);
        throw error;
      }
      state.removeDeposits(granted);
      return SvsmResult.Success;
    }),
  );
}

/**
 * Gives a caller all rights on deposited pages, page by page. It ends at a page that refuses them: `granted` has the pages
 * before, and that page too if it cannot be closed again. Refused if that leaves nothing to return.
 */
function grantEach(
  { state, memory, vmpl }: SvsmCallContext,
  pages: readonly PhysAddr[],
  granted: PhysAddr[],
): void {
  for (const gpa of pages) {
    const levels = state.levelsFor(pageRegion(gpa, PageSize.Regular), vmpl);
    const { error, isOpen } = memory.rights.tryGrant(gpa, levels);
    if (isOpen) granted.push(gpa);
    if (error === undefined) continue;
    if (granted.length === 0 || !(error instanceof SvsmRefusal)) throw error;
    return;
  }
}

/** Runs `action` while a call has deposited pages alone. @throws SvsmRefusal Busy if another call withdraws one */
function claimingDeposits<T>(call: SvsmCallContext, pages: readonly PhysAddr[], action: () => T): T {
  const ends: (() => void)[] = [];
  try {
    for (const gpa of pages) {
      const end = call.state.claims.tryClaim(call, pageRegion(gpa, PageSize.Regular));
      if (end === undefined) throw new SvsmRefusal(SvsmResult.Busy);
      ends.push(end);
    }
    return action();
  } finally {
    for (const end of ends) end();
  }
}

/**
 * Processes the entries of a list from `next` on, with one flush at the end. Afterwards `next` has the progress, also after a
 * refusal.
 */
function eachEntry(
  call: SvsmCallContext,
  list: bigint,
  process: (entry: SvsmListEntry, batch: FlushBatch) => void,
): number {
  requireAligned(list, SVSM_LIST_ENTRY_SIZE);
  return using(call, [[list, SVSM_LIST_ENTRY_SIZE, 'access']], () => {
    call.memory.rights.requireAccess(list, call.vmpl as Vmpl);
    const { count, next: first } = decodeSvsmListHeader(call.memory.read(list, SVSM_LIST_ENTRY_SIZE));
    const max = (PAGE_SIZE - Number(list % BigInt(PAGE_SIZE))) / SVSM_LIST_ENTRY_SIZE - 1;
    if (count === 0 || count > max || first >= count) throw new SvsmRefusal(SvsmResult.InvalidParameter);
    const end = Math.min(count, first + call.entriesPerCall);
    const entries = entriesAt(call, list, first, end);
    const page = (list & -BigInt(PAGE_SIZE)) as PhysAddr;
    let next = first;
    const batch = new FlushBatch(call);
    try {
      const step = (): void => {
        // A list that takes away the page in which it lies ends there.
        if (call.state.owns(page) || !call.state.validated.has(page))
          throw new SvsmRefusal(SvsmResult.InvalidAddress);
        process(entries[next - first]!, batch);
        next += 1;
      };
      while (next < end) {
        const stop = next + runLength(entries, next - first);
        const isRun = stop > next + 1;
        const steps = (): void => {
          while (next < stop) step();
        };
        if (!isRun || !tryUsingRun(call, entries[next - first]!.gpa, stop - next, steps)) step();
      }
    } finally {
      try {
        batch.flush();
      } finally {
        isDone(() => {
          call.state.requireGuest(list, SVSM_LIST_ENTRY_SIZE);
          call.memory.write(list + 2n, Uint8Array.of(next & 0xff, next >> 8));
        });
      }
    }
    return next === count ? SvsmResult.Success : SvsmResult.Incomplete;
  });
}

/** The number of entries from one on that validate consecutive pages of 2 MiB: they are mapped at once. */
function runLength(entries: readonly SvsmListEntry[], at: number): number {
  const start = entries[at]!.gpa;
  if (start % HUGE !== 0n) return 1;
  let gpa: bigint = start;
  let end = at;
  for (; end < entries.length; end += 1) {
    const entry = entries[end]!;
    if (entry.gpa !== gpa || !entry.validate || entry.reserved !== 0 || entry.size !== 1) break;
    gpa += HUGE;
  }
  return Math.max(end - at, 1);
}

const HUGE = BigInt(PageSize.Huge);

/** The entries of a list from `first` to `end`, exclusive, read at once: what the guest changes later is not seen. */
function entriesAt(call: SvsmCallContext, list: bigint, first: number, end: number): SvsmListEntry[] {
  const size = SVSM_LIST_ENTRY_SIZE;
  const bytes = call.memory.read(list + BigInt(size * (first + 1)), size * (end - first));
  return Array.from({ length: end - first }, (_, k) => decodeSvsmListEntryAt(bytes, size * k));
}

/** The size of an entry. @throws SvsmRefusal InvalidParameter for an unknown size or a misaligned address */
function requireSize(entry: SvsmListEntry): RmpPageSize {
  const size = svsmEntrySize(entry);
  if (size === undefined) throw new SvsmRefusal(SvsmResult.InvalidParameter);
  requireAligned(entry.gpa, size);
  return size;
}
