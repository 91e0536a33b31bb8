import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import { VMPL_COUNT, Vmpl, VmplPermission } from '../formats/vmpl.ts';
import { pageRegion } from '../guest/validated-pages.ts';
import { instruction, type PageReach } from './page-reach.ts';
import { attempt, SvsmRefusal } from './svsm-refusal.ts';

/** The rights on a page, as its RMP entry has them. */
export interface PageRights {
  readonly gpa: PhysAddr;
  /** The size of a page in the RMP, within the page that was asked for. */
  readonly size: RmpPageSize;
  /** The masks of VMPL1 to VMPL3. */
  readonly masks: readonly number[];
  readonly vmsa: boolean;
}

/** Whether an instruction has changed a page. */
export interface Change {
  isMade: boolean;
}

const LEVELS = [Vmpl.Vmpl1, Vmpl.Vmpl2, Vmpl.Vmpl3] as const;

/**
 * The rights of the other levels on pages, which the SVSM reads by RMPQUERY and sets by RMPADJUST. Methods throw
 * `SvsmRefusal`: InvalidAddress for a fault, else the result of the instruction.
 */
export class RightsOfPages {
  readonly #vcpu: Vcpu;
  readonly #reach: PageReach;

  constructor(vcpu: Vcpu, reach: PageReach) {
    this.#vcpu = vcpu;
    this.#reach = reach;
  }

