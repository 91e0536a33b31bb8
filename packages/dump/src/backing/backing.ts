import { PAGE_SHIFT, PAGE_SIZE, PageSize, showInConsoles } from '@svsm/address';
import { type PageState, pageStateOf, type RmpEntry, VmplPermission } from '@svsm/sev-snp/formats';
import {
  readArgument,
  refuseArgument,
  requireBits,
  requireInteger,
  requireMethods,
} from '../source/arguments.ts';
import { GuestPages } from './guest-pages.ts';
import type { NestedPage, NestedPaging } from './nested-paging.ts';
import { HUGE_FRAMES, type RmpTable } from './rmp-table.ts';

/** The RMP entry that decides for a page. */
export interface RmpFacts {
  /** `'NOT-IN-DUMP'`: the memory of the entry is not in the dump. */
  readonly state: PageState | 'NOT-IN-DUMP';
  readonly assigned: boolean;
  readonly asid: number;
  readonly gpa: bigint;
  readonly pageSize: number;
  readonly immutable: boolean;
  readonly vmsa: boolean;
  readonly validated: boolean;
  /** The rights of VMPL0 to VMPL3, as `VmplPermission` of `@svsm/sev-snp`. */
  readonly vmplMasks: readonly number[];
}

/** The rights of a page of a nested page table. */
export interface NestedFacts {
  readonly pageSize: number;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly user: boolean;
}

/**
 * A contradiction between a mapping and what is below it.
 *
 * Of a guest:
 * - `not-backed`: the nested page table does not map the page
 * - `private-hypervisor-page`: private, but the page is not assigned: an access exits to the hypervisor
 * - `private-foreign-page`: private, but the page is another guest's or the firmware's
 * - `private-other-address`: private, but the RMP has the page at another guest-physical address
 * - `private-immutable`: private, but the firmware holds the page
 * - `private-page-size`: private, but nested page table and RMP have different page sizes
 * - `private-unvalidated`: private, but the guest has not validated the page: an access is a #VC
 * - `private-vmpl`: private, but the VMPL has fewer rights than the mapping
 * - `shared-assigned-page`: shared, but the page is assigned: a write exits, and a read returns ciphertext
 * - `ambiguous-address`: several pages are assigned at the same guest-physical address
 *
 * Of a host:
 * - `host-writes-assigned-page`: writable, but the page is assigned: a write faults
 * - `host-large-page`: writable in a page of 2 MiB or more, and another page of the same 2 MiB is assigned: a write faults
 */
export type Mismatch =
  | 'not-backed'
  | 'private-hypervisor-page'
  | 'private-foreign-page'
  | 'private-other-address'
  | 'private-immutable'
  | 'private-page-size'
  | 'private-unvalidated'
  | 'private-vmpl'
  | 'shared-assigned-page'
  | 'ambiguous-address'
  | 'host-writes-assigned-page'
  | 'host-large-page';

/** The layers below a part of a mapping: the same for all of its pages, at consecutive addresses. */
export interface BackingFacts {
  /** The first byte of the part, from the start of the mapping on. */
  readonly offset: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** The system-physical address; `null` if it is not known or does not exist. */
  readonly spa: bigint | null;
  /** `null` without a nested page table, or if it does not map the part. */
  readonly nested: NestedFacts | null;
  /** `null` without an RMP, or if it does not have the part. */
  readonly rmp: RmpFacts | null;
  readonly mismatches: readonly Mismatch[];
}

/** A contiguous mapping. */
export interface MappedPart {
  readonly paddr: bigint;
  /** Bytes. */
  readonly size: bigint;
  readonly pageSize: number;
  readonly user: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  /** `null` if memory encryption is not configured. */
  readonly shared: boolean | null;
}

/** The parts of a {@link Backing}. */
export interface BackingOptions {
  readonly rmp?: RmpTable | undefined;
  readonly nested?: NestedPaging | undefined;
  /** The ASID of the guest whose mappings are asked for. Without it and without `nested`, they are the host's. */
  readonly asid?: number | undefined;
  /** The VMPL at which the guest runs, 0 to 3. Default: rights of the VMPL are not compared. */
  readonly vmpl?: number | undefined;
}

/** The ASIDs of guests with SEV-SNP are 10 bits wide, and 0x3ff is not one: as the field of an RMP entry has them. */
export const MAX_ASID = 0x3fe;
const NO_PAGE: Omit<RmpFacts, 'state'> = {
  assigned: false,
  asid: 0,
  gpa: 0n,
  pageSize: PageSize.Regular,
  immutable: false,
  vmsa: false,
  validated: false,
  vmplMasks: [0, 0, 0, 0],
};

/** The part from one guest or host frame on. */
interface Piece {
  readonly count: number;
  readonly spa: bigint | null;
  readonly nested: NestedFacts | null;
  readonly rmp: RmpFacts | null;
  readonly isAmbiguous?: boolean;
}

/** The layers below the mappings of a page table: a nested page table, an RMP, or both. */
export class Backing {
  static {
    showInConsoles(this, 'Backing', ({ asid, vmpl, isOfGuest }) => ({ asid, vmpl, isOfGuest }));
  }

