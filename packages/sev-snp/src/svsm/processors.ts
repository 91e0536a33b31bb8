import type { PhysAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { VcpuContext } from '../cpu/platform.ts';
import type { PageRights } from './page-rights.ts';

/** A processor that may call. */
export interface Processor {
  /** Its calling area. */
  caa: PhysAddr;
  /** Its VMSA; `undefined` for a processor that was registered without one. */
  readonly vmsa: PhysAddr | undefined;
  readonly vmpl: number;
  /** `undefined` for a processor that was registered. */
  readonly apicId: number | undefined;
  /** The rights on the page of its VMSA before CREATE_VCPU; `undefined` for a processor that was registered. */
  readonly rightsBefore: readonly PageRights[] | undefined;
  /**
   * Whether a call of it is in progress, or it is deleted. Also set once the SVSM could not deliver the results of a call:
   * the processor is stopped then.
   */
  isBusy: boolean;
}

/** The processors that may call: one record for each. */
export class ProcessorTable {
  readonly #registered: Map<object, Processor> = new Map();
  /** The processors that CREATE_VCPU has made, by VMSA. */
  readonly #created: Map<bigint, Processor> = new Map();

  /** The record of a processor, by registration or by its VMSA. */
  of(vcpu: VcpuContext): Processor | undefined {
    const registered = this.#registered.get(vcpu);
    if (registered !== undefined) return registered;
    const created = vcpu.vmsa === undefined ? undefined : this.#created.get(vcpu.vmsa.gpa);
    return created?.vmpl === vcpu.vmpl ? created : undefined;
  }

  /** The processor that CREATE_VCPU has made with the VMSA at `gpa`. */
  createdAt(gpa: bigint): Processor | undefined {
    return this.#created.get(gpa);
  }

  /** Whether the table has this record. */
  has(processor: Processor): boolean {
    for (const held of this) if (held === processor) return true;
    return false;
  }

  register(vcpu: VcpuContext, processor: Processor): void {
    this.#registered.set(vcpu, processor);
  }

  addCreated(vmsa: PhysAddr, processor: Processor): void {
    this.#created.set(vmsa, processor);
  }

  deleteCreated(vmsa: PhysAddr): void {
    this.#created.delete(vmsa);
  }

  /** The processors that CREATE_VCPU has made. */
  get created(): Iterable<Processor> {
    return this.#created.values();
  }

  /** Whether a calling area lies in a region. O(processors). */
  hasCallingAreaIn(region: MemoryRegion<PhysAddr>): boolean {
    for (const { caa } of this.#registered.values()) if (region.contains(caa)) return true;
    for (const { caa } of this.#created.values()) if (region.contains(caa)) return true;
    return false;
  }

  *[Symbol.iterator](): Generator<Processor, undefined, undefined> {
    yield* this.#registered.values();
    yield* this.#created.values();
  }
}
