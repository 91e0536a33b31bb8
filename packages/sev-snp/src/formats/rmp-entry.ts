import { PAGE_SHIFT, PageSize, type PhysAddr, pageNumber } from '@svsm/address';

/** The page sizes of the RMP. A 1 GiB translation counts as one of 2 MiB. */
export type RmpPageSize = typeof PageSize.Regular | typeof PageSize.Huge;

/** A decoded entry of the RMP. Frozen. */
export interface RmpEntry {
  /** Whether the page belongs to a guest or to the firmware, and not to the hypervisor. */
  readonly assigned: boolean;
  /** The size of the page that the entry describes. */
  readonly pageSize: RmpPageSize;
  /** Whether the firmware holds the page, so that RMP instructions cannot change the entry. */
  readonly immutable: boolean;
  /** In the first entry of a 2 MiB region: how many of the other 511 pages are assigned as 4 KiB. Else 0. */
  readonly subpageCount: number;
  /** The one guest-physical address at which the page may appear. */
  readonly gpa: PhysAddr;
  /** The guest that owns the page: 1 to 1022. 0 is the hypervisor or the firmware; 1023 is a lock of the firmware. */
  readonly asid: number;
  /** Whether the page may be run as a VMSA. */
  readonly vmsa: boolean;
  /** Whether the guest has validated the page. */
  readonly validated: boolean;
  /** The rights of each VMPL: an OR of `VmplPermission`. */
  readonly vmplMasks: VmplMasks;
  /** Bit 63: the firmware mirrors `immutable` there. Instructions neither read nor change it. */
  readonly lock: boolean;
  /** Bits 63:32 of the second quadword: key select, PCIe stream, migration. The model gives them no meaning. */
  readonly upper: number;
}

/** The permission masks of VMPL0 to VMPL3, 0 to 0xff each. */
export type VmplMasks = readonly [number, number, number, number];

/** The number of 32-bit words in an entry. */
export const RMP_ENTRY_WORDS = 4;

// Word 0.
const ASSIGNED = 1 << 0;
const HUGE = 1 << 1;
const IMMUTABLE = 1 << 2;
const COUNT_SHIFT = 3;
const COUNT_MASK = 0x1ff;
const GPA_SHIFT = 12;
// Word 1.
const GPA_HIGH_MASK = 0x7_ffff;
const ASID_SHIFT = 19;
const ASID_MASK = 0x3ff;
const VMSA = 1 << 29;
const VALIDATED = 1 << 30;
const LOCK = 1 << 31;

// Single fields for checks, without decoding the whole entry. Each function takes the word that has the field.

/** Whether an entry with this first word is assigned. */
export function isAssignedWord(word: number): boolean {
  return (word & ASSIGNED) !== 0;
}

/** Whether an entry with this first word describes 2 MiB. */
export function isHugeWord(word: number): boolean {
  return (word & HUGE) !== 0;
}

/** Whether an entry with this first word is immutable. */
export function isImmutableWord(word: number): boolean {
  return (word & IMMUTABLE) !== 0;
}

/** The ASID of an entry with this second word. */
export function asidOfWord(word: number): number {
  return (word >>> ASID_SHIFT) & ASID_MASK;
}

/** Whether an entry with this second word is validated. */
export function isValidatedWord(word: number): boolean {
  return (word & VALIDATED) !== 0;
}

/** Whether an entry with this second word is a VMSA. */
export function isVmsaWord(word: number): boolean {
  return (word & VMSA) !== 0;
}

/** The permission mask of a VMPL in an entry with this third word. */
export function maskOfWord(word: number, vmpl: number): number {
  return (word >>> (8 * vmpl)) & 0xff;
}

/** The second word of an entry that is validated, or not. */
export function withValidated(word: number, validated: boolean): number {
  return validated ? word | VALIDATED : word & ~VALIDATED;
}

/** The second word of an entry that is a VMSA, or not. */
export function withVmsa(word: number, vmsa: boolean): number {
  return vmsa ? word | VMSA : word & ~VMSA;
}

/** The third word of an entry with another permission mask of a VMPL. */
export function withMask(word: number, vmpl: number, mask: number): number {
  return (word & ~(0xff << (8 * vmpl))) | (mask << (8 * vmpl));
}

/** The guest-physical frame number in the first two words of an entry. */
export function gpaFrameOfWords(low: number, high: number): number {
  return (high & GPA_HIGH_MASK) * 2 ** 20 + (low >>> GPA_SHIFT);
}

/** The bits of the first two words that name the owner of a page: assigned, page size, address and ASID. */
const OWNER_LOW = ASSIGNED | HUGE | (-1 << GPA_SHIFT);
const OWNER_HIGH = GPA_HIGH_MASK | (ASID_MASK << ASID_SHIFT);

