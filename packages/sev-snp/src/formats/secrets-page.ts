import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import { type ByteFields, readFields, requireFit, requireLength, writeFields } from './byte-fields.ts';
import { SnpError } from './snp-error.ts';

/** Where a guest finds its SVSM: the fields that the SVSM writes to the secrets page (AMD document 58019, §4.1, table 1). */
export interface SvsmLocation {
  /** The SVSM's memory. */
  readonly base: PhysAddr;
  readonly size: bigint;
  /** The calling area of the boot processor. */
  readonly callingArea: PhysAddr;
  readonly maxVersion: number;
  /** The level that the guest runs at. */
  readonly guestVmpl: number;
}

/** What the firmware writes to a page of type SECRETS (AMD-ASPFW `sev_mcmd.h`, version 3), and an SVSM to it. */
export interface SecretsPage {
  readonly version: number;
  /** Whether the guest was launched with a migration image. */
  readonly imi: boolean;
  readonly familyModelStepping: number;
  /** The keys that requests to the firmware are encrypted with, of VMPL0 to 3: 32 bytes each. */
  readonly vmpcks: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  /** Which bytes of a VMSA the register protection has changed: 64 bytes. */
  readonly vmsaTweakBitmap: Uint8Array;
  /** `undefined` if there is none: its size is 0. */
  readonly svsm: SvsmLocation | undefined;
  readonly tscFactor: number;
}

const FIELDS = {
  version: [0x00, 4],
  flags: [0x04, 1],
  familyModelStepping: [0x08, 4],
  tscFactor: [0x160, 4],
} as const satisfies ByteFields;

/** The fields that an SVSM writes. */
const SVSM_FIELDS = {
  base: [0x140, 8],
  size: [0x148, 8],
  callingArea: [0x150, 8],
  maxVersion: [0x158, 4],
  guestVmpl: [0x15c, 1],
} as const satisfies ByteFields;

const VMPCKS = 0x20;
const VMPCK_SIZE = 32;
const TWEAK_BITMAP = 0x100;
const TWEAK_BITMAP_SIZE = 64;

/** Takes a secrets page apart. O(1). @throws SnpError `INVALID_ARGUMENT` if it is not 4096 bytes long */
export function decodeSecretsPage(page: Uint8Array): SecretsPage {
  requireLength(page, PAGE_SIZE, 'a secrets page');
  const { version, flags, familyModelStepping, tscFactor } = readFields(page, FIELDS);
  const svsm = Object.freeze(readFields(page, SVSM_FIELDS)) as SvsmLocation;
  const key = (vmpl: number): Uint8Array =>
    page.slice(VMPCKS + VMPCK_SIZE * vmpl, VMPCKS + VMPCK_SIZE * (vmpl + 1));
  return Object.freeze({
    version,
    imi: (flags & 1) !== 0,
    familyModelStepping,
    vmpcks: Object.freeze([key(0), key(1), key(2), key(3)] as const),
    vmsaTweakBitmap: page.slice(TWEAK_BITMAP, TWEAK_BITMAP + TWEAK_BITMAP_SIZE),
    svsm: svsm.size === 0n ? undefined : svsm,
    tscFactor,
  });
}

/**
 * What an SVSM does to the secrets page before its guest sees it: says where it is, and wipes the key of VMPL0. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if it is not 4096 bytes long; `INVALID_MESSAGE` if a field does not fit
 */
export function announceSvsm(page: Uint8Array, svsm: SvsmLocation): void {
  requireLength(page, PAGE_SIZE, 'a secrets page');
  const { base, size, callingArea, guestVmpl } = svsm;
  for (const [field, value] of Object.entries({ base, size, callingArea })) requireFit(field, value, 8);
  if (!Number.isInteger(guestVmpl) || guestVmpl < 1 || guestVmpl > 3) {
    throw new SnpError('INVALID_MESSAGE', { field: 'guestVmpl', value: guestVmpl, expected: 'pass 1 to 3' });
  }
  writeFields(page, SVSM_FIELDS, svsm);
  page.fill(0, VMPCKS, VMPCKS + VMPCK_SIZE);
}
