import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, Phys, type PhysAddr, pageNumber } from '@svsm/address';
import {
  requireBoolean,
  requireInstance,
  requireInteger,
  requireOneOf,
  requireWhole,
} from '../formats/arguments.ts';
import { requireOptions } from '../formats/options.ts';
import {
  asidOfWord,
  gpaFrameOfWords,
  isAssignedWord,
  isHugeWord,
  isImmutableWord,
  isValidatedWord,
  isVmsaWord,
  maskOfWord,
  RMP_ENTRY_WORDS,
} from '../formats/rmp-entry.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import { Rmp } from './rmp.ts';

/** The checks of the RMP (AMD64 APM vol. 2, §15.36.10). */
export type RmpCheck =
  /** The page has an entry. */
  | 'covered'
  /** The page is not assigned. For a 2 MiB translation, no page of the region is. */
  | 'hypervisor-owned'
  /** The entry has the ASID of the running guest. */
  | 'guest-owned'
  /** The entry has the translated guest-physical address. */
  | 'reverse-map'
  /** The entry is not immutable. */
  | 'mutable'
  /** The nested page table and the entry have the same page size. */
  | 'page-size'
  /** The guest has validated the page. */
  | 'validated'
  /** The mask for the current VMPL permits the access. */
  | 'vmpl'
  /** The page may be run: VMRUN only. */
  | 'vmsa';

/**
 * The kind of an access. `table` is a read of a page table by the processor's walk; `table-update` sets accessed and
 * dirty bits there.
 */
export type RmpAccessKind = 'read' | 'write' | 'fetch' | 'table' | 'table-update';

/** The actor of an access. Fetches and table accesses of an SNP guest are always private. */
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
 * The checks that an access has to pass, by priority: AMD64 APM vol. 2, table 15-39. An unchecked read of a private page
 * returns ciphertext.
 *
 * @example
 * ```ts
 * import { RMP_CHECKS } from '@svsm/sev-snp/rmp';
 *
 * console.log(RMP_CHECKS.host.write); // => [ 'hypervisor-owned' ]
 * console.log(RMP_CHECKS.host.read); // => []
 * ```
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

/** An access to one page that all page tables allow. */
export interface RmpAccess {
  readonly accessor: Accessor;
  readonly kind: RmpAccessKind;
  readonly spa: SysPhysAddr;
  /** The size of the translation to `spa`; in a guest, of the nested one. */
  readonly translationSize: PageSize;
  /** The address that was translated to `spa`. A host has none. */
  readonly gpa: PhysAddr;
  /** The ASID of the guest; 0 for a host. */
  readonly asid: number;
  readonly vmpl: Vmpl;
  /** The CPL, 0 to 3. A fetch at CPL 3 needs another right. */
  readonly cpl: number;
  /** Whether it is a supervisor shadow-stack access of a guest with VMPL SSS, which needs that bit of the mask, too. */
  readonly supervisorShadowStack?: boolean;
}

/**
 * The first check that `access` fails, or `undefined` if it passes all of them. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if a field of `access` has another type or does not exist; AddressError if `spa` or
 *   `gpa` is not an address
 */
export function failedRmpCheck(rmp: Rmp, access: RmpAccess): RmpCheck | undefined {
  requireInstance('rmp', rmp, Rmp, 'an Rmp');
  requireOptions('the access', access, ACCESS);
  const { accessor, kind, spa, translationSize, gpa, asid, vmpl, cpl, supervisorShadowStack } = access;
  requireOneOf('the accessor', accessor, Object.keys(RMP_CHECKS));
  requireOneOf('the kind of an access', kind, Object.keys(RMP_CHECKS['snp-guest-private']));
  SysPhys.assertIsAddress(spa);
  requireOneOf('the size of a translation', translationSize, Object.values(PageSize));
  Phys.assertIsAddress(gpa);
  requireWhole('the ASID', asid);
  requireInteger('vmpl', vmpl, 0, 3);
  requireInteger('cpl', cpl, 0, 3);
  if (supervisorShadowStack !== undefined) requireBoolean('supervisorShadowStack', supervisorShadowStack);
  return failedAccessCheck(rmp, access);
}

const ACCESS: readonly (keyof RmpAccess)[] = [
  ...(['accessor', 'kind', 'spa', 'translationSize', 'gpa'] as const),
  ...(['asid', 'vmpl', 'cpl', 'supervisorShadowStack'] as const),
];

