import { isPageAligned, PAGE_SIZE, PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { PageTable } from '@svsm/pagetable';
import type { Vcpu } from '../cpu/vcpu.ts';
import { PageOperation } from '../formats/ghcb-msr.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SnpError } from '../formats/snp-error.ts';
import { requestPageState } from './msr-protocol.ts';
import { pageRegion, type ValidatedPages } from './validated-pages.ts';

/** What changing the visibility of pages may be told. */
export interface VisibilityOptions {
  /** The guest's record: asked before each PVALIDATE, and told after it. Without one, nothing refuses a second validation. */
  readonly validated?: ValidatedPages;
}

/*
 * What makes a page shared, and private again, beside its page-table entry. The order is the contract, as
 * COCONUT-SVSM and Linux have it (`kernel/src/mm/page_visibility.rs`; `arch/x86/coco/sev/core.c`): between its first
 * and its last step nobody may touch the page, because with C=0 a write to a guest-owned page faults, and with C=1 so
 * does any access to a shared one.
 */

/**
 * Makes the private 4 KiB page at `gva` shared: PVALIDATE takes the validation back, through the mapping that is
 * private still; the hypervisor is asked for the page state change; the entry loses its C-bit; and its translation is
 * flushed, from this processor's TLB only. What the page held is lost. A larger page is split, in the guest's table
 * first: what can fail for want of memory fails before anything has changed.
 *
 * If it throws later than that, the page is neither: not validated, so no private access to it succeeds. Give it up,
 * or make it private by {@link acceptPage}, which clears it.
 *
 * @param table - the one that `vcpu` uses
 * @param gva - a multiple of 4096
 * @throws what {@link releasePage} throws; PageTableError `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`
 */
export function makePageShared(
  vcpu: Vcpu,
  table: PageTable,
  gva: VirtAddr,
  options: VisibilityOptions = {},
): void {
  const gpa = privatePage(table, gva);
  options.validated?.requireAll(pageRegion(gpa, PageSize.Regular));
  table.split4k(gva);
  releasePage(vcpu, table, gva, options);
  table.setShared4k(gva);
  vcpu.invlpg(gva);
}

/**
 * Makes the shared 4 KiB page at `gva` private: the entry gets its C-bit and its translation is flushed; the
 * hypervisor is asked for the page state change; PVALIDATE validates the page, and must report a change; the page is
 * cleared.
 *
 * If it throws, the page may be mapped private without being validated, so that no access to it succeeds.
 *
 * @param table - the one that `vcpu` uses
 * @param gva - a multiple of 4096
 * @throws SnpError `WRONG_MAPPING` if it is not mapped shared; what {@link acceptPage} throws
 */
export function makePagePrivate(
  vcpu: Vcpu,
  table: PageTable,
  gva: VirtAddr,
  options: VisibilityOptions = {},
): void {
  const gpa = mappedPage(table, gva, true);
  options.validated?.requireNone(pageRegion(gpa, PageSize.Regular));
  table.setEncrypted4k(gva);
  vcpu.invlpg(gva);
  acceptPage(vcpu, table, gva, options);
}

/**
 * The steps of sharing that come before the page-table entry: PVALIDATE takes the validation back, and the hypervisor
 * is asked to take the page. `table.setShared4k(gva)` and `vcpu.invlpg(gva)` must follow.
 *
 * @throws SnpError `INVALID_ARGUMENT`, `WRONG_MAPPING` if it is not mapped private, `PVALIDATE_FAILED`,
 *   `PVALIDATE_UNCHANGED`, `PAGE_STATE_REFUSED`, `INVALID_RESPONSE`, `NOT_VALIDATED`; SnpFault
 */
export function releasePage(
  vcpu: Vcpu,
  table: PageTable,
  gva: VirtAddr,
  { validated }: VisibilityOptions = {},
): void {
  const gpa = privatePage(table, gva);
  validated?.requireAll(pageRegion(gpa, PageSize.Regular));
  pvalidate4k(vcpu, gva, false);
  validated?.remove(pageRegion(gpa, PageSize.Regular));
  requestPageState(vcpu, gpa, PageOperation.Shared);
}

/**
 * The steps of making a page private that come after `table.setEncrypted4k(gva)` and `vcpu.invlpg(gva)`: the
 * hypervisor is asked to assign the page, PVALIDATE validates it, and it is cleared, because validation is not: it
 * holds whatever the hypervisor left there.
 *
 * @throws SnpError `INVALID_ARGUMENT`, `WRONG_MAPPING` if it is not mapped private, `PAGE_STATE_REFUSED`,
 *   `INVALID_RESPONSE`, `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`, `ALREADY_VALIDATED`; SnpFault
 */
export function acceptPage(
  vcpu: Vcpu,
  table: PageTable,
  gva: VirtAddr,
  { validated }: VisibilityOptions = {},
): void {
  const gpa = privatePage(table, gva);
  validated?.requireNone(pageRegion(gpa, PageSize.Regular));
  requestPageState(vcpu, gpa, PageOperation.Private);
  pvalidate4k(vcpu, gva, true);
  validated?.add(pageRegion(gpa, PageSize.Regular));
  vcpu.write(gva, new Uint8Array(PAGE_SIZE));
}

/** PVALIDATE of 4 KiB, with every answer looked at. */
function pvalidate4k(vcpu: Vcpu, gva: VirtAddr, validate: boolean): void {
  const { result, unchanged } = vcpu.pvalidate(gva, PageSize.Regular, validate);
  if (result !== RmpResult.SUCCESS) throw new SnpError('PVALIDATE_FAILED', { gva, validate, result });
  if (unchanged) throw new SnpError('PVALIDATE_UNCHANGED', { gva, validate });
}

function privatePage(table: PageTable, gva: VirtAddr): PhysAddr {
  return mappedPage(table, gva, false);
}

/** The guest-physical address of `gva`, which must be mapped as it should be. */
function mappedPage(table: PageTable, gva: VirtAddr, shared: boolean): PhysAddr {
  // PVALIDATE would ignore the low bits, and the page state change would not.
  if (!isPageAligned(gva)) {
    throw new SnpError('INVALID_ARGUMENT', {
      what: 'the page',
      value: gva,
      expected: 'pass a multiple of 4096',
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
