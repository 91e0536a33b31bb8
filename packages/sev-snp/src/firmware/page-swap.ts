import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr } from '@svsm/address';
import { PageState, pageStateOf } from '../formats/page-state.ts';
import type { RmpEntry, RmpPageSize } from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';
import {
  decodeSwapRecord,
  encodeSwapRecord,
  SWAP_RECORD_SIZE,
  SWAP_RECORDS_PER_PAGE,
  type SwapRecord,
} from '../formats/swap-record.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { type EncryptedMemory, type MemoryKey, NO_KEY } from '../memory/encrypted-memory.ts';
import type { Rmp } from '../rmp/rmp.ts';
import { sealPage, unsealPage } from './page-seal.ts';

/*
 * Commands of the firmware that take pages of a guest out of memory, back into memory, and to another place, as AMD-ASPFW
 * `sev_mcmd.c` implements them. A command that refuses throws `FIRMWARE_REFUSED` and changes nothing.
 */

/** The machine's part: what the firmware works on. */
export interface SwapPlatform {
  readonly rmp: Rmp;
  readonly memory: EncryptedMemory;
}

/** What the firmware knows of a guest whose pages are swapped: part of its context page. */
export class SwapContext {
  /** The guest's context page, in state CONTEXT. */
  readonly page: SysPhysAddr;
  readonly asid: number;
  /** What the guest's memory is encrypted with. */
  readonly key: MemoryKey;
  /** What pages are sealed with, outside of the guest's memory. */
  readonly offlineKey: MemoryKey;
  /** The record of a page for which no metadata page is named: there is one. */
  root: SwapRecord | undefined;
  #iv = 0n;

  constructor(
    { memory }: SwapPlatform,
    page: SysPhysAddr,
    owner: { readonly asid: number; readonly key: MemoryKey },
  ) {
    this.page = page;
    this.asid = owner.asid;
    this.key = owner.key;
    this.offlineKey = memory.createKey();
  }

  /** A vector that no page was sealed with before. */
  nextIv(): bigint {
    this.#iv += 1n;
    return this.#iv;
  }
}

/** Where a record is kept: in a metadata page of the guest's, at an index from 0 to 63. */
export interface RecordPlace {
  readonly page: SysPhysAddr;
  readonly index: number;
}

/** What SNP_SWAP_OUT and SNP_SWAP_IN are about. */
export interface SwapOptions {
  readonly source: SysPhysAddr;
  readonly destination: SysPhysAddr;
  /** 4 KiB if not given. */
  readonly pageSize?: RmpPageSize;
  /** The context's root record if not given. */
  readonly record?: RecordPlace;
  /** Kept in the record. */
  readonly softwareData?: bigint;
}

/**
 * SNP_SWAP_OUT: seals a guest's page in state PRE-SWAP or PRE-GUEST, or a metadata page, into pages of the firmware's, or that the
 * RMP does not cover. The source is PRE-GUEST then (FIRMWARE, if it held records), and may be reclaimed. O(bytes).
 *
 * @throws SnpError `FIRMWARE_REFUSED`
 */
