import { expect, test } from 'vitest';
import { FirmwareStatus } from '../../src/formats/firmware-status.ts';

// T6
test('each status has a code of its own, which fits 16 bits and is not that of success', () => {
  const codes: readonly number[] = Object.values(FirmwareStatus);
  expect(new Set(codes).size).toBe(codes.length);
  expect(codes.filter((code) => !Number.isInteger(code) || code < 1 || code > 0xffff)).toEqual([]);
});
