import { PageSize, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import { VMPL_COUNT, type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import { pageRegion, ValidatedPages } from '../guest/validated-pages.ts';
import { isSnpFault } from '../rmp/snp-fault.ts';

/** The memory of an SVSM and its guest. */
export interface SvsmMemoryOptions {
  /** The processor of the SVSM, at VMPL0. */
  readonly vcpu: Vcpu;
  /**
   * The virtual address at which the SVSM maps a guest-physical page, private and writable. Each 2 MiB of memory is
   * mapped as a whole, at a multiple of 2 MiB.
   */
  readonly gvaOf: (gpa: PhysAddr) => VirtAddr;
  /** All guest-physical memory, including the SVSM's own. */
  readonly memory: MemoryRegion<PhysAddr>;
  /** The SVSM's own memory. */
  readonly own: Iterable<MemoryRegion<PhysAddr>>;
  /** The memory that is validated from the start: all of it if not given. */
  readonly validated?: Iterable<MemoryRegion<PhysAddr>>;
}

/** A refusal within a call, with the result of the call. It never leaves `SvsmCore`. */
export class SvsmRefusal extends Error {
  readonly result: number;

  constructor(result: number) {
    super(`SVSM result 0x${result.toString(16)}`);
    this.result = result;
  }
}

/**
 * The memory of an SVSM: which pages belong to the guest and which to the SVSM, which are validated, and the operations
 * on them. Whatever a guest or a hypervisor does, a method throws nothing but `SvsmRefusal`, with the result for the
 * guest.
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

  /** Makes pages the SVSM's own: VMSAs, and deposited pages. */
  take(gpa: PhysAddr, size: RmpPageSize): void {
    this.#own.add(pageRegion(gpa, size));
  }

  /** Makes pages the guest's again. */
  release(gpa: PhysAddr, size: RmpPageSize): void {
    this.#own.remove(pageRegion(gpa, size));
  }

  /** @throws SvsmRefusal InvalidAddress unless all bytes belong to the guest */
  requireGuest(gpa: bigint, bytes: number): void {
    const region = Phys.isAddress(gpa) ? MemoryRegion.tryNew(Phys, gpa, bytes) : undefined;
    const isGuest =
      region !== undefined && this.#options.memory.containsRegion(region) && !this.#own.overlaps(region);
    if (!isGuest) throw new SvsmRefusal(SvsmResult.InvalidAddress);
  }

  /** Reads bytes of a page of the guest. */
  read(gpa: bigint, length: number): Uint8Array {
    return this.#faulting(() => this.#options.vcpu.read(this.#gva(gpa), length));
  }

  /** Writes bytes of a page of the guest. */
  write(gpa: bigint, bytes: Uint8Array): void {
    this.#faulting(() => this.#options.vcpu.write(this.#gva(gpa), bytes));
  }

  /**
   * Validates a page for a guest at `vmpl`: PVALIDATE, then zeroes, and only then access, so that the guest never reads
   * old content. A page that the record has as validated is not validated again, even if the guest asks for it.
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

  /** Rescinds the validation of a page. First every other level loses its access. */
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

  /** Gives all rights on a page to `vmpl` and the levels between. */
  grant(gpa: PhysAddr, size: RmpPageSize, vmpl: Vmpl): void {
    for (let level = 1; level <= vmpl; level += 1) this.adjust(gpa, size, level, VmplPermission.Rwx, false);
  }

  /** Takes all rights on a page from the other levels, and flushes, which RMPADJUST alone does not (§15.36.15). */
  revoke(gpa: PhysAddr, size: RmpPageSize): void {
    for (let level = 1; level < VMPL_COUNT; level += 1)
      this.adjust(gpa, size, level, VmplPermission.None, false);
    this.#options.vcpu.invlpgb();
  }

  /** RMPADJUST of a page; page by page if the RMP has 4 KiB entries. */
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
    // By the record it has to change: the hypervisor has put another page there.
    if (unchanged) throw new SvsmRefusal(SvsmResult.PvalidateUnchanged);
  }

  #gva(gpa: bigint): VirtAddr {
    return this.#options.gvaOf(gpa as PhysAddr);
  }

  /** An address that faults is INVALID_ADDRESS. */
  #faulting<T>(access: () => T): T {
    try {
      return access();
    } catch (error) {
      if (isSnpFault(error)) throw new SvsmRefusal(SvsmResult.InvalidAddress);
      throw error;
    }
  }
}

/** The refusal of a 2 MiB page of which a part is validated: it cannot be one page in the RMP. */
function mixed(): SvsmRefusal {
  return new SvsmRefusal(SvsmResult.InstructionFailed + RmpResult.FAIL_SIZEMISMATCH);
}
