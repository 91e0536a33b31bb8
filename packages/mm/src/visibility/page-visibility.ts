import { PAGE_SIZE, PAGE_SIZE_2M, Phys, type PhysAddr, showInConsoles, type VirtAddr } from '@svsm/address';
import { isBuddyError, type PageAllocator } from '@svsm/buddy-alloc';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import { type GuestContext, useOfPages, type ValidatedPages } from '@svsm/sev-snp';
import type { PageUses } from '../cpu/page-uses.ts';
import {
  requireFunction,
  requireInstance,
  requireInteger,
  requireMethods,
  requireOptionalFunction,
  requireOptions,
} from '../formats/arguments.ts';
import { isMmError, MmError, type MmErrorDetails } from '../formats/mm-error.ts';
import type { MmTrace } from '../formats/mm-event.ts';
import type { DirectMap } from '../layout/direct-map.ts';
import type { MoverOptions, VisibilityCpu } from './region-mover.ts';
import { RegionVisibility } from './region-visibility.ts';

/** The parts of a {@link PageVisibility}. */
export interface PageVisibilityOptions {
  readonly guest: GuestContext;
  /** The heap: pages of other owners are refused. */
  readonly pages: PageAllocator<VirtAddr>;
  readonly directMap: Pick<DirectMap, 'physOf' | 'toPhys'>;
  /** The processor on whose behalf code runs. */
  readonly cpu: () => VisibilityCpu;
  /** The record of validated pages. */
  readonly validated: ValidatedPages;
  /** Drops the translations of a region on every processor. */
  readonly flush: MoverOptions['flush'];
  /** The pages that temporary mappings use: none if not given. */
  readonly uses?: PageUses | undefined;
  readonly trace?: MmTrace | undefined;
}

const OPTIONS: readonly (keyof PageVisibilityOptions)[] = [
  ...(['guest', 'pages', 'directMap', 'cpu'] as const),
  ...(['validated', 'flush', 'uses', 'trace'] as const),
];

/**
 * Makes pages of the heap shared with the hypervisor, and private again. Every page is in one of three states: private and
 * validated; shared and allocated; or lost, which is neither. Lost pages are never handed out again, and `retryLost` may bring
 * them back.
 *
 * Pages are cleared in both directions, so that the hypervisor learns nothing of what a page held, and the SVSM does not take
 * what the hypervisor has written for its own. All processors flush once for a change, by region.
 */
export class PageVisibility {
  static {
    showInConsoles(this, 'PageVisibility', (visibility) => ({
      pages: visibility.pages,
      lost: visibility.lost,
    }));
  }

  readonly #options: PageVisibilityOptions;
  readonly #regions: RegionVisibility;
  /** Blocks whose owner has given them up while pages of them were lost. */
  readonly #abandoned: Set<MemoryRegion<VirtAddr>> = new Set();

  /** @throws MmError `INVALID_ARGUMENT` */
  constructor(options: PageVisibilityOptions) {
    requireOptions('options', options, OPTIONS);
    const { guest, directMap, cpu, validated, flush, uses, trace, pages } = options;
    requireInstance('guest', guest, 'Guest');
    requireMethods('pages', pages, ['allocateRun', 'blockOf', 'freePages']);
    requireMethods('directMap', directMap, ['physOf', 'toPhys']);
    requireFunction('cpu', cpu);
    requireInstance('validated', validated, 'ValidatedPages');
    requireFunction('flush', flush);
    if (uses !== undefined) requireInstance('uses', uses, 'PageUses');
    requireOptionalFunction('trace', trace);
    this.#options = options;
    this.#regions = new RegionVisibility(pages.region.kind, { validated, flush, trace });
  }

  /** The allocator of the pages. */
  get pages(): PageAllocator<VirtAddr> {
    return this.#options.pages;
  }

  /** The processor on whose behalf code runs. @throws MmError `NO_CURRENT_CPU` */
  get cpu(): VisibilityCpu {
    return this.#options.cpu();
  }

