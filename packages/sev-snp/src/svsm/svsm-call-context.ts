import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import type { Assumptions } from '../formats/assumptions.ts';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import type { GuestPages } from './guest-pages.ts';
import { pageSizeOf } from './page-reach.ts';
import type { Processor } from './processors.ts';
import type { PageUse, SvsmRecords } from './svsm-records.ts';
import { SvsmRefusal } from './svsm-refusal.ts';

/** A call in progress. */
export interface SvsmCallContext {
  readonly state: SvsmRecords;
  readonly memory: GuestPages;
  /** The level of the caller. */
  readonly vmpl: number;
  /** The record of the caller; `undefined` if it was never registered. */
  readonly caller: Processor | undefined;
  readonly assumptions: Assumptions;
  /** SEV_FEATURES that every VMSA must have. */
  readonly sevFeatures: bigint;
  /** The number of list entries that the call processes at most. */
  readonly entriesPerCall: number;
  /** Whether a VMSA runs at the moment. */
  isRunning(vmsa: PhysAddr): boolean;
}

/** The owner of claims and mapped pages: a call, or an operation outside of calls. */
export type Operation = Pick<SvsmCallContext, 'state' | 'memory'>;

/** Pages that a call uses: address, bytes, and the use of them. */
export type PagesInUse = readonly [gpa: bigint, bytes: number, use: PageUse];

/**
 * Runs a part of a call while pages are claimed for it, and mapped.
 *
 * @throws SvsmRefusal as `SvsmRecords.claim`, and InvalidAddress if a page cannot be mapped; then no step has run
 */
export function using<T>(call: Operation, pages: readonly PagesInUse[], action: () => T): T {
  const ends: (() => void)[] = [];
  try {
    for (const [gpa, bytes, use] of pages) ends.push(call.state.claim(call, gpa, bytes, use));
    return holdingAll(call, pages, action);
  } finally {
    for (const end of ends) end();
  }
}

/** {@link using} of one page, or of bytes in one page. */
export function usingPage<T>(call: Operation, gpa: bigint, bytes: number, use: PageUse, action: () => T): T {
  const end = call.state.claim(call, gpa, bytes, use);
  try {
    return call.memory.reach.holding(gpa, pageSizeOf(bytes), action);
  } finally {
    end();
  }
}

/**
 * {@link using} of consecutive pages of 2 MiB, if all of them can be claimed, and mapped at once. Returns whether `action` has run;
 * if not, they are used one by one, which finds the page that is refused.
 */
export function tryUsingRun(call: Operation, gpa: PhysAddr, count: number, action: () => void): boolean {
  let end: () => void;
  try {
    end = call.state.claim(call, gpa, count * PageSize.Huge, 'change');
  } catch (error) {
    if (error instanceof SvsmRefusal) return false;
    throw error;
  }
  try {
    return call.memory.reach.tryHoldingRun(gpa, count, action);
  } finally {
    end();
  }
}

/** Runs a part of a call while pages, which it has claimed, are mapped. @throws SvsmRefusal if one cannot be mapped */
export function holdingAll<T>(call: Operation, pages: readonly PagesInUse[], action: () => T): T {
  return holdingFrom(call, pages, 0, action);
}

function holdingFrom<T>(call: Operation, pages: readonly PagesInUse[], at: number, action: () => T): T {
  const page = pages[at];
  if (page === undefined) return action();
  const [gpa, bytes] = page;
  const others = at + 1 === pages.length ? action : () => holdingFrom(call, pages, at + 1, action);
  return call.memory.reach.holding(gpa, pageSizeOf(bytes), others);
}

/** @throws SvsmRefusal InvalidParameter unless `gpa` is a multiple of `alignment` */
export function requireAligned(gpa: bigint, alignment: number = PAGE_SIZE): void {
  if (gpa % BigInt(alignment) !== 0n) throw new SvsmRefusal(SvsmResult.InvalidParameter);
}
