import { physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { announceSvsm, decodeSecretsPage, encodeSecretsPage } from '../../src/formats/secrets-page.ts';
import { codeOf, thrownBy } from '../support/world.ts';

const svsm = {
  base: physAddr(0x10_0000),
  size: 0x20_0000n,
  callingArea: physAddr(0x40_0000),
  maxVersion: 1,
  guestVmpl: 2,
};

function page(): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 3, true);
  view.setUint8(4, 1);
  view.setUint32(8, 0xa1_0f11, true);
  for (let vmpl = 0; vmpl < 4; vmpl += 1) bytes.fill(0x10 + vmpl, 0x20 + 32 * vmpl, 0x40 + 32 * vmpl);
  bytes.fill(0xee, 0x100, 0x140);
  view.setUint32(0x160, 200, true);
  return bytes;
}

// L7
test('every field is where the firmware writes it', () => {
  expect(decodeSecretsPage(page())).toEqual({
    version: 3,
    imi: true,
    familyModelStepping: 0xa1_0f11,
    svsm: undefined,
    tscFactor: 200,
    vmpcks: [0x10, 0x11, 0x12, 0x13].map((byte) => new Uint8Array(32).fill(byte)),
    vmsaTweakBitmap: new Uint8Array(64).fill(0xee),
  });
});

// L7
test('encoding is the reverse of decoding, with an SVSM or without', () => {
  const bytes = page();
  expect(encodeSecretsPage(decodeSecretsPage(bytes))).toEqual(bytes);
  announceSvsm(bytes, svsm);
  expect(encodeSecretsPage(decodeSecretsPage(bytes))).toEqual(bytes);
});

test.each<[string, object, string]>([
  ['a version of 33 bits', { version: 2 ** 32 }, 'INVALID_MESSAGE'],
  ['imi that is not a boolean', { imi: 1 }, 'INVALID_MESSAGE'],
  [
    'a key of 31 bytes',
    { vmpcks: [0, 0, 0, 1].map((less) => new Uint8Array(32 - less)) },
    'INVALID_ARGUMENT',
  ],
  ['three keys', { vmpcks: [0, 0, 0].map(() => new Uint8Array(32)) }, 'INVALID_ARGUMENT'],
  ['no keys', { vmpcks: undefined }, 'INVALID_MESSAGE'],
  ['a short bitmap', { vmsaTweakBitmap: new Uint8Array(63) }, 'INVALID_ARGUMENT'],
  ['an SVSM for VMPL0', { svsm: { ...svsm, guestVmpl: 0 } }, 'INVALID_MESSAGE'],
])('encoding refuses %s', (_, fields, code) => {
  expect(codeOf(() => encodeSecretsPage({ ...decodeSecretsPage(page()), ...fields }))).toBe(code);
});

// S1
test.each([
  [1, [0, 0x11, 0x12, 0x13]],
  [2, [0, 0, 0x12, 0x13]],
  [3, [0, 0, 0, 0x13]],
])('an SVSM wipes the keys of the levels above its guest at VMPL%i, and no other', (guestVmpl, keys) => {
  const bytes = page();
  announceSvsm(bytes, { ...svsm, guestVmpl });
  expect(decodeSecretsPage(bytes).vmpcks.map((key) => key[0])).toEqual(keys);
  expect(decodeSecretsPage(bytes).vmpcks.map((key) => new Set(key).size)).toEqual([1, 1, 1, 1]);
});

// S1
test('an SVSM writes where it is', () => {
  const bytes = page();
  announceSvsm(bytes, svsm);
  const view = new DataView(bytes.buffer);
  const fields = [0x140, 0x148, 0x150].map((at) => view.getBigUint64(at, true));
  expect(fields).toEqual([0x10_0000n, 0x20_0000n, 0x40_0000n]);
  expect([view.getUint32(0x158, true), view.getUint8(0x15c)]).toEqual([1, 2]);
  const rest = decodeSecretsPage(bytes);
  expect(rest.svsm).toEqual(svsm);
  expect(rest.vmsaTweakBitmap[0]).toBe(0xee);
});

test('a value that does not fit is refused, and nothing is written', () => {
  const bytes = page();
  expect(codeOf(() => announceSvsm(bytes, { ...svsm, guestVmpl: 0 }))).toBe('INVALID_MESSAGE');
  expect(codeOf(() => announceSvsm(bytes, { ...svsm, size: -1n }))).toBe('INVALID_MESSAGE');
  expect(codeOf(() => decodeSecretsPage(new Uint8Array(5)))).toBe('INVALID_ARGUMENT');
  expect(bytes).toEqual(page());
});

test.each(['base', 'size', 'callingArea'] as const)(
  'a %s that does not fit is refused by its name',
  (field) => {
    for (const value of [-1n, 1n << 64n]) {
      const bytes = page();
      const error = thrownBy(() => announceSvsm(bytes, { ...svsm, [field]: value }));
      expect(error?.code).toBe('INVALID_MESSAGE');
      expect(error?.details).toMatchObject({ field, value });
      expect(bytes).toEqual(page());
    }
  },
);

test.each([0, 4, 1.5])('an SVSM has no guest at VMPL%d', (guestVmpl) => {
  const error = thrownBy(() => announceSvsm(page(), { ...svsm, guestVmpl }));
  expect(error?.details).toEqual({ field: 'guestVmpl', value: guestVmpl, expected: 'pass 1 to 3' });
});

test('a page of a guest without a migration image says so', () => {
  const page = new Uint8Array(4096);
  expect(decodeSecretsPage(page).imi).toBe(false);
  page.fill(0xfe, 4, 5);
  expect(decodeSecretsPage(page).imi).toBe(false);
  page.fill(1, 4, 5);
  expect(decodeSecretsPage(page).imi).toBe(true);
});
