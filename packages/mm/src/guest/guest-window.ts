import { PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { GuestPageAccess, RmpPageSize } from '@svsm/sev-snp';
import type { PerCpu } from '../cpu/per-cpu.ts';
import {
  requireFunction,
  requireInstance,
  requireInteger,
  requireOneOf,
  requireOptions,
} from '../formats/arguments.ts';
import { WindowSlots } from './window-slots.ts';

/** Options of a {@link GuestWindow}. */
export interface GuestWindowOptions {
  /** The number of pages of 4 KiB that can be used before a flush: 32 if not given. */
  readonly small?: number;
  /** The number of pages of 2 MiB that can be used before a flush: 128 if not given. */
  readonly huge?: number;
}

const SIZES = [PageSize.Regular, PageSize.Huge] as const;

/**
 * The pages of the guest as one processor of the SVSM uses them: each is mapped for a moment, at an address of the processor's
 * temporary ranges. No memory of the guest stays mapped. One flush comes before addresses are used a second time, not with each
 * page.
 */
export class GuestWindow implements Disposable {
  /** The argument of `SvsmState.on`. */
  readonly access: GuestPageAccess;
  readonly #small: WindowSlots;
  readonly #huge: WindowSlots;

  /**
   * @param cpu - the processor, whose addresses it takes
   * @throws MmError `INVALID_ARGUMENT`; `NO_VIRTUAL_RANGE` if a temporary range has no room
   */
  constructor(cpu: PerCpu, options: GuestWindowOptions = {}) {
    requireInstance('the processor', cpu, 'PerCpu');
    const { small, huge } = requireWindow(options);
    const place = { mapper: cpu.part, flush: cpu.flush.bind(cpu) };
    this.#small = new WindowSlots({ ...place, range: cpu.temp4k }, small);
    try {
      this.#huge = new WindowSlots({ ...place, range: cpu.temp2m }, huge);
    } catch (error) {
      this.#small.release();
      throw error;
    }
    const access = <T>(gpa: PhysAddr, size: RmpPageSize, use: (gva: VirtAddr) => T): T => {
      requireOneOf('the page size', size, SIZES);
      requireFunction('use', use);
      return (size === PageSize.Huge ? this.#huge : this.#small).with(gpa, use);
    };
    const run = (gpa: PhysAddr, count: number, use: (gva: VirtAddr) => void): void => {
      requireInteger('the number of pages', count, 1);
      requireFunction('use', use);
      this.#huge.withRun(gpa, count, use);
    };
    this.access = Object.assign(access, { run });
  }

  /** Flushes what has been used, and gives the addresses back. The window cannot be used any more. */
  [Symbol.dispose](): void {
    this.#small.release();
    this.#huge.release();
  }
}

/** The options of a window, all given. @throws MmError `INVALID_ARGUMENT` */
export function requireWindow(options: GuestWindowOptions): Required<GuestWindowOptions> {
  requireOptions('options', options, ['small', 'huge']);
  const { small = 32, huge = 128 } = options;
  requireInteger('small', small, 1);
  requireInteger('huge', huge, 1);
  return { small, huge };
}
