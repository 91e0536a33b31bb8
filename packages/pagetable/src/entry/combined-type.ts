import { invalidState } from './invalid-state.ts';
import {
  type EffectiveMemoryType,
  isMemoryType,
  isMtrrType,
  type MemoryType,
  type MtrrType,
} from './memory-type.ts';
import type { PagingConfig } from './paging-config.ts';

/** A PAT type, or the result of combining a guest's and a host's: `WC+` appears under nested paging alone. */
export type CombinedPatType = MemoryType | 'WC+';

type Row = Readonly<Record<MtrrType, EffectiveMemoryType>>;

const WB_ROW: Row = { UC: 'UC', WC: 'WC', WT: 'WT', WP: 'WP', WB: 'WB' };
const WC_ROW: Row = { UC: 'WC', WC: 'WC', WT: 'WC', WP: 'WC', WB: 'WC' };

/** Rows by PAT type, columns by MTRR type. Intel SDM vol. 3A, table 11-7. */
const INTEL: Readonly<Record<MemoryType, Row>> = {
  UC: { UC: 'UC', WC: 'UC', WT: 'UC', WP: 'UC', WB: 'UC' },
  'UC-': { UC: 'UC', WC: 'WC', WT: 'UC', WP: 'WC', WB: 'UC' },
  WC: WC_ROW,
  WT: { UC: 'UC', WC: 'UC', WT: 'WT', WP: 'WT', WB: 'WT' },
  WP: { UC: 'UC', WC: 'UC', WT: 'WP', WP: 'WP', WB: 'WP' },
  WB: WB_ROW,
};

/** The same for AMD. AMD64 APM vol. 2, table 7-11; with the row of WC+, table 15-20. */
const AMD: Readonly<Record<CombinedPatType, Row>> = {
  UC: { UC: 'UC', WC: 'CD', WT: 'CD', WP: 'CD', WB: 'CD' },
  'UC-': { UC: 'UC', WC: 'WC', WT: 'CD', WP: 'CD', WB: 'CD' },
  WC: WC_ROW,
  'WC+': { UC: 'WC', WC: 'WC', WT: 'WC+', WP: 'WC+', WB: 'WC+' },
  WT: { UC: 'UC', WC: 'CD', WT: 'WT', WP: 'CD', WB: 'WT' },
  WP: { UC: 'UC', WC: 'CD', WT: 'CD', WP: 'WP', WB: 'WP' },
  WB: WB_ROW,
};

/** Rows by the guest's PAT type, columns by the host's. AMD64 APM vol. 2, table 15-19. */
const NESTED: Readonly<Record<MemoryType, Readonly<Record<MemoryType, CombinedPatType>>>> = {
  UC: { UC: 'UC', 'UC-': 'UC', WC: 'UC', WP: 'UC', WT: 'UC', WB: 'UC' },
  'UC-': { UC: 'UC', 'UC-': 'UC-', WC: 'WC', WP: 'UC', WT: 'UC', WB: 'UC' },
  WC: { UC: 'WC', 'UC-': 'WC', WC: 'WC', WP: 'WC+', WT: 'WC+', WB: 'WC+' },
  WP: { UC: 'UC', 'UC-': 'UC', WC: 'UC', WP: 'WP', WT: 'UC', WB: 'WP' },
  WT: { UC: 'UC', 'UC-': 'UC', WC: 'UC', WP: 'UC', WT: 'WT', WB: 'WT' },
  WB: { UC: 'UC', 'UC-': 'UC', WC: 'WC', WP: 'WP', WT: 'WT', WB: 'WB' },
};

/**
 * Combines the type that PAT gives a page with the type that the MTRRs give its memory, with caching enabled. The vendors
 * differ where the types conflict: Intel has a cacheable type or UC where AMD has CD (Intel SDM vol. 3A, table 11-7; AMD64 APM
 * vol. 2, tables 7-11 and 15-20; P61). O(1).
 *
 * @param pat - the type that PAT gives; `WC+` on AMD alone, from {@link combineGuestAndHostTypes}
 * @throws PageTableError `INVALID_CPU_STATE` if a type or the vendor does not exist, or for `WC+` on Intel
 */
export function combineMemoryTypes(
  pat: CombinedPatType,
  mtrr: MtrrType,
  vendor: PagingConfig['vendor'],
): EffectiveMemoryType {
  if (vendor !== 'amd' && vendor !== 'intel') throw invalidState('vendor', vendor, "pass 'amd' or 'intel'");
  if (!isMtrrType(mtrr)) throw invalidState('mtrr', mtrr, 'pass UC, WC, WT, WP or WB');
  if (pat === 'WC+') {
    if (vendor === 'intel') throw invalidState('pat', pat, 'WC+ exists on AMD processors alone');
  } else requireType('pat', pat);
  return vendor === 'intel' ? INTEL[pat as MemoryType][mtrr] : AMD[pat][mtrr];
}

/**
 * Combines the type that a guest's PAT gives a page with the type that the host's PAT gives the nested page, on an AMD
 * processor. `WC+` takes the place of WC where the host's type is cacheable, so that the guest's accesses stay coherent with
 * the host's (AMD64 APM vol. 2, §15.25.8, table 15-19; P72). O(1).
 *
 * @throws PageTableError `INVALID_CPU_STATE` if a type does not exist
 */
export function combineGuestAndHostTypes(guest: MemoryType, host: MemoryType): CombinedPatType {
  requireType('guest', guest);
  requireType('host', host);
  return NESTED[guest][host];
}

/**
 * The type that hardware forces on an access of an SNP guest: CD for UC and WC+ for WC (AMD64 APM vol. 2, §15.36.14, table
 * 15-40; P12). All other types are coherent and stay.
 */
export function coherentType(type: EffectiveMemoryType): EffectiveMemoryType {
  if (type === 'UC') return 'CD';
  return type === 'WC' ? 'WC+' : type;
}

function requireType(field: string, type: unknown): void {
  if (!isMemoryType(type)) throw invalidState(field, type, 'pass UC, WC, WT, WP, WB or UC-');
}
