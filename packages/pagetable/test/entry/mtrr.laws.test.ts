import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { MtrrType } from '../../src/entry/memory-type.ts';
import { decodeMtrrs, encodeVariableMtrr, FIXED_MTRRS } from '../../src/entry/mtrr.ts';
import { mtrrType } from '../../src/entry/mtrr-type.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { type SlowRegisters, slowMtrrType, slowPageType } from '../support/slow-mtrr.ts';

const WIDTH = 36;
const config = pagingConfig({ physicalBits: WIDTH });
const code = fc.constantFrom<bigint[]>(0n, 1n, 4n, 5n, 6n);
const type = fc.constantFrom<MtrrType[]>('UC', 'WC', 'WT', 'WP', 'WB');
const register = fc
  .array(code, { minLength: 8, maxLength: 8 })
  .map((codes) => codes.reduceRight((word, value) => (word << 8n) | value, 0n));
const fixed = fc.array(register, { minLength: 11, maxLength: 11 });

/** A range of a power of two that lies in or near the first 32 MiB, or around 4 GiB, so that ranges overlap. */
const tidyPair = fc
  .record({
    shift: fc.integer({ min: 12, max: 33 }),
    at: fc.bigInt(0n, (1n << 36n) - 1n),
    near: fc.boolean(),
    type,
  })
  .map(({ shift, at, near, type: name }) => {
    const size = 1n << BigInt(shift);
    const start = ((near ? at & 0x1ff_ffffn : at) / size) * size;
    return encodeVariableMtrr(physAddr(start), size, name, config);
  });
/** Any mask, of ranges that are not contiguous too. */
const wildPair = fc
  .record({
    base: fc.bigInt(0n, 0x1ffn),
    mask: fc.bigInt(0n, 0x1fffn),
    high: fc.boolean(),
    code,
    valid: fc.boolean(),
  })
  .map(({ base, mask, high, code: value, valid }) => ({
    base: (base << 12n) | value,
    mask: (high ? 0xf_e000_0000n : 0n) | (mask << 12n) | (valid ? 0x800n : 0n),
  }));
const registers: fc.Arbitrary<SlowRegisters> = fc.record({
  defType: fc
    .tuple(code, fc.constantFrom(0x800n, 0x800n, 0xc00n, 0xc00n, 0x400n))
    .map(([value, bits]) => value | bits),
  fixed,
  variable: fc.array(fc.oneof(tidyPair, wildPair), { maxLength: 6 }),
  forcedTop: fc.option(
    fc.bigInt(0n, 0xffn).map((top) => 0xf000_0000n + (top << 23n)),
    { nil: undefined },
  ),
});
const anywhere = fc.oneof(
  fc.bigInt(0n, 0x1f_ffffn),
  fc.bigInt(0n, 0x3ff_ffffn),
  fc.bigInt(0xffff_0000n, 0x1_0100_0000n),
  fc.bigInt(0n, (1n << 36n) - 1n),
);
/** Registers, and an address: anywhere, in one of the ranges, or around TOP_MEM2. */
const registersAndAddress = fc
  .record({ words: registers, any: anywhere, pick: fc.nat() })
  .map(({ words, any, pick }) => {
    const starts = words.variable.map(({ base }) => base & ~0xfffn);
    const tops = words.forcedTop === undefined ? [] : [words.forcedTop - 4096n, words.forcedTop];
    const places = [any, ...starts, ...starts, ...tops];
    return [words, places[pick % places.length]!] as const;
  });

function decode({ forcedTop, ...rest }: SlowRegisters) {
  const system = forcedTop === undefined ? {} : { syscfg: 0x60_0000n, topMem2: forcedTop };
  return decodeMtrrs({ ...rest, ...system }, config);
}

