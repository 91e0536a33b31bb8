import { PAGE_SIZE } from '@svsm/address';
import { SnpError } from './snp-error.ts';

/** An answer of CPUID: 32 bits in each register. XCR0 and XSS matter to leaf 0xd. */
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

/** The most entries of a table. */
export const CPUID_MAX_ENTRIES = 64;

const HEADER = 16;
const ENTRY = 48;
const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const;

/**
 * The entries of a page of type CPUID (AMD-ASPFW `sev_mcmd.h`, OpenVMM `HvPspCpuidPage`). O(entries).
 *
 * @throws SnpError `INVALID_ARGUMENT` if it is not 4096 bytes long, `INVALID_MESSAGE` for more entries than there can be
 */
export function decodeCpuidPage(page: Uint8Array): readonly CpuidEntry[] {
  if (page.length !== PAGE_SIZE) {
    const what = 'the length of a CPUID page';
    throw new SnpError('INVALID_ARGUMENT', { what, value: page.length, expected: 'pass 4096 bytes' });
  }
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  const count = view.getUint32(0, true);
  if (count > CPUID_MAX_ENTRIES) refuse(count);
  return Array.from({ length: count }, (_, i) => {
    const at = HEADER + ENTRY * i;
    const word = (offset: number): number => view.getUint32(at + offset, true);
    return Object.freeze({
      ...{ eaxIn: word(0), ecxIn: word(4) },
      ...{ xcr0: view.getBigUint64(at + 8, true), xss: view.getBigUint64(at + 16, true) },
      ...{ eax: word(24), ebx: word(28), ecx: word(32), edx: word(36) },
    });
  });
}

/** A page with these entries. Registers are cut off at 32 bits. O(entries). @throws SnpError `INVALID_MESSAGE` for more than 64 */
export function encodeCpuidPage(entries: readonly CpuidEntry[]): Uint8Array {
  if (entries.length > CPUID_MAX_ENTRIES) refuse(entries.length);
  const page = new Uint8Array(PAGE_SIZE);
  const view = new DataView(page.buffer);
  view.setUint32(0, entries.length, true);
  for (const [i, entry] of entries.entries()) {
    const at = HEADER + ENTRY * i;
    view.setUint32(at, entry.eaxIn, true);
    view.setUint32(at + 4, entry.ecxIn, true);
    view.setBigUint64(at + 8, entry.xcr0, true);
    view.setBigUint64(at + 16, entry.xss, true);
    for (const [k, register] of REGISTERS.entries()) view.setUint32(at + 24 + 4 * k, entry[register], true);
  }
  return page;
}

function refuse(count: number): never {
  const expected = `pass at most ${CPUID_MAX_ENTRIES}`;
  throw new SnpError('INVALID_MESSAGE', { field: 'count', value: count, expected });
}
