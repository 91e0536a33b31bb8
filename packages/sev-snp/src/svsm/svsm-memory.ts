import { PageSize, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import { VMPL_COUNT, type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import { pageRegion, ValidatedPages } from '../guest/validated-pages.ts';
import { isSnpFault } from '../rmp/snp-fault.ts';

/** What an SVSM is told about memory. */
export interface SvsmMemoryOptions {
  /** Its processor, at VMPL0. */
  readonly vcpu: Vcpu;
  /** Where it has a guest-physical page mapped, private and writable; whole 2 MiB of memory at multiples of 2 MiB. */
  readonly gvaOf: (gpa: PhysAddr) => VirtAddr;
  /** The guest-physical memory that there is, the SVSM's own included. */
  readonly memory: MemoryRegion<PhysAddr>;
  /** What of it is the SVSM's own. */
  readonly own: Iterable<MemoryRegion<PhysAddr>>;
  /** What of it is validated from the start: all if not given. */
  readonly validated?: Iterable<MemoryRegion<PhysAddr>>;
}

/**
 * Thrown within a call, and its result: never seen outside of `SvsmCore`.
 */
export class SvsmRefusal extends Error {
  readonly result: number;

  constructor(result: number) {
    super(`SVSM result 0x${result.toString(16)}`);
    this.result = result;
  }
}

/**
 * Memory as an SVSM deals with it: what is the guest's, what its own, what is validated; and each thing that it does to a
 * page. Every method throws `SvsmRefusal` with the result that the guest gets, never anything else that a guest or a
 * hypervisor could cause.
 */
export class SvsmMemory {
  readonly validated: ValidatedPages;
  readonly #own: RegionSet<PhysAddr>;
  readonly #options: SvsmMemoryOptions;

  constructor(options: SvsmMemoryOptions) {
    this.#options = options;
    this.#own = new RegionSet(Phys, options.own);
    this.validated = new ValidatedPages(options.memory, options.validated ?? [options.memory]);
  }

  /** Takes pages as the SVSM's own: VMSAs, and what is deposited. */
  take(gpa: PhysAddr, size: RmpPageSize): void {
    this.#own.add(pageRegion(gpa, size));
  }

  /** Gives them back. */
  release(gpa: PhysAddr, size: RmpPageSize): void {
    this.#own.remove(pageRegion(gpa, size));
  }

  /** @throws SvsmRefusal InvalidAddress unless all of it is the guest's */
  requireGuest(gpa: bigint, bytes: number): void {
    const region = Phys.isAddress(gpa) ? MemoryRegion.tryNew(Phys, gpa, bytes) : undefined;
    const isGuest =
      region !== undefined && this.#options.memory.containsRegion(region) && !this.#own.overlaps(region);
    if (!isGuest) throw new SvsmRefusal(SvsmResult.InvalidAddress);
  }

  /** Bytes within a page of the guest's. */
  read(gpa: bigint, length: number): Uint8Array {
    return this.#faulting(() => this.#options.vcpu.read(this.#gva(gpa), length));
  }

  write(gpa: bigint, bytes: Uint8Array): void {
    this.#faulting(() => this.#options.vcpu.write(this.#gva(gpa), bytes));
  }

  /**
   * Validates a page for a guest at `vmpl`: PVALIDATE, then zeroes, and only then access: so that nothing of what lay in
   * the page reaches the guest. A page that the record has as validated is not validated again, whatever is asked.
   */
  validate(gpa: PhysAddr, size: RmpPageSize, vmpl: Vmpl, ignoreUnchanged: boolean): void {
    const region = pageRegion(gpa, size);
    const { validated } = this;
    if (validated.firstIn(region) === undefined) {
      this.#pvalidate(gpa, size, true);
      validated.add(region);
    } else {
      if (validated.firstMissingIn(region) !== undefined) throw mixed();
      if (!ignoreUnchanged) throw new SvsmRefusal(SvsmResult.PvalidateUnchanged);
    }
    this.write(gpa, new Uint8Array(size));
    this.grant(gpa, size, vmpl);
  }

  /** Takes validation back: access of every other level first. */
  rescind(gpa: PhysAddr, size: RmpPageSize, ignoreUnchanged: boolean): void {
    const region = pageRegion(gpa, size);
    const { validated } = this;
    if (validated.firstIn(region) === undefined) {
      if (!ignoreUnchanged) throw new SvsmRefusal(SvsmResult.PvalidateUnchanged);
      return;
    }
    if (validated.firstMissingIn(region) !== undefined) throw mixed();
    this.revoke(gpa, size);
    this.#pvalidate(gpa, size, false);
    validated.remove(region);
  }

  /** Gives `vmpl`, and all levels between, everything that there is to a page. */
  grant(gpa: PhysAddr, size: RmpPageSize, vmpl: Vmpl): void {
    for (let level = 1; level <= vmpl; level += 1) this.adjust(gpa, size, level, VmplPermission.Rwx, false);
  }

  /** Takes a page from all other levels: from their TLBs too, which RMPADJUST alone does not promise (§15.36.15). */
  revoke(gpa: PhysAddr, size: RmpPageSize): void {
    for (let level = 1; level < VMPL_COUNT; level += 1)
      this.adjust(gpa, size, level, VmplPermission.None, false);
    this.#options.vcpu.invlpgb();
  }

  /** RMPADJUST; a page of 2 MiB that the RMP has in parts, part by part. */
  adjust(gpa: PhysAddr, size: RmpPageSize, vmpl: number, permissions: number, vmsa: boolean): void {
    const { vcpu } = this.#options;
    const adjustment = { vmpl, permissions, vmsa };
    const result = this.#faulting(() => vcpu.rmpadjust(this.#gva(gpa), size, adjustment));
    if (result === RmpResult.FAIL_SIZEMISMATCH) {
      for (const part of pageRegion(gpa, size).iterPages(PageSize.Regular)) {
        this.adjust(part, PageSize.Regular, vmpl, permissions, vmsa);
      }
    } else if (result !== RmpResult.SUCCESS) throw new SvsmRefusal(SvsmResult.InstructionFailed + result);
  }

  #pvalidate(gpa: PhysAddr, size: RmpPageSize, validate: boolean): void {
    const { vcpu } = this.#options;
    const { result, unchanged } = this.#faulting(() => vcpu.pvalidate(this.#gva(gpa), size, validate));
    if (result !== RmpResult.SUCCESS) throw new SvsmRefusal(SvsmResult.InstructionFailed + result);
    // The record says that it must change: another page is there than the one that it knows.
    if (unchanged) throw new SvsmRefusal(SvsmResult.PvalidateUnchanged);
  }

  #gva(gpa: bigint): VirtAddr {
    return this.#options.gvaOf(gpa as PhysAddr);
  }

  /** Any address that faults is INVALID_ADDRESS. */
  #faulting<T>(access: () => T): T {
    try {
      return access();
    } catch (error) {
      if (isSnpFault(error)) throw new SvsmRefusal(SvsmResult.InvalidAddress);
      throw error;
    }
  }
}

/** A 2 MiB page of which a part is validated: the RMP cannot have it as one page. */
function mixed(): SvsmRefusal {
  return new SvsmRefusal(SvsmResult.InstructionFailed + RmpResult.FAIL_SIZEMISMATCH);
}
