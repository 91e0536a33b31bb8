import { describe, expect, test } from 'vitest';
import {
  isMemoryType,
  isMtrrType,
  MemoryTypeCode,
  MTRR_TYPES,
  memoryTypeOfCode,
  mtrrTypeOfCode,
} from '../../src/entry/memory-type.ts';

describe('the encodings of memory types', () => {
  // P11
  test('are those of table 11-10 of the SDM and table 7-9 of the APM', () => {
    expect(MemoryTypeCode).toEqual({ UC: 0, WC: 1, WT: 4, WP: 5, WB: 6, 'UC-': 7 });
  });

  test('lead back to the types, and reserved ones to none', () => {
    const all = Array.from({ length: 256 }, (_, code) => memoryTypeOfCode(code));
    expect(all.slice(0, 8)).toEqual(['UC', 'WC', undefined, undefined, 'WT', 'WP', 'WB', 'UC-']);
    expect(new Set(all.slice(8))).toEqual(new Set([undefined]));
    expect(Array.from({ length: 9 }, (_, code) => mtrrTypeOfCode(code))).toEqual([
      'UC',
      'WC',
      undefined,
      undefined,
      'WT',
      'WP',
      'WB',
      undefined,
      undefined,
    ]);
  });

  test('name the types that PAT and MTRRs can hold', () => {
    expect(['UC', 'WC', 'WT', 'WP', 'WB', 'UC-'].every(isMemoryType)).toBe(true);
    for (const type of ['CD', 'WC+', '', 'wb', undefined, null, 0, {}])
      expect(isMemoryType(type)).toBe(false);
    expect(MTRR_TYPES.every(isMtrrType)).toBe(true);
    for (const type of ['UC-', 'CD', undefined]) expect(isMtrrType(type)).toBe(false);
  });
});
