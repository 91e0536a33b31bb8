import { PAGE_SIZE } from '@svsm/address';
import { type ByteFields, readFields, requireLength, writeFields } from './byte-fields.ts';
import { SnpError } from './snp-error.ts';

/** An answer of CPUID: 32 bits in each register. XCR0 and XSS are inputs of leaf 0xd. */
export interface CpuidEntry {
  readonly eaxIn: number;
  readonly ecxIn: number;
  readonly xcr0: bigint;
  readonly xss: bigint;
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** The greatest number of entries in a page. */
export const CPUID_MAX_ENTRIES = 64;

/** The first 16 bytes: the count, and zeros. */
const HEADER_SIZE = 16;
const HEADER = { count: [0, 4] } as const satisfies ByteFields;

/** An entry: these fields, and a quadword of zeros. */
const ENTRY_SIZE = 48;
const ENTRY = {
  eaxIn: [0x00, 4],
  ecxIn: [0x04, 4],
  xcr0: [0x08, 8],
  xss: [0x10, 8],
  eax: [0x18, 4],
  ebx: [0x1c, 4],
  ecx: [0x20, 4],
  edx: [0x24, 4],
} as const satisfies ByteFields;

/**
 * Decodes a page of type CPUID (AMD-ASPFW `sev_mcmd.h`, OpenVMM `HvPspCpuidPage`). O(entries).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `page` is not 4096 bytes long, `INVALID_MESSAGE` if it claims more than 64
 *   entries
 */
export function decodeCpuidPage(page: Uint8Array): readonly CpuidEntry[] {
  requireLength(page, PAGE_SIZE, 'a CPUID page');
  const { count } = readFields(page, HEADER);
  if (count > CPUID_MAX_ENTRIES) refuse(count);
  return Array.from({ length: count }, (_, i) => Object.freeze(readFields(entryBytes(page, i), ENTRY)));
}

/**
 * Encodes a page of type CPUID. O(entries).
 *
 * @throws SnpError `INVALID_MESSAGE` for more than 64 entries, or if a field does not fit
 */
export function encodeCpuidPage(entries: readonly CpuidEntry[]): Uint8Array {
  if (!isArray(entries)) {
    const expected = 'pass an array of entries';
    throw new SnpError('INVALID_MESSAGE', { field: 'entries', value: entries, expected });
  }
  if (entries.length > CPUID_MAX_ENTRIES) refuse(entries.length);
  const page = new Uint8Array(PAGE_SIZE);
  writeFields(page, HEADER, { count: entries.length });
  for (const [i, entry] of entries.entries()) writeFields(entryBytes(page, i), ENTRY, entry);
  return page;
}

function entryBytes(page: Uint8Array, index: number): Uint8Array {
  const at = HEADER_SIZE + ENTRY_SIZE * index;
  return page.subarray(at, at + ENTRY_SIZE);
}

function isArray(value: unknown): boolean {
  try {
    return Array.isArray(value);
  } catch {
    // A proxy that is revoked.
    return false;
  }
}

function refuse(count: number): never {
  const expected = `pass at most ${CPUID_MAX_ENTRIES}`;
  throw new SnpError('INVALID_MESSAGE', { field: 'count', value: count, expected });
}
