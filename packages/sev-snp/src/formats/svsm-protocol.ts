import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import {
  type ByteFields,
  fieldsOf,
  HALVES,
  joinHalves,
  loadEntry,
  readFields,
  requireBits,
  requireFlags,
  requireLength,
  requirePageAddress,
  splitInteger,
  storeEntry,
  writeFields,
} from './byte-fields.ts';

/*
 * The core protocol between a guest and its SVSM: "Secure VM Service Module for SEV-SNP Guests", AMD document 58019,
 * version 1 of protocol 0.
 */

/** The calls of the core protocol. */
export const SvsmCall = {
  RemapCa: 0,
  Pvalidate: 1,
  CreateVcpu: 2,
  DeleteVcpu: 3,
  DepositMem: 4,
  WithdrawMem: 5,
  QueryProtocol: 6,
  ConfigureVtom: 7,
} as const;

/** One of the calls. */
export type SvsmCall = (typeof SvsmCall)[keyof typeof SvsmCall];

/** The results of calls, in RAX. */
export const SvsmResult = {
  Success: 0,
  /** Call again with the same registers. */
  Incomplete: 0x8000_0000,
  UnsupportedProtocol: 0x8000_0001,
  UnsupportedCall: 0x8000_0002,
  InvalidAddress: 0x8000_0003,
  InvalidFormat: 0x8000_0004,
  InvalidParameter: 0x8000_0005,
  InvalidRequest: 0x8000_0006,
  Busy: 0x8000_0007,
  /** The result of PVALIDATE or RMPADJUST is added. */
  InstructionFailed: 0x8000_1000,
  /** PVALIDATE changed nothing. */
  PvalidateUnchanged: 0x8000_1010,
} as const;

/** The registers of a call: arguments, and then results. */
export interface SvsmRegisters {
  rax: bigint;
  rcx: bigint;
  rdx: bigint;
  r8: bigint;
  r9: bigint;
}

/** The size of a list header and of an entry, in bytes. */
export const SVSM_LIST_ENTRY_SIZE = 8;

/** The offset of arguments in a calling area. The bytes before are CALL_PENDING, MEM_AVAILABLE and reserved. */
export const SVSM_CALL_BUFFER = 8;

/** The greatest number of entries of a list in a calling area. */
export const SVSM_LIST_MAX = 510;

/** The header of a list of pages. */
export interface SvsmListHeader {
  /** The number of entries. */
  readonly count: number;
  /** The index of the entry to process next. The SVSM advances it. */
  readonly next: number;
}

/** An entry of a list, bit for bit. Any 64 bits are one. */
export interface SvsmListEntry {
  readonly gpa: PhysAddr;
  /** 0: 4 KiB, 1: 2 MiB; 2 bits. */
  readonly size: number;
  /** Whether to validate the page, or to rescind its validation. */
  readonly validate: boolean;
  /** Whether a PVALIDATE that changes nothing is accepted. */
  readonly ignoreUnchanged: boolean;
  /** Bits 11:4, 0. */
  readonly reserved: number;
}

const HEADER = {
  count: [0, 2],
  next: [2, 2],
} as const satisfies ByteFields;

const ENTRY = ['gpa', 'size', 'validate', 'ignoreUnchanged', 'reserved'] as const;

/** Decodes the header of a list. @throws SnpError `INVALID_ARGUMENT` if `bytes` are not 8 bytes */
export function decodeSvsmListHeader(bytes: Uint8Array): SvsmListHeader {
  requireLength(bytes, SVSM_LIST_ENTRY_SIZE, 'the header of a list');
  return Object.freeze(readFields(bytes, HEADER));
}

/** Encodes the header of a list: 8 bytes. @throws SnpError `INVALID_MESSAGE` if a field does not fit */
export function encodeSvsmListHeader(header: SvsmListHeader): Uint8Array {
  const bytes = new Uint8Array(SVSM_LIST_ENTRY_SIZE);
  writeFields(bytes, HEADER, header);
  return bytes;
}

/** Decodes an entry of a list. @throws SnpError `INVALID_ARGUMENT` if `bytes` are not 8 bytes */
export function decodeSvsmListEntry(bytes: Uint8Array): SvsmListEntry {
  requireLength(bytes, SVSM_LIST_ENTRY_SIZE, 'an entry of a list');
  return decodeSvsmListEntryAt(bytes, 0);
}

/** {@link decodeSvsmListEntry} of the 8 bytes from `at` on. */
export function decodeSvsmListEntryAt(bytes: Uint8Array, at: number): SvsmListEntry {
  loadEntry(bytes, at);
  const low = HALVES[0]!;
  return Object.freeze({
    gpa: joinHalves(low & -PAGE_SIZE, HALVES[1]!) as PhysAddr,
    size: low & 3,
    validate: (low & 4) !== 0,
    ignoreUnchanged: (low & 8) !== 0,
    reserved: (low >>> 4) & 0xff,
  });
}

/** Encodes an entry of a list: 8 bytes. @throws SnpError `INVALID_MESSAGE` if a field does not fit */
export function encodeSvsmListEntry(entry: SvsmListEntry): Uint8Array {
  const bytes = new Uint8Array(SVSM_LIST_ENTRY_SIZE);
  encodeSvsmListEntryAt(entry, bytes, 0);
  return bytes;
}

/** {@link encodeSvsmListEntry} into the 8 bytes from `at` on. */
export function encodeSvsmListEntryAt(entry: SvsmListEntry, bytes: Uint8Array, at: number): void {
  const { gpa, size, validate, ignoreUnchanged, reserved } = fieldsOf('an entry', entry, ENTRY);
  requirePageAddress('gpa', gpa, 64);
  requireBits('size', size, 2);
  requireFlags({ validate, ignoreUnchanged });
  requireBits('reserved', reserved, 8);
  splitInteger(gpa);
  HALVES[0]! |= size | (validate ? 4 : 0) | (ignoreUnchanged ? 8 : 0) | (reserved << 4);
  storeEntry(bytes, at);
}

/** The page size of an entry, or `undefined` if its size field is 2 or 3. */
export function svsmEntrySize({
  size,
}: SvsmListEntry): typeof PageSize.Regular | typeof PageSize.Huge | undefined {
  if (size === 0) return PageSize.Regular;
  return size === 1 ? PageSize.Huge : undefined;
}
