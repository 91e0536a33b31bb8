import { PAGE_SIZE, PageSize, type PhysAddr, pageNumber } from '@svsm/address';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import type { NestedPage } from '../memory/nested-table.ts';
import type { GuestContext } from './platform.ts';

/** A translation as it was found, and what has been allowed through it since. */
export interface NestedTranslation {
  /** Of the first byte of a 4 KiB page. */
  readonly page: NestedPage;
  /** Its system frame number, and whether the nested table has it in a larger page. */
  readonly frame: number;
  readonly isHuge: boolean;
  /** What the RMP's entry, and the guest's flushes, had come to then. */
  readonly version: number;
  readonly generation: number;
  /** The kinds of access, as bits, that nested table and RMP have allowed. */
  allowed: number;
}

const OFFSET = BigInt(PAGE_SIZE - 1);

/**
 * Nested translations, and the RMP's verdicts on them, as a processor may cache them (AMD64 APM vol. 2, §15.36.2). A change
 * of the nested page table has no effect before the hypervisor flushes the guest's translations. A change of masks by
 * RMPADJUST has none before anyone flushes them: AMD does not promise more (§15.36.15). A change by RMPUPDATE, PSMASH,
 * PVALIDATE or the firmware drops the cached verdicts at once, on all processors (white paper "SEV-SNP: Strengthening VM
 * Isolation with Integrity Protection and More", "Reverse map table").
 *
 * Translations are kept in pages of 4 KiB, whatever the tables have. No capacity limit; INVLPG and loads of CR3 drop the
 * guest's own half only.
 */
export class NestedTlb {
  readonly #pages: Map<number, NestedTranslation> = new Map();

  /** How many translations it holds, dead ones included. */
  get size(): number {
    return this.#pages.size;
  }

  /** What it holds for `gpa`, or `undefined`. O(1). */
  lookup(guest: GuestContext, gpa: PhysAddr): NestedTranslation | undefined {
    const frame = pageNumber(gpa);
    const held = this.#pages.get(frame);
    if (held === undefined) return undefined;
    if (isAlive(guest, held)) return held;
    this.#pages.delete(frame);
    return undefined;
  }

  /**
   * The system frame that a guest-physical one leads to, if an access of the kind that has the bit `allowed` has been
   * allowed, else -1. O(1), without allocating.
   */
  frameOf(guest: GuestContext, frame: number, allowed: number): number {
    const held = this.#pages.get(frame);
    return held !== undefined && (held.allowed & allowed) !== 0 && isAlive(guest, held) ? held.frame : -1;
  }

  /** Remembers that an access to `gpa`, of the kind that has the bit `allowed`, goes to `page`. O(1). */
  insert(guest: GuestContext, gpa: PhysAddr, page: NestedPage, allowed: number): void {
    const spa = (page.spa & ~OFFSET) as SysPhysAddr;
    const { tlbGeneration: generation } = guest;
    const frame = pageNumber(spa);
    const isHuge = page.size !== PageSize.Regular;
    const version = guest.machine.rmp.versionOfPage(frame, isHuge);
    this.#pages.set(pageNumber(gpa), { page: { ...page, spa }, frame, isHuge, version, generation, allowed });
  }

  /** Forgets everything. */
  flushAll(): void {
    this.#pages.clear();
  }
}

/** Where `gpa` leads by a translation of its page. */
export function pageAt({ page }: NestedTranslation, gpa: PhysAddr): NestedPage {
  return { ...page, spa: (page.spa | (gpa & OFFSET)) as SysPhysAddr };
}

function isAlive({ tlbGeneration, machine }: GuestContext, held: NestedTranslation): boolean {
  return (
    held.generation === tlbGeneration && held.version === machine.rmp.versionOfPage(held.frame, held.isHuge)
  );
}
