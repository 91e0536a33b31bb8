import { type AddressKind, PAGE_SIZE_2M, PageSize, type VirtAddr } from '@svsm/address';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import {
  type Ghcb,
  isSnpError,
  makeRegionPrivate,
  makeRegionShared,
  type PageValidator,
  type RegionState,
  settleRegion,
  type ValidatedPages,
  type Vcpu,
  type VisibilityOptions,
} from '@svsm/sev-snp';
import { PageSplits } from './page-splits.ts';
import { PageStates, unitsOf } from './page-states.ts';

/** A processor that changes the visibility of pages: itself, its page table and its GHCB. `PerCpu` is one. */
export interface VisibilityCpu {
  readonly vcpu: Vcpu;
  readonly pageTable: PageTable;
  readonly ghcb: Ghcb;
}

/** The parts that all changes of one address space share. */
export interface MoverOptions {
  /** The record of validated pages. */
  readonly validated?: ValidatedPages | undefined;
  /** PVALIDATE by the processor itself if not given. */
  readonly validator?: PageValidator | undefined;
  /** Drops the translations of a region on every processor that can have some; `pageSize` is the least size of its pages. */
  readonly flush: (region: MemoryRegion<VirtAddr>, pageSize: PageSize) => void;
}

/** A change that has failed: the failure, and the pages that could not be brought back to one state. */
export class MoveFailure {
  readonly cause: unknown;
  readonly left: PageStates;

  constructor(cause: unknown, left: PageStates) {
    this.cause = cause;
    this.left = left;
  }
}

const SMALL = BigInt(PageSize.Regular);

/** The number of failures of a way back after which it is given up. The pages that are left are lost. */
const MAX_FAILURES = 64;

/**
 * Moves regions between private and shared, and back if a step fails. The order of the steps is that of `makeRegionShared` and
 * `makeRegionPrivate`, which COCONUT-SVSM and Linux have, too (`kernel/src/mm/page_visibility.rs`;
 * `arch/x86/coco/sev/core.c`):
 *
 * To shared: split and flush, clear, PVALIDATE rescinds, the hypervisor is asked (GHCB specification 2.03, §4.1.6), C:=0, flush, clear.
 * To private: C:=1, flush, the hypervisor is asked, PVALIDATE validates, clear.
 *
 * PVALIDATE comes before the request, as it needs a page that is the guest's (AMD64 APM vol. 2, §15.36.6). The flush comes
 * before the first use of the new state: a processor that writes through an old translation would write plaintext to the host,
 * or fault. Pages are cleared in both directions: what the host must not learn, and what it has written.
 *
 * It keeps no record of the pages.
 */
export class RegionMover {
  readonly #kind: AddressKind<VirtAddr>;
  readonly #options: MoverOptions;
  readonly #splits: PageSplits;
  /** Regions whose flush has failed. The next flush makes up for it. */
  readonly #owed: RegionSet<VirtAddr>;

  constructor(kind: AddressKind<VirtAddr>, options: MoverOptions) {
    this.#kind = kind;
    this.#options = options;
    this.#splits = new PageSplits(kind, (page, pageSize) => this.#flush(page, pageSize));
    this.#owed = new RegionSet(kind);
  }

