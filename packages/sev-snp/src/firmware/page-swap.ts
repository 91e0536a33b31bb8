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

/** The parts of a machine that the firmware works on. */
export interface SwapPlatform {
  readonly rmp: Rmp;
  readonly memory: EncryptedMemory;
}

/** The firmware's state of a guest whose pages are swapped: a part of its context page. */
export class SwapContext {
  /** The context page of the guest, in state CONTEXT. */
  readonly page: SysPhysAddr;
  readonly asid: number;
  /** The key of the guest's memory. */
  readonly key: MemoryKey;
  /** The key that seals swapped-out pages. */
  readonly offlineKey: MemoryKey;
  /** The root record: for one page that is swapped out without a metadata page. */
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

  /** A vector that was not used before. */
  nextIv(): bigint {
    this.#iv += 1n;
    return this.#iv;
  }
}

/** The place of a record: a metadata page of the guest, and an index from 0 to 63. */
export interface RecordPlace {
  readonly page: SysPhysAddr;
  readonly index: number;
}

/** The operands of SNP_SWAP_OUT, SNP_SWAP_IN and SNP_PAGE_MOVE. */
export interface SwapOptions {
  readonly source: SysPhysAddr;
  readonly destination: SysPhysAddr;
  /** The size of the page: 4 KiB if not given. */
  readonly pageSize?: RmpPageSize;
  /** The place of the record: the root record of the context if not given. */
  readonly record?: RecordPlace;
  /** Data of the hypervisor that the record keeps: 0 if not given. */
  readonly softwareData?: bigint;
}

/**
 * SNP_SWAP_OUT: seals a page of the guest, in state PRE-SWAP, PRE-GUEST or METADATA, into pages in state FIRMWARE or
 * DEFAULT. The source becomes PRE-GUEST (a metadata page becomes FIRMWARE) and can be reclaimed. O(bytes).
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
  // A metadata page is bound to its guest, not to an address. Its GPA field has the kind of the page.
  const record = { ...plain, validated, vmsa, metadata, pageSize, gpa, vmplMasks };
  const content = memory.read(source, pageSize, key);
  const sealed = sealPage(content, context.offlineKey, record.iv, encodeSwapRecord(record));
  memory.write(destination, sealed.bytes, NO_KEY);
  place.write({ ...record, tag: sealed.tag });
  const after = metadata ? { ...entry, gpa: 0n as PhysAddr } : { ...entry, validated: false, vmsa: false };
  rmp.setRawEntry(source, after);
}

/**
 * SNP_SWAP_IN: unseals a page that SNP_SWAP_OUT has sealed, into a page in state PRE-GUEST (for a metadata page:
 * FIRMWARE). The page gets back its address, masks, VMSA bit and validation: it becomes PRE-SWAP if it was valid. A
 * record can be used once. O(bytes).
 *
 * @throws SnpError `FIRMWARE_REFUSED`; its status is BAD_MEASUREMENT if a bit of the page or the record has changed
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
  const additional = encodeSwapRecord({ ...record, tag: new Uint8Array(16) });
  const content = unsealPage({ bytes, tag: record.tag }, context.offlineKey, record.iv, additional);
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
 * SNP_PAGE_MOVE: moves a page of the guest, in state PRE-SWAP or PRE-GUEST, to another page of system memory, with its
 * address, masks, VMSA bit and validation. The destination is a PRE-GUEST page of the same guest. Afterwards the source
 * is GUEST-INVALID, and the destination GUEST-VALID or GUEST-INVALID. O(bytes).
 *
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

/** The GPA field of a guest's metadata pages: the kind above the frame number, and the frame of the context page. */
function metadataGpa({ page }: SwapContext): PhysAddr {
  return ((1n << 48n) | page) as PhysAddr;
}

interface Command {
  refuse(status: string, page: SysPhysAddr): never;
  /** The entry of a page, which has to have this size and one of these states. */
  page(spa: SysPhysAddr, pageSize: RmpPageSize, states: readonly PageState[]): RmpEntry;
  /** The place of a record, which has to be valid, or not. */
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
