import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import { SnpError } from './snp-error.ts';

/** Where a guest finds its SVSM: what that has written to the secrets page (AMD document 58019, §5, table 1). */
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

const VMPCKS = 0x20;
const VMPCK_SIZE = 32;
const TWEAK_BITMAP = 0x100;
const SVSM = 0x140;

/** Takes a secrets page apart. O(1). @throws SnpError `INVALID_ARGUMENT` if it is not 4096 bytes long */
export function decodeSecretsPage(page: Uint8Array): SecretsPage {
  const view = viewOf(page);
  const key = (vmpl: number): Uint8Array =>
    page.slice(VMPCKS + VMPCK_SIZE * vmpl, VMPCKS + VMPCK_SIZE * (vmpl + 1));
  const size = view.getBigUint64(SVSM + 8, true);
  const svsm = Object.freeze({
    base: view.getBigUint64(SVSM, true) as PhysAddr,
    size,
    callingArea: view.getBigUint64(SVSM + 0x10, true) as PhysAddr,
    maxVersion: view.getUint32(SVSM + 0x18, true),
    guestVmpl: view.getUint8(SVSM + 0x1c),
  });
  return Object.freeze({
    version: view.getUint32(0, true),
    imi: (view.getUint8(4) & 1) !== 0,
    familyModelStepping: view.getUint32(8, true),
    vmpcks: Object.freeze([key(0), key(1), key(2), key(3)] as const),
    vmsaTweakBitmap: page.slice(TWEAK_BITMAP, TWEAK_BITMAP + 64),
    svsm: size === 0n ? undefined : svsm,
    tscFactor: view.getUint32(0x160, true),
  });
}

/**
 * What an SVSM does to the secrets page before its guest sees it: says where it is, and wipes the key of VMPL0. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if it is not 4096 bytes long; `INVALID_MESSAGE` if a field does not fit
 */
export function announceSvsm(page: Uint8Array, svsm: SvsmLocation): void {
  const view = viewOf(page);
  const { base, size, callingArea, maxVersion, guestVmpl } = svsm;
  for (const [field, value] of Object.entries({ base, size, callingArea })) {
    if (value >= 0n && value < 1n << 64n) continue;
    throw new SnpError('INVALID_MESSAGE', { field, value, expected: 'pass 64 bits' });
  }
  if (!Number.isInteger(guestVmpl) || guestVmpl < 1 || guestVmpl > 3) {
    throw new SnpError('INVALID_MESSAGE', { field: 'guestVmpl', value: guestVmpl, expected: 'pass 1 to 3' });
  }
  view.setBigUint64(SVSM, base, true);
  view.setBigUint64(SVSM + 8, size, true);
  view.setBigUint64(SVSM + 0x10, callingArea, true);
  view.setUint32(SVSM + 0x18, maxVersion, true);
  view.setUint8(SVSM + 0x1c, guestVmpl);
  page.fill(0, VMPCKS, VMPCKS + VMPCK_SIZE);
}

function viewOf(page: Uint8Array): DataView {
  if (page.length !== PAGE_SIZE) {
    const what = 'the length of a secrets page';
    throw new SnpError('INVALID_ARGUMENT', { what, value: page.length, expected: 'pass 4096 bytes' });
  }
  return new DataView(page.buffer, page.byteOffset, page.length);
}
