import { PageSize, type PhysAddr } from '@svsm/address';
import type { PvalidateAnswer } from '../cpu/guest-instructions.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import { pageRegion } from '../guest/validated-pages.ts';
import { instruction, type PageReach, pageSizeOf } from './page-reach.ts';
import { type Change, levelsWithout, RightsOfPages, rightsBefore } from './page-rights.ts';
import type { SvsmRecords } from './svsm-records.ts';
import { attempt, SvsmRefusal, unlessRefused } from './svsm-refusal.ts';

/**
 * The operations of an SVSM's processor on pages of the guest. The caller has claimed the pages. Whatever a guest or a
 * hypervisor does, a method throws nothing but `SvsmRefusal`, with the result for the guest, and then the page, the rights
 * on it and the record are as before. If the hypervisor refuses to let the SVSM undo a step, the page has fewer rights, and
 * the record agrees with the RMP.
 */
export class GuestPages {
  readonly rights: RightsOfPages;
  readonly reach: PageReach;
  readonly #vcpu: Vcpu;
  readonly #state: SvsmRecords;

  constructor(state: SvsmRecords, vcpu: Vcpu, reach: PageReach) {
    this.#state = state;
    this.#vcpu = vcpu;
    this.reach = reach;
    this.rights = new RightsOfPages(vcpu, reach);
  }