/** Whether two entries with these first two words have the same owner, page size and guest-physical address. */
export function haveSameOwner(left: Uint32Array, right: Uint32Array): boolean {
  return ((left[0]! ^ right[0]!) & OWNER_LOW) === 0 && ((left[1]! ^ right[1]!) & OWNER_HIGH) === 0;
}

/** Writes the words of the entry `old` with another owner and page size. All other fields are kept. */
export function writeOwned(
  { assigned, immutable, gpa, asid }: Pick<RmpEntry, 'assigned' | 'immutable' | 'gpa' | 'asid'>,
  pageSize: RmpPageSize,
  old: Uint32Array,
  into: Uint32Array,
): void {
  const frame = pageNumber(gpa);
  into[0] =
    (assigned ? ASSIGNED : 0) |
    (pageSize === PageSize.Huge ? HUGE : 0) |
    (immutable ? IMMUTABLE : 0) |
    (old[0]! & (COUNT_MASK << COUNT_SHIFT)) |
    (frame << GPA_SHIFT);
  into[1] =
    (Math.floor(frame / 2 ** 20) & GPA_HIGH_MASK) |
    ((asid & ASID_MASK) << ASID_SHIFT) |
    (old[1]! & (VMSA | VALIDATED | LOCK));
  into[2] = old[2]!;
  into[3] = old[3]!;
}

/** Takes from an entry what its guest has set: the VMSA bit, the validation, and the masks, which become `masks`. */
export function resetGuestFields(words: Uint32Array, masks: number): void {
  words[1] = words[1]! & ~(VMSA | VALIDATED);
  words[2] = masks;
}

/** The first word of an entry whose sub-page count has grown by `count`. The count has 9 bits. */
export function withSubpages(word: number, count: number): number {
  const before = (word >>> COUNT_SHIFT) & COUNT_MASK;
  return (word & ~(COUNT_MASK << COUNT_SHIFT)) | (((before + count) & COUNT_MASK) << COUNT_SHIFT);
}

/** Scratch: a bigint from its halves costs less than a shift. */
const CELL = /* @__PURE__ */ new BigUint64Array(1);
const HALVES = /* @__PURE__ */ new Uint32Array(CELL.buffer);

/** The address of a frame, whose number has at most 52 bits. */
function addressOf(frame: number): PhysAddr {
  HALVES[0] = frame << PAGE_SHIFT;
  HALVES[1] = Math.floor(frame / 2 ** 20);
  return CELL[0] as PhysAddr;
}

/** The entry in the four words from `at` on. */
export function decodeWords(words: Uint32Array, at: number): RmpEntry {
  const w0 = words[at]!;
  const w1 = words[at + 1]!;
  const masks = words[at + 2]!;
  const gpaFrame = gpaFrameOfWords(w0, w1);
  return Object.freeze({
    assigned: isAssignedWord(w0),
    pageSize: isHugeWord(w0) ? PageSize.Huge : PageSize.Regular,
    immutable: isImmutableWord(w0),
    subpageCount: (w0 >>> COUNT_SHIFT) & COUNT_MASK,
    gpa: addressOf(gpaFrame),
    asid: asidOfWord(w1),
    vmsa: isVmsaWord(w1),
    validated: isValidatedWord(w1),
    vmplMasks: Object.freeze([
      masks & 0xff,
      (masks >>> 8) & 0xff,
      (masks >>> 16) & 0xff,
      masks >>> 24,
    ] as const),
    lock: (w1 & LOCK) !== 0,
    upper: words[at + 3]!,
  });
}

/** Writes `entry`, whose fields fit, into the four words from `at` on. */
export function encodeWords(entry: RmpEntry, words: Uint32Array, at: number): void {
  const gpaFrame = pageNumber(entry.gpa);
  const { vmplMasks } = entry;
  words[at] =
    (entry.assigned ? ASSIGNED : 0) |
    (entry.pageSize === PageSize.Huge ? HUGE : 0) |
    (entry.immutable ? IMMUTABLE : 0) |
    ((entry.subpageCount & COUNT_MASK) << COUNT_SHIFT) |
    (gpaFrame << GPA_SHIFT);
  words[at + 1] =
    (Math.floor(gpaFrame / 2 ** 20) & GPA_HIGH_MASK) |
    ((entry.asid & ASID_MASK) << ASID_SHIFT) |
    (entry.vmsa ? VMSA : 0) |
    (entry.validated ? VALIDATED : 0) |
    (entry.lock ? LOCK : 0);
  words[at + 2] =
    (vmplMasks[0] & 0xff) |
    ((vmplMasks[1] & 0xff) << 8) |
    ((vmplMasks[2] & 0xff) << 16) |
    (vmplMasks[3] << 24);
  words[at + 3] = entry.upper;
}
