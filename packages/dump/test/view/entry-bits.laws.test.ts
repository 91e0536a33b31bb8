import { physAddr } from '@svsm/address';
import { decodeEntry, encodeEntry, PteFlags, pagingConfig } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { namedBits, protectionKey, setBits } from '../../src/view/entry-bits.ts';

const SHAPES = [
  ...[0, 1, 2].map((level) => ({ level, leaf: true })),
  ...[1, 2, 3, 4].map((level) => ({ level, leaf: false })),
];
const CONFIG = pagingConfig({ levels: 5, vendor: 'intel' });

test.each(SHAPES)('every bit outside the address has one name, or belongs to the key: %o', (shape) => {
  const bits = [...Array.from({ length: 12 }, (_, i) => i), ...Array.from({ length: 12 }, (_, i) => 52 + i)];
  if (shape.leaf && shape.level > 0) bits.push(12);
  const seen = new Set<string>();
  for (const bit of bits) {
    const flags = bit < 32 ? 2 ** bit : 2 ** (bit - 32);
    const names = setBits(flags, shape);
    expect(names).toHaveLength(1);
    seen.add(names[0]!);
  }
  expect(seen.size).toBe(bits.length);
});

test('the names are those of the manual, at each level', () => {
  const all = (level: number, leaf: boolean, flags: number): string =>
    setBits(flags, { level, leaf }).join(' ');
  expect(all(0, true, PteFlags.Pat | PteFlags.Global)).toBe('PAT G');
  expect(all(1, true, PteFlags.Large | PteFlags.PatLarge | PteFlags.Dirty)).toBe('D PS PAT');
  expect(all(3, false, PteFlags.Present | PteFlags.Global | PteFlags.Dirty | PteFlags.NoExecute)).toBe(
    'P NX bit6 bit8',
  );
  expect(all(0, true, PteFlags.Software52 | PteFlags.Software11)).toBe('bit11 bit52');
  expect(protectionKey(0x7800_0000, { level: 0, leaf: true })).toBe(15);
  expect(protectionKey(0x7800_0000, { level: 1, leaf: false })).toBeNull();
});

test('the flags follow from the names of the set bits', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...SHAPES),
      fc.maxSafeNat().map((value) => value % 2 ** 32),
      (shape, drawn) => {
        const large = shape.leaf && shape.level > 0;
        const flags =
          (drawn & (large ? 0xfff0_1fff : 0xfff0_0f7f) & (shape.level >= 3 ? ~0x180 : -1)) |
          (large ? 0x80 : 0);
        const entry = encodeEntry(
          { address: physAddr(0), flags: flags >>> 0, leaf: shape.leaf },
          shape.level,
          CONFIG,
        );
        const decoded = decodeEntry(entry, shape.level, CONFIG);
        fc.pre(decoded.leaf === shape.leaf);
        const bits = namedBits(decoded.flags, shape);
        const rebuilt = Object.entries(bits).reduce(
          (sum, [name, isSet]) => sum + (isSet ? flagOf(name, shape.level) : 0),
          (protectionKey(decoded.flags, shape) ?? 0) * 2 ** 27,
        );
        expect(rebuilt).toBe(decoded.flags);
      },
    ),
  );
});

function flagOf(name: string, level: number): number {
  const bit = /^bit(\d+)$/.exec(name)?.[1];
  if (bit !== undefined) return 2 ** (Number(bit) % 32);
  const flags = {
    P: 0x1,
    RW: 0x2,
    US: 0x4,
    PWT: 0x8,
    PCD: 0x10,
    A: 0x20,
    D: 0x40,
    PS: 0x80,
    G: 0x100,
    PAT: level === 0 ? 0x80 : 0x1000,
    NX: 0x8000_0000,
  };
  return flags[name as keyof typeof flags];
}
