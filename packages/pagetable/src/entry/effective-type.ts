import { PageSize, type PhysAddr } from '@svsm/address';
import { type CacheControl, requireCacheControl } from './cache-control.ts';
import {
  type CombinedPatType,
  coherentType,
  combineGuestAndHostTypes,
  combineMemoryTypes,
} from './combined-type.ts';
import { ANY, Fields } from './fields.ts';
import { invalidArgument } from './invalid-argument.ts';
import { hasBit, invalidState, requireRegister } from './invalid-state.ts';
import { type EffectiveMemoryType, type MemoryType, MTRR_TYPES, type MtrrType } from './memory-type.ts';
import { type MtrrVerdict, typeAt, typesWithin } from './mtrr-type.ts';
import { PageTableError } from './page-table-error.ts';
import { decodePat, PAT_RESET, type Pat, patIndex, tablePatIndex } from './pat.ts';
import type { LeafLevel } from './pte-flags.ts';

/** The part of a page that decides its memory type. A `MappedPage` is one. */
export interface TypedPage {
  /** The flags of the page's entry. */
  readonly flags: number;
  /** The size in bytes. */
  readonly size: PageSize;
  /** A physical address in the page: the one that is accessed. */
  readonly paddr: PhysAddr;
}

/** The memory type of an access, and the two types from which it follows. Frozen. */
export interface MemoryTypes {
  /** The type that PAT gives; `undefined` without paging. */
  readonly pat: MemoryType | undefined;
  /** The type that the MTRRs give the memory of the page. */
  readonly mtrr: MtrrVerdict;
  /** The result; `unspecified` if it depends on a `conflict` or `mixed` of the MTRRs. */
  readonly effective: EffectiveMemoryType | 'unspecified';
}

/** The memory type of a guest's access under nested paging. Frozen. */
export interface NestedMemoryTypes {
  /** The type that the guest's PAT gives; `undefined` while the guest's paging is off. */
  readonly guest: MemoryType | undefined;
  /** The type that the host's PAT gives the nested page. */
  readonly host: MemoryType;
  /** Both combined. */
  readonly combined: CombinedPatType;
  /** The type that the MTRRs give the system memory. */
  readonly mtrr: MtrrVerdict;
  /** The result, as {@link MemoryTypes.effective}. */
  readonly effective: EffectiveMemoryType | 'unspecified';
}

/** The registers of a guest that {@link nestedMemoryTypesOf} needs. A guest has no MTRRs in hardware. */
export interface GuestCacheControl {
  /** gPAT, at 0x268 of the VMCB's save area or of the VMSA. {@link PAT_RESET} if not given. */
  readonly pat?: bigint;
  /** The guest's CR0: PG, bit 31, and CD, bit 30. PG set and CD clear if not given. */
  readonly cr0?: bigint;
  /** `true` for an SNP guest, whose accesses are always coherent. `false` if not given. */
  readonly snp?: boolean;
}

/**
 * The memory type of accesses to a page: the type that PAT gives, the type that the MTRRs give, and both combined (Intel SDM
 * vol. 3A, §11.5.2; AMD64 APM vol. 2, §7.8.5; P60 to P68). Without paging the MTRRs alone decide. CR0.CD=1 has the effect
 * that `control.cacheDisable` names. The cost is that of `mtrrType`.
 *
 * If the MTRRs give a page a `conflict`, or a large page different types, the result is defined only where it does not depend
 * on them: with PAT type WC it is WC. For a large page, `control.mixedPages` can name the behaviour of a processor.
 *
 * The C-bit does not affect the memory type: it is not part of `page.paddr`, as the processor masks it too (APM vol. 2,
 * §7.10.5; P71).
 *
 * @param page - a `MappedPage`, or the flags, size and physical address of a page
 * @throws PageTableError `INVALID_ARGUMENT`, `INVALID_CPU_STATE`; `INVALID_ENTRY` if the flags are not 32 bits;
 *   `INVALID_PAGE_SIZE`; `OUTSIDE_PHYSICAL_RANGE`
 *
 * @example
 * ```ts
 * import { PageSize, physAddr } from '@svsm/address';
 * import { cacheControl, decodeMtrrs, leafFlags, memoryTypesOf, pagingConfig } from '@svsm/pagetable';
 *
 * const mtrrs = decodeMtrrs(
 *   { defType: 0x806n, variable: [{ base: 0xe000_0000n, mask: 0xff_e000_0800n }] },
 *   pagingConfig({ physicalBits: 40, vendor: 'intel' }),
 * );
 * // The PAT of Linux: WB, WC, UC-, UC, WB, WP, UC-, WT.
 * const control = cacheControl({ mtrrs, pat: 0x0407_0506_0007_0106n });
 *
 * const flags = leafFlags(0, { cacheDisable: true });
 * const apic = { flags, size: PageSize.Regular, paddr: physAddr(0xfee0_0000) };
 * console.log(memoryTypesOf(apic, control)); // => { pat: 'UC-', mtrr: 'UC', effective: 'UC' }
 * ```
 */
