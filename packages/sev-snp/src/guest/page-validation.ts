import { PAGE_SIZE, PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import { executedBefore } from '../cpu/executed.ts';
import type { PvalidateAnswer } from '../cpu/guest-instructions.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import { refuseArgument } from '../formats/arguments.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SnpError } from '../formats/snp-error.ts';
import { pageRegion, type ValidatedPages } from './validated-pages.ts';

/** A page of the guest that is mapped private. */
export interface PrivatePage {
  readonly gva: VirtAddr;
  readonly gpa: PhysAddr;
  readonly size: RmpPageSize;
}

/**
 * PVALIDATE of pages in their order, up to the first page that does not change: by the processor itself, or by an SVSM for
 * it. A page has changed only if PVALIDATE succeeds and reports a change. If the validator throws, all pages are in doubt.
 *
 * @param inDoubt - whether a validation to be rescinded may not stand any more, after a failure. A validator with a record of its
 *   own goes by it then: a page that is not validated by that record is done. Others need a change, as always
 */
export type PageValidator = (
  vcpu: Vcpu,
  pages: readonly PrivatePage[],
  validate: boolean,
  inDoubt?: boolean,
) => ValidationProgress;

/** The end of a run of PVALIDATEs. */
export interface ValidationProgress {
  /** The number of pages that have changed: the first ones. */
  readonly done: number;
  /** Whether the next page has 2 MiB, but 4 KiB entries in the RMP: its 4 KiB pages have to change. */
  readonly isMismatch?: boolean;
  /** The failure of the next page. */
  readonly failure?: ValidationFailure | undefined;
}

/** The reason why a page has not changed. */
export interface ValidationFailure {
  readonly error: unknown;
  /**
   * The number of pages from the next one on that are in doubt: they may have changed all the same, or be other pages than
   * those that were validated. 0 if not given.
   */
  readonly unclear?: number;
}

/** The processor that changes pages, and the guest's record. */
export interface ValidationContext {
  readonly vcpu: Vcpu;
  /** PVALIDATE by the processor itself if not given. */
  readonly validator?: PageValidator | undefined;
  readonly validated?: ValidatedPages | undefined;
}

/** The state of a page after a step. `lost`: PVALIDATE has failed, and the page may be another one. */
type PageStep = 'validated' | 'cleared' | 'rescinded' | 'lost';

/** Called for each page after a step, in the size of the RMP. */
export type OnPage = (page: PrivatePage, step: PageStep) => void;

const NOTHING: OnPage = () => {};

/*
 * PVALIDATE of pages, with the guest's record. The hypervisor can run another processor of the guest at each exit. So the
 * record has a page before PVALIDATE validates it, and until PVALIDATE has rescinded the validation: a second validation
 * is refused at every exit. If a step fails, the record is again what the RMP is.
 */

/**
 * Validates pages and clears each; in 4 KiB pages if the RMP has 4 KiB entries. If a page cannot be cleared, its validation
 * is rescinded, and it leaves the record. The pages before it stay validated and clear.
 *
 * @throws SnpError `ALREADY_VALIDATED`, `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`; SnpFault; the errors of the validator
 */
export function validatePages(
  context: ValidationContext,
  pages: readonly PrivatePage[],
  onPage: OnPage = NOTHING,
): void {
  for (let queue = pages; queue.length > 0; ) {
    record(context, queue);
    const progress = run(context, queue, true);
    const { done, failure } = progress;
    const end = done + (failure?.unclear ?? 0);
    for (let k = end; k < queue.length; k += 1) context.validated?.remove(regionOf(queue[k]!));
    for (let k = 0; k < end; k += 1) onPage(queue[k]!, 'validated');
    takeBack(context, queue.slice(done, end), onPage);
    try {
      clearPages(context, queue.slice(0, done), onPage);
    } catch (error) {
      throw failure === undefined ? error : failure.error;
    }
    if (failure !== undefined) throw failure.error;
    queue = restOf(queue, progress);
  }
}

/**
 * Clears validated pages. If a page cannot be cleared, its validation is rescinded, and the others are cleared. Throws the
 * first failure.
 *
 * @throws SnpFault
 */
