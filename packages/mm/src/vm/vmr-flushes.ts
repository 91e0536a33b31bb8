import type { VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import { MmError } from '../formats/mm-error.ts';

/** A processor as a `Vmr` uses it: `PerCpu` is one. */
export interface VmrCpu {
  /** The page table in which the mappings appear. */
  readonly pageTable: PageTable;
  /** Drops the translations of a region from the TLB of this processor. */
  flush(region: MemoryRegion<VirtAddr>): void;
}

/** A flush that has failed, and what has to wait for it. */
interface Owed {
  readonly region: MemoryRegion<VirtAddr>;
  readonly cpus: Set<VmrCpu>;
  readonly done: () => void;
}

/** The flushes of a `Vmr`. What an old translation could still reach is freed only after them. */
export class VmrFlushes {
  /** The processors that have the mappings. */
  readonly cpus: Set<VmrCpu> = new Set();
  readonly #owed: Set<Owed> = new Set();

  /**
   * Flushes a region on processors, then calls `done`. If a flush fails, both are owed.
   *
   * @throws MmError `FLUSH_FAILED`, with the error of the flush as the cause
   */
  run(region: MemoryRegion<VirtAddr>, done: () => void, cpus: Iterable<VmrCpu> = this.cpus): void {
    const owed = { region, cpus: new Set(cpus), done };
    this.#owed.add(owed);
    this.#pay(owed);
  }

  /** Repeats the flushes that have failed. @throws MmError `FLUSH_FAILED` if one fails again */
  settle(): void {
    for (const owed of this.#owed) this.#pay(owed);
  }

  #pay(owed: Owed): void {
    const { region, cpus, done } = owed;
    try {
      for (const cpu of cpus) {
        cpu.flush(region);
        cpus.delete(cpu);
      }
    } catch (cause) {
      throw new MmError('FLUSH_FAILED', { region: String(region) }, { cause });
    }
    this.#owed.delete(owed);
    done();
  }
}
