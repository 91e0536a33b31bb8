import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr, pageNumber, showInConsoles } from '@svsm/address';
import { readArgument, refuseArgument, requireOneOf, requireWhole } from '../formats/arguments.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { VMPL_COUNT, Vmpl } from '../formats/vmpl.ts';
import type { NestedPage } from '../memory/nested-table.ts';
import { requireGuest } from './context-checks.ts';
import type { GuestContext } from './platform.ts';

/** A cached nested translation, and the kinds of access that were allowed through it. */
export interface NestedTranslation {
  /** The translation of the first byte of a page, and the size of the page: 4 KiB or 2 MiB. */
  readonly page: NestedPage;
  readonly size: number;
  /** Its system frame number; and whether the nested table maps it with a larger page. */
  readonly frame: number;
  readonly isHuge: boolean;
  /** The version of the RMP entry, and the number of the guest's flushes, at the time of the walk. */
  readonly version: number;
  readonly generation: number;
  /** The kinds of access, as bits of `accessBit`, that nested table and RMP have allowed. */
  allowed: number;
  /** `Rmp.changes` when the version was compared last. */
  checkedAt: number;
}

const OFFSET = BigInt(PAGE_SIZE - 1);
const PAGE_MASK = -BigInt(PAGE_SIZE);
const LARGE_OFFSET = BigInt(PAGE_SIZE_2M - 1);

/** The translations of one level of one guest, by guest-physical frame number. */
interface Space {
  readonly guest: GuestContext;
  readonly vmpl: Vmpl;
  readonly pages: Map<number, NestedTranslation>;
  /** Translations of 2 MiB that were accessed at once, by guest-physical address in units of 2 MiB. */
  readonly large: Map<number, NestedTranslation>;
}

const PARTS = PAGE_SIZE_2M / PAGE_SIZE;

/**
 * Nested translations, and the RMP's verdicts on them, as a processor may cache them (AMD64 APM vol. 2, §15.36.2). A
 * change of the nested page table has no effect before the hypervisor flushes the guest's translations. A change of
 * masks by RMPADJUST has none before anyone flushes them: AMD does not promise more (§15.36.15). A change by RMPUPDATE,
 * PSMASH, PVALIDATE or the firmware drops the cached verdicts at once, on all processors (white paper "SEV-SNP:
 * Strengthening VM Isolation with Integrity Protection and More", "Reverse map table").
 *
 * An entry has the ASID of its guest as its tag (AMD64 APM vol. 2, §15.16), and the VMPL, on which the verdict depends. So
 * guests and levels that run on one processor can share a cache, and none meets an entry of another. If another guest gets
 * the ASID, the entries of the first one are dropped, as the flush demands that has to precede it (§15.16.1).
 *
 * Translations are cached in pages of 4 KiB, for every page size, without a limit of capacity; those of 2 MiB that one access
 * covers, as one. INVLPG and loads of CR3
 * drop the guest's own half only.
 */
export class NestedTlb {
  static {
    showInConsoles(this, 'NestedTlb', ({ size }) => ({ size }));
  }

  /** By tag: ASID and VMPL. */
  readonly #spaces: Map<number, Space> = new Map();
  #last: Space | undefined;
  #changes = 0;

  /** A count that grows whenever an access may go to another page from then on. Versions of the RMP and flushes count themselves. */
  get changes(): number {
    return this.#changes;
  }