export function swapOut(platform: SwapPlatform, context: SwapContext, options: SwapOptions): void {
  const { rmp, memory } = platform;
  const { source, destination, pageSize = PageSize.Regular, softwareData = 0n } = options;
  const command: Command = commandOf('SNP_SWAP_OUT', platform, context);
  const entry = command.page(source, pageSize, OUT_OF);
  const metadata = pageStateOf(entry) === PageState.Metadata;
  if (metadata ? entry.gpa !== metadataGpa(context) : entry.asid !== context.asid) {
    command.refuse('INVALID_PAGE_OWNER', source);
  }
  for (const page of pagesOf(destination, pageSize)) {
    const state = pageStateOf(rmp.rawEntry(page));
    if (state !== PageState.Firmware && state !== PageState.Default)
      command.refuse('INVALID_PAGE_STATE', page);
  }
  const place = command.recordPlace(options.record, false);
  const { validated, vmsa, vmplMasks, gpa } = entry;
  const key = metadata ? NO_KEY : context.key;
  const plain = { softwareData, iv: context.nextIv(), tag: new Uint8Array(16), valid: true };
  // A metadata page is bound to its guest, not to an address: its own says the kind.
  const record = { ...plain, validated, vmsa, metadata, pageSize, gpa, vmplMasks };
  const content = memory.read(source, pageSize, key);
  const sealed = sealPage(content, context.offlineKey, record.iv, encodeSwapRecord(record));
  memory.write(destination, sealed.bytes, NO_KEY);
  place.write({ ...record, tag: sealed.tag });
  const after = metadata ? { ...entry, gpa: 0n as PhysAddr } : { ...entry, validated: false, vmsa: false };
  rmp.setRawEntry(source, after);
}

/**
 * SNP_SWAP_IN: unseals what SNP_SWAP_OUT has sealed, into a page of the guest's in state PRE-GUEST (of records: FIRMWARE). The
 * page gets back its address, masks, VMSA bit and validation: it is PRE-SWAP then if it was valid. The record can be
 * used once. O(bytes).
 *
 * @throws SnpError `FIRMWARE_REFUSED`: BAD_MEASUREMENT if a bit of it is another
 */
export function swapIn(platform: SwapPlatform, context: SwapContext, options: SwapOptions): void {
  const { rmp, memory } = platform;
  const { source, destination, pageSize = PageSize.Regular } = options;
  const command: Command = commandOf('SNP_SWAP_IN', platform, context);
  const place = command.recordPlace(options.record, true);
  const record = place.read() as SwapRecord;
  const entry = command.page(
    destination,
    pageSize,
    record.metadata ? [PageState.Firmware] : [PageState.PreGuest],
  );
  if (!record.metadata && entry.asid !== context.asid) command.refuse('INVALID_PAGE_OWNER', destination);
  if (record.pageSize !== pageSize) command.refuse('INVALID_PAGE_SIZE', destination);
  const bytes = memory.read(source, pageSize, NO_KEY);
  const beside = encodeSwapRecord({ ...record, tag: new Uint8Array(16) });
  const content = unsealPage({ bytes, tag: record.tag }, context.offlineKey, record.iv, beside);
  if (content === undefined) command.refuse('BAD_MEASUREMENT', source);
  memory.write(destination, content, record.metadata ? NO_KEY : context.key);
  const { validated, vmsa, vmplMasks, gpa } = record;
  rmp.setRawEntry(
    destination,
    record.metadata
      ? { ...entry, gpa: metadataGpa(context), lock: true }
      : { ...entry, validated, vmsa, vmplMasks, gpa },
  );
  place.write({ ...record, valid: false });
}

/**
 * SNP_PAGE_MOVE: a guest's page in state PRE-SWAP or PRE-GUEST goes to another page of system memory, with its address, masks,
 * VMSA bit and validation. The source is GUEST-INVALID then, the destination GUEST-VALID or GUEST-INVALID. O(bytes).
 *
 * @param destination - PRE-GUEST, of the same guest
 * @throws SnpError `FIRMWARE_REFUSED`
 */
export function pageMove(
  platform: SwapPlatform,
  context: SwapContext,
  options: Omit<SwapOptions, 'record'>,
): void {
  const { rmp, memory } = platform;
  const { source, destination, pageSize = PageSize.Regular } = options;
  const command: Command = commandOf('SNP_PAGE_MOVE', platform, context);
  const from = command.page(source, pageSize, [PageState.PreSwap, PageState.PreGuest]);
  const to = command.page(destination, pageSize, [PageState.PreGuest]);
  for (const [page, { asid }] of [
    [source, from],
    [destination, to],
  ] as const) {
    if (asid !== context.asid) command.refuse('INVALID_PAGE_OWNER', page);
  }
  if (source === destination) command.refuse('INVALID_ADDRESS', destination);
  memory.write(destination, memory.read(source, pageSize, context.key), context.key);
  const { validated, vmsa, vmplMasks, gpa } = from;
  const mutable = { immutable: false, lock: false };
  rmp.setRawEntry(destination, { ...to, ...mutable, validated, vmsa, vmplMasks, gpa });
  rmp.setRawEntry(source, { ...from, ...mutable, validated: false, vmsa: false });
}