  /** Reads bytes of a page. */
  read(gpa: bigint, length: number): Uint8Array {
    return this.reach.at(gpa, PageSize.Regular, (gva) => this.#vcpu.read(gva, length));
  }

  /**
   * Whether a processor runs with the page as its VMSA. The translation is the one that accesses of the SVSM have: the
   * hypervisor's table can say something else, as long as a TLB has the old translation. `false` for a page that cannot
   * be reached: accesses fault.
   */
  isInUse(gpa: PhysAddr): boolean {
    const { machine } = this.#vcpu.guest;
    const spa = unlessRefused(() =>
      this.reach.at(gpa, PageSize.Regular, (gva) => this.#vcpu.translate(gva).spa),
    );
    return spa !== undefined && machine.rmp.isInUse(spa, PageSize.Regular);
  }

  /** Writes bytes of a page. */
  write(gpa: bigint, bytes: Uint8Array): void {
    this.reach.at(gpa, pageSizeOf(bytes.length), (gva) => this.#vcpu.write(gva, bytes));
  }

  /** Writes 8 bytes if `expected` was there. Returns what was there. */
  compareExchange(gpa: bigint, expected: bigint, value: bigint): bigint {
    return this.reach.at(gpa, PageSize.Regular, (gva) => this.#vcpu.compareExchange(gva, expected, value));
  }

  /** Writes zeros to a page. */
  clear(gpa: bigint, size: RmpPageSize): void {
    this.reach.at(gpa, size, (gva) => this.#vcpu.clear(gva, size));
  }

  /**
   * Validates a page for a guest at `vmpl`: PVALIDATE, then zeroes, and only then access, so that the guest never reads
   * old content. A page that the record has as validated is not validated again, even if the guest asks for it: it is
   * cleared, if the caller has all rights on it.
   */
  validate(gpa: PhysAddr, size: RmpPageSize, vmpl: number, ignoreUnchanged: boolean): void {
    const region = pageRegion(gpa, size);
    const { validated } = this.#state;
    if (validated.firstIn(region) !== undefined) {
      if (validated.firstMissingIn(region) !== undefined) throw mixed();
      this.#clearAgain(gpa, size, vmpl, ignoreUnchanged);
      return;
    }
    this.#state.requireValidatable(region, vmpl);
    validated.add(region);
    const change = { isMade: false };
    try {
      this.#pvalidate(gpa, size, true, change);
    } catch (error) {
      if (change.isMade) this.#takeBack(gpa, size);
      else validated.remove(region);
      throw error;
    }
    try {
      this.clear(gpa, size);
      this.rights.grant(gpa, size, this.#state.levelsFor(region, vmpl));
    } catch (error) {
      this.#takeBack(gpa, size);
      throw error;
    }
    this.#state.allowAll(region);
  }

  /**
   * Rescinds the validation of a page. First every other level loses its access.
   *
   * @param revoke - how they lose it: without a flush, the page must not get another use until one comes
   */
  rescind(
    gpa: PhysAddr,
    size: RmpPageSize,
    vmpl: number,
    ignoreUnchanged: boolean,
    revoke: 'revoke' | 'revokeUnflushed' = 'revoke',
  ): void {
    const region = pageRegion(gpa, size);
    const { validated } = this.#state;
    if (validated.firstIn(region) === undefined) {
      if (!ignoreUnchanged) throw new SvsmRefusal(SvsmResult.PvalidateUnchanged);
      return;
    }
    if (validated.firstMissingIn(region) !== undefined) throw mixed();
    const rights = this.rights.require(gpa, size, vmpl);
    if (rights.length > 1) throw mixed();
    let withheld = levelsWithout(rights);
    const change = { isMade: false };
    try {
      this.rights.undoing((journal) => {
        this.rights[revoke](gpa, size, journal);
        withheld = levelsWithout([rightsBefore(rights[0]!, journal)]);
        this.#pvalidate(gpa, size, false, change);
      });
    } finally {
      if (change.isMade) {
        validated.remove(region);
        this.#state.withhold(region, withheld);
      }
    }
  }

  /**
   * Clears a page that is validated already, and on which the caller has all rights. The rights stay as they are: it is not
   * validated again, and a right that was given here could not be taken back from a page that the hypervisor hides.
   */
  #clearAgain(gpa: PhysAddr, size: RmpPageSize, vmpl: number, ignoreUnchanged: boolean): void {
    if (!ignoreUnchanged) throw new SvsmRefusal(SvsmResult.PvalidateUnchanged);
    this.rights.require(gpa, size, vmpl);
    this.clear(gpa, size);
  }

  /**
   * Takes back a validation after a failure, in 4 KiB pages if the RMP has 4 KiB entries. PVALIDATE has to report a
   * change: else the hypervisor has put another page there, and the validated one stays in the record. The levels that
   * may not validate the page are as before.
   */
  #takeBack(gpa: PhysAddr, size: RmpPageSize): void {
    this.rights.close(gpa, size);
    this.#unvalidate(gpa, size);
  }

  #unvalidate(gpa: PhysAddr, size: RmpPageSize): void {
    const region = pageRegion(gpa, size);
    const change: Change = { isMade: false };
    let isMismatch = false;
    attempt(() => {
      isMismatch = this.#execute(gpa, size, false, change).result === RmpResult.FAIL_SIZEMISMATCH;
    });
    if (change.isMade) this.#state.validated.remove(region);
    if (!isMismatch || size !== PageSize.Huge) return;
    for (const part of region.iterPages(PageSize.Regular)) this.#unvalidate(part, PageSize.Regular);
  }

  #pvalidate(gpa: PhysAddr, size: RmpPageSize, validate: boolean, change: Change): void {
    const { result, unchanged } = this.#execute(gpa, size, validate, change);
    if (result !== RmpResult.SUCCESS) throw new SvsmRefusal(SvsmResult.InstructionFailed + result);
    // By the record it has to change: the hypervisor has put another page there.
    if (unchanged) throw new SvsmRefusal(SvsmResult.PvalidateUnchanged);
  }

  /** PVALIDATE. Whatever is thrown, `change` says whether the page has changed: an error of `trace` comes after the change. */
  #execute(gpa: PhysAddr, size: RmpPageSize, validate: boolean, change: Change): PvalidateAnswer {
    const onExecuted = ({ result, unchanged }: PvalidateAnswer): void => {
      change.isMade = result === RmpResult.SUCCESS && !unchanged;
    };
    return this.reach.at(gpa, size, (gva) =>
      instruction(this.#vcpu, () => this.#vcpu.pvalidate(gva, size, validate), onExecuted),
    );
  }
}

/** The refusal of a 2 MiB page that the RMP or the record has in parts: PVALIDATE of 2 MiB would fail. */
function mixed(): SvsmRefusal {
  return new SvsmRefusal(SvsmResult.InstructionFailed + RmpResult.FAIL_SIZEMISMATCH);
}