export function memoryTypesOf(page: TypedPage, control: CacheControl): MemoryTypes {
  requireCacheControl(control);
  PAGE.require(page);
  const { flags, size, paddr } = page;
  const index = patIndex(flags, levelOf(size));
  const pat = control.paging ? control.pat[indexUnder(index, ignoresPageBits(control))] : undefined;
  return typesOf(pat, paddr, size, control);
}

/**
 * The memory type of the processor's reads of a page table: as {@link memoryTypesOf}, by PWT and PCD of the entry that leads
 * to it (Intel SDM vol. 3A, §4.9.2; AMD64 APM vol. 2, §7.8.4; P60). For the root, pass the low bits of CR3, or 0 with
 * CR4.PCIDE=1. The cost is that of `mtrrType`.
 *
 * @param flags - the flags of the entry that leads to the table
 * @param table - the physical address of the table
 * @throws PageTableError `INVALID_ENTRY`, `OUTSIDE_PHYSICAL_RANGE`; `INVALID_CPU_STATE` if paging is off, since tables are not
 *   read then
 */
export function tableMemoryTypesOf(flags: number, table: PhysAddr, control: CacheControl): MemoryTypes {
  requireCacheControl(control);
  if (!control.paging) throw invalidState('paging', false, 'set PG: without paging, tables are not read');
  const index = indexUnder(tablePatIndex(flags), ignoresPageBits(control));
  return typesOf(control.pat[index], table, PageSize.Regular, control);
}

/**
 * The memory type of a guest's access under nested paging on an AMD processor: the guest's PAT type combined with the host's,
 * then with the MTRR type of the system-physical address (AMD64 APM vol. 2, §15.25.8, tables 15-19 and 15-20; P72). CR0.CD of
 * the guest or of the host disables caching. For an SNP guest, hardware replaces UC and WC by their coherent forms (§15.36.14;
 * P12). The smaller of the two pages is the page in the TLB (§15.25.9). The cost is that of `mtrrType`.
 *
 * While the guest's paging is off, the host's type stands for both ([U]; P72).
 *
 * @param guest - the flags and the size of the guest's page
 * @param nested - the nested page, with the system-physical address of the access
 * @param guestControl - the guest's registers
 * @param control - the host's registers; the nested page table uses the host's PAT
 * @throws PageTableError `INVALID_ARGUMENT`; `INVALID_ENTRY`, `INVALID_PAGE_SIZE`, `OUTSIDE_PHYSICAL_RANGE`; `INVALID_CPU_STATE`
 *   for a guest's register that is refused, for a host without paging, and for an Intel processor
 */
export function nestedMemoryTypesOf(
  guest: Pick<TypedPage, 'flags' | 'size'>,
  nested: TypedPage,
  guestControl: GuestCacheControl,
  control: CacheControl,
): NestedMemoryTypes {
  requireCacheControl(control);
  requireNestedHost(control);
  GUEST_PAGE.require(guest);
  PAGE.require(nested);
  GUEST.require(guestControl);
  const { pat, paging, cacheDisabled, snp } = checkGuest(guestControl);
  const ignores = control.cacheDisable === 'cd';
  const guestIndex = patIndex(guest.flags, levelOf(guest.size));
  const nestedIndex = patIndex(nested.flags, levelOf(nested.size));
  const guestType = paging ? pat[indexUnder(guestIndex, cacheDisabled && ignores)]! : undefined;
  const host = control.pat[indexUnder(nestedIndex, control.cacheDisabled && ignores)]!;
  const combined = guestType === undefined ? host : combineGuestAndHostTypes(guestType, host);
  const size = paging && guest.size < nested.size ? guest.size : nested.size;
  const either = { ...control, cacheDisabled: cacheDisabled || control.cacheDisabled };
  const { mtrr, effective } = resolve(combined, nested.paddr, size, either);
  const isForced = snp && effective !== 'unspecified';
  return Object.freeze({
    guest: guestType,
    host,
    combined,
    mtrr,
    effective: isForced ? coherentType(effective) : effective,
  });
}