describe('MTRRs', () => {
  // P63
  test('give each page of the first MiB the type of its fixed range', () => {
    fc.assert(
      fc.property(fixed, (values) => {
        const words = { defType: 0xc00n, fixed: values, variable: [] };
        const mtrrs = decode(words);
        for (let paddr = 0; paddr < 0x10_0000; paddr += 0x1000) {
          expect(mtrrType(mtrrs, physAddr(paddr))).toBe(slowMtrrType(words, BigInt(paddr), WIDTH));
        }
        // Each of the 88 ranges ends where the next one begins.
        const ends = mtrrs.fixed.map(({ start, size }) => start + size);
        expect(ends).toEqual([...mtrrs.fixed.slice(1).map(({ start }) => start), 0x10_0000]);
        expect(mtrrs.fixed.map(({ start }) => start).filter((_, i) => i % 8 === 0)).toEqual(
          FIXED_MTRRS.map(({ start }) => start),
        );
      }),
    );
  });

  // P63, P64, P66, P70
  test('give 4 KiB and 2 MiB the type that a look at each page finds', () => {
    fc.assert(
      fc.property(registersAndAddress, ([words, paddr]) => {
        const mtrrs = decode(words);
        expect(mtrrType(mtrrs, paddr as PhysAddr)).toBe(slowMtrrType(words, paddr, WIDTH));
        expect(mtrrType(mtrrs, paddr as PhysAddr, PageSize.Huge)).toBe(
          slowPageType(words, paddr, PageSize.Huge, WIDTH),
        );
      }),
    );
  });

  test('give 1 GiB the type that its parts of 2 MiB have', () => {
    fc.assert(
      fc.property(registersAndAddress, ([words, paddr]) => {
        const mtrrs = decode(words);
        const start = paddr - (paddr % BigInt(PageSize.Giant));
        const parts = Array.from({ length: 512 }, (_, i) =>
          mtrrType(mtrrs, (start + BigInt(i * PageSize.Huge)) as PhysAddr, PageSize.Huge),
        );
        const whole = new Set(parts).size === 1 ? parts[0] : 'mixed';
        expect(mtrrType(mtrrs, paddr as PhysAddr, PageSize.Giant)).toBe(whole);
      }),
    );
  });

  test('do not depend on the order of the pairs, nor on a pair that is there twice', () => {
    fc.assert(
      fc.property(registersAndAddress, ([words, paddr]) => {
        const expected = mtrrType(decode(words), paddr as PhysAddr);
        const variable = [...words.variable].reverse();
        expect(mtrrType(decode({ ...words, variable }), paddr as PhysAddr)).toBe(expected);
        const twice = [...words.variable, ...words.variable];
        expect(mtrrType(decode({ ...words, variable: twice }), paddr as PhysAddr)).toBe(expected);
      }),
    );
  });

  // P64
  test('are absorbed by a range of type UC', () => {
    fc.assert(
      fc.property(registersAndAddress, ([words, paddr]) => {
        const start = physAddr(paddr - (paddr % 4096n));
        const uc = encodeVariableMtrr(start, 4096, 'UC', config);
        const variable = [...words.variable, uc];
        const isFixed = (words.defType & 0xc00n) === 0xc00n && paddr < 0x10_0000n;
        const before = mtrrType(decode(words), start);
        expect(mtrrType(decode({ ...words, variable }), start)).toBe(isFixed ? before : 'UC');
      }),
    );
  });

  test('hold the range from which a pair was made, and nothing else', () => {
    fc.assert(
      fc.property(tidyPair, anywhere, (pair, paddr) => {
        const mtrrs = decodeMtrrs({ defType: 0x800n, variable: [pair] }, config);
        const [range] = mtrrs.variable;
        const size = (1n << BigInt(WIDTH)) - range!.mask;
        const isInside = paddr >= range!.base && paddr < range!.base + size;
        expect(mtrrType(mtrrs, paddr as PhysAddr)).toBe(isInside ? range!.type : 'UC');
        expect(encodeVariableMtrr(range!.base, size, range!.type, config)).toEqual(pair);
      }),
    );
  });
});
