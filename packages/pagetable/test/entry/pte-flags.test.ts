import { describe, expect, test } from 'vitest';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';

describe('PteFlags', () => {
  // P45
  test('has the presets of COCONUT-SVSM', () => {
    const { Present, Writable, Accessed, Dirty, Global, NoExecute } = PteFlags;
    expect(PtePreset.Data).toBe((Present | Writable | Accessed | Dirty | Global | NoExecute) >>> 0);
    expect(PtePreset.ReadOnly).toBe((Present | Accessed | Global | NoExecute) >>> 0);
    expect(PtePreset.Code).toBe(Present | Accessed | Global);
  });

  test('has a flag for every bit that is not address', () => {
    const all = Object.values(PteFlags).reduce((bits, flag) => bits | flag, 0) >>> 0;
    expect(all).toBe(0xfff0_1fff);
  });
});
