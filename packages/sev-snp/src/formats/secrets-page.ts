import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import {
  type ByteFields,
  fieldsOf,
  readFields,
  requireFlags,
  requireLength,
  writeFields,
} from './byte-fields.ts';
import { SnpError } from './snp-error.ts';

/** Where a guest finds its SVSM: written by the SVSM to the secrets page (AMD document 58019, §4.1, table 1). */
export interface SvsmLocation {
  /** The start of the SVSM's memory. */
  readonly base: PhysAddr;
  /** The size of the SVSM's memory, in bytes. */
  readonly size: bigint;
  /** The calling area of the boot processor. */
  readonly callingArea: PhysAddr;
  /** The greatest version of the core protocol. */
  readonly maxVersion: number;
  /** The VMPL of the guest: 1 to 3. */
  readonly guestVmpl: number;
}

/** A page of type SECRETS, as the firmware writes it (AMD-ASPFW `sev_mcmd.h`, version 3) and an SVSM completes it. */
export interface SecretsPage {
  readonly version: number;
  /** Whether the guest was launched with a migration image. */
  readonly imi: boolean;
  readonly familyModelStepping: number;
  /** The keys of VMPL0 to VMPL3 for requests to the firmware: 32 bytes each. */
  readonly vmpcks: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  /** The bytes of a VMSA that register protection has changed: a bitmap of 64 bytes. */
  readonly vmsaTweakBitmap: Uint8Array;
  /** `undefined` if the size is 0: the guest has no SVSM. */
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

const SVSM_NAMES = ['base', 'size', 'callingArea', 'maxVersion', 'guestVmpl'] as const;

const SECRETS_NAMES = [
  'version',
  'imi',
  'familyModelStepping',
  'vmpcks',
  'vmsaTweakBitmap',
  'svsm',
  'tscFactor',
] as const;

const VMPCKS = 0x20;
const VMPCK_SIZE = 32;
const TWEAK_BITMAP = 0x100;
const TWEAK_BITMAP_SIZE = 64;

/** Decodes a secrets page. O(1). @throws SnpError `INVALID_ARGUMENT` if `page` is not 4096 bytes long */
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
 * Encodes a secrets page, as the firmware writes it. The bytes that {@link SecretsPage} does not name are 0. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if a key is not 32 bytes long, the bitmap is not 64, or `secrets` is not an object;
 *   `INVALID_MESSAGE` if a field does not fit
 */
export function encodeSecretsPage(secrets: SecretsPage): Uint8Array {
  const { version, imi, familyModelStepping, vmpcks, vmsaTweakBitmap, svsm, tscFactor } = fieldsOf(
    'a secrets page',
    secrets,
    SECRETS_NAMES,
  );
  requireFlags({ imi });
  requireLength(vmsaTweakBitmap, TWEAK_BITMAP_SIZE, 'the bitmap');
  const page = new Uint8Array(PAGE_SIZE);
  writeFields(page, FIELDS, { version, flags: Number(imi), familyModelStepping, tscFactor });
  const keys = Object.values(fieldsOf('the keys', vmpcks, ['0', '1', '2', '3'] as never));
  for (const [vmpl, key] of (keys as Uint8Array[]).entries()) {
    requireLength(key, VMPCK_SIZE, 'a key');
    page.set(key, VMPCKS + VMPCK_SIZE * vmpl);
  }
  page.set(vmsaTweakBitmap, TWEAK_BITMAP);
  if (svsm !== undefined) writeSvsm(page, fieldsOf('the location of the SVSM', svsm, SVSM_NAMES));
  return page;
}

/**
 * Completes a secrets page as an SVSM does for its guest: writes where the SVSM is, and wipes the keys of all levels
 * that are more privileged than the guest's. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `page` is not 4096 bytes long; `INVALID_MESSAGE` if a field does not fit
 */
export function announceSvsm(page: Uint8Array, svsm: SvsmLocation): void {
  requireLength(page, PAGE_SIZE, 'a secrets page');
  const location = fieldsOf('the location of the SVSM', svsm, SVSM_NAMES);
  writeSvsm(page, location);
  page.fill(0, VMPCKS, VMPCKS + VMPCK_SIZE * location.guestVmpl);
}

function writeSvsm(page: Uint8Array, svsm: SvsmLocation): void {
  const { guestVmpl } = svsm;
  if (!Number.isInteger(guestVmpl) || guestVmpl < 1 || guestVmpl > 3) {
    throw new SnpError('INVALID_MESSAGE', { field: 'guestVmpl', value: guestVmpl, expected: 'pass 1 to 3' });
  }
  writeFields(page, SVSM_FIELDS, svsm);
}