  /** The rights on a page: one element, or one for each 4 KiB page that the RMP has in a 2 MiB page. */
  of(gpa: PhysAddr, size: RmpPageSize): readonly PageRights[] {
    const first = this.#query(gpa);
    if (size === PageSize.Regular || first.size === PageSize.Huge) return [{ ...first, size }];
    const parts = [...pageRegion(gpa, size).iterPages(PageSize.Regular)];
    return parts.map((part, k) => (k === 0 ? first : { ...this.#query(part), size: PageSize.Regular }));
  }

  /**
   * The rights on a page of which the caller has `permissions`. The SVSM may do for a caller only what the caller may do
   * itself.
   *
   * @throws SvsmRefusal InvalidAddress without the permissions, and for a VMSA
   */
  require(gpa: PhysAddr, size: RmpPageSize, vmpl: number): readonly PageRights[] {
    const rights = this.of(gpa, size);
    for (const page of rights)
      if (page.vmsa || !hasAll(page, vmpl)) throw new SvsmRefusal(SvsmResult.InvalidAddress);
    return rights;
  }

  /** Requires that the caller may read and write the page of `gpa`. @throws SvsmRefusal InvalidAddress */
  requireAccess(gpa: bigint, vmpl: Vmpl): void {
    if (vmpl === Vmpl.Vmpl0) return;
    const page = (gpa & -BigInt(PAGE_SIZE)) as PhysAddr;
    const needed = VmplPermission.Read | VmplPermission.Write;
    const { permissions, vmsa } = this.#queryLevel(page, vmpl);
    if (vmsa || (permissions & needed) !== needed) throw new SvsmRefusal(SvsmResult.InvalidAddress);
  }

  /** Runs steps that change the rights on pages. If a step fails, the rights are as before. */
  undoing<T>(rights: readonly PageRights[], steps: () => T): T {
    try {
      return steps();
    } catch (error) {
      this.restore(rights);
      throw error;
    }
  }

  /** Sets rights. @throws SvsmRefusal if a page refuses them */
  set(rights: readonly PageRights[]): void {
    for (const { gpa, size, masks, vmsa } of rights) {
      for (const [k, level] of LEVELS.entries()) this.adjust(gpa, size, level, masks[k]!, vmsa);
    }
    this.#vcpu.invlpgb();
  }

  /** Sets rights as they were. A page that refuses it has fewer: the hypervisor has taken it away. */
  restore(rights: readonly PageRights[]): void {
    for (const { gpa, size, masks, vmsa } of rights) {
      for (const [k, level] of LEVELS.entries())
        attempt(() => this.adjust(gpa, size, level, masks[k]!, vmsa));
    }
    attempt(() => this.#vcpu.invlpgb());
  }

  /** Gives all rights on a page to `vmpl` and the levels between. */
  grant(gpa: PhysAddr, size: RmpPageSize, vmpl: number): void {
    for (let level = 1; level <= vmpl; level += 1) this.adjust(gpa, size, level, VmplPermission.Rwx, false);
  }

  /**
   * {@link grant} of a 4 KiB page on which no level has rights. If a step fails, the page is closed again, and the error
   * is returned. `isOpen`: whether a level has got rights that cannot be taken back.
   */
  tryGrant(gpa: PhysAddr, vmpl: number): { readonly error: unknown; readonly isOpen: boolean } {
    for (let level = 1; level <= vmpl; level += 1) {
      const change = { isMade: false };
      try {
        this.adjust(gpa, PageSize.Regular, level, VmplPermission.Rwx, false, change);
      } catch (error) {
        const isUntouched = level === 1 && !change.isMade;
        return { error, isOpen: !isUntouched && !attempt(() => this.revoke(gpa, PageSize.Regular)) };
      }
    }
    return { error: undefined, isOpen: true };
  }

  /** Whether the page of `gpa` is a VMSA in the RMP. */
  isVmsa(gpa: PhysAddr): boolean {
    return this.#queryLevel(gpa, Vmpl.Vmpl1).vmsa;
  }

  /** Takes all rights on a page from the other levels, and flushes, which RMPADJUST alone does not (§15.36.15). */
  revoke(gpa: PhysAddr, size: RmpPageSize): void {
    for (let level = 1; level < VMPL_COUNT; level += 1)
      this.adjust(gpa, size, level, VmplPermission.None, false);
    this.#vcpu.invlpgb();
  }

  /**
   * RMPADJUST of a page; page by page if the RMP has 4 KiB entries. Whatever is thrown, `change` says whether the page has
   * changed: an error of `trace`, or of unmapping, comes after the change.
   */
  adjust(
    gpa: PhysAddr,
    size: RmpPageSize,
    vmpl: number,
    permissions: number,
    vmsa: boolean,
    change: Change = { isMade: false },
  ): void {
    const adjustment = { vmpl, permissions, vmsa };
    const onExecuted = (answer: RmpResult): void => {
      change.isMade ||= answer === RmpResult.SUCCESS;
    };
    const result = this.#reach.at(gpa, size, (gva) =>
      instruction(this.#vcpu, () => this.#vcpu.rmpadjust(gva, size, adjustment), onExecuted),
    );
    if (result === RmpResult.FAIL_SIZEMISMATCH && size === PageSize.Huge) {
      for (const part of pageRegion(gpa, size).iterPages(PageSize.Regular)) {
        this.adjust(part, PageSize.Regular, vmpl, permissions, vmsa, change);
      }
    } else if (result !== RmpResult.SUCCESS) throw new SvsmRefusal(SvsmResult.InstructionFailed + result);
  }

  #query(gpa: PhysAddr): PageRights {
    const answers = LEVELS.map((level) => this.#queryLevel(gpa, level));
    const { pageSize, vmsa } = answers[0]!;
    return { gpa, size: pageSize, masks: answers.map(({ permissions }) => permissions), vmsa };
  }

  #queryLevel(gpa: PhysAddr, vmpl: Vmpl): { permissions: number; vmsa: boolean; pageSize: RmpPageSize } {
    const answer = this.#reach.at(gpa, PageSize.Regular, (gva) => this.#vcpu.rmpquery(gva, vmpl));
    if (answer.result !== RmpResult.SUCCESS) {
      throw new SvsmRefusal(SvsmResult.InstructionFailed + answer.result);
    }
    return answer;
  }
}

/** Whether a level has all rights on a page. VMPL0 always has. */
export function hasAll({ masks }: PageRights, vmpl: number): boolean {
  return vmpl === 0 || (masks[vmpl - 1]! & VmplPermission.Rwx) === VmplPermission.Rwx;
}
