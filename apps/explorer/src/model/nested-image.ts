import { PAGE_SIZE_2M, PageSize, type PhysAddr } from '@svsm/address';
import type { Guest } from '@svsm/sev-snp';

/** A nested mapping: guest-physical pages and the system-physical memory behind them. */
export interface NestedRun {
  readonly gpa: bigint;
  readonly spa: bigint;
  /** Bytes. */
  readonly size: bigint;
}

/** Reads the nested page table of a guest as runs, by ascending GPA. O(pages of it). */
export function captureNested(guest: Guest, previous?: readonly NestedRun[]): readonly NestedRun[] {
  const runs: NestedRun[] = [];
  for (const base of guest.memory.iterPages(PageSize.Huge)) {
    const end = base + BigInt(PAGE_SIZE_2M);
    for (let gpa: bigint = base; gpa < end; ) {
      const found = guest.nested.lookup(gpa as PhysAddr);
      const size = BigInt(found?.size ?? PageSize.Regular);
      if (found !== undefined) append(runs, gpa, found.spa, size);
      gpa += size;
    }
  }
  const isSame = previous?.length === runs.length && runs.every((run, i) => equal(run, previous[i]!));
  return isSame ? previous : runs;
}

/** The system-physical address behind `gpa`. */
export function toSystem(runs: readonly NestedRun[], gpa: bigint): bigint | undefined {
  const run = runs.find((run) => gpa >= run.gpa && gpa < run.gpa + run.size);
  return run === undefined ? undefined : run.spa + (gpa - run.gpa);
}

/** The guest-physical address that leads to `spa`. */
export function toGuest(runs: readonly NestedRun[], spa: bigint): bigint | undefined {
  const run = runs.find((run) => spa >= run.spa && spa < run.spa + run.size);
  return run === undefined ? undefined : run.gpa + (spa - run.spa);
}

function append(runs: NestedRun[], gpa: bigint, spa: bigint, size: bigint): void {
  const last = runs.at(-1);
  if (last !== undefined && last.gpa + last.size === gpa && last.spa + last.size === spa)
    runs[runs.length - 1] = { ...last, size: last.size + size };
  else runs.push({ gpa, spa, size });
}

function equal(a: NestedRun, b: NestedRun): boolean {
  return a.gpa === b.gpa && a.spa === b.spa && a.size === b.size;
}
