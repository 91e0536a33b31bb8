import { PageSize } from '@svsm/address';
import type { Vcpu } from '../cpu/vcpu.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { isSnpError } from '../formats/snp-error.ts';
import { SVSM_LIST_MAX, SvsmCall, SvsmResult } from '../formats/svsm-protocol.ts';
import { requireArea } from './argument-checks.ts';
import type { PageValidator, PrivatePage, ValidationProgress } from './page-validation.ts';
import { type CallingArea, entriesDone, processWritten, writeList } from './svsm-call.ts';

/** The result of a call for a 2 MiB page that the RMP, or the record of the SVSM, has in 4 KiB pages. */
const SIZE_MISMATCH = SvsmResult.InstructionFailed + RmpResult.FAIL_SIZEMISMATCH;

/**
 * The validator of a guest above an SVSM, at VMPL1 to VMPL3: it asks the SVSM to execute PVALIDATE, with lists of at most
 * 510 pages in the calling area. Pass it as `validator` to the functions that change the visibility of pages.
 *
 * If a call fails, it is withdrawn, and the list in the calling area says which pages are done. That is unknown, and all pages
 * from there on are lost, if the hypervisor hides the calling area just then, or if the list says that the call has done none: the
 * SVSM may not have been able to write to it. Afterwards the record of the SVSM decides about them: a call that rescinds a
 * validation which is in doubt succeeds if the SVSM does not have the page as validated.
 *
 * @param area - the calling area of the processor that changes pages; everything after its first 8 bytes is overwritten
 * @throws SnpError `INVALID_ARGUMENT` if it is not a calling area
 */
export function svsmValidator(area: CallingArea): PageValidator {
  requireArea(area);
  return (vcpu, pages, validate, inDoubt = false) => {
    for (let first = 0; first < pages.length; first += SVSM_LIST_MAX) {
      const list = pages.slice(first, first + SVSM_LIST_MAX);
      const progress = validateList(vcpu, area, list, validate, inDoubt);
      if (progress !== undefined) return { ...progress, done: first + progress.done };
    }
    return { done: pages.length };
  };
}

/** Asks the SVSM for a list of pages. Returns the progress unless all of it is done. */
function validateList(
  vcpu: Vcpu,
  area: CallingArea,
  pages: readonly PrivatePage[],
  validate: boolean,
  inDoubt: boolean,
): ValidationProgress | undefined {
  const entries = pages.map(({ gpa, size }) => ({
    gpa,
    size: size === PageSize.Huge ? 1 : 0,
    validate,
    ignoreUnchanged: inDoubt && !validate,
    reserved: 0,
  }));
  // A page that was validated may have been replaced.
  const unclear = validate ? 0 : 1;
  const before = { next: 0 };
  try {
    writeList(vcpu, area, entries);
  } catch (error) {
    return { done: 0, failure: { error, unclear } };
  }
  try {
    processWritten(vcpu, area, SvsmCall.Pvalidate, pages.length, before);
    return undefined;
  } catch (error) {
    const refusal = isSnpError(error, 'SVSM_REFUSED') ? error.details : undefined;
    const next = refusal?.entry ?? entriesDone(vcpu, area) ?? 0;
    const done = Math.min(next, pages.length);
    const isMismatch = refusal?.result === SIZE_MISMATCH;
    if (isMismatch && pages[done]?.size === PageSize.Huge) return { done, isMismatch };
    return { done, failure: { error, unclear: next > before.next ? unclear : pages.length - done } };
  }
}
