import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeCpuidPage, encodeCpuidPage } from '../../src/formats/cpuid-page.ts';
import { codeOf, thrownBy } from '../support/world.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const entry = fc.record({
  eaxIn: u32,
  ecxIn: u32,
  xcr0: u64,
  xss: u64,
  eax: u32,
  ebx: u32,
  ecx: u32,
  edx: u32,
});

test('a table of up to 64 entries is decoded as it was encoded', () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 64 }), (entries) => {
      expect(decodeCpuidPage(encodeCpuidPage(entries))).toEqual(entries);
    }),
  );
});

// L8
test('entries have 48 bytes, from byte 16 on', () => {
  const one = { eaxIn: 0x8000_001f, ecxIn: 1, xcr0: 2n, xss: 3n, eax: 4, ebx: 51, ecx: 6, edx: 7 };
  const page = encodeCpuidPage([one, one]);
  const view = new DataView(page.buffer);
  expect(view.getUint32(0, true)).toBe(2);
  expect(view.getUint32(16 + 48, true)).toBe(0x8000_001f);
  expect([24, 28, 32, 36].map((at) => view.getUint32(16 + at, true))).toEqual([4, 51, 6, 7]);
});

// L8
test('any page gives entries, or a coded error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), fc.nat(70), (bytes, count) => {
      const page = new Uint8Array(4096);
      page.set(bytes);
      new DataView(page.buffer).setUint32(0, count, true);
      const code = thrownBy(() => decodeCpuidPage(page))?.code;
      expect(code).toBe(count > 64 ? 'INVALID_MESSAGE' : undefined);
    }),
  );
  expect(codeOf(() => decodeCpuidPage(new Uint8Array(4095)))).toBe('INVALID_ARGUMENT');
  expect(codeOf(() => encodeCpuidPage(Array.from({ length: 65 }, () => ({}) as never)))).toBe(
    'INVALID_MESSAGE',
  );
});

test('65 entries are refused by their number, whatever they hold', () => {
  const one = { eaxIn: 0, ecxIn: 0, xcr0: 0n, xss: 0n, eax: 0, ebx: 0, ecx: 0, edx: 0 };
  for (const length of [65, 84, 1000]) {
    const error = thrownBy(() => encodeCpuidPage(Array.from({ length }, () => one)));
    expect([error?.code, error?.details]).toEqual([
      'INVALID_MESSAGE',
      { field: 'count', value: length, expected: 'pass at most 64' },
    ]);
  }
});