const OUT_OF = [PageState.PreSwap, PageState.PreGuest, PageState.Metadata];

/** The GPA field of a guest's metadata pages: their kind above the frame number, and the guest's context. */
function metadataGpa({ page }: SwapContext): PhysAddr {
  return ((1n << 48n) | page) as PhysAddr;
}

interface Command {
  refuse(status: string, page: SysPhysAddr): never;
  /** The entry of a page of this size, in one of these states. */
  page(spa: SysPhysAddr, pageSize: RmpPageSize, states: readonly PageState[]): RmpEntry;
  /** Where a record lies that is valid, or is not. */
  recordPlace(
    place: RecordPlace | undefined,
    isValid: boolean,
  ): { read(): SwapRecord | undefined; write(record: SwapRecord): void };
}

function commandOf(name: string, { rmp, memory }: SwapPlatform, context: SwapContext): Command {
  const refuse = (status: string, spa: SysPhysAddr): never => {
    throw new SnpError('FIRMWARE_REFUSED', {
      command: name,
      spa,
      state: pageStateOf(rmp.rawEntry(spa)),
      status,
    });
  };
  if (pageStateOf(rmp.rawEntry(context.page)) !== PageState.Context) refuse('INVALID_GUEST', context.page);
  const page: Command['page'] = (spa, pageSize, states) => {
    if (spa % BigInt(pageSize) !== 0n) refuse('INVALID_ADDRESS', spa);
    const entry = rmp.rawEntry(spa);
    const isInHuge = spa % BigInt(PAGE_SIZE_2M) !== 0n && rmp.entry(spa)?.pageSize === PageSize.Huge;
    if (entry === undefined || isInHuge || !states.includes(pageStateOf(entry)))
      return refuse('INVALID_PAGE_STATE', spa);
    if (entry.pageSize !== pageSize) refuse('INVALID_PAGE_SIZE', spa);
    return entry;
  };
  const recordPlace: Command['recordPlace'] = (place, isValid) => {
    const at = place === undefined ? undefined : requirePlace(place);
    const read = (): SwapRecord | undefined =>
      at === undefined ? context.root : decodeSwapRecord(memory.read(at, SWAP_RECORD_SIZE, NO_KEY));
    if ((read()?.valid ?? false) !== isValid) refuse('INVALID_MDATA_ENTRY', place?.page ?? context.page);
    const write = (record: SwapRecord): void => {
      if (at === undefined) context.root = record;
      else memory.write(at, encodeSwapRecord(record), NO_KEY);
    };
    return { read, write };
  };
  const requirePlace = ({ page: spa, index }: RecordPlace): SysPhysAddr => {
    const entry = page(spa, PageSize.Regular, [PageState.Metadata]);
    if (entry.gpa !== metadataGpa(context)) refuse('INVALID_PAGE_OWNER', spa);
    if (!Number.isInteger(index) || index < 0 || index >= SWAP_RECORDS_PER_PAGE)
      refuse('INVALID_MDATA_ENTRY', spa);
    return (spa + BigInt(SWAP_RECORD_SIZE * index)) as SysPhysAddr;
  };
  return { refuse, page, recordPlace };
}

function* pagesOf(spa: SysPhysAddr, size: number): Generator<SysPhysAddr> {
  for (let k = 0; k < size; k += PAGE_SIZE) yield (spa + BigInt(k)) as SysPhysAddr;
}
