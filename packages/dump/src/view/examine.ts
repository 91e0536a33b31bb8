import type { MemoryEncryption } from '@svsm/pagetable';
import type { Dump } from '../formats/dump.ts';
import { bestLayout } from '../formats/raw-image.ts';
import { commonHighBits, lookAt, shapeOf, type TableLook } from '../formats/table-look.ts';
import type { Notices } from '../source/notices.ts';
import { readerOf } from './reader-of.ts';

/** The page table of a dump, as it is about to be opened. */
export interface Choice {
  readonly dump: Dump;
  readonly cr3: bigint;
  readonly levels: 4 | 5;
  readonly encryption: MemoryEncryption | undefined;
}

/** Fewer sane entries than this: it is not a page table, or read wrongly. */
const SENSELESS = 0.25;
/** Another reading is proposed if its tables look at least this sane, and this much better. */
const SANE = 0.85;
const BETTER = 0.25;
/** More pages than this that look like tables: there is one more level. */
const DEEPER = 0.6;

/**
 * Looks at a sample of the tables at CR3, and warns if they are empty, or do not look like page tables, or look as if they had
 * other levels. The warning names the options that would mend it, if some would.
 */
export function examine(choice: Choice, notices: Notices): void {
  const { dump, cr3, levels, encryption } = choice;
  const look = lookAt(readerOf(dump), shapeOf(cr3, levels, encryption?.bit));
  if (!look.exists) return;
  const at = `CR3 0x${cr3.toString(16)}`;
  if (look.topEntries === 0) {
    notices.add('empty-table', `the table at ${at} is empty: no entry is present. ${hintFor(choice, look)}`);
    return;
  }
  const better = betterReading(choice, look);
  if (look.sane < SENSELESS || (better !== undefined && !better.isDeeper)) {
    const part = Math.round(look.sane * 100);
    notices.add(
      'senseless-table',
      `the table at ${at} does not look like a page table of ${levels} levels: of the sampled entries, ${part} % lead to a table or a page. ` +
        hintFor(choice, look),
    );
  } else if (better !== undefined) {
    notices.add(
      'other-levels',
      `the table at ${at} looks as if it had 5 levels, not 4: most of its pages are page tables. ${hintFor(choice, look)}`,
    );
  }
}

/** A sentence with the options that make sense of a page table, or with those to check. */
export function hintFor(choice: Choice, look: TableLook | undefined): string {
  const better = betterReading(choice, look);
  if (better !== undefined) return `It makes sense with ${better.options}`;
  return 'Check --cr3, --levels and --c-bit, and --ram for a raw image';
}

interface Reading {
  readonly options: string;
  readonly sane: number;
  readonly isDeeper: boolean;
}

/** The reading that makes most sense, if it makes much more than `look`. */
function betterReading(choice: Choice, look: TableLook | undefined): Reading | undefined {
  const isDeep = look !== undefined && choice.levels === 4 && look.deeper > DEEPER;
  const sane = look === undefined || look.topEntries === 0 ? 0 : look.sane;
  let best: Reading | undefined;
  for (const { reading, isDeeper } of readingsOf(choice)) {
    const isEnough = isDeep && isDeeper ? true : reading.sane >= sane + BETTER;
    if (reading.sane < SANE || !isEnough) continue;
    if (best === undefined || reading.sane > best.sane) best = { ...reading, isDeeper: isDeep && isDeeper };
  }
  return best;
}

function* readingsOf(
  choice: Choice,
): Generator<{ reading: Reading; isDeeper: boolean }, undefined, undefined> {
  const { dump, cr3, levels, encryption } = choice;
  const readFrame = readerOf(dump);
  const bits = new Set<number | undefined>([encryption?.bit, undefined, ...bitsOf(cr3)]);
  for (const bit of [...bits]) {
    for (const one of commonHighBits(readFrame, shapeOf(cr3, levels, bit).root).slice(0, 4)) bits.add(one);
  }
  for (const bit of bits) {
    for (const one of [levels, levels === 4 ? 5 : 4] as const) {
      const options = optionsOf(choice, one, bit);
      if (options === '') continue;
      const look = lookAt(readFrame, shapeOf(cr3, one, bit));
      const isWrong = look.topEntries === 0 || (one === 4 && look.deeper > DEEPER);
      const isDeeper = one === 5 && levels === 4 && bit === encryption?.bit;
      yield { reading: { options, sane: isWrong ? 0 : look.sane, isDeeper }, isDeeper };
    }
  }
  if (dump.isRaw !== true) return;
  for (const bit of bits) {
    for (const one of [levels, levels === 4 ? 5 : 4] as const) {
      const { ranges, sane } = bestLayout(dump.source, [shapeOf(cr3, one, bit)]);
      const layout = ranges.length > 1 ? ranges.map(({ name }) => name).join(' ') : 'no --ram';
      const options = [optionsOf(choice, one, bit), layout].filter((text) => text !== '').join(' ');
      yield { reading: { options, sane, isDeeper: false }, isDeeper: false };
    }
  }
}

function optionsOf({ levels, encryption }: Choice, one: 4 | 5, bit: number | undefined): string {
  const memory = bit === undefined ? 'no --c-bit' : `--c-bit ${bit}`;
  return [...(one === levels ? [] : [`--levels ${one}`]), ...(bit === encryption?.bit ? [] : [memory])].join(
    ' ',
  );
}

/** The bits of CR3 above 2^32, any of which may be a C-bit. */
function bitsOf(cr3: bigint): number[] {
  return Array.from({ length: 20 }, (_, i) => 32 + i).filter((bit) => ((cr3 >> BigInt(bit)) & 1n) === 1n);
}
