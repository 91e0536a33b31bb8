import { formatAddress, type PageSize } from '@svsm/address';
import type { BackingFacts, NestedFacts, RmpFacts } from '../backing/backing.ts';
import { sizeText } from '../source/size-text.ts';
import type { RmpRecord } from '../view/record.ts';

/** The names of page sizes. */
export const PAGE_NAMES: Readonly<Record<PageSize, string>> = {
  [2 ** 12]: '4K',
  [2 ** 21]: '2M',
  [2 ** 30]: '1G',
} as Readonly<Record<PageSize, string>>;

/** The columns of an entry of the RMP. */
export const RMP_HEADING: string = `${'state'.padEnd(14)} page asid guest address`;
/** The columns of what lies below a mapping. */
export const BACKING_HEADING: string = `${'system'.padEnd(18)} nested  ${RMP_HEADING}`;

/** The layers below a mapping: the system-physical address, the page of the nested table, the RMP entry, and what is wrong. */
export function backingText({ spa, nested, rmp, mismatches }: BackingFacts): string {
  const place = spa === null ? '-'.padEnd(18) : formatAddress(spa);
  const wrong = mismatches.length === 0 ? '' : ` ! ${mismatches.join(', ')}`;
  return `${place} ${nestedText(nested).padEnd(7)} ${rmpFactsText(rmp)}${wrong}`.trimEnd();
}

/** A range of the RMP. */
export function rmpText({ start, end, size, ...facts }: RmpRecord): string {
  return `${formatAddress(start)} ${formatAddress(end)} ${sizeText(size).padStart(10)}  ${rmpFactsText(facts)}`.trimEnd();
}

function nestedText(nested: NestedFacts | null): string {
  if (nested === null) return '-';
  const { pageSize, user, readable, writable, executable } = nested;
  const rights = `${readable && user ? 'r' : '-'}${writable ? 'w' : '-'}${executable ? 'x' : '-'}`;
  return `${PAGE_NAMES[pageSize as PageSize]} ${rights}`;
}

function rmpFactsText(rmp: RmpFacts | null): string {
  if (rmp === null) return '-'.padEnd(14);
  const { state, assigned, pageSize, asid, gpa, vmsa, vmplMasks } = rmp;
  if (!assigned) return state.padEnd(14);
  const page = PAGE_NAMES[pageSize as PageSize].padEnd(4);
  if (asid === 0) return `${state.padEnd(14)} ${page} ${'-'.padStart(4)}`;
  const masks = vmplMasks.map((mask) => mask.toString(16).padStart(2, '0')).join(' ');
  return `${state.padEnd(14)} ${page} ${String(asid).padStart(4)} ${formatAddress(gpa)} VMPLs ${masks}${vmsa ? ' VMSA' : ''}`;
}
