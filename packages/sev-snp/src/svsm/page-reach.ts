import { PAGE_SIZE, PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import { executedBefore } from '../cpu/executed.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import { isSnpFault } from '../rmp/snp-fault.ts';
import type { GuestPageAccess } from './guest-page-access.ts';
import { SvsmRefusal } from './svsm-refusal.ts';

/** A page that is mapped at the moment. */
interface HeldPage {
  readonly gpa: bigint;
  readonly size: RmpPageSize;
  readonly gva: bigint;
}

/** Carries an error that `trace` has thrown after an instruction from the step to {@link PageReach}. */
class AfterInstruction extends Error {
  readonly error: unknown;

  constructor(error: unknown) {
    super();
    this.error = error;
  }
}

/**
 * A step that is a PVALIDATE or RMPADJUST of `vcpu`. `onExecuted` gets the answer as soon as the instruction has been executed,
 * even if `trace` throws then.
 */
export function instruction<T>(vcpu: Vcpu, execute: () => T, onExecuted: (answer: T) => void): T {
  let answer: T;
  try {
    answer = execute();
  } catch (error) {
    const executed = executedBefore<T>(vcpu, error);
    if (executed === undefined) throw error;
    onExecuted(executed.answer);
    throw new AfterInstruction(error);
  }
  onExecuted(answer);
  return answer;
}

/**
 * The pages of the guest as one processor of the SVSM reaches them. A fault of the access is a refusal, INVALID_ADDRESS. A fault
 * that comes after the step, from `trace` (see {@link instruction}) or from unmapping, is not a fault of the step: it goes on to
 * the caller, as other errors of callbacks do.
 */
export class PageReach {
  readonly #access: GuestPageAccess;
  readonly #held: Set<HeldPage> = new Set();

  constructor(access: GuestPageAccess) {
    this.#access = access;
  }

  /** Runs one step on the bytes from `gpa` on, which lie in one page of `size`. @throws SvsmRefusal */
  at<T>(gpa: bigint, size: RmpPageSize, step: (gva: VirtAddr) => T): T {
    const offset = gpa & BigInt(size - 1);
    const page = gpa - offset;
    const run = (gva: bigint): T => refusing(() => step((gva + offset) as VirtAddr));
    const held = this.#heldFor(page, size);
    return held === undefined ? this.#map(page, size, run) : run(held.gva + page - held.gpa);
  }

  /**
   * Keeps a page mapped while `steps` run, so that each of them finds it. Unmapping comes after the steps: if it fails, they have
   * happened.
   *
   * @throws SvsmRefusal if the page cannot be mapped; then no step has run
   */
  holding<T>(gpa: bigint, size: RmpPageSize, steps: () => T): T {
    const page = gpa & -BigInt(size);
    if (this.#heldFor(page, size) !== undefined) return steps();
    return this.#map(page, size, (gva) => {
      const held = { gpa: page, size, gva };
      this.#held.add(held);
      try {
        return steps();
      } finally {
        this.#held.delete(held);
      }
    });
  }

  #heldFor(page: bigint, size: RmpPageSize): HeldPage | undefined {
    for (const held of this.#held) {
      const distance = page - held.gpa;
      if (distance >= 0n && distance + BigInt(size) <= held.size) return held;
    }
    return undefined;
  }

  #map<T>(page: bigint, size: RmpPageSize, use: (gva: VirtAddr) => T): T {
    let outcome: { readonly value: T } | undefined;
    let failure: { readonly error: unknown } | undefined;
    const once = (gva: VirtAddr): T => {
      if (outcome !== undefined || failure !== undefined) throw unusable('again');
      try {
        outcome = { value: use(gva) };
        return outcome.value;
      } catch (error) {
        failure = { error };
        throw error;
      }
    };
    try {
      this.#access(page as PhysAddr, size, once);
    } catch (error) {
      if (outcome !== undefined) throw error;
      if (failure === undefined) throw refused(error);
    }
    if (failure !== undefined) throw failure.error;
    if (outcome === undefined) throw unusable('never');
    return outcome.value;
  }
}

/** The size of the page in which `length` bytes from `gpa` on lie. */
export function pageSizeOf(length: number): RmpPageSize {
  return length > PAGE_SIZE ? PageSize.Huge : PageSize.Regular;
}

function refusing<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw error instanceof AfterInstruction ? error.error : refused(error);
  }
}

/** The refusal for a fault of a step, or of mapping; other errors as they are. */
function refused(error: unknown): unknown {
  return isSnpFault(error) ? new SvsmRefusal(SvsmResult.InvalidAddress) : error;
}

function unusable(value: string): SnpError<'INVALID_ARGUMENT'> {
  const expected = 'call `use` once before it returns';
  return new SnpError('INVALID_ARGUMENT', {
    what: 'the access to a page, which called `use`',
    value,
    expected,
  });
}
