import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import type { Vcpu } from '../cpu/vcpu.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import { Vmpl, VmplPermission } from '../formats/vmpl.ts';
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

/** An RMPADJUST, and the rights of its level on the page before. */
interface Adjusted {
  readonly gpa: PhysAddr;
  readonly size: RmpPageSize;
  readonly level: Vmpl;
  readonly before: number;
  readonly set: number;
  /** Whether the page was a VMSA before. */
  readonly vmsa: boolean;
}

/** The RMPADJUSTs of a call, in their order, so that they can be undone. */
export type RightsJournal = Adjusted[];

/** Whether an instruction has changed a page. */
export interface Change {
  isMade: boolean;
}

/** The levels below the SVSM's. */
export const LEVELS: readonly Vmpl[] = [Vmpl.Vmpl1, Vmpl.Vmpl2, Vmpl.Vmpl3];

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

  /**
   * Runs steps that change the rights on pages, and write each change to the journal. If a step fails, the rights that the steps
   * have changed are as before, and no level has more. Another processor of a level can take rights from lower levels meanwhile:
   * a right that has changed since is not given back, and the page has fewer rights. A right that is taken while the steps hold
   * it back cannot be seen: RMPADJUST of it changes nothing.
   */
  undoing<T>(steps: (journal: RightsJournal) => T): T {
    const journal: RightsJournal = [];
    try {
      return steps(journal);
    } catch (error) {
      for (const change of journal.reverse()) attempt(() => this.#undo(change));
      attempt(() => this.#vcpu.invlpgb());
      throw error;
    }
  }

  /** Sets rights. @throws SvsmRefusal if a page refuses them */
  set(rights: readonly PageRights[], journal?: RightsJournal): void {
    for (const { gpa, size, masks, vmsa } of rights) {
      for (const [k, level] of LEVELS.entries())
        this.#adjustNoting(gpa, size, level, masks[k]!, vmsa, journal);
    }
    this.#vcpu.invlpgb();
  }

  /** Takes all rights on a page from the other levels. A page that refuses it is one that the hypervisor has taken away. */
  close(gpa: PhysAddr, size: RmpPageSize): void {
    for (const level of LEVELS) attempt(() => this.adjust(gpa, size, level, VmplPermission.None, false));
    attempt(() => this.#vcpu.invlpgb());
  }

  /** Gives all rights on a page to levels. */
  grant(gpa: PhysAddr, size: RmpPageSize, levels: readonly Vmpl[], journal?: RightsJournal): void {
    for (const level of levels) this.#adjustNoting(gpa, size, level, VmplPermission.Rwx, false, journal);
  }

  /** Makes a page on which the other levels have no rights a VMSA. */
  makeVmsa(gpa: PhysAddr, journal?: RightsJournal): void {
    // VMPL1 as the target, as EDK2 and Linux do it: only VMPL0 sets the VMSA bit (AMD64 APM vol. 2, §15.36.12), and an
    // SVSM that does not run there gets FAIL_PERMISSION.
    this.#adjustNoting(gpa, PageSize.Regular, Vmpl.Vmpl1, VmplPermission.None, true, journal);
  }

  /**
   * {@link grant} of a 4 KiB page on which no level has rights. If a step fails, the page is closed again, and the error
   * is returned. `isOpen`: whether a level has got rights that cannot be taken back.
   */
  tryGrant(gpa: PhysAddr, levels: readonly Vmpl[]): { readonly error: unknown; readonly isOpen: boolean } {
    for (const level of levels) {
      const change = { isMade: false };
      try {
        this.adjust(gpa, PageSize.Regular, level, VmplPermission.Rwx, false, change);
      } catch (error) {
        const isUntouched = level === levels[0] && !change.isMade;
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
  revoke(gpa: PhysAddr, size: RmpPageSize, journal?: RightsJournal): void {
    this.revokeUnflushed(gpa, size, journal);
    this.flush();
  }

  /** {@link revoke} without the flush: until {@link flush}, a TLB can still have the rights. */
  revokeUnflushed(gpa: PhysAddr, size: RmpPageSize, journal?: RightsJournal): void {
    for (const level of LEVELS) this.#adjustNoting(gpa, size, level, VmplPermission.None, false, journal);
  }

  /** Drops what the TLBs of the guest's processors have of rights that were taken. */
  flush(): void {
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

  /** {@link adjust} of each part that the RMP has, after a note of what it changes, if there is a journal. */
  #adjustNoting(
    gpa: PhysAddr,
    size: RmpPageSize,
    level: Vmpl,
    set: number,
    vmsa: boolean,
    journal: RightsJournal | undefined,
  ): void {
    if (journal === undefined) {
      this.adjust(gpa, size, level, set, vmsa);
      return;
    }
    for (const part of this.#partsOf(gpa, size)) {
      const now = this.#queryLevel(part.gpa, level);
      journal.push({ ...part, level, before: now.permissions, set, vmsa: now.vmsa });
      this.adjust(part.gpa, part.size, level, set, vmsa);
    }
  }

  /** Undoes an RMPADJUST. If another one came after it, the level keeps of its rights what it had before too. */
  #undo({ gpa, size, level, before, set, vmsa }: Adjusted): void {
    for (const part of this.#partsOf(gpa, size)) {
      attempt(() => {
        const now = this.#queryLevel(part.gpa, level);
        const mask = now.permissions === set ? before : now.permissions & before;
        if (mask !== now.permissions || vmsa !== now.vmsa) {
          this.adjust(part.gpa, part.size, level, mask, vmsa);
        }
      });
    }
  }

  /** The pages that the RMP has in a page. */
  #partsOf(
    gpa: PhysAddr,
    size: RmpPageSize,
  ): readonly { readonly gpa: PhysAddr; readonly size: RmpPageSize }[] {
    if (size === PageSize.Regular) return [{ gpa, size }];
    if (this.#queryLevel(gpa, Vmpl.Vmpl1).pageSize === PageSize.Huge) return [{ gpa, size }];
    return [...pageRegion(gpa, size).iterPages(PageSize.Regular)].map((part) => ({
      gpa: part,
      size: PageSize.Regular,
    }));
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

/** The rights on a page before a journal that changes each level once, as far as `page` has them too. */
export function rightsBefore(page: PageRights, journal: RightsJournal): PageRights {
  const masks = LEVELS.map((level, k) => {
    const changes = journal.filter((change) => change.level === level);
    return changes.reduce((mask, { before }) => mask & before, page.masks[k]!);
  });
  return { ...page, masks };
}

/** The levels that have not all rights on every page. */
export function levelsWithout(rights: readonly PageRights[]): readonly Vmpl[] {
  return LEVELS.filter((level) => !rights.every((page) => hasAll(page, level)));
}

/** Whether a level has all rights on a page. VMPL0 always has. */
function hasAll({ masks }: PageRights, vmpl: number): boolean {
  return vmpl === 0 || (masks[vmpl - 1]! & VmplPermission.Rwx) === VmplPermission.Rwx;
}
