import { describe, expect, test } from 'vitest';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';

describe('flags', () => {
  test('the presets are or-ed from the flags that they name', () => {
    const { Present, Writable, Accessed, Dirty, Global, NoExecute } = PteFlags;
    expect(PtePreset.Data).toBe((Present | Writable | Accessed | Dirty | Global | NoExecute) >>> 0);
    expect(PtePreset.ReadOnly).toBe((Present | Accessed | Global | NoExecute) >>> 0);
    expect(PtePreset.Code).toBe(Present | Accessed | Global);
  });

  test('all together leave room for nothing but the address', () => {
    const all = Object.values(PteFlags).reduce((bits, flag) => bits | flag, 0) >>> 0;
    expect(all).toBe(0xfff0_1fff);
  });
});
