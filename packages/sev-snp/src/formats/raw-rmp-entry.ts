import { PageSize } from '@svsm/address';
import { refuseArgument, requireUint64 } from './arguments.ts';
import {
  fieldsOf,
  requireBits,
  requireBytes,
  requireFlags,
  requirePageAddress,
  requirePageSize,
} from './byte-fields.ts';
import { decodeWords, encodeWords, RMP_ENTRY_WORDS, type RmpEntry } from './rmp-entry.ts';
import { VMPL_COUNT } from './vmpl.ts';

/** An entry in memory on Zen 3 and Zen 4: two little-endian quadwords. */
export interface RawRmpEntry {
  readonly low: bigint;
  readonly high: bigint;
}

/**
 * Decodes an entry of a raw table, as in a memory dump. No bit is lost. O(1).
 *
 * The layout is not architectural. It is the layout of Zen 3 and Zen 4: Linux `arch/x86/virt/svm/sev.c` `struct
 * rmpentry_raw`, AMD-ASPFW `sev_rmp.h` `rmp_fields_t` and `rmp_quadword2_t`.
 *
 * @throws SnpError `INVALID_ARGUMENT` if a word is not an unsigned bigint of 64 bits
 *
 * @example
 * ```ts
 * import { decodeRmpEntry, pageStateOf } from '@svsm/sev-snp/formats';
 *
 * const entry = decodeRmpEntry({ low: 0x4008_0000_1234_5001n, high: 0x1fn });
 * console.log(pageStateOf(entry), entry.asid, entry.gpa.toString(16)); // => GUEST-VALID 1 12345000
 * ```
 */
export function decodeRmpEntry(raw: RawRmpEntry): RmpEntry {
  const { low, high } = wordsOf(raw);
  requireUint64('the low word of an RMP entry', low);
  requireUint64('the high word of an RMP entry', high);
  const words = new Uint32Array(RMP_ENTRY_WORDS);
  new BigUint64Array(words.buffer).set([low, high]);
  return decodeWords(words, 0);
}

/**
 * The reverse of {@link decodeRmpEntry}. Any fields that fit are encoded, also combinations that no instruction makes, such
 * as 2 MiB at a GPA that is a multiple of 4 KiB: whoever writes the table in DRAM can make them. O(1).
 *
 * @throws SnpError `INVALID_MESSAGE` if a field does not fit
 */
export function encodeRmpEntry(entry: RmpEntry): RawRmpEntry {
  const fields = requireRmpEntry(entry);
  const words = new Uint32Array(RMP_ENTRY_WORDS);
  encodeWords(fields, words, 0);
  const [low, high] = new BigUint64Array(words.buffer) as unknown as [bigint, bigint];
  return Object.freeze({ low, high });
}

const FIELDS: readonly (keyof RmpEntry)[] = [
  ...(['assigned', 'pageSize', 'immutable', 'subpageCount', 'gpa', 'asid'] as const),
  ...(['vmsa', 'validated', 'vmplMasks', 'lock', 'upper'] as const),
];

/**
 * The entry, if its fields fit. O(1).
 *
 * @throws SnpError `INVALID_MESSAGE` if a field does not fit
 */
export function requireRmpEntry(entry: RmpEntry): RmpEntry {
  if (fits(entry)) return entry;
  const fields = fieldsOf('an RMP entry', entry, FIELDS);
  const { assigned, pageSize, immutable, subpageCount, gpa, asid, vmsa, validated, lock, upper } = fields;
  requireFlags({ assigned, immutable, vmsa, validated, lock });
  requirePageSize('pageSize', pageSize);
  requireBits('subpageCount', subpageCount, 9);
  requirePageAddress('gpa', gpa, GPA_BITS);
  requireBits('asid', asid, 10);
  requireBytes('vmplMasks', fields.vmplMasks, VMPL_COUNT);
  requireBits('upper', upper, 32);
  return fields;
}

/** Whether all fields fit, without a copy: instructions check each entry that they write. */
function fits(entry: RmpEntry): boolean {
  try {
    return (
      typeof entry === 'object' &&
      entry !== null &&
      areFlags(entry) &&
      (entry.pageSize === PageSize.Regular || entry.pageSize === PageSize.Huge) &&
      isBelow(entry.subpageCount, 1 << 9) &&
      isPage(entry.gpa) &&
      isBelow(entry.asid, 1 << 10) &&
      isBelow(entry.upper, 2 ** 32) &&
      areMasks(entry.vmplMasks)
    );
  } catch {
    // A field cannot be read: the slow way names it.
    return false;
  }
}

function areFlags({ assigned, immutable, vmsa, validated, lock }: RmpEntry): boolean {
  return (
    typeof assigned === 'boolean' &&
    typeof immutable === 'boolean' &&
    typeof vmsa === 'boolean' &&
    typeof validated === 'boolean' &&
    typeof lock === 'boolean'
  );
}

function isBelow(value: number, end: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < end;
}

function isPage(gpa: bigint): boolean {
  return typeof gpa === 'bigint' && gpa >= 0n && gpa < GPA_END && (gpa & 0xfffn) === 0n;
}

function areMasks(masks: RmpEntry['vmplMasks']): boolean {
  if (masks.length !== VMPL_COUNT) return false;
  for (let vmpl = 0; vmpl < VMPL_COUNT; vmpl += 1) if (!isBelow(masks[vmpl]!, 0x100)) return false;
  return true;
}

function wordsOf(raw: RawRmpEntry): RawRmpEntry {
  try {
    return { low: raw.low, high: raw.high };
  } catch (cause) {
    return refuseArgument('a raw RMP entry', raw, 'pass an object with the words low and high', cause);
  }
}

/** The width of an address: 39 bits of frame number. */
const GPA_BITS = 51;
const GPA_END = 1n << 51n;
