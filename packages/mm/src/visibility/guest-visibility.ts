import { PageSize, showInConsoles, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import { type CallingArea, type Ghcb, svsmValidator, type ValidatedPages, type Vcpu } from '@svsm/sev-snp';
import { ShootDown } from '../cpu/shoot-down.ts';
import { requireInstance, requireOptionalFunction, requireOptions } from '../formats/arguments.ts';
import type { MmTrace } from '../formats/mm-event.ts';
import type { MoverOptions, VisibilityCpu } from './region-mover.ts';
import { RegionVisibility } from './region-visibility.ts';

/** Options of a {@link GuestVisibility}. */
export interface GuestVisibilityOptions {
  /** The guest's own record of validated pages. The SVSM has its own, so it is not needed against double validation. */
  readonly validated?: ValidatedPages | undefined;
  /** Drops the translations of a region on every processor of the guest: on the processor alone if not given. */
  readonly flush?: MoverOptions['flush'] | undefined;
  readonly trace?: MmTrace | undefined;
}

/**
 * Makes pages of a guest above an SVSM shared, at VMPL1 to VMPL3, and private again: the steps of `PageVisibility`, in which the
 * SVSM executes PVALIDATE. The guest owns its pages itself: it says which are allocated.
 */
export class GuestVisibility {
  static {
    showInConsoles(this, 'GuestVisibility', (pages) => ({ vcpu: pages.#cpu.vcpu, lost: pages.lost }));
  }

  readonly #cpu: VisibilityCpu;
  readonly #regions: RegionVisibility;

  /**
   * @param area - the calling area of `vcpu`
   * @throws MmError `INVALID_ARGUMENT`; SnpError `INVALID_ARGUMENT` if `area` is not a calling area
   */
  constructor(
    vcpu: Vcpu,
    pageTable: PageTable,
    ghcb: Ghcb,
    area: CallingArea,
    options: GuestVisibilityOptions = {},
  ) {
    requireOptions('options', options, ['validated', 'flush', 'trace']);
    requireInstance('the processor', vcpu, 'Vcpu');
    requireInstance('the page table', pageTable, 'PageTable');
    requireInstance('the GHCB', ghcb, 'Ghcb');
    const { validated, flush = flushOf(vcpu), trace } = options;
    if (validated !== undefined) requireInstance('validated', validated, 'ValidatedPages');
    requireOptionalFunction('flush', flush);
    requireOptionalFunction('trace', trace);
    const kind = vcpu.guest.paging.levels === 5 ? Virt57 : Virt;
    this.#cpu = { vcpu, pageTable, ghcb };
    this.#regions = new RegionVisibility(kind, { validated, validator: svsmValidator(area), flush, trace });
  }

  /**
   * Makes a private region shared, as `PageVisibility.makeShared`.
   *
   * @throws MmError `INVALID_ARGUMENT`, `WRONG_VISIBILITY`: nothing has changed; `VISIBILITY_FAILED`; SnpError, PageTableError as
   *   `makeRegionShared`: nothing has changed but the content
   */
  makeShared(region: MemoryRegion<VirtAddr>): void {
    this.#regions.makeShared(this.#cpu, this.#regions.regionOf(region));
  }

  /**
   * Makes a shared region private, as `PageVisibility.makePrivate`.
   *
   * @throws MmError `INVALID_ARGUMENT`, `WRONG_VISIBILITY`: nothing has changed; `VISIBILITY_FAILED`; SnpError, PageTableError as
   *   `makeRegionPrivate`: nothing has changed
   */
  makePrivate(region: MemoryRegion<VirtAddr>): void {
    this.#regions.makePrivate(this.#cpu, this.#regions.regionOf(region));
  }

  /** Whether the page of `vaddr` was made shared. O(log n). */
  isShared(vaddr: VirtAddr): boolean {
    return this.#regions.record.stateOf(vaddr) === 'shared';
  }

  /** The pages that are neither private nor shared: a copy. Do not use them. O(parts). */
  get lost(): RegionSet<VirtAddr> {
    const { lost } = this.#regions.record;
    return new RegionSet(lost.kind, lost);
  }

  /** Tries to make the lost pages private, validated and clear. Returns the number of pages that have come back. O(lost pages). */
  retryLost(): number {
    return this.#regions.retryLost(this.#cpu);
  }
}

/** Drops the translations of a region on one processor. */
function flushOf(vcpu: Vcpu): MoverOptions['flush'] {
  const shootDown = new ShootDown();
  return (region, pageSize) =>
    shootDown.local({ vcpu }, region, pageSize === PageSize.Regular ? pageSize : PageSize.Huge);
}
