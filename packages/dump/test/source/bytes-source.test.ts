import { expect, test } from 'vitest';
import { bytesSource } from '../../src/source/bytes-source.ts';

test('reads bytes at a position, and none beyond the end', () => {
  const source = bytesSource(Uint8Array.of(1, 2, 3, 4));
  const into = new Uint8Array(2);
  source.read(1, into);
  expect([source.size, ...into]).toEqual([4, 2, 3]);
  source.read(4, new Uint8Array(0));
  expect(() => source.read(3, into)).toThrow('it ends at byte 4, before byte 5 [TRUNCATED_FILE]');
  source.close();
});

test('refuses other values', () => {
  expect(() => bytesSource('text' as never)).toThrow(
    'bytes cannot be "text": pass a Uint8Array [INVALID_ARGUMENT]',
  );
});