function typesOf(
  pat: MemoryType | undefined,
  paddr: PhysAddr,
  size: PageSize,
  control: CacheControl,
): MemoryTypes {
  return Object.freeze({ pat, ...resolve(pat, paddr, size, control) });
}

/** The MTRRs' answer for a page, and the effective type that follows from it and the type of PAT. */
function resolve(
  pat: CombinedPatType | undefined,
  paddr: PhysAddr,
  size: PageSize,
  control: CacheControl,
): Pick<MemoryTypes, 'mtrr' | 'effective'> {
  const { mtrrs, mixedPages } = control;
  const found = typesWithin(mtrrs, paddr, size);
  const mtrr = found.length === 1 ? found[0]! : 'mixed';
  const agreed = agreedType(found, pat, control);
  if (agreed !== undefined || mtrr !== 'mixed') return { mtrr, effective: agreed ?? 'unspecified' };
  const chosen =
    mixedPages === 'split'
      ? [typeAt(mtrrs, paddr)]
      : mixedPages === 'conservative' && !found.includes('conflict')
        ? found.slice(0, 1)
        : found;
  return { mtrr, effective: agreedType(chosen, pat, control) ?? 'unspecified' };
}

/** The effective type, if it is the same for all of these MTRR types. A conflict may be any type. */
function agreedType(
  types: readonly (MtrrType | 'conflict')[],
  pat: CombinedPatType | undefined,
  control: CacheControl,
): EffectiveMemoryType | undefined {
  const possible = types.includes('conflict') ? MTRR_TYPES : (types as readonly MtrrType[]);
  const [first, ...others] = new Set(possible.map((type) => effectiveType(pat, type, control)));
  return others.length === 0 ? first : undefined;
}

function effectiveType(
  pat: CombinedPatType | undefined,
  mtrr: MtrrType,
  { mtrrs, cacheDisabled, cacheDisable }: CacheControl,
): EffectiveMemoryType {
  if (cacheDisabled && cacheDisable === 'uc') return 'UC';
  const type = pat === undefined ? mtrr : combineMemoryTypes(pat, mtrr, mtrrs.vendor);
  const isCacheable = type === 'WB' || type === 'WT' || type === 'WP';
  return cacheDisabled && cacheDisable === 'cd' && isCacheable ? 'CD' : type;
}

function ignoresPageBits({ cacheDisabled, cacheDisable }: CacheControl): boolean {
  return cacheDisabled && cacheDisable === 'cd';
}

/** The PAT index, or what is left of it while PWT and PCD are ignored. That the PAT bit still counts is [U]. */
function indexUnder(index: number, ignoresPwtAndPcd: boolean): number {
  return ignoresPwtAndPcd ? index & 4 : index;
}

function levelOf(size: PageSize): LeafLevel {
  if (size === PageSize.Regular) return 0;
  if (size === PageSize.Huge) return 1;
  if (size === PageSize.Giant) return 2;
  throw new PageTableError('INVALID_PAGE_SIZE', { pageSize: size, giantPages: true });
}

function requireNestedHost({ mtrrs, paging }: CacheControl): void {
  if (mtrrs.vendor !== 'amd')
    throw invalidState('vendor', mtrrs.vendor, "pass the MTRRs of an 'amd' processor");
  if (!paging) throw invalidState('paging', false, 'set PG: nested paging needs paging in the host');
}

function checkGuest({ pat = PAT_RESET, cr0 = 0x8000_0000n, snp = false }: GuestCacheControl): {
  pat: Pat;
  paging: boolean;
  cacheDisabled: boolean;
  snp: boolean;
} {
  if (typeof snp !== 'boolean') throw invalidState('snp', snp, 'pass true or false');
  requireRegister('cr0', cr0);
  return { pat: decodePat(pat), paging: hasBit(cr0, 31), cacheDisabled: hasBit(cr0, 30), snp };
}

/** The functions of PAT and of the MTRRs check the values. */
const PAGE: Fields = /* @__PURE__ */ new Fields(
  'page',
  { flags: ANY, size: ANY, paddr: ANY },
  invalidArgument,
  true,
);
const GUEST_PAGE: Fields = /* @__PURE__ */ new Fields(
  'page',
  { flags: ANY, size: ANY },
  invalidArgument,
  true,
);
const GUEST: Fields = /* @__PURE__ */ new Fields(
  'guestControl',
  { pat: ANY, cr0: ANY, snp: ANY },
  invalidState,
);
