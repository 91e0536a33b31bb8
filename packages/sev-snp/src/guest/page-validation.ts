import { PAGE_SIZE, PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import { eventOf, hasPvalidated } from '../cpu/machine-event.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { isSnpError, SnpError } from '../formats/snp-error.ts';
import { isSnpFault } from '../rmp/snp-fault.ts';
import { pageRegion, type ValidatedPages } from './validated-pages.ts';

/** A page of the guest that is mapped private. */
export interface PrivatePage {
  readonly gva: VirtAddr;
  readonly gpa: PhysAddr;
  readonly size: RmpPageSize;
}

/*
 * PVALIDATE of pages, with the guest's record. The hypervisor can run another processor of the guest at each exit. So the
 * record has a page before PVALIDATE validates it, and until PVALIDATE has rescinded the validation: a second validation
 * is refused at every exit. If a step fails, the record is again what the RMP is.
 */

/**
 * Validates a page and clears it; in 4 KiB pages if the RMP has 4 KiB entries. If a page cannot be cleared, its validation
 * is rescinded, and it leaves the record. The 4 KiB pages before it stay validated and clear.
 *
 * @throws SnpError `ALREADY_VALIDATED`, `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`; SnpFault
 */
export function validatePage(vcpu: Vcpu, page: PrivatePage, validated: ValidatedPages | undefined): void {
  const region = pageRegion(page.gpa, page.size);
  validated?.add(region);
  let isHuge: boolean;
  try {
    isHuge = pvalidate(vcpu, page, true) === RmpResult.FAIL_SIZEMISMATCH;
  } catch (error) {
    // A fault or a result comes in place of the change. Any other error is of a callback, which comes after the change.
    const isInPlace = (isSnpFault(error) || isSnpError(error)) && eventOf(error) === undefined;
    if (isInPlace) validated?.remove(region);
    else takeBack(vcpu, page, validated);
    throw error;
  }
  if (isHuge) {
    validated?.remove(region);
    for (const small of smallPagesOf(page)) validatePage(vcpu, small, validated);
    return;
  }
  try {
    vcpu.write(page.gva, new Uint8Array(page.size));
  } catch (error) {
    takeBack(vcpu, page, validated);
    throw error;
  }
}

/**
 * Rescinds the validation of a page; in 4 KiB pages if the RMP has 4 KiB entries. Returns the pages in the sizes of the RMP.
 *
 * @throws SnpError `NOT_VALIDATED`, `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`; SnpFault
 */
export function rescindPage<Page extends PrivatePage>(
  vcpu: Vcpu,
  page: Page,
  validated: ValidatedPages | undefined,
): readonly Page[] {
  const region = pageRegion(page.gpa, page.size);
  validated?.requireAll(region);
  try {
    if (pvalidate(vcpu, page, false) === RmpResult.FAIL_SIZEMISMATCH) {
      return smallPagesOf(page).flatMap((small) => rescindPage(vcpu, small, validated));
    }
  } catch (error) {
    if (hasPvalidated(error, page.gva, false)) validated?.remove(region);
    throw error;
  }
  validated?.remove(region);
  return [page];
}

/**
 * Rescinds the validation of a page after a failure. PVALIDATE has to report a change: else the hypervisor has put another
 * page there, and the validated one stays in the record.
 */
function takeBack(vcpu: Vcpu, page: PrivatePage, validated: ValidatedPages | undefined): void {
  const { gva, gpa, size } = page;
  try {
    const { result, unchanged } = vcpu.pvalidate(gva, size, false);
    if (result === RmpResult.SUCCESS && !unchanged) validated?.remove(pageRegion(gpa, size));
    if (result !== RmpResult.FAIL_SIZEMISMATCH || size !== PageSize.Huge) return;
    for (const small of smallPagesOf(page)) takeBack(vcpu, small, validated);
  } catch (error) {
    // The first failure is the one to report.
    if (hasPvalidated(error, gva, false)) validated?.remove(pageRegion(gpa, size));
  }
}

/**
 * PVALIDATE that has to change the page. Returns SUCCESS, or FAIL_SIZEMISMATCH for 2 MiB.
 *
 * @throws SnpError `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`; SnpFault: nothing has changed
 */
function pvalidate(vcpu: Vcpu, { gva, size }: PrivatePage, validate: boolean): RmpResult {
  const { result, unchanged } = vcpu.pvalidate(gva, size, validate);
  if (result === RmpResult.FAIL_SIZEMISMATCH && size === PageSize.Huge) return result;
  if (result !== RmpResult.SUCCESS) throw new SnpError('PVALIDATE_FAILED', { gva, validate, result });
  if (unchanged) throw new SnpError('PVALIDATE_UNCHANGED', { gva, validate });
  return result;
}

function smallPagesOf<Page extends PrivatePage>(page: Page): Page[] {
  return Array.from({ length: page.size / PAGE_SIZE }, (_, k) => ({
    ...page,
    gva: (page.gva + BigInt(k * PAGE_SIZE)) as VirtAddr,
    gpa: (page.gpa + BigInt(k * PAGE_SIZE)) as PhysAddr,
    size: PageSize.Regular,
  }));
}
