import { expect, test } from 'vitest';
import { FirmwareContext } from '../../src/firmware/firmware-context.ts';
import { isCpuidPage, secretsPage } from '../../src/firmware/launch-content.ts';
import { decodeSecretsPage } from '../../src/formats/secrets-page.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { EncryptedMemory } from '../../src/memory/encrypted-memory.ts';

/** A page with a count, and words at offsets. */
function page(count: number, words: Readonly<Record<number, number>> = {}): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, count, true);
  for (const [at, word] of Object.entries(words)) view.setUint32(Number(at), word, true);
  return bytes;
}

test('a CPUID page has up to 64 entries', () => {
  expect([0, 1, 63, 64].map((count) => isCpuidPage(page(count)))).toEqual([true, true, true, true]);
  expect([65, 0xffff_ffff].map((count) => isCpuidPage(page(count)))).toEqual([false, false]);
});

test('its reserved words are zeros: of the header, and of each entry for a standard or extended function', () => {
  for (const at of [4, 8, 12])
    for (const bit of [1, 0x8000_0000]) expect(isCpuidPage(page(2, { [at]: bit }))).toBe(false);
  for (const at of [0x10, 0x40]) {
    for (const leaf of [0, 0xffff, 0x8000_0000, 0x8000_ffff])
      for (const reserved of [0x28, 0x2c]) {
        expect(isCpuidPage(page(2, { [at]: leaf, [at + reserved]: 1 }))).toBe(false);
        expect(isCpuidPage(page(2, { [at]: leaf, [at + reserved]: 0x8000_0000 }))).toBe(false);
      }
    // Entries for other functions are not checked, nor are the other fields.
    for (const leaf of [0x1_0000, 0x4000_0000, 0xc000_0000])
      expect(isCpuidPage(page(2, { [at]: leaf, [at + 0x28]: 1 }))).toBe(true);
    for (let field = 4; field < 0x28; field += 4)
      expect(isCpuidPage(page(2, { [at + field]: 0xffff_ffff }))).toBe(true);
  }
});

test('what follows the last entry is not read', () => {
  expect(isCpuidPage(page(2, { [0x70 + 0x28]: 1 }))).toBe(true);
  expect(isCpuidPage(page(0, { [0x10 + 0x28]: 1 }))).toBe(true);
  expect(isCpuidPage(page(64, { [0x10 + 63 * 0x30 + 0x28]: 1 }))).toBe(false);
});

test('the secrets page has the keys of its guest, which differ, and no SVSM', () => {
  const memory = new EncryptedMemory(0x1000);
  const [one, two] = [0, 1].map(() => new FirmwareContext(sysPhysAddr(0), memory)) as [
    FirmwareContext,
    FirmwareContext,
  ];
  const secrets = decodeSecretsPage(secretsPage(one));
  expect(secrets).toMatchObject({
    version: 3,
    imi: false,
    familyModelStepping: 0,
    svsm: undefined,
    tscFactor: 200,
  });
  expect(secrets.vmpcks.map(String)).toEqual(one.vmpcks.map(String));
  expect(secrets.vmsaTweakBitmap).toEqual(new Uint8Array(64));
  const keys = [...one.vmpcks, ...two.vmpcks].map(String);
  expect(new Set(keys).size).toBe(8);
  expect(one.vmpcks.every((key) => key.length === 32)).toBe(true);
});
