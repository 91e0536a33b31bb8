import { PAGE_SIZE } from '@svsm/address';
import { CPUID_MAX_ENTRIES } from '../formats/cpuid-page.ts';
import { encodeSecretsPage } from '../formats/secrets-page.ts';
import type { FirmwareContext } from './firmware-context.ts';

/*
 * The content that SNP_LAUNCH_UPDATE writes or checks: `snp_mcmd_launch_update` and `sanitize_cpuid_list` of AMD-ASPFW.
 */

/** The version of the secrets page, and its TSC factor on Genoa (AMD-ASPFW `sev_mcmd.h`, `sev_rmp.h`). */
const SECRETS_VERSION = 3;
const TSC_FACTOR = 200;

/**
 * The secrets page of a guest: its keys for messages. The model has no CPUID, no workarounds of the operating system and
 * no register protection, so the processor's signature, GOSVW and the bitmap are 0.
 */
export function secretsPage({ vmpcks }: FirmwareContext): Uint8Array {
  return encodeSecretsPage({
    version: SECRETS_VERSION,
    imi: false,
    familyModelStepping: 0,
    vmpcks,
    vmsaTweakBitmap: new Uint8Array(64),
    svsm: undefined,
    tscFactor: TSC_FACTOR,
  });
}

const ENTRIES = 0x10;
const ENTRY_SIZE = 0x30;
const RESERVED_OF_ENTRY = 0x28;

/**
 * Whether the firmware accepts a CPUID page: at most 64 entries, and zeros in the reserved fields of the header and of
 * entries for standard and extended functions. The firmware also compares the values with the processor's, which the model
 * does not have.
 */
export function isCpuidPage(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_SIZE);
  const count = view.getUint32(0, true);
  if (count > CPUID_MAX_ENTRIES || view.getUint32(4, true) !== 0 || view.getBigUint64(8, true) !== 0n) {
    return false;
  }
  for (let at = ENTRIES; at < ENTRIES + ENTRY_SIZE * count; at += ENTRY_SIZE) {
    const isChecked = (view.getUint32(at, true) & 0x7fff_0000) === 0;
    if (isChecked && view.getBigUint64(at + RESERVED_OF_ENTRY, true) !== 0n) return false;
  }
  return true;
}
