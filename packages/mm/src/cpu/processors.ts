import { showInConsoles } from '@svsm/address';
import { refuseArgument, requireFunction, requireInstance, requireInteger } from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';
import { PageUses } from './page-uses.ts';
import type { PerCpu } from './per-cpu.ts';
import { ShootDown, type ShootDownOptions } from './shoot-down.ts';

/** The processors of an SVSM, and the one on whose behalf code runs. */
export class Processors {
  static {
    showInConsoles(this, 'Processors', ({ list }) => ({ list }));
  }

  /** Flushes of one processor, and of all of them. */
  readonly shootDown: ShootDown;
  /** The physical pages that mappings for a time use, of one processor or of all. */
  readonly uses: PageUses = new PageUses();
  readonly #cpus: Map<number, PerCpu> = new Map();
  /** The processors of the calls of {@link on} that run, innermost last. */
  readonly #current: PerCpu[] = [];

  /** @throws MmError `INVALID_ARGUMENT` */
  constructor(options?: ShootDownOptions) {
    this.shootDown = new ShootDown(options);
  }

  /** All processors, in the order in which they were started. */
  get list(): readonly PerCpu[] {
    return [...this.#cpus.values()];
  }

  /** Adds a processor. The first one is current while {@link on} does not run. @throws MmError `INVALID_ARGUMENT`, `ALREADY_STARTED` */
  add(cpu: PerCpu): void {
    requireInstance('the processor', cpu, 'PerCpu');
    const { apicId } = cpu;
    if (this.#cpus.has(apicId)) throw new MmError('ALREADY_STARTED', { apicId });
    this.#cpus.set(apicId, cpu);
  }

  /** Removes a processor. @throws MmError `INVALID_ARGUMENT`, `NO_SUCH_CPU` */
  remove(apicId: number): void {
    requireApicId(apicId);
    if (!this.#cpus.delete(apicId)) throw new MmError('NO_SUCH_CPU', { apicId });
  }

  /** The processor with an APIC ID. @throws MmError `INVALID_ARGUMENT`, `NO_SUCH_CPU` */
  get(apicId: number): PerCpu {
    requireApicId(apicId);
    const cpu = this.#cpus.get(apicId);
    if (cpu === undefined) throw new MmError('NO_SUCH_CPU', { apicId });
    return cpu;
  }

  /** The processor on whose behalf code runs: that of the innermost {@link on}, else the first one. @throws MmError `NO_CURRENT_CPU` */
  thisCpu(): PerCpu {
    const cpu = this.#current.at(-1) ?? this.#cpus.values().next().value;
    if (cpu === undefined) throw new MmError('NO_CURRENT_CPU', {});
    return cpu;
  }

  /**
   * Runs `run` on behalf of a processor, and returns its result. Calls can be nested: afterwards the processor from before is
   * current again, also if `run` throws.
   *
   * @param cpu - a processor, or its APIC ID
   * @throws MmError `NO_SUCH_CPU`; `INVALID_ARGUMENT` for another type, or if `run` is not a function, or returns a promise: code
   *   that runs later would run on behalf of another processor; the errors of `run`
   */
  on<T>(cpu: PerCpu | number, run: () => T): T {
    requireFunction('run', run);
    if (typeof cpu !== 'number') requireInstance('the processor', cpu, 'PerCpu', 'a PerCpu, or an APIC ID');
    const apicId = typeof cpu === 'number' ? cpu : cpu.apicId;
    const found = this.get(apicId);
    if (typeof cpu !== 'number' && cpu !== found) throw new MmError('NO_SUCH_CPU', { apicId });
    const depth = this.#current.push(found);
    try {
      const result = run();
      if (isThenable(result)) refuseArgument('the result of run', result, 'run must not be asynchronous');
      return result;
    } finally {
      this.#current.length = depth - 1;
    }
  }
}

function requireApicId(apicId: number): void {
  requireInteger('the APIC ID', apicId, 0, 0xffff_ffff);
}

function isThenable(value: unknown): boolean {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  return typeof (value as { then?: unknown }).then === 'function';
}
