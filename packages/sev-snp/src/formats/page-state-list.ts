import { PAGE_SIZE, PageSize, Phys, type PhysAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { requireOneOf } from './arguments.ts';
import {
  type ByteFields,
  fieldsOf,
  HALVES,
  joinHalves,
  loadEntry,
  readFields,
  requireBits,
  requireLength,
  requirePageAddress,
  requirePageSize,
  splitInteger,
  storeEntry,
  writeFields,
} from './byte-fields.ts';
import { PageOperation } from './ghcb-msr.ts';
import type { RmpPageSize } from './rmp-entry.ts';

/*
 * The list of a page state change in the shared buffer of a GHCB: a header of 8 bytes, then entries of 8 bytes (Linux
 * `arch/x86/include/asm/sev-common.h`, `struct psc_hdr` and `psc_entry`; EDK2 `Ghcb.h`).
 */

/** The greatest number of entries in a list: what the shared buffer holds after the header. */
export const PSC_MAX_ENTRIES = 253;

/** The size of the header and of an entry, in bytes. */
export const PSC_ENTRY_SIZE = 8;

/** The header of a list. */
export interface PscHeader {
  /** The index of the entry to process next. */
  readonly current: number;
  /** The index of the last entry. */
  readonly end: number;
  /** 0. */
  readonly reserved: number;
}

/** An entry, bit for bit. Any 64 bits are one. */
export interface PscEntry {
  /** The first byte of the page. */
  readonly gpa: PhysAddr;
  /** A `PageOperation`; 4 bits. 3 and 4 are PSMASH and UNSMASH, which guests do not request. */
  readonly operation: number;
  readonly pageSize: RmpPageSize;
  /** The number of its 4 KiB pages that are done: 12 bits; valid are 0 to 512. */
  readonly donePages: number;
  /** Bits 63:57, 0. */
  readonly reserved: number;
}

const HEADER = {
  current: [0, 2],
  end: [2, 2],
  reserved: [4, 4],
} as const satisfies ByteFields;

const ENTRY = ['gpa', 'operation', 'pageSize', 'donePages', 'reserved'] as const;

/** Decodes a header. @throws SnpError `INVALID_ARGUMENT` if `bytes` are not 8 bytes */
export function decodePscHeader(bytes: Uint8Array): PscHeader {
  requireLength(bytes, PSC_ENTRY_SIZE, 'the header of a page state change');
  return Object.freeze(readFields(bytes, HEADER));
}

/**
 * Encodes a header: 8 bytes. Any numbers that fit are encoded, also an `end` beyond the last entry and a `current` beyond
 * `end`: a hostile guest writes them, and hypervisors have to refuse them.
 *
 * @throws SnpError `INVALID_MESSAGE` if a field does not fit
 */
export function encodePscHeader(header: PscHeader): Uint8Array {
  const bytes = new Uint8Array(PSC_ENTRY_SIZE);
  writeFields(bytes, HEADER, header);
  return bytes;
}

/** Decodes an entry. @throws SnpError `INVALID_ARGUMENT` if `bytes` are not 8 bytes */
export function decodePscEntry(bytes: Uint8Array): PscEntry {
  requireLength(bytes, PSC_ENTRY_SIZE, 'an entry of a page state change');
  return decodePscEntryAt(bytes, 0);
}

/** {@link decodePscEntry} of the 8 bytes from `at` on. */
export function decodePscEntryAt(bytes: Uint8Array, at: number): PscEntry {
  loadEntry(bytes, at);
  const low = HALVES[0]!;
  const high = HALVES[1]!;
  return Object.freeze({
    gpa: joinHalves(low & ~0xfff, high & 0xf_ffff) as PhysAddr,
    operation: (high >>> 20) & 0xf,
    pageSize: (high & (1 << 24)) !== 0 ? PageSize.Huge : PageSize.Regular,
    donePages: low & 0xfff,
    reserved: high >>> 25,
  });
}

/**
 * Encodes an entry: 8 bytes. Any fields that fit are encoded, also a 2 MiB page at a multiple of 4 KiB and more done pages
 * than the page has: a hostile guest writes them, and hypervisors have to refuse them.
 *
 * @throws SnpError `INVALID_MESSAGE` if a field does not fit
 */
export function encodePscEntry(entry: PscEntry): Uint8Array {
  const bytes = new Uint8Array(PSC_ENTRY_SIZE);
  encodePscEntryAt(entry, bytes, 0);
  return bytes;
}

/** {@link encodePscEntry} into the 8 bytes from `at` on. */
export function encodePscEntryAt(entry: PscEntry, bytes: Uint8Array, at: number): void {
  const { gpa, operation, pageSize, donePages, reserved } = fieldsOf('an entry', entry, ENTRY);
  requirePageAddress('gpa', gpa, 52);
  requireBits('operation', operation, 4);
  requirePageSize('pageSize', pageSize);
  requireBits('donePages', donePages, 12);
  requireBits('reserved', reserved, 7);
  splitInteger(gpa);
  HALVES[0]! |= donePages;
  HALVES[1]! |= (operation << 20) | (pageSize === PageSize.Huge ? 1 << 24 : 0) | (reserved << 25);
  storeEntry(bytes, at);
}

/**
 * The fewest entries for a region: 2 MiB at each multiple of 2 MiB with that much left, 4 KiB elsewhere. O(entries).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `operation` is not a `PageOperation`; RegionError if `region` is not a region of
 *   guest-physical addresses, or not made of whole 4 KiB pages
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { physRegion } from '@svsm/memory-region';
 * import { PageOperation, pscEntriesOf } from '@svsm/sev-snp/formats';
 *
 * const region = physRegion(physAddr(0x1f_f000), 0x20_1000);
 * const entries = [...pscEntriesOf(region, PageOperation.Shared)];
 * console.log(entries.map(({ pageSize }) => pageSize)); // => [ 4096, 2097152 ]
 * ```
 */
export function pscEntriesOf(
  region: MemoryRegion<PhysAddr>,
  operation: PageOperation,
): Generator<PscEntry, undefined, undefined> {
  requireOneOf('operation', operation, Object.values(PageOperation));
  return entriesFrom(MemoryRegion.from(Phys, region), operation);
}

function* entriesFrom(
  region: MemoryRegion<PhysAddr>,
  operation: PageOperation,
): Generator<PscEntry, undefined, undefined> {
  for (const part of region.largestPages()) {
    const pageSize = part.size === BigInt(PAGE_SIZE) ? PageSize.Regular : PageSize.Huge;
    for (const gpa of part.iterPages(pageSize)) {
      yield Object.freeze({ gpa, operation, pageSize, donePages: 0, reserved: 0 });
    }
  }
  return undefined;
}