/** As {@link failedRmpCheck}, for an access that the package makes. */
export function failedAccessCheck(rmp: Rmp, access: RmpAccess): RmpCheck | undefined {
  const isHostTable = access.accessor === 'host' && access.kind === 'table';
  if (isHostTable && rmp.assumptions.hostTableReads === 'unchecked') return undefined;
  return failedChecks(rmp, access, RMP_CHECKS[access.accessor][access.kind] ?? PRIVATE);
}

/**
 * The first check of ownership and address that fails, of `covered`, `guest-owned`, `reverse-map` and `mutable`; `undefined` if all
 * pass. PVALIDATE and RMPADJUST make these.
 *
 * @param entry - gets the words of the entry that decides
 */
export function failedOwnershipCheck(
  rmp: Rmp,
  { spa, gpa, asid }: Pick<RmpAccess, 'spa' | 'gpa' | 'asid'>,
  entry: Uint32Array = WORDS,
): RmpCheck | undefined {
  const page = pageNumber(spa);
  if (!rmp.readWords(page, entry)) return 'covered';
  const low = entry[0]!;
  const high = entry[1]!;
  if (!isOwned(low, high, asid)) return 'guest-owned';
  if (!isReverse(low, high, page, gpa)) return 'reverse-map';
  return isImmutableWord(low) ? 'mutable' : undefined;
}

const PAGES_PER_HUGE = PAGE_SIZE_2M / PAGE_SIZE;

/** Scratch: the words of the entry that is checked. All are 0, as for an unassigned page, if the page is not covered. */
const WORDS = new Uint32Array(RMP_ENTRY_WORDS);

/** The first of `checks` that `access` fails, or `undefined`. O(1). */
export function failedChecks(rmp: Rmp, access: RmpAccess, checks: readonly RmpCheck[]): RmpCheck | undefined {
  if (checks.length === 0) return undefined;
  const page = pageNumber(access.spa);
  const isCovered = rmp.readWords(page, WORDS);
  for (const check of checks) if (!passes(check, rmp, access, page, isCovered)) return check;
  return undefined;
}

function passes(check: RmpCheck, rmp: Rmp, access: RmpAccess, page: number, isCovered: boolean): boolean {
  const low = WORDS[0]!;
  const high = WORDS[1]!;
  switch (check) {
    case 'covered':
      return isCovered;
    case 'hypervisor-owned':
      // Updates of accessed and dirty bits are writes of 4 KiB (§15.36.10).
      if (access.translationSize !== PageSize.Regular && access.kind !== 'table-update') {
        return rmp.isRegionUnassigned(access.spa) && !blocksRegion(rmp, access);
      }
      return !isAssignedWord(low);
    case 'guest-owned':
      return isOwned(low, high, access.asid);
    case 'reverse-map':
      return isReverse(low, high, page, access.gpa);
    case 'mutable':
      return !isImmutableWord(low);
    case 'page-size':
      return isHugeWord(low) === (access.translationSize !== PageSize.Regular);
    case 'validated':
      return isValidatedWord(high);
    case 'vmpl': {
      const needed = neededPermissions(access);
      return (maskOfWord(WORDS[2]!, access.vmpl) & needed) === needed;
    }
    default:
      return isVmsaWord(high);
  }
}

function isOwned(low: number, high: number, asid: number): boolean {
  return isAssignedWord(low) && asidOfWord(high) === asid;
}

/** Whether an entry has the address at which `page` is accessed: inside a 2 MiB page, each 4 KiB page has its own. */
function isReverse(low: number, high: number, page: number, gpa: PhysAddr): boolean {
  const offset = isHugeWord(low) ? page % PAGES_PER_HUGE : 0;
  return gpaFrameOfWords(low, high) + offset === pageNumber(gpa);
}

/** The erratum of pages in use: if the first page of a 2 MiB region is in use, the host cannot write the region. */
function blocksRegion(rmp: Rmp, { accessor, spa }: RmpAccess): boolean {
  const first = (spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr;
  return rmp.assumptions.inUseErratum && accessor === 'host' && rmp.isInUse(first, PageSize.Regular);
}

/** The bits of the mask that an access needs. Write without read is illegal, so a write needs both (§15.36.7). */
function neededPermissions({ kind, cpl, supervisorShadowStack }: RmpAccess): number {
  const stack = supervisorShadowStack === true ? VmplPermission.SupervisorShadowStack : 0;
  switch (kind) {
    case 'write':
    case 'table-update':
      return VmplPermission.Read | VmplPermission.Write | stack;
    case 'fetch':
      return cpl === 3 ? VmplPermission.ExecuteUser : VmplPermission.ExecuteSupervisor;
    default:
      return VmplPermission.Read | stack;
  }
}