  readonly rmp: RmpTable | undefined;
  readonly asid: number | undefined;
  readonly vmpl: number | undefined;
  readonly #nested: NestedPaging | undefined;
  /** The pages of the guest by address: used without a nested page table. */
  readonly #guestPages: GuestPages | undefined;

  /** @throws DumpError `INVALID_ARGUMENT`; `OUTSIDE_LIMITS`; `TRUNCATED_FILE`, `READ_FAILED`, `UNSUPPORTED_FORMAT` */
  constructor({ rmp, nested, asid, vmpl }: BackingOptions) {
    if (rmp !== undefined)
      requireMethods('rmp', rmp, ['runFrom', 'runs'], 'pass a table of openRmp or openSavedRmp');
    if (asid !== undefined) requireInteger('asid', asid, 1, MAX_ASID);
    if (vmpl !== undefined) requireInteger('vmpl', vmpl, 0, 3);
    this.rmp = rmp;
    this.asid = asid;
    this.vmpl = vmpl;
    this.#nested = nested;
    if (rmp !== undefined && nested === undefined && asid !== undefined) {
      this.#guestPages = new GuestPages(rmp, asid);
    }
  }

  /** Whether the mappings are those of a guest, and not those of the host. */
  get isOfGuest(): boolean {
    return this.#nested !== undefined || this.asid !== undefined;
  }

  /**
   * The parts of a mapping, ascending. O(pages).
   *
   * @throws DumpError `INVALID_ARGUMENT` at the first step; `TRUNCATED_FILE`, `READ_FAILED`, `UNSUPPORTED_FORMAT`
   */
  *of(mapping: MappedPart): Generator<BackingFacts, undefined, undefined> {
    requirePart(mapping);
    const first = Number(mapping.paddr >> BigInt(PAGE_SHIFT));
    const end = first + Number(mapping.size >> BigInt(PAGE_SHIFT));
    let last: BackingFacts | undefined;
    for (let frame = first; frame < end; ) {
      const piece = this.#pieceAt(frame, this.#limit(frame, end, mapping) - frame);
      const facts: BackingFacts = {
        offset: BigInt(frame - first) * BigInt(PAGE_SIZE),
        size: BigInt(piece.count) * BigInt(PAGE_SIZE),
        spa: piece.spa,
        nested: piece.nested,
        rmp: piece.rmp,
        mismatches: this.#mismatches(frame, mapping, piece),
      };
      frame += piece.count;
      if (last !== undefined && continues(last, facts)) last = { ...last, size: last.size + facts.size };
      else {
        if (last !== undefined) yield last;
        last = facts;
      }
    }
    if (last !== undefined) yield last;
  }

  /** A large page of the host is judged by each region of 2 MiB. */
  #limit(frame: number, end: number, { pageSize }: MappedPart): number {
    if (this.isOfGuest || pageSize === PageSize.Regular) return end;
    return Math.min(end, frame - (frame % HUGE_FRAMES) + HUGE_FRAMES);
  }

  #pieceAt(frame: number, most: number): Piece {
    if (this.#nested !== undefined) return this.#throughNested(this.#nested, frame, most);
    if (this.#guestPages !== undefined) return this.#byAddress(this.#guestPages, frame, most);
    const { count, entry } = this.rmp!.runFrom(frame, most);
    return { count, spa: addressOf(frame), nested: null, rmp: rmpFactsOf(entry) };
  }

  #throughNested(nested: NestedPaging, frame: number, most: number): Piece {
    const page = nested.translate(frame);
    if (!('frame' in page)) return { count: Math.min(most, page.count), spa: null, nested: null, rmp: null };
    const rest = page.pageSize / PAGE_SIZE - (page.frame % (page.pageSize / PAGE_SIZE));
    const { count, entry } = this.rmp?.runFrom(page.frame, Math.min(most, rest)) ?? {
      count: Math.min(most, rest),
      entry: undefined,
    };
    const rmp = this.rmp === undefined ? null : rmpFactsOf(entry);
    return { count, spa: addressOf(page.frame), nested: nestedFactsOf(page), rmp };
  }

  #byAddress(pages: GuestPages, frame: number, most: number): Piece {
    const page = pages.from(frame, most);
    if (!('frame' in page)) return { count: page.count, spa: null, nested: null, rmp: null };
    const { count, entry, isAmbiguous } = page;
    return { count, spa: addressOf(page.frame), nested: null, rmp: rmpFactsOf(entry), isAmbiguous };
  }

  #mismatches(frame: number, mapping: MappedPart, piece: Piece): Mismatch[] {
    if (!this.isOfGuest) return this.#ofHost(frame, mapping, piece);
    if (this.#nested !== undefined && piece.spa === null) return ['not-backed'];
    if (this.rmp === undefined || mapping.shared === null || piece.rmp?.state === 'NOT-IN-DUMP') return [];
    const ambiguous: Mismatch[] = piece.isAmbiguous === true ? ['ambiguous-address'] : [];
    const { rmp, nested } = piece;
    if (rmp?.assigned !== true) return mapping.shared ? [] : ['private-hypervisor-page'];
    if (mapping.shared) return ['shared-assigned-page', ...ambiguous];
    return [...this.#ofPrivate(frame, mapping, rmp, nested), ...ambiguous];
  }

  *#ofPrivate(
    frame: number,
    mapping: MappedPart,
    rmp: RmpFacts,
    nested: NestedFacts | null,
  ): Generator<Mismatch, undefined, undefined> {
    const isForeign = this.asid === undefined ? rmp.asid === 0 : rmp.asid !== this.asid;
    if (isForeign) {
      yield 'private-foreign-page';
      return;
    }
    if (rmp.gpa !== addressOf(frame)) yield 'private-other-address';
    if (rmp.immutable) yield 'private-immutable';
    if (nested !== null && (nested.pageSize === PageSize.Regular) !== (rmp.pageSize === PageSize.Regular)) {
      yield 'private-page-size';
    }
    if (!rmp.validated) yield 'private-unvalidated';
    else if (this.vmpl !== undefined && !permits(rmp.vmplMasks[this.vmpl] ?? 0, mapping))
      yield 'private-vmpl';
  }

  #ofHost(frame: number, { writable, pageSize }: MappedPart, { rmp, count }: Piece): Mismatch[] {
    if (!writable || rmp === null || rmp.state === 'NOT-IN-DUMP') return [];
    if (rmp.assigned) return ['host-writes-assigned-page'];
    if (pageSize === PageSize.Regular) return [];
    const region = frame - (frame % HUGE_FRAMES);
    for (let at = region; at < region + HUGE_FRAMES; ) {
      // The pages of the part itself are not assigned.
      if (at === frame) at += count;
      if (at >= region + HUGE_FRAMES) break;
      const run = this.rmp!.runFrom(at, region + HUGE_FRAMES - at);
      if (run.entry?.assigned === true) return ['host-large-page'];
      at += run.count;
    }
    return [];
  }
}

