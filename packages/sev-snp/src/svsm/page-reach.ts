import { PAGE_SIZE, PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import { executedBefore } from '../cpu/executed.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import { isSnpFault } from '../rmp/snp-fault.ts';
import type { GuestPageAccess } from './guest-page-access.ts';
import { SvsmRefusal } from './svsm-refusal.ts';

/** Pages of one size that are mapped at the moment. */
interface HeldPages {
  readonly gpa: bigint;
  readonly size: RmpPageSize;
  readonly bytes: number;
  readonly gva: VirtAddr;
}

const OFFSET_4K = BigInt(PageSize.Regular - 1);
const OFFSET_2M = BigInt(PageSize.Huge - 1);

/** Carries an error that `trace` has thrown after an instruction from the step to {@link PageReach}. */
class AfterInstruction extends Error {
  readonly error: unknown;

  constructor(error: unknown) {
    super();
    this.error = error;
  }
}

/** Says that the access has no room for pages at once. */
class Declined extends Error {}

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
  /** The pages that are mapped: few. */
  readonly #held: HeldPages[] = [];

  constructor(access: GuestPageAccess) {
    this.#access = access;
  }

  /** Runs one step on the bytes from `gpa` on, which lie in one page of `size`. @throws SvsmRefusal */
  at<T>(gpa: bigint, size: RmpPageSize, step: (gva: VirtAddr) => T): T {
    const held = this.#heldFor(gpa, size);
    if (held !== undefined) {
      return refusing(step, gpa === held.gpa ? held.gva : ((held.gva + gpa - held.gpa) as VirtAddr));
    }
    const offset = gpa & (size === PageSize.Huge ? OFFSET_2M : OFFSET_4K);
    const page = (gpa - offset) as PhysAddr;
    return mapped(
      (use) => this.#access(page, size, use),
      (gva) => refusing(step, (gva + offset) as VirtAddr),
    );
  }

  /**
   * Keeps a page mapped while `steps` run, so that each of them finds it. Unmapping comes after the steps: if it fails, they have
   * happened.
   *
   * @throws SvsmRefusal if the page cannot be mapped; then no step has run
   */
  holding<T>(gpa: bigint, size: RmpPageSize, steps: () => T): T {
    const page = gpa & ~(size === PageSize.Huge ? OFFSET_2M : OFFSET_4K);
    if (this.#heldFor(page, size) !== undefined) return steps();
    return mapped(
      (use) => this.#access(page as PhysAddr, size, use),
      (gva) => this.#while({ gpa: page, size, bytes: size, gva }, steps),
    );
  }

  /**
   * As {@link holding}, of consecutive pages of 2 MiB, if the access has room for them and reaches them at once. Returns whether it
   * has run the steps.
   *
   * @throws the errors of the steps, of mapping other than faults, and of unmapping
   */
  tryHoldingRun(gpa: PhysAddr, count: number, steps: () => void): boolean {
    const { run } = this.#access;
    if (run === undefined) return false;
    let isMapped = false;
    const map = (use: (gva: VirtAddr) => void): void => {
      run(gpa, count, use);
      if (!isMapped) throw new Declined();
    };
    const held = (gva: VirtAddr): void => {
      isMapped = true;
      this.#while({ gpa, size: PageSize.Huge, bytes: count * PageSize.Huge, gva }, steps);
    };
    try {
      mapped(map, held);
      return true;
    } catch (error) {
      if (!isMapped && (error instanceof Declined || error instanceof SvsmRefusal)) return false;
      throw error;
    }
  }

  #while<T>(held: HeldPages, steps: () => T): T {
    this.#held.push(held);
    try {
      return steps();
    } finally {
      this.#held.splice(this.#held.indexOf(held), 1);
    }
  }

  /** The pages that are mapped and have all of the page of `size` around `gpa`. */
  #heldFor(gpa: bigint, size: RmpPageSize): HeldPages | undefined {
    for (let k = 0; k < this.#held.length; k += 1) {
      const held = this.#held[k]!;
      if (size > held.size) continue;
      if (gpa === held.gpa || (gpa >= held.gpa && gpa - held.gpa < held.bytes)) return held;
    }
    return undefined;
  }
}

/** The result of `use`, which `map` calls once while pages are mapped. @throws SvsmRefusal if they cannot be mapped */
function mapped<T>(map: (use: (gva: VirtAddr) => T) => unknown, use: (gva: VirtAddr) => T): T {
  let state: 'open' | 'used' | 'failed' = 'open';
  let value: T | undefined;
  let failure: unknown;
  const once = (gva: VirtAddr): T => {
    if (state !== 'open') throw unusable('again');
    try {
      value = use(gva);
      state = 'used';
      return value;
    } catch (error) {
      state = 'failed';
      failure = error;
      throw error;
    }
  };
  const now = (): typeof state => state;
  try {
    map(once);
  } catch (error) {
    if (now() === 'used') throw error;
    if (now() === 'open') throw refused(error);
  }
  if (now() === 'failed') throw failure;
  if (now() === 'open') throw unusable('never');
  return value as T;
}

/** The size of the page in which `length` bytes from `gpa` on lie. */
export function pageSizeOf(length: number): RmpPageSize {
  return length > PAGE_SIZE ? PageSize.Huge : PageSize.Regular;
}

function refusing<T>(step: (gva: VirtAddr) => T, gva: VirtAddr): T {
  try {
    return step(gva);
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