  /**
   * Makes a private region shared. All of it, or it throws.
   *
   * @throws MoveFailure after a change: the pages are private and clear again, except for those in `left`; other errors before
   *   any change, as `makeRegionShared`
   */
  toShared(cpu: VisibilityCpu, region: MemoryRegion<VirtAddr>): void {
    this.#prepare(cpu, region, false);
    const options = { ...this.#visibility(cpu), clear: true };
    const failure =
      this.#attempt(() => makeRegionShared(cpu.ghcb, cpu.pageTable, region, options)) ??
      this.#clearShared(cpu, region);
    if (failure === undefined) return;
    throw new MoveFailure(failure.cause, this.#settle(cpu, failure.state, 'private'));
  }

  /**
   * Makes a shared region private. All of it, or it throws.
   *
   * @param back - the state of the pages after a failure, as far as the hypervisor allows it
   * @throws MoveFailure after a change: the pages are in the state `back`, except for those in `left`; other errors before any
   *   change, as `makeRegionPrivate`
   */
  toPrivate(cpu: VisibilityCpu, region: MemoryRegion<VirtAddr>, back: 'private' | 'shared'): void {
    this.#prepare(cpu, region, true);
    const options = this.#visibility(cpu);
    const failure = this.#attempt(() => makeRegionPrivate(cpu.ghcb, cpu.pageTable, region, options));
    if (failure === undefined) return;
    throw new MoveFailure(failure.cause, this.#settle(cpu, failure.state, back));
  }

  /** Makes lost pages private. Returns those that still are not. O(lost pages of 4 KiB). */
  recover(cpu: VisibilityCpu, lost: PageStates): PageStates {
    const left = new PageStates(this.#kind);
    const ready = new PageStates(this.#kind);
    for (const region of lost.lost) {
      try {
        this.#splits.cut(cpu.pageTable, region);
        ready.addAll(lost.within([region]));
      } catch {
        // Without a frame to split a page with, it stays lost until there is one.
        left.addAll(lost.within([region]));
      }
    }
    left.addAll(this.#settle(cpu, ready, 'private'));
    return left;
  }

  /**
   * Makes large pages of their parts again, those that a region touches or all that were split, and flushes each.
   *
   * @param isWhole - whether all parts of a page are private
   */
  join(
    cpu: VisibilityCpu,
    region: MemoryRegion<VirtAddr> | undefined,
    isWhole: (page: MemoryRegion<VirtAddr>) => boolean,
  ): void {
    this.#splits.join(cpu.pageTable, region, isWhole);
  }

  /** Splits large pages at the bounds, and gives entries that someone has changed by hand the visibility of their pages. */
  #prepare(cpu: VisibilityCpu, region: MemoryRegion<VirtAddr>, shared: boolean): void {
    const { pageTable } = cpu;
    this.#splits.cut(pageTable, region);
    // Most changes are of one page, or of pages that nobody has changed by hand.
    if (region.size === SMALL && pageTable.lookup(region.start)?.shared === shared) return;
    const strays = [...pageTable.mappings({ within: region })].filter((run) => run.shared !== shared);
    for (const { region: stray } of strays) {
      if (shared) pageTable.setSharedRegion(stray);
      else pageTable.setEncryptedRegion(stray);
      this.#flush(stray, strideOf(pageTable, stray));
    }
  }

  /** The failure of a change of sev-snp. @throws its error if nothing has changed */
  #attempt(change: () => void): { readonly cause: unknown; readonly state: PageStates } | undefined {
    try {
      change();
      return undefined;
    } catch (error) {
      if (!isSnpError(error, 'REGION_CHANGE_FAILED')) throw error;
      return { cause: error.cause, state: PageStates.of(this.#kind, error.details) };
    }
  }

  /** Clears a shared region: DRAM has the ciphertext of zeros. */
  #clearShared({ vcpu }: VisibilityCpu, region: MemoryRegion<VirtAddr>) {
    try {
      vcpu.clear(region.start, Number(region.size));
      return undefined;
    } catch (cause) {
      const state: RegionState = { private: [], shared: [region], lost: [] };
      return { cause, state: PageStates.of(this.#kind, state) };
    }
  }

  /**
   * Brings pages to one state: all at once, and if that fails, by halves, so that few pages are lost for one that the
   * hypervisor refuses. Returns the pages that are in another state.
   */
  #settle(cpu: VisibilityCpu, states: PageStates, to: 'private' | 'shared'): PageStates {
    const left = new PageStates(this.#kind);
    let failures = 0;
    const queue = [{ states, units: unitsOf(cpu.pageTable, states.whole) }];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      const now = this.#settleOnce(cpu, next.states, to);
      const open = next.units.filter((unit) => !now.has(to, unit));
      if (open.length === 0) continue;
      failures += 1;
      if (open.length === 1 || failures > MAX_FAILURES) left.addAll(now.within(open).without(to));
      else {
        const middle = open.length >> 1;
        for (const units of [open.slice(middle), open.slice(0, middle)])
          queue.push({ states: now.within(units), units });
      }
    }
    return left;
  }

  /** Tries once. Returns the states afterwards. */
  #settleOnce(cpu: VisibilityCpu, states: PageStates, to: 'private' | 'shared'): PageStates {
    if (states.isEmpty) return states;
    try {
      settleRegion(cpu.ghcb, cpu.pageTable, states.toState(), to, this.#visibility(cpu));
      return states.allIn(to);
    } catch (error) {
      return isSnpError(error, 'REGION_CHANGE_FAILED') ? PageStates.of(this.#kind, error.details) : states;
    }
  }

  #visibility({ pageTable }: VisibilityCpu): VisibilityOptions {
    const { validated, validator } = this.#options;
    const flush = (region: MemoryRegion<VirtAddr>): void => this.#flush(region, strideOf(pageTable, region));
    return { validated, validator, flush };
  }

  /** Flushes a region, and first those whose flush has failed. */
  #flush(region: MemoryRegion<VirtAddr>, pageSize: PageSize): void {
    const before = [...this.#owed];
    this.#owed.add(region);
    for (const owed of before) this.#options.flush(owed, PageSize.Regular);
    this.#options.flush(region, pageSize);
    for (const flushed of [...before, region]) this.#owed.remove(flushed);
  }
}

/** The size of the pages that a flush of a region names: 2 MiB if it has no smaller ones. */
function strideOf(table: PageTable, region: MemoryRegion<VirtAddr>): PageSize {
  const isAligned = region.start % BigInt(PAGE_SIZE_2M) === 0n && region.size % BigInt(PAGE_SIZE_2M) === 0n;
  if (!isAligned) return PageSize.Regular;
  for (const { pageSize } of table.mappings({ within: region }))
    if (pageSize === PageSize.Regular) return PageSize.Regular;
  return PageSize.Huge;
}