function addressOf(frame: number): bigint {
  return BigInt(frame) * BigInt(PAGE_SIZE);
}

/** The facts of an entry, as {@link RmpTable} has it. */
export function rmpFactsOf(entry: RmpEntry | undefined | null): RmpFacts {
  if (entry === null) return { state: 'NOT-IN-DUMP', ...NO_PAGE };
  const state = pageStateOf(entry);
  if (entry === undefined) return { state, ...NO_PAGE };
  const { assigned, asid, gpa, pageSize, immutable, vmsa, validated, vmplMasks } = entry;
  return { state, assigned, asid, gpa, pageSize, immutable, vmsa, validated, vmplMasks };
}

function nestedFactsOf({ pageSize, readable, writable, executable, user }: NestedPage): NestedFacts {
  return { pageSize, readable, writable, executable, user };
}

function permits(mask: number, { user, writable, executable }: MappedPart): boolean {
  const execute = user ? VmplPermission.ExecuteUser : VmplPermission.ExecuteSupervisor;
  const needed = VmplPermission.Read | (writable ? VmplPermission.Write : 0) | (executable ? execute : 0);
  return (mask & needed) === needed;
}

function continues(last: BackingFacts, next: BackingFacts): boolean {
  if ((last.spa === null) !== (next.spa === null)) return false;
  if (last.spa !== null && last.spa + last.size !== next.spa) return false;
  if (!areAlike(last.nested, next.nested) || String(last.mismatches) !== String(next.mismatches))
    return false;
  return followsInRmp(last.rmp, last.size, next.rmp);
}

/** Whether the facts of the pages after some with the facts `last`, of `size` bytes, are the same, and the address follows. */
export function followsInRmp(last: RmpFacts | null, size: bigint, next: RmpFacts | null): boolean {
  if (last === null || next === null) return last === next;
  if (last.gpa + (last.asid === 0 ? 0n : size) !== next.gpa) return false;
  return areAlike({ ...last, gpa: 0n }, { ...next, gpa: 0n });
}

function areAlike<Facts extends object>(a: Facts | null, b: Facts | null): boolean {
  if (a === null || b === null) return a === b;
  return Object.entries(a).every(([name, value]) => String(value) === String(b[name as keyof Facts]));
}

function requirePart(mapping: MappedPart): void {
  const expected = 'pass a mapping, with paddr, size, page size and rights';
  const part = readArgument('mapping', mapping, expected, () => {
    const { paddr, size, pageSize, user, writable, executable, shared } = mapping;
    return { paddr, size, pageSize, user, writable, executable, shared };
  });
  requireBits('paddr', part.paddr, 52);
  requireBits('size', part.size, 57);
  if (![PageSize.Regular, PageSize.Huge, PageSize.Giant].includes(part.pageSize as PageSize))
    refuseArgument('pageSize', part.pageSize, 'pass 4096, 2 MiB or 1 GiB');
  for (const flag of ['user', 'writable', 'executable'] as const)
    if (typeof part[flag] !== 'boolean') refuseArgument(flag, part[flag], 'pass a boolean');
  if (part.shared !== null && typeof part.shared !== 'boolean')
    refuseArgument('shared', part.shared, 'pass a boolean, or null');
}
