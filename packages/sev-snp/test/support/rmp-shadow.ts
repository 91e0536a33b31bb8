import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, pageNumber } from '@svsm/address';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import type { Rmp } from '../../src/rmp/rmp.ts';

const PARTS = PAGE_SIZE_2M / PAGE_SIZE;

/** The part of a page's own 16 bytes that the invariants depend on. */
interface Slot {
  readonly assigned: boolean;
  readonly huge: boolean;
  readonly count: number;
  /** Whether the page is assigned and all other fields are 0, as in all but the first entry of a 2 MiB page. */
  readonly blank: boolean;
  /** ASID and frame of a validated page in one number; of a 2 MiB page, those of its first 4 KiB. */
  readonly valid: number | undefined;
}

/**
 * Watches every change of an RMP, and checks its invariants:
 *
 * - one entry names the owner of a page: inside a 2 MiB page, the other 511 entries are blank;
 * - the first entry of a region has the count of the other 4 KiB pages that are assigned;
 * - each (ASID, GPA) has at most one validated page, as long as every guest keeps its record.
 *
 * {@link problem} looks at the changed entries only, so that it can be called after each step of a campaign;
 * {@link recheck} looks at all.
 */
export class RmpShadow {
  readonly #rmp: Rmp;
  readonly #slots: Map<number, Slot> = new Map();
  /** Of the 511 other entries of a region, the number of assigned ones, and of blank ones. */
  readonly #counts: Map<number, { assigned: number; blank: number }> = new Map();
  /** The validated page of an ASID and frame. */
  readonly #valid: Map<number, number> = new Map();
  readonly #dirty: Set<number> = new Set();

  constructor(rmp: Rmp) {
    this.#rmp = rmp;
    const setRawEntry = rmp.setRawEntry.bind(rmp);
    const setRegion = rmp.setRegion.bind(rmp);
    rmp.setRawEntry = (spa, entry) => {
      this.#dirty.add(pageNumber(spa));
      setRawEntry(spa, entry);
    };
    const writeWords = rmp.writeWords.bind(rmp);
    rmp.writeWords = (page, words) => {
      this.#dirty.add(page);
      writeWords(page, words);
    };
    rmp.setRegion = (first, entry, others) => {
      const page = pageNumber(first);
      for (let k = 0; k < PARTS; k += 1) this.#dirty.add(page + k);
      setRegion(first, entry, others);
    };
    const setRegionWords = rmp.setRegionWords.bind(rmp);
    rmp.setRegionWords = (page, entry, others) => {
      for (let k = 0; k < PARTS; k += 1) this.#dirty.add(page + k);
      setRegionWords(page, entry, others);
    };
    for (const spa of rmp.covered.iterPages(PageSize.Regular)) {
      const hasCount = pageNumber(spa) % PARTS === 0;
      if (hasCount || rmp.rawEntry(spa)?.assigned === true) this.#dirty.add(pageNumber(spa));
    }
  }

  /** The problem after the last changes, or `undefined`. O(changed pages). */
  problem(): string | undefined {
    if (this.#dirty.size === 0) return undefined;
    const regions = new Set<number>();
    const fresh: [number, Slot][] = [];
    for (const page of this.#dirty) {
      regions.add(Math.floor(page / PARTS));
      const slot = slotOf(this.#rmp.rawEntry(addressOf(page)) as RmpEntry);
      this.#forget(page);
      fresh.push([page, slot]);
    }
    this.#dirty.clear();
    for (const [page, slot] of fresh) {
      const problem = this.#remember(page, slot);
      if (problem !== undefined) return problem;
    }
    for (const region of regions) {
      const problem = this.#regionProblem(region);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  /** As {@link problem}, for the whole table. Also finds a change that was missed. O(pages). */
  recheck(): string | undefined {
    const before = this.problem();
    if (before !== undefined) return before;
    for (const spa of this.#rmp.covered.iterPages(PageSize.Regular)) {
      const page = pageNumber(spa);
      const now = slotOf(this.#rmp.rawEntry(spa) as RmpEntry);
      const known = this.#slots.get(page);
      if (known === undefined ? now.assigned : JSON.stringify(known) !== JSON.stringify(now)) {
        return `the entry of page ${hex(page)} has changed without a call`;
      }
    }
    return undefined;
  }

  #forget(page: number): void {
    const old = this.#slots.get(page);
    if (old === undefined) return;
    this.#slots.delete(page);
    this.#count(page, old, -1);
    for (const [key, at] of keysOf(page, old)) if (this.#valid.get(key) === at) this.#valid.delete(key);
  }

  #remember(page: number, slot: Slot): string | undefined {
    this.#slots.set(page, slot);
    this.#count(page, slot, 1);
    for (const [key, at] of keysOf(page, slot)) {
      const other = this.#valid.get(key);
      if (other !== undefined) {
        return `ASID ${Math.floor(key / FRAMES)}, GPA ${hex(key % FRAMES)} has two validated pages: ${hex(other)} and ${hex(at)}`;
      }
      this.#valid.set(key, at);
    }
    return undefined;
  }

  #count(page: number, { assigned, blank }: Slot, by: number): void {
    if (page % PARTS === 0) return;
    const region = Math.floor(page / PARTS);
    const counts = this.#counts.get(region) ?? { assigned: 0, blank: 0 };
    this.#counts.set(region, counts);
    if (assigned) counts.assigned += by;
    if (blank) counts.blank += by;
  }

  #regionProblem(region: number): string | undefined {
    const first = this.#slots.get(region * PARTS);
    const { assigned, blank } = this.#counts.get(region) ?? { assigned: 0, blank: 0 };
    if (first?.huge === true) {
      if (blank !== PARTS - 1)
        return `${PARTS - 1 - blank} entries inside the 2 MiB page ${hex(region * PARTS)} are not blank`;
      return first.count === 0
        ? undefined
        : `the 2 MiB page ${hex(region * PARTS)} counts ${first.count} pages`;
    }
    const count = first?.count ?? 0;
    return count === assigned
      ? undefined
      : `region ${hex(region * PARTS)} counts ${count} pages, but has ${assigned}`;
  }
}

/** An upper bound of frame numbers. */
const FRAMES = 2 ** 36;

function slotOf({ assigned, pageSize, subpageCount, asid, gpa, validated, immutable }: RmpEntry): Slot {
  return {
    assigned,
    huge: pageSize === PageSize.Huge,
    count: subpageCount,
    blank: assigned && asid === 0 && gpa === 0n && !validated && !immutable,
    valid: validated ? asid * FRAMES + pageNumber(gpa) : undefined,
  };
}

/** Each ASID and frame of a validated entry, with its page. */
function* keysOf(page: number, { valid, huge }: Slot): Generator<[key: number, page: number]> {
  if (valid === undefined) return;
  for (let k = 0; k < (huge ? PARTS : 1); k += 1) yield [valid + k, page + k];
}

function addressOf(page: number): SysPhysAddr {
  return sysPhysAddr(BigInt(page) * BigInt(PAGE_SIZE));
}

const hex = (page: number): string => `0x${(page * PAGE_SIZE).toString(16)}`;