  /**
   * Makes a region shared: clears it, rescinds its validation, asks the hypervisor for it, changes its entries, flushes all
   * processors, and clears it again. Pages of 2 MiB change as one, where the page table and the RMP have them. Entries that
   * were set shared before by hand do not matter.
   *
   * All of it, or it throws: whatever step has failed, each page is private, validated and clear, or lost. Splitting a page is
   * the first step, so that a lack of frames changes nothing.
   *
   * O(pages of 2 MiB + pages of 4 KiB); one exit for 253 of them, and one flush, with one more for each large page that is split.
   *
   * @param region - whole 4 KiB pages of allocated blocks, private; nothing happens if it is empty
   * @throws MmError `INVALID_ARGUMENT`, `NOT_ALLOCATED`, `PAGE_IN_USE`, `WRONG_VISIBILITY`, `NO_CURRENT_CPU`: nothing has
   *   changed; `VISIBILITY_FAILED`; SnpError, PageTableError as `makeRegionShared`: nothing has changed but the content
   */
  makeShared(region: MemoryRegion<VirtAddr>): void {
    const own = this.#owned(region);
    if (own.isEmpty) return;
    this.#regions.record.require(own, 'private');
    this.#requireUnused(own);
    this.#regions.makeShared(this.cpu, own);
  }

  /**
   * Makes a shared region private: changes its entries, flushes all processors, asks the hypervisor for it, validates and clears
   * it. Large pages come back where all their parts are private again, with a flush for each.
   *
   * All of it, or it throws: whatever step has failed, each page is shared as before, without its content, or lost.
   *
   * The cost is that of {@link makeShared}.
   *
   * @param region - whole 4 KiB pages, shared; nothing happens if it is empty
   * @throws MmError `INVALID_ARGUMENT`, `NOT_ALLOCATED`, `PAGE_IN_USE`, `WRONG_VISIBILITY`, `NO_CURRENT_CPU`: nothing has changed;
   *   `VISIBILITY_FAILED`; SnpError, PageTableError as `makeRegionPrivate`: nothing has changed
   */
  makePrivate(region: MemoryRegion<VirtAddr>): void {
    const own = this.#owned(region);
    if (own.isEmpty) return;
    this.#regions.record.require(own, 'shared');
    this.#requireUnused(own);
    this.#regions.makePrivate(this.cpu, own);
  }

  /** Whether the page of `vaddr` is shared. O(log n). */
  isShared(vaddr: VirtAddr): boolean {
    return this.#regions.record.stateOf(vaddr) === 'shared';
  }

  /** The shared parts of a region. O(log n + parts). @throws MmError `INVALID_ARGUMENT` */
  sharedIn(region: MemoryRegion<VirtAddr>): MemoryRegion<VirtAddr>[] {
    return this.#regions.sharedIn(this.#regions.regionOf(region));
  }

