import fc from 'fast-check';
import { expect, test } from 'vitest';
import { guidBytes, guidOf } from '../../src/formats/guid.ts';
import { guid } from '../support/images.ts';

// L11
test('the text and the bytes of a GUID are those of the other', () => {
  const text = '96b582de-1fb2-45f7-baea-a366c55a082d';
  expect([...guidBytes(text)].map((byte) => byte.toString(16)).join(' ')).toBe(
    'de 82 b5 96 b2 1f f7 45 ba ea a3 66 c5 5a 8 2d',
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      expect(guidBytes(guidOf(bytes))).toEqual(bytes);
      expect(Uint8Array.from(guid(guidOf(bytes)))).toEqual(bytes);
    }),
  );
});
