import { type AddressKind, PageSize, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import { requireInstance } from '../formats/arguments.ts';
import { PageOperation } from '../formats/ghcb-msr.ts';
import { PSC_MAX_ENTRIES, type PscEntry } from '../formats/page-state-list.ts';
import { SnpError } from '../formats/snp-error.ts';
import { requireTable, requireVisibility } from './argument-checks.ts';
import { Ghcb } from './ghcb.ts';
import { changePageState } from './msr-protocol.ts';
import { changePageStates } from './page-state-change.ts';
import {
  clearPages,
  type OnPage,
  type PrivatePage,
  rescindPages,
  smallPagesOf,
  type ValidationContext,
  validatePages,
} from './page-validation.ts';
import type { VisibilityOptions } from './page-visibility.ts';
import { changing, requireUnused } from './pages-in-use.ts';
import { type RegionState, RegionTracker } from './region-state.ts';
import { pagesIn, physOf, requireMapping, splitTo, type Unit, unitsOf } from './region-units.ts';
import { pageRegion, type ValidatedPages } from './validated-pages.ts';
import { virtKindOf } from './virt-kind.ts';

const SMALL = BigInt(PageSize.Regular);

/** The conditions of a change: those of the function that a caller has called. */
export interface RegionRules {
  /** How every page has to be mapped; `undefined`: as its list says. */
  readonly mapped?: 'private' | 'shared';
  /** Whether the change includes the entries of the page table, and the flush. */
  readonly moves: boolean;
}

/**
 * A change of the visibility of a region, in units: the one algorithm of all functions that change regions. It goes list by
 * list, so that a refusal leaves the pages of later lists as they are.
 *
 * To shared: for each list clear if the options ask for it, rescind, page state change, C:=0; at the end one flush. To private:
 * C:=1, one flush; for each list page state change, validate, clear (see `page-visibility.ts`).
 */
export class RegionChange {
  readonly #ghcb: Ghcb;
  readonly #table: PageTable;
  readonly #options: VisibilityOptions;
  readonly #rules: RegionRules;
  readonly #kind: AddressKind<VirtAddr>;
  readonly #state: RegionTracker;
  readonly #units: readonly Unit[];

  /** Checks all pages, and splits large pages that the region cuts. */
  constructor(
    ghcb: Ghcb,
    table: PageTable,
    state: RegionState,
    options: VisibilityOptions,
    rules: RegionRules,
  ) {
    requireInstance('the GHCB', ghcb, Ghcb, 'a Ghcb');
    requireTable(table);
    requireVisibility(options);
    if (ghcb.isReleased) throw new SnpError('RELEASED_GHCB', { gpa: ghcb.gpa });
    this.#ghcb = ghcb;
    this.#table = table;
    this.#options = options;
    this.#rules = rules;
    this.#kind = virtKindOf(ghcb.vcpu.guest);
    this.#state = new RegionTracker(this.#kind, state);
    const { validated } = options;
    const units = [...unitsOf(table, this.#state.whole)];
    for (const { gpa, size } of units) requireUnused(ghcb.vcpu.guest, pageRegion(gpa, size));
    for (const unit of units) {
      this.#requireMapping(unit);
      if (validated !== undefined) this.#readRecord(validated, unit);
    }
    for (const unit of units) splitTo(table, unit);
    this.#units = units;
  }

  /** Makes all pages shared. @throws SnpError `REGION_CHANGE_FAILED` */
  toShared(): void {
    this.#reporting('shared', () => {
      const isDone = (unit: Unit): boolean => this.#state.has('shared', unit.region);
      const units = this.#units.filter((unit) => !unit.isShared || !isDone(unit));
      const taken: Unit[] = [];
      const steps = (): void => {
        for (const list of listsOf(units)) {
          this.#clear(list);
          this.#rescind(list);
          this.#request(
            list.filter((unit) => !isDone(unit)),
            PageOperation.Shared,
          );
          this.#setVisibility(list, true);
          taken.push(...list);
        }
      };
      // What the hypervisor has taken is finished, also after a failure. The first failure is the one to report.
      inTurn([
        steps,
        () => {
          this.#flush(taken);
          for (const { region } of taken) this.#state.put('shared', region);
        },
      ]);
    });
  }

  /** Makes all pages private, and clears them. @throws SnpError `REGION_CHANGE_FAILED` */
  toPrivate(): void {
    this.#reporting('private', () => {
      const state = this.#state;
      const units = this.#units.filter(({ region }) => !state.has('private', region));
      const others = this.#units.filter(({ region }) => state.has('private', region));
      const shared = new Set(units.filter((unit) => unit.isShared && state.has('shared', unit.region)));
      const stale = units.filter((unit) => unit.isShared || state.partsIn('lost', unit.region).length > 0);
      let asked = 0;
      try {
        for (const { region } of units)
          for (const part of state.partsIn('shared', region)) state.put('lost', part);
        this.#setVisibility(units, false);
        this.#flush(stale);
        for (const list of listsOf(units)) {
          asked += list.length;
          this.#rescind(list);
          this.#request(list, PageOperation.Private);
          validatePages(this.#context, list, this.#onPage);
        }
        clearPages(this.#context, others, this.#onPage);
      } catch (error) {
        this.#keepShared(units.slice(asked).filter((unit) => shared.has(unit)));
        throw error;
      }
    });
  }

  get #context(): ValidationContext {
    const { validated, validator } = this.#options;
    return { vcpu: this.#ghcb.vcpu, validated, validator };
  }

  readonly #onPage: OnPage = ({ gva, size }, step) => {
    const region = new MemoryRegion(this.#kind, gva, size);
    if (step === 'validated') this.#state.validated.add(region);
    else if (step === 'rescinded') this.#state.validated.remove(region);
    if (step === 'cleared') this.#state.put('private', region);
    else this.#state.put('lost', region);
  };

  #requireMapping(unit: Unit): void {
    const { mapped } = this.#rules;
    if (mapped !== undefined) requireMapping(unit, mapped === 'shared');
    else if (this.#state.partsIn('private', unit.region).length > 0) requireMapping(unit, false);
  }

  /** Compares the lists with the guest's record, which decides about lost pages. */
  #readRecord(record: ValidatedPages, unit: Unit): void {
    const state = this.#state;
    for (const part of state.partsIn('private', unit.region)) record.requireAll(physOf(unit, part));
    for (const part of state.partsIn('shared', unit.region)) record.requireNone(physOf(unit, part));
    for (const part of state.partsIn('lost', unit.region)) {
      if (this.#rules.mapped !== undefined) record.requireNone(physOf(unit, part));
      state.validated.remove(part);
      for (const { start, size } of validatedIn(record, physOf(unit, part)))
        state.validated.add(new MemoryRegion(this.#kind, (unit.gva + (start - unit.gpa)) as VirtAddr, size));
    }
  }

  /** Clears the private pages of units, if the options ask for it. */
  #clear(units: readonly Unit[]): void {
    if (this.#options.clear !== true) return;
    const pages = units.flatMap((unit) =>
      this.#isPrivate(unit)
        ? [unit]
        : smallPagesOf<PrivatePage>(unit).filter((page) => this.#isPrivate(page)),
    );
    clearPages(this.#context, pages, this.#onPage);
  }

  #isPrivate({ gva, size }: PrivatePage): boolean {
    return this.#state.has('private', new MemoryRegion(this.#kind, gva, size));
  }

  #rescind(units: readonly Unit[]): void {
    const pages = units.flatMap((unit) => pagesIn(this.#state.validated, unit));
    const isPrivate = pages.map((page) => this.#isPrivate(page));
    const rescind = (inDoubt: boolean): void => {
      const some = pages.filter((_, k) => isPrivate[k] !== inDoubt);
      rescindPages(this.#context, some, this.#onPage, inDoubt);
    };
    rescind(false);
    // A page is lost because a step has failed: its validation may have been rescinded all the same.
    rescind(true);
  }

  /** Asks the hypervisor. The MSR protocol has a request for one page of 4 KiB, which costs less than a list in the GHCB. */
  #request(units: readonly Unit[], operation: PageOperation): void {
    const [only] = units;
    if (units.length === 1 && only!.size === PageSize.Regular) {
      changePageState(this.#ghcb.vcpu, only!.gpa, operation);
    } else changePageStates(this.#ghcb, entriesOf(units, operation));
  }

  /** Changes the C-bit of the units that have another one. */
  #setVisibility(units: readonly Unit[], shared: boolean): void {
    if (!this.#rules.moves) return;
    for (const run of this.#runsOf(units.filter((unit) => unit.isShared !== shared)))
      this.#setRun(run, shared);
  }

  #setRun(run: MemoryRegion<VirtAddr>, shared: boolean): void {
    if (run.size === SMALL) {
      if (shared) this.#table.setShared4k(run.start);
      else this.#table.setEncrypted4k(run.start);
    } else if (shared) this.#table.setSharedRegion(run);
    else this.#table.setEncryptedRegion(run);
  }

  /** Flushes the translations of units, in the fewest regions. INVLPG drops a page of any size that holds the address. */
  #flush(units: readonly Unit[]): void {
    if (!this.#rules.moves) return;
    const { flush } = this.#options;
    if (flush === undefined) for (const { gva } of units) this.#ghcb.vcpu.invlpg(gva);
    else for (const run of this.#runsOf(units)) flush(run);
  }

  /** Maps pages shared again that the hypervisor was not asked for. If that fails too, they are lost. */
  #keepShared(units: readonly Unit[]): void {
    if (!this.#rules.moves) return;
    try {
      for (const run of this.#runsOf(units)) this.#setRun(run, true);
      this.#flush(units);
      for (const { region } of units) this.#state.put('shared', region);
    } catch {
      // The first failure is the one to report.
    }
  }

  /** The regions of units, adjacent ones joined. */
  #runsOf(units: readonly Unit[]): Iterable<MemoryRegion<VirtAddr>> {
    if (units.length < 2) return units.map(({ region }) => region);
    return new RegionSet(
      this.#kind,
      units.map(({ region }) => region),
    );
  }

  #reporting(to: 'private' | 'shared', steps: () => void): void {
    const regions = this.#units.map(({ gpa, size }) => pageRegion(gpa, size));
    const pages = regions.length < 2 ? regions : new RegionSet(Phys, regions);
    changing(this.#ghcb.vcpu.guest, pages, () => {
      try {
        steps();
      } catch (cause) {
        throw new SnpError('REGION_CHANGE_FAILED', { to, ...this.#state.toState() }, { cause });
      }
    });
  }
}

/** Runs all steps, and throws the first failure. */
function inTurn(steps: readonly (() => void)[]): void {
  let failure: { readonly error: unknown } | undefined;
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}

/** The units of each list of page state changes. */
function* listsOf(units: readonly Unit[]): Generator<readonly Unit[]> {
  for (let first = 0; first < units.length; first += PSC_MAX_ENTRIES)
    yield units.slice(first, first + PSC_MAX_ENTRIES);
}

function* entriesOf(units: readonly Unit[], operation: PageOperation): Generator<PscEntry> {
  for (const { gpa, size } of units) yield { gpa, operation, pageSize: size, donePages: 0, reserved: 0 };
}

/** The parts of `region` that a record has as validated. O(parts · log n). */
function* validatedIn(
  record: ValidatedPages,
  region: MemoryRegion<PhysAddr>,
): Generator<MemoryRegion<PhysAddr>> {
  const from = (start: bigint): MemoryRegion<PhysAddr> =>
    MemoryRegion.fromAddresses(Phys, start as PhysAddr, region.end);
  for (let rest = region; ; ) {
    const start = record.firstIn(rest);
    if (start === undefined) return;
    const end = record.firstMissingIn(from(start)) ?? region.end;
    yield MemoryRegion.fromAddresses(Phys, start, end);
    rest = from(end);
  }
}