  /** The pages that are neither private nor shared: a copy. O(parts). */
  get lost(): RegionSet<PhysAddr> {
    const regions = Array.from(this.#regions.record.lost, (region) => this.#options.directMap.physOf(region));
    return new RegionSet(Phys, regions);
  }

  /**
   * Tries to make the lost pages private, validated and clear. Blocks that were given up, and of which no page is lost any more,
   * are freed. Returns the number of pages that have come back. A hypervisor that goes on to refuse is given up after a number
   * of failures; the next call tries again. O(lost pages).
   *
   * @throws MmError `NO_CURRENT_CPU`
   */
  retryLost(): number {
    const found = this.#regions.retryLost(this.cpu);
    for (const block of this.#abandoned) this.#freeAbandoned(block);
    return found;
  }

  /**
   * Allocates pages and makes them shared. They hold zeros. If it fails, they are free again, except for a block with lost
   * pages, which stays allocated until {@link retryLost} has brought them back.
   *
   * @param count - the number of 4 KiB pages, at least one; from 512 on they start at a multiple of 2 MiB
   * @throws MmError `INVALID_ARGUMENT`, `NO_CURRENT_CPU`, `VISIBILITY_FAILED`; BuddyError as `allocateRun`
   */
  allocateShared(count: number): MemoryRegion<VirtAddr> {
    requireInteger('the number of pages', count, 1);
    const { pages } = this.#options;
    const isHuge = count * PAGE_SIZE >= PAGE_SIZE_2M;
    const block = pages.allocateRun(count, isHuge ? PAGE_SIZE_2M : PAGE_SIZE);
    try {
      this.makeShared(block);
    } catch (error) {
      this.#giveUp(block);
      throw error;
    }
    return block;
  }

  /**
   * Frees a block, after its shared pages are private again. `freePages` of the allocator refuses a block with shared pages.
   *
   * If the hypervisor does not give a page back, it is lost, and the block stays allocated until {@link retryLost} frees it. The
   * caller has given it up all the same.
   *
   * @param block - a whole block
   * @throws MmError `INVALID_ARGUMENT`, `WRONG_VISIBILITY`, `PAGE_IN_USE`, `NO_CURRENT_CPU`: nothing has changed;
   *   `VISIBILITY_FAILED`: the block is given up; BuddyError as `freePages`: nothing has changed
   */
  release(block: MemoryRegion<VirtAddr>): void {
    const { pages } = this.#options;
    const own = this.#regions.regionOf(block);
    const found = pages.blockOf(own.start);
    // The allocator says what is wrong with another region.
    if (found?.region.equals(own) === true) this.#takeBack(own);
    pages.freePages(own);
  }

  /**
   * Checks that a block may go to another owner: all its pages are private and validated, and nobody uses them as a GHCB, a VMSA
   * or a calling area, or has mapped them. Pass it as `beforeFree` to the allocator of the heap. O(log n).
   *
   * @throws MmError `WRONG_VISIBILITY`, `PAGE_IN_USE`, `NOT_DIRECT_MAPPED`
   */
  requirePrivate(block: MemoryRegion<VirtAddr>): void {
    const { validated, directMap } = this.#options;
    this.#regions.record.require(block, 'private');
    this.#requireUnused(block);
    const phys = directMap.physOf(block);
    const missing = validated.firstMissingIn(phys);
    if (missing === undefined) return;
    const vaddr = block.start + (missing - phys.start);
    throw new MmError('WRONG_VISIBILITY', { vaddr, expected: 'private', found: 'not validated' });
  }

  /** The guest-physical addresses of a part of the heap. @throws MmError `NOT_DIRECT_MAPPED` */
  physOf(region: MemoryRegion<VirtAddr>): MemoryRegion<PhysAddr> {
    return this.#options.directMap.physOf(region);
  }

  /** Whether a block was given up, and waits for {@link retryLost}. O(blocks that were given up). @throws MmError `INVALID_ARGUMENT` */
  isAbandoned(block: MemoryRegion<VirtAddr>): boolean {
    const own = this.#regions.regionOf(block);
    return [...this.#abandoned].some((other) => other.start === own.start);
  }

  /** Makes all of a block private. If the hypervisor does not let it, the block has no owner any more. */
  #takeBack(block: MemoryRegion<VirtAddr>): void {
    this.#requireUnused(block);
    try {
      this.#regions.takeBack(this.cpu, block);
    } catch (error) {
      if (isMmError(error, 'VISIBILITY_FAILED')) this.#giveUp(block);
      throw error;
    }
  }

  /** Takes a block that has no owner any more after a failure: frees it, now or when all its pages are private. */
  #giveUp(block: MemoryRegion<VirtAddr>): void {
    this.#abandoned.add(block);
    try {
      this.#freeAbandoned(block);
    } catch {
      // The first failure is the one to report.
    }
  }

  /** Frees a block that was given up, if all its pages are private or can be made private. */
  #freeAbandoned(block: MemoryRegion<VirtAddr>): void {
    const { record } = this.#regions;
    try {
      this.#regions.takeBack(this.cpu, block);
    } catch {
      // What is not private stays in the record. The next call tries again.
    }
    if (!record.isPrivate(block) || this.#useOf(block) !== undefined) return;
    this.#abandoned.delete(block);
    try {
      this.#options.pages.freePages(block);
    } catch (error) {
      // The tracer of the allocator throws after the block is free, everything else before.
      if (!isBuddyError(error, 'CALLBACK_FAILED')) this.#abandoned.add(block);
      throw error;
    }
  }

  /** A region of whole pages that an owner can have. @throws MmError `INVALID_ARGUMENT`, `NOT_ALLOCATED` */
  #owned(region: MemoryRegion<VirtAddr>): MemoryRegion<VirtAddr> {
    const own = this.#regions.regionOf(region);
    const { pages } = this.#options;
    for (let at: bigint = own.start; at < own.end; ) {
      const vaddr = at as VirtAddr;
      const block = pages.blockOf(vaddr);
      if (block === undefined || (block.kind !== 'pages' && block.kind !== 'run'))
        throw new MmError('NOT_ALLOCATED', {
          vaddr,
          found: block?.kind ?? block?.state ?? 'outside the heap',
        });
      at = block.region.end;
    }
    return own;
  }

  /** @throws MmError `PAGE_IN_USE` */
  #requireUnused(region: MemoryRegion<VirtAddr>): void {
    const found = this.#useOf(region);
    if (found !== undefined) throw new MmError('PAGE_IN_USE', found);
  }

  /** The first page of a region that something uses. */
  #useOf(region: MemoryRegion<VirtAddr>): MmErrorDetails['PAGE_IN_USE'] | undefined {
    const { guest, uses, directMap } = this.#options;
    const phys = directMap.physOf(region);
    const mapped = uses?.firstIn(phys);
    return mapped === undefined ? useOfPages(guest, phys) : { gpa: mapped, use: 'MAPPING' };
  }
}
