import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr, pageNumber } from '@svsm/address';
import {
  asidOfWord,
  gpaFrameOfWords,
  isAssignedWord,
  isHugeWord,
  isImmutableWord,
  isValidatedWord,
  isVmsaWord,
  RMP_ENTRY_WORDS,
} from '../formats/rmp-entry.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import type { Rmp } from './rmp.ts';

/** The checks that an access may have to pass (AMD64 APM vol. 2, §15.36.10). */
export type RmpCheck =
  /** The page has an entry. */
  | 'covered'
  /** The page is not assigned; of a 2 MiB translation, no page of the region is. */
  | 'hypervisor-owned'
  /** The entry has the ASID of the guest that runs. */
  | 'guest-owned'
  /** The entry has the guest-physical address that was translated. */
  | 'reverse-map'
  /** The entry is not immutable. */
  | 'mutable'
  /** The nested page table and the entry agree on the page size. */
  | 'page-size'
  /** The guest has validated the page. */
  | 'validated'
  /** The entry's mask for the current VMPL permits the access. */
  | 'vmpl'
  /** The entry says that the page may be run: VMRUN only. */
  | 'vmsa';

/**
 * What is done with memory. A `table` access is the processor's own read of a page table; a `table-update` sets accessed and
 * dirty bits there.
 */
export type RmpAccessKind = 'read' | 'write' | 'fetch' | 'table' | 'table-update';

/** Who does it, as the checks tell them apart. Fetches and table accesses of an SNP guest are always private. */
export type Accessor = 'host' | 'non-snp-guest' | 'snp-guest-private' | 'snp-guest-shared';

const NONE: readonly RmpCheck[] = [];
const OWNED: readonly RmpCheck[] = ['hypervisor-owned'];
const PRIVATE: readonly RmpCheck[] = [
  'covered',
  'guest-owned',
  'reverse-map',
  'mutable',
  'page-size',
  'validated',
  'vmpl',
];

/**
 * Which checks an access must pass, in their order of priority: AMD64 APM vol. 2, table 15-39. Reads that are not
 * checked give ciphertext if the page is private.
 */
export const RMP_CHECKS: Readonly<
  Record<Accessor, Readonly<Partial<Record<RmpAccessKind, readonly RmpCheck[]>>>>
> = /* @__PURE__ */ Object.freeze({
  host: { read: NONE, write: OWNED, fetch: NONE, table: OWNED, 'table-update': OWNED },
  'non-snp-guest': { read: NONE, write: OWNED, fetch: NONE, table: OWNED, 'table-update': OWNED },
  'snp-guest-private': {
    read: PRIVATE,
    write: PRIVATE,
    fetch: PRIVATE,
    table: PRIVATE,
    'table-update': PRIVATE,
  },
  'snp-guest-shared': { read: NONE, write: OWNED },
});

/** An access to one page, after all page tables have allowed it. */
export interface RmpAccess {
  readonly accessor: Accessor;
  readonly kind: RmpAccessKind;
  readonly spa: SysPhysAddr;
  /** The size of the translation that led to `spa`: the nested one's in a guest. */
  readonly translationSize: PageSize;
  /** What was translated to `spa`; without meaning for a host. */
  readonly gpa: PhysAddr;
  /** Of the guest; 0 for a host. */
  readonly asid: number;
  readonly vmpl: Vmpl;
  /** The CPL, 0 to 3: at 3, a fetch needs other rights. */
  readonly cpl: number;
}

/**
 * The first check that `access` fails, or `undefined` if the RMP has nothing against it. O(1).
 */
export function failedRmpCheck(rmp: Rmp, access: RmpAccess): RmpCheck | undefined {
  const isHostTable = access.accessor === 'host' && access.kind === 'table';
  if (isHostTable && rmp.assumptions.hostTableReads === 'unchecked') return undefined;
  return failedChecks(rmp, access, RMP_CHECKS[access.accessor][access.kind] ?? PRIVATE);
}

/** The first of the checks on who owns a page and where it is mapped that `access` fails: those of PVALIDATE's kind. */
export function failedOwnershipCheck(
  rmp: Rmp,
  access: Pick<RmpAccess, 'spa' | 'gpa' | 'asid'>,
): RmpCheck | undefined {
  return failedChecks(rmp, access as RmpAccess, OWNERSHIP);
}

const OWNERSHIP: readonly RmpCheck[] = ['covered', 'guest-owned', 'reverse-map', 'mutable'];

const PAGES_PER_HUGE = PAGE_SIZE_2M / PAGE_SIZE;

/** The entry of the access at hand, and nothing afterwards. All 0, as of an unassigned page, if it is not covered. */
const WORDS = new Uint32Array(RMP_ENTRY_WORDS);

/** The first of `checks`, in their order, that `access` fails. O(1). */
export function failedChecks(rmp: Rmp, access: RmpAccess, checks: readonly RmpCheck[]): RmpCheck | undefined {
  if (checks.length === 0) return undefined;
  const page = pageNumber(access.spa);
  const isCovered = rmp.readWords(page, WORDS);
  for (const check of checks) if (!passes(check, rmp, access, page, isCovered)) return check;
  return undefined;
}

function passes(check: RmpCheck, rmp: Rmp, access: RmpAccess, page: number, isCovered: boolean): boolean {
  const [low, high, masks] = [WORDS[0]!, WORDS[1]!, WORDS[2]!];
  switch (check) {
    case 'covered':
      return isCovered;
    case 'hypervisor-owned':
      // Accessed and dirty bits are written by writes of an inherent size of 4 KiB (§15.36.10).
      if (access.translationSize !== PageSize.Regular && access.kind !== 'table-update') {
        return rmp.isRegionUnassigned(access.spa) && !blocksRegion(rmp, access);
      }
      return !isAssignedWord(low);
    case 'guest-owned':
      return isAssignedWord(low) && asidOfWord(high) === access.asid;
    case 'reverse-map': {
      // Within a 2 MiB page, every 4 KiB of it has its own place.
      const offset = isHugeWord(low) ? page % PAGES_PER_HUGE : 0;
      return gpaFrameOfWords(low, high) + offset === pageNumber(access.gpa);
    }
    case 'mutable':
      return !isImmutableWord(low);
    case 'page-size':
      return isHugeWord(low) === (access.translationSize !== PageSize.Regular);
    case 'validated':
      return isValidatedWord(high);
    case 'vmpl': {
      const needed = neededPermissions(access);
      return ((masks >>> (8 * access.vmpl)) & needed) === needed;
    }
    default:
      return isVmsaWord(high);
  }
}

/** The erratum of pages in use: a first page of 2 MiB is enough for the host to be denied all of it. */
function blocksRegion(rmp: Rmp, { accessor, spa }: RmpAccess): boolean {
  const first = (spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr;
  return rmp.assumptions.inUseErratum && accessor === 'host' && rmp.isInUse(first, PageSize.Regular);
}

/** The bits of a mask that an access needs. Write without read is illegal, so a write needs both (§15.36.7). */
function neededPermissions({ kind, cpl }: RmpAccess): number {
  switch (kind) {
    case 'write':
    case 'table-update':
      return VmplPermission.Read | VmplPermission.Write;
    case 'fetch':
      return cpl === 3 ? VmplPermission.ExecuteUser : VmplPermission.ExecuteSupervisor;
    default:
      return VmplPermission.Read;
  }
}
