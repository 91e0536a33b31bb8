import { type AddressKind, PAGE_SIZE, type VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { refuseArgument, regionArgument } from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';
import type { MmEvent, MmTrace } from '../formats/mm-event.ts';
import { PageRecord } from './page-record.ts';
import type { PageStates } from './page-states.ts';
import { MoveFailure, type MoverOptions, RegionMover, type VisibilityCpu } from './region-mover.ts';

/** Parts of a {@link RegionVisibility}. */
export interface RegionVisibilityOptions extends MoverOptions {
  readonly trace?: MmTrace | undefined;
}

/** Changes of the visibility of regions of one address space, with the record of their states. */
export class RegionVisibility {
  readonly record: PageRecord;
  readonly #kind: AddressKind<VirtAddr>;
  readonly #mover: RegionMover;
  readonly #trace: MmTrace | undefined;
  #isRetrying = false;

  constructor(kind: AddressKind<VirtAddr>, options: RegionVisibilityOptions) {
    const { trace, ...mover } = options;
    this.record = new PageRecord(kind);
    this.#kind = kind;
    this.#mover = new RegionMover(kind, mover);
    this.#trace = trace;
  }

  /** A region of whole pages. @throws MmError `INVALID_ARGUMENT` */
  regionOf(region: MemoryRegion<VirtAddr>): MemoryRegion<VirtAddr> {
    const own = regionArgument('the region', region, this.#kind);
    const page = BigInt(PAGE_SIZE);
    if (own.start % page !== 0n || own.size % page !== 0n)
      refuseArgument('the region', String(own), 'pass whole 4 KiB pages');
    return own;
  }

  /**
   * Makes a private region shared: see `PageVisibility.makeShared`.
   *
   * @throws MmError `WRONG_VISIBILITY`, `VISIBILITY_FAILED`; as `RegionMover.toShared`
   */
  makeShared(cpu: VisibilityCpu, region: MemoryRegion<VirtAddr>): void {
    if (region.isEmpty) return;
    this.record.require(region, 'private');
    this.#change(cpu, region, 'shared', 'private', () => this.#mover.toShared(cpu, region));
    this.record.share(region);
    this.#report('share', region);
  }

  /**
   * Makes a shared region private: see `PageVisibility.makePrivate`.
   *
   * @param back - the state of the pages after a failure, as far as the hypervisor allows it
   * @throws MmError `WRONG_VISIBILITY`, `VISIBILITY_FAILED`; as `RegionMover.toPrivate`
   */
  makePrivate(
    cpu: VisibilityCpu,
    region: MemoryRegion<VirtAddr>,
    back: 'private' | 'shared' = 'shared',
  ): void {
    if (region.isEmpty) return;
    this.record.require(region, 'shared');
    this.#change(cpu, region, 'private', back, () => this.#mover.toPrivate(cpu, region, back));
    this.record.settle(region);
    this.#join(cpu, region);
    this.#report('unshare', region);
  }

  /**
   * Makes the shared parts of a region private, for an owner that gives them up: what the hypervisor does not give back is lost.
   *
   * @throws MmError `WRONG_VISIBILITY` if a call changes a page, which stays as it is; `VISIBILITY_FAILED`
   */
  takeBack(cpu: VisibilityCpu, region: MemoryRegion<VirtAddr>): void {
    let failure: { readonly error: unknown } | undefined;
    for (const part of this.sharedIn(region)) {
      try {
        this.makePrivate(cpu, part, 'private');
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }

  /** The shared parts of a region. O(log n + parts). */
  sharedIn(region: MemoryRegion<VirtAddr>): MemoryRegion<VirtAddr>[] {
    return Array.from(
      this.record.shared.overlapping(region),
      (part) => part.intersect(region) as MemoryRegion<VirtAddr>,
    );
  }

  /**
   * Tries to make the lost pages private, and to give back tables that an earlier call could not give back. Returns the number of
   * pages that are private now. While it runs, another processor's call returns 0.
   */
  retryLost(cpu: VisibilityCpu): number {
    const { record } = this;
    if (this.#isRetrying) return 0;
    this.#join(cpu, undefined);
    if (record.lost.isEmpty) return 0;
    this.#isRetrying = true;
    try {
      const before = record.lostStates();
      const left = this.#mover.recover(cpu, before);
      const found = before.lost.subtract(left.whole);
      for (const region of found) record.settle(region);
      this.#lose(left);
      for (const region of found) this.#join(cpu, region);
      for (const region of found) this.#report('unshare', region);
      return Number(found.size) / PAGE_SIZE;
    } finally {
      this.#isRetrying = false;
    }
  }

  /** Runs the steps of a change. If they fail, the pages are in the state `back`, or lost. */
  #change(
    cpu: VisibilityCpu,
    region: MemoryRegion<VirtAddr>,
    to: 'private' | 'shared',
    back: 'private' | 'shared',
    steps: () => void,
  ): void {
    try {
      this.record.whileChanging(region, steps);
    } catch (error) {
      if (!(error instanceof MoveFailure)) {
        this.#join(cpu, region);
        throw error;
      }
      const { left, cause } = error;
      if (back === 'private') this.record.settle(region);
      this.#lose(left);
      this.#join(cpu, region);
      const lost = Array.from(left.whole);
      for (const part of lost) this.#report('quarantine', part);
      this.#report('rollback', region);
      const details = { to, region: String(region), lost: lost.map(String) };
      throw new MmError('VISIBILITY_FAILED', details, { cause });
    }
  }

  #lose(states: PageStates): void {
    const validated = states.validated.union(states.private);
    for (const region of states.whole) this.record.lose(region, validated);
  }

  #join(cpu: VisibilityCpu, region: MemoryRegion<VirtAddr> | undefined): void {
    this.#mover.join(cpu, region, (page) => this.record.isPrivate(page));
  }

  #report(
    type: Extract<MmEvent['type'], 'share' | 'unshare' | 'rollback' | 'quarantine'>,
    region: MemoryRegion<VirtAddr>,
  ): void {
    this.#trace?.({ type, region });
  }
}