export function clearPages(
  context: ValidationContext,
  pages: readonly PrivatePage[],
  onPage: OnPage = NOTHING,
): void {
  let failure: { readonly error: unknown } | undefined;
  for (const page of pages) {
    try {
      context.vcpu.clear(page.gva, page.size);
      onPage(page, 'cleared');
    } catch (error) {
      onPage(page, 'lost');
      takeBack(context, [page], onPage);
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}

/**
 * Rescinds the validation of pages; in 4 KiB pages if the RMP has 4 KiB entries.
 *
 * @param inDoubt - as for {@link PageValidator}
 * @throws SnpError `NOT_VALIDATED`, `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`; SnpFault; the errors of the validator
 */
export function rescindPages(
  context: ValidationContext,
  pages: readonly PrivatePage[],
  onPage: OnPage = NOTHING,
  inDoubt = false,
): void {
  for (const page of pages) context.validated?.requireAll(regionOf(page));
  for (let queue = pages; queue.length > 0; ) {
    const progress = run(context, queue, false, inDoubt);
    const { done, failure } = progress;
    for (let k = 0; k < done; k += 1) {
      context.validated?.remove(regionOf(queue[k]!));
      onPage(queue[k]!, 'rescinded');
    }
    if (failure !== undefined) {
      for (const page of queue.slice(done, done + (failure.unclear ?? 0))) onPage(page, 'lost');
      throw failure.error;
    }
    queue = restOf(queue, progress);
  }
}

/** PVALIDATE by the processor itself, which runs at VMPL0. */
function pvalidatePages(vcpu: Vcpu, pages: readonly PrivatePage[], validate: boolean): ValidationProgress {
  for (let done = 0; done < pages.length; done += 1) {
    const { gva, size } = pages[done]!;
    try {
      const { result, unchanged } = vcpu.pvalidate(gva, size, validate);
      if (result === RmpResult.FAIL_SIZEMISMATCH && size === PageSize.Huge) return { done, isMismatch: true };
      if (result !== RmpResult.SUCCESS) throw new SnpError('PVALIDATE_FAILED', { gva, validate, result });
      if (unchanged) throw new SnpError('PVALIDATE_UNCHANGED', { gva, validate });
    } catch (error) {
      // `trace` throws after the change. A fault, a result, or an error of the hypervisor comes in place of the change.
      const answer = executedBefore<PvalidateAnswer>(vcpu, error)?.answer;
      const hasChanged = answer?.result === RmpResult.SUCCESS && !answer.unchanged;
      if (hasChanged) return { done: done + 1, failure: { error } };
      // A page that was validated may have been replaced.
      return { done, failure: { error, unclear: validate ? 0 : 1 } };
    }
  }
  return { done: pages.length };
}

/** The parts of a 2 MiB page. */
export function smallPagesOf<Page extends PrivatePage>(page: Page): Page[] {
  return Array.from({ length: page.size / PAGE_SIZE }, (_, k) => ({
    ...page,
    gva: (page.gva + BigInt(k * PAGE_SIZE)) as VirtAddr,
    gpa: (page.gpa + BigInt(k * PAGE_SIZE)) as PhysAddr,
    size: PageSize.Regular,
  }));
}

/** Records pages, all or none. @throws SnpError `ALREADY_VALIDATED` */
function record({ validated }: ValidationContext, pages: readonly PrivatePage[]): void {
  if (validated === undefined) return;
  for (const [k, page] of pages.entries()) {
    try {
      validated.add(regionOf(page));
    } catch (error) {
      for (const added of pages.slice(0, k)) validated.remove(regionOf(added));
      throw error;
    }
  }
}

/** Runs the validator. If it throws, or ends early without a reason, each page may have changed. */
function run(
  { vcpu, validator = pvalidatePages }: ValidationContext,
  pages: readonly PrivatePage[],
  validate: boolean,
  inDoubt = false,
): ValidationProgress {
  try {
    const progress = validator(vcpu, pages, validate, inDoubt);
    if (isProgress(progress, pages.length)) return progress;
    const expected = `return an object whose done is ${pages.length}, or less with a reason`;
    return refuseArgument('the progress of a validator', progress, expected);
  } catch (error) {
    return { done: 0, failure: { error, unclear: pages.length } };
  }
}

/** Whether a validator has returned a progress: the number of all pages, or of fewer and a reason. */
function isProgress(progress: unknown, count: number): progress is ValidationProgress {
  if (typeof progress !== 'object' || progress === null) return false;
  const { done, failure, isMismatch } = progress as ValidationProgress;
  const isCount = Number.isInteger(done) && done >= 0 && done <= count;
  return isCount && (done === count || failure !== undefined || isMismatch === true);
}

/**
 * Rescinds the validation of pages after a failure, as far as possible. PVALIDATE has to report a change: else the hypervisor has
 * put another page there, and the validated one stays in the record. The first failure is the one to report.
 */
function takeBack(context: ValidationContext, pages: readonly PrivatePage[], onPage: OnPage): void {
  for (let queue = pages; queue.length > 0; ) {
    const progress = run(context, queue, false, true);
    const { done, failure } = progress;
    for (const page of queue.slice(0, done)) {
      context.validated?.remove(regionOf(page));
      onPage(page, 'rescinded');
    }
    const unclear = failure?.unclear ?? 0;
    // A page that fails is passed over, so that each round makes the queue shorter.
    const next = done + (done === 0 ? Math.max(unclear, 1) : unclear);
    queue = failure === undefined ? restOf(queue, progress) : queue.slice(next);
  }
}

/**
 * The pages that are left: none, or those from a 2 MiB page on that the RMP has in 4 KiB pages. Nothing else makes a validator
 * stop early without a failure.
 */
function restOf(pages: readonly PrivatePage[], { done }: ValidationProgress): readonly PrivatePage[] {
  const next = pages[done];
  return next === undefined ? [] : [...smallPagesOf(next), ...pages.slice(done + 1)];
}

function regionOf({ gpa, size }: PrivatePage): ReturnType<typeof pageRegion> {
  return pageRegion(gpa, size);
}
