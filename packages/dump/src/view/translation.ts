import type { VirtAddr } from '@svsm/address';
import { isPageTableError, type Walk } from '@svsm/pagetable';
import type { BackingFacts } from '../backing/backing.ts';
import { readArgument, refuseArgument, requireBits } from '../source/arguments.ts';
import type { DumpView } from './dump-view.ts';
import { requireView } from './dump-view.ts';
import { dumpRecord, factsOf } from './listing.ts';
import type { DumpRecord, EndRecord, Obstacle, PageFacts, TranslationRecord } from './record.ts';

/**
 * Translates each address, in the given order.
 *
 * @throws DumpError `INVALID_ARGUMENT` at the step whose address is not a bigint of 64 bits; {@link translationOf}
 */
export async function* listTranslations(
  view: DumpView,
  addresses: Iterable<bigint> | AsyncIterable<bigint>,
): AsyncGenerator<DumpRecord | TranslationRecord | EndRecord, undefined, undefined> {
  requireView('view', view);
  requireAddresses(addresses);
  yield dumpRecord(view);
  let count = 0;
  let faults = 0;
  const step = (vaddr: bigint): TranslationRecord => {
    const record = translationOf(view, vaddr);
    count += 1;
    if (isFault(record.obstacle)) faults += 1;
    return record;
  };
  // An item that is not an address is refused, and not awaited.
  if (Symbol.iterator in addresses) for (const vaddr of addresses) yield step(vaddr);
  else for await (const vaddr of addresses) yield step(vaddr);
  yield { type: 'end', what: 'addresses', count, bytes: null, faults };
}

/**
 * The translation of `vaddr`, which may be any 64-bit value, or the reason why it has none.
 *
 * @throws DumpError `INVALID_ARGUMENT`; `TRUNCATED_FILE`, `READ_FAILED`, and `UNSUPPORTED_FORMAT` for a page whose decoder is missing
 */
export function translationOf(view: DumpView, vaddr: bigint): TranslationRecord {
  requireView('view', view);
  requireBits('a virtual address', vaddr, 64);
  const none = { type: 'translation', vaddr, page: null, paddr: null, fileOffset: null } as const;
  const walk = tryWalk(view, vaddr);
  if ('obstacle' in walk) return { ...none, ...walk };
  const { page, path } = walk;
  const level = path.at(-1)!.level;
  if (page === undefined) return { ...none, obstacle: 'not-mapped', level };
  const facts = factsOf(view, { ...page, paddr: page.frame, pageSize: page.size });
  const fileOffset = view.dump.offsetOf(page.paddr) ?? null;
  return {
    ...none,
    page: facts,
    paddr: page.paddr,
    fileOffset,
    obstacle: null,
    level,
    ...backingOf(view, facts, page.paddr),
  };
}

/** @throws DumpError `INVALID_ARGUMENT` if `addresses` cannot be iterated */
export function requireAddresses(addresses: object): void {
  const expected = 'pass an array or another iterable';
  const isIterable = readArgument('addresses', addresses, expected, () => {
    const list = addresses as Partial<Iterable<bigint> & AsyncIterable<bigint>> | null;
    const iterate = list?.[Symbol.iterator] ?? list?.[Symbol.asyncIterator];
    return typeof list === 'object' && typeof iterate === 'function';
  });
  if (!isIterable) refuseArgument('addresses', addresses, expected);
}

/** The layers below the 4 KiB with a byte, as the field of a record. */
export function backingOf(
  { backing }: DumpView,
  page: Omit<PageFacts, 'paddr'>,
  paddr: bigint,
): { readonly backing?: BackingFacts } {
  const [found] = backing?.of({ ...page, paddr: paddr - (paddr % 4096n), size: 4096n }) ?? [];
  return found === undefined ? {} : { backing: found };
}

/** Whether the page tables are the reason, and not the address. */
export function isFault(obstacle: Obstacle | null): boolean {
  return obstacle === 'reserved-bits' || obstacle === 'bus-error';
}

function tryWalk({ table }: DumpView, vaddr: bigint): Walk | { obstacle: Obstacle; level: number | null } {
  try {
    return table.walk(vaddr as VirtAddr);
  } catch (error) {
    if (isPageTableError(error, 'NON_CANONICAL')) return { obstacle: 'not-canonical', level: null };
    if (isPageTableError(error, 'RESERVED_BITS'))
      return { obstacle: 'reserved-bits', level: error.details.level };
    if (isPageTableError(error, 'BUS_ERROR')) return { obstacle: 'bus-error', level: null };
    throw error;
  }
}