  /** The number of translations, including dead ones. */
  get size(): number {
    let size = 0;
    for (const { pages, large } of this.#spaces.values()) size += pages.size + large.size;
    return size;
  }

  /**
   * The translation of `gpa` for a level of the guest, or `undefined`. O(1).
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` or `vmpl` does not exist; AddressError if `gpa` is not an address
   */
  lookup(guest: GuestContext, vmpl: Vmpl, gpa: PhysAddr): NestedTranslation | undefined {
    const { pages, large } = this.#spaceOf(guest, vmpl);
    const frame = pageNumber(gpa);
    const small = pages.get(frame);
    const held = small ?? large.get(Math.floor(frame / PARTS));
    if (held === undefined) return undefined;
    if (isAlive(guest, held)) return held;
    if (small !== undefined) pages.delete(frame);
    else large.delete(Math.floor(frame / PARTS));
    return undefined;
  }

  /**
   * The system frame of a guest-physical frame, if an access of the kind with the bit `allowed` was allowed to this level
   * before; else -1. O(1), without an allocation.
   *
   * @throws SnpError `INVALID_ARGUMENT` as {@link NestedTlb.lookup}, or if `frame` or `allowed` is not an integer
   */
  frameOf(guest: GuestContext, vmpl: Vmpl, frame: number, allowed: number): number {
    requireWhole('the frame', frame);
    requireWhole('the kinds of access', allowed);
    const { pages, large } = this.#spaceOf(guest, vmpl);
    const held = pages.get(frame);
    if (held !== undefined) return (held.allowed & allowed) !== 0 && isAlive(guest, held) ? held.frame : -1;
    if (large.size === 0) return -1;
    const whole = large.get(Math.floor(frame / PARTS));
    const isAllowed = whole !== undefined && (whole.allowed & allowed) !== 0 && isAlive(guest, whole);
    return isAllowed ? whole.frame + (frame % PARTS) : -1;
  }

  /**
   * Whether it has a translation of a 4 KiB page of the 2 MiB around `gpa`. O(512), or O(translations) if those are fewer.
   *
   * @throws as {@link NestedTlb.lookup}
   */
  holdsPartOf(guest: GuestContext, vmpl: Vmpl, gpa: PhysAddr): boolean {
    const { pages } = this.#spaceOf(guest, vmpl);
    const first = pageNumber(gpa) - (pageNumber(gpa) % PARTS);
    const isPart = (frame: number): boolean => frame >= first && frame < first + PARTS;
    if (pages.size < PARTS) {
      for (const frame of pages.keys()) {
        if (isPart(frame) && isAlive(guest, pages.get(frame)!)) return true;
      }
      return false;
    }
    for (let frame = first; isPart(frame); frame += 1) {
      const held = pages.get(frame);
      if (held !== undefined && isAlive(guest, held)) return true;
    }
    return false;
  }

  /**
   * Makes the translation of the 4 KiB page at `gpa`, the first one of 2 MiB, the translation of all of them. O(1).
   *
   * @throws as {@link NestedTlb.lookup}
   */
  widen(guest: GuestContext, vmpl: Vmpl, gpa: PhysAddr): void {
    const { pages, large } = this.#spaceOf(guest, vmpl);
    const frame = pageNumber(gpa);
    const held = pages.get(frame);
    if (held === undefined) return;
    this.#changes += 1;
    pages.delete(frame);
    (held as { size: number }).size = PAGE_SIZE_2M;
    large.set(frame / PARTS, held);
  }

  /**
   * Caches that an access of a level to `gpa`, of the kind with the bit `allowed`, goes to `page`. O(1).
   *
   * @throws SnpError `INVALID_ARGUMENT` as {@link NestedTlb.lookup}, or if `page` or `allowed` is not one; AddressError
   */
  insert(guest: GuestContext, vmpl: Vmpl, gpa: PhysAddr, page: NestedPage, allowed: number): void {
    const { pages } = this.#spaceOf(guest, vmpl);
    requirePage(page);
    requireWhole('the kinds of access', allowed);
    const spa = (page.spa & PAGE_MASK) as SysPhysAddr;
    const { tlbGeneration: generation } = guest;
    this.#changes += 1;
    const { rmp } = guest.machine;
    const frame = pageNumber(spa);
    const isHuge = page.size !== PageSize.Regular;
    const version = rmp.versionOfPage(frame, isHuge);
    const checkedAt = rmp.changes;
    const size = PAGE_SIZE;
    const { size: mapped, writable, user, executable, accessed, dirty } = page;
    const held = { spa, size: mapped, writable, user, executable, accessed, dirty };
    pages.set(pageNumber(gpa), { page: held, size, frame, isHuge, version, generation, allowed, checkedAt });
  }

  /** Drops everything, of every guest and level. */
  flushAll(): void {
    this.#changes += 1;
    this.#spaces.clear();
    this.#last = undefined;
  }

  #spaceOf(guest: GuestContext, vmpl: Vmpl): Space {
    const last = this.#last;
    if (last !== undefined && last.guest === guest && last.vmpl === vmpl) return last;
    requireGuest(guest);
    requireOneOf('the VMPL', vmpl, VMPLS);
    const tag = guest.asid * VMPL_COUNT + vmpl;
    const held = this.#spaces.get(tag);
    const space = held?.guest === guest ? held : { guest, vmpl, pages: new Map(), large: new Map() };
    if (space !== held) this.#changes += 1;
    this.#spaces.set(tag, space);
    this.#last = space;
    return space;
  }
}

const VMPLS: readonly Vmpl[] = /* @__PURE__ */ Object.values(Vmpl);

/** @throws SnpError `INVALID_ARGUMENT` if `page` is not a nested page */
function requirePage(page: NestedPage): void {
  const expected = 'pass a page that a NestedTable has returned';
  if (!readArgument('the page', page, expected, isNestedPage)) refuseArgument('the page', page, expected);
}

function isNestedPage({ spa, size, accessed, dirty, writable, user, executable }: NestedPage): boolean {
  return (
    SysPhys.isAddress(spa) &&
    (size === PageSize.Regular || size === PageSize.Huge || size === PageSize.Giant) &&
    typeof accessed === 'boolean' &&
    typeof dirty === 'boolean' &&
    typeof writable === 'boolean' &&
    typeof user === 'boolean' &&
    typeof executable === 'boolean'
  );
}

/** The translation of `gpa` by a cached translation of its page. */
export function pageAt({ page, size: held }: NestedTranslation, gpa: PhysAddr): NestedPage {
  const spa = (page.spa | (gpa & (held === PAGE_SIZE ? OFFSET : LARGE_OFFSET))) as SysPhysAddr;
  const { size, writable, user, executable, accessed, dirty } = page;
  return { spa, size, writable, user, executable, accessed, dirty };
}

function isAlive(guest: GuestContext, held: NestedTranslation): boolean {
  if (held.generation !== guest.tlbGeneration) return false;
  const { rmp } = guest.machine;
  const { changes } = rmp;
  if (held.checkedAt === changes) return true;
  if (held.version !== rmp.versionOfPage(held.frame, held.isHuge)) return false;
  held.checkedAt = changes;
  return true;
}
