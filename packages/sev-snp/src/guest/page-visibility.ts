import { isPageAligned, PAGE_SIZE, PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import { MemoryRegion, type VirtPage } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import type { Vcpu } from '../cpu/vcpu.ts';
import { PageOperation } from '../formats/ghcb-msr.ts';
import { addressOf } from '../formats/page-address.ts';
import { SnpError } from '../formats/snp-error.ts';
import { requireChange } from './argument-checks.ts';
import { changePageState } from './msr-protocol.ts';
import { type PageValidator, rescindPages, validatePages } from './page-validation.ts';
import { changingPage } from './pages-in-use.ts';
import { pageRegion, type ValidatedPages } from './validated-pages.ts';
import { virtKindOf } from './virt-kind.ts';

/** Options for changes of the visibility of pages. */
export interface VisibilityOptions {
  /**
   * The guest's record. It is consulted before each PVALIDATE, and agrees with the RMP after each call, also after one that
   * fails. Without a record, nothing refuses a second validation.
   */
  readonly validated?: ValidatedPages | undefined;
  /**
   * Drops the translations of a region on every processor that can have some (a shoot-down). It is called after entries have
   * changed, and before the pages are used in their new state; not if nothing has changed. INVLPG on this processor if not
   * given. Its errors go on to the caller.
   */
  readonly flush?: ((region: MemoryRegion<VirtAddr>) => void) | undefined;
  /** The step that validates pages: PVALIDATE if not given. Above an SVSM, pass `svsmValidator(area)`. */
  readonly validator?: PageValidator | undefined;
  /**
   * Whether private pages are cleared before they are shared: a shared page keeps the bytes of DRAM, and equal ciphertext at one
   * address is equal content. Each list of pages is cleared right before PVALIDATE rescinds its validation, so pages of lists
   * that were not requested keep their content. A page that cannot be cleared is lost. `false` if not given. A page that is made
   * private is cleared anyway.
   */
  readonly clear?: boolean | undefined;
}

/*
 * The steps that make a page shared or private, in addition to its page-table entry. Their order is the contract, as in
 * COCONUT-SVSM and Linux (`kernel/src/mm/page_visibility.rs`; `arch/x86/coco/sev/core.c`). Between the first and the last
 * step nobody may access the page: with C=0 a write to a page of the guest faults, and with C=1 every access to a shared
 * page does.
 */

/**
 * Makes a private 4 KiB page shared. PVALIDATE rescinds the validation, through the mapping that is still
 * private. The hypervisor is asked for the page state change. The entry loses its C-bit, and its translation is
 * flushed. The content of the page is lost. A larger page is split in the guest's table first, so that a lack of frames
 * fails before anything has changed.
 *
 * If it throws later, the page is neither private nor shared: it is not validated, so every private access faults. Give
 * it up, or make it private with {@link acceptPage}, which clears it. If only `flush` has failed, the page is shared: flush
 * it before you use it.
 *
 * @param table - the page table of `vcpu`
 * @param page - its address, a multiple of 4096, or a cursor
 * @throws SnpError as {@link releasePage}; PageTableError `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`; SnpFault; the errors of
 *   `flush` and `validator`
 */
export function makePageShared(
  vcpu: Vcpu,
  table: PageTable,
  page: VirtPage,
  options: VisibilityOptions = {},
): void {
  const gva = addressOf(page);
  requireChange(vcpu, table, options);
  changingPage(vcpu.guest, privatePage(table, gva), (gpa) => sharePage(vcpu, table, gva, gpa, options));
}

/** The steps of {@link makePageShared} on a page that changes already, or is checked otherwise. */
export function sharePage(
  vcpu: Vcpu,
  table: PageTable,
  gva: VirtAddr,
  gpa: PhysAddr,
  options: VisibilityOptions,
): void {
  options.validated?.requireAll(pageRegion(gpa, PageSize.Regular));
  table.split4k(gva);
  release(vcpu, gva, gpa, options);
  table.setShared4k(gva);
  flushPage(vcpu, gva, options);
}

/**
 * Makes a shared 4 KiB page private. The entry gets its C-bit, and its translation is flushed. The
 * hypervisor is asked for the page state change. PVALIDATE validates the page and has to report a change. The page is
 * cleared.
 *
 * If it throws, the page can be mapped private without being validated, so that every access faults.
 *
 * @param table - the page table of `vcpu`
 * @param page - its address, a multiple of 4096, or a cursor
 * @throws SnpError `WRONG_MAPPING` if the page is not mapped shared, else as {@link acceptPage}; SnpFault; the errors of
 *   `flush` and `validator`
 */
export function makePagePrivate(
  vcpu: Vcpu,
  table: PageTable,
  page: VirtPage,
  options: VisibilityOptions = {},
): void {
  const gva = addressOf(page);
  requireChange(vcpu, table, options);
  changingPage(vcpu.guest, sharedPage(table, gva), (gpa) => {
    options.validated?.requireNone(pageRegion(gpa, PageSize.Regular));
    table.setEncrypted4k(gva);
    flushPage(vcpu, gva, options);
    accept(vcpu, gva, privatePage(table, gva), options);
  });
}

/**
 * The steps of {@link makePageShared} before the change of the entry: PVALIDATE rescinds the validation, and the
 * hypervisor is asked to take the page. Call `table.setShared4k(page)` and `vcpu.invlpg(page)` afterwards.
 *
 * @throws SnpError `INVALID_ARGUMENT`, `WRONG_MAPPING` if the page is not mapped private, `NOT_VALIDATED`,
 *   `PAGE_IN_USE`, `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`, `PAGE_STATE_REFUSED`, `INVALID_RESPONSE`; SnpFault; the
 *   errors of `validator`
 */
export function releasePage(
  vcpu: Vcpu,
  table: PageTable,
  page: VirtPage,
  options: VisibilityOptions = {},
): void {
  const gva = addressOf(page);
  requireChange(vcpu, table, options);
  changingPage(vcpu.guest, privatePage(table, gva), (gpa) => release(vcpu, gva, gpa, options));
}

function release(
  vcpu: Vcpu,
  gva: VirtAddr,
  gpa: PhysAddr,
  { validated, validator, clear }: VisibilityOptions,
): void {
  if (clear === true) vcpu.clear(gva, PageSize.Regular);
  rescindPages({ vcpu, validated, validator }, [{ gva, gpa, size: PageSize.Regular }]);
  changePageState(vcpu, gpa, PageOperation.Shared);
}

/**
 * The steps of {@link makePagePrivate} after the change of the entry, which is `table.setEncrypted4k(page)` and
 * `vcpu.invlpg(page)`: the hypervisor is asked to assign the page, PVALIDATE validates it, and it is cleared. PVALIDATE
 * does not clear a page: it holds what the hypervisor has left there. If the page cannot be cleared, its validation is
 * rescinded.
 *
 * @throws SnpError `INVALID_ARGUMENT`, `WRONG_MAPPING` if the page is not mapped private, `ALREADY_VALIDATED`,
 *   `PAGE_IN_USE`, `PAGE_STATE_REFUSED`, `INVALID_RESPONSE`, `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`; SnpFault; the errors
 *   of `validator`
 */
export function acceptPage(
  vcpu: Vcpu,
  table: PageTable,
  page: VirtPage,
  options: VisibilityOptions = {},
): void {
  const gva = addressOf(page);
  requireChange(vcpu, table, options);
  changingPage(vcpu.guest, privatePage(table, gva), (gpa) => accept(vcpu, gva, gpa, options));
}

function accept(vcpu: Vcpu, gva: VirtAddr, gpa: PhysAddr, { validated, validator }: VisibilityOptions): void {
  validated?.requireNone(pageRegion(gpa, PageSize.Regular));
  changePageState(vcpu, gpa, PageOperation.Private);
  validatePages({ vcpu, validated, validator }, [{ gva, gpa, size: PageSize.Regular }]);
}

/** Drops the translations of one 4 KiB page. */
export function flushPage(vcpu: Vcpu, gva: VirtAddr, { flush }: VisibilityOptions): void {
  if (flush === undefined) vcpu.invlpg(gva);
  else {
    flush(new MemoryRegion(virtKindOf(vcpu.guest), gva, PAGE_SIZE));
  }
}

/** The guest-physical address of a page that is mapped shared. @throws SnpError `INVALID_ARGUMENT`, `WRONG_MAPPING` */
export function sharedPage(table: PageTable, gva: VirtAddr): PhysAddr {
  return mappedPage(table, gva, true);
}

/** The guest-physical address of a page that is mapped private. @throws SnpError `INVALID_ARGUMENT`, `WRONG_MAPPING` */
export function privatePage(table: PageTable, gva: VirtAddr): PhysAddr {
  return mappedPage(table, gva, false);
}

/** The guest-physical address of `gva`, which has to be mapped shared or private. */
function mappedPage(table: PageTable, gva: VirtAddr, shared: boolean): PhysAddr {
  // PVALIDATE ignores the low bits, but the page state change does not.
  if (!isPageAligned(gva)) {
    throw new SnpError('INVALID_ARGUMENT', {
      what: 'the page',
      value: gva,
      expected: 'pass a multiple of 4096 as a bigint',
    });
  }
  const page = table.lookup(gva);
  const name = (shared: boolean): string => (shared ? 'shared' : 'private');
  if (page?.shared !== shared) {
    const found = page === undefined ? 'not mapped' : name(page.shared);
    throw new SnpError('WRONG_MAPPING', { gva, expected: name(shared), found });
  }
  return page.paddr;
}
