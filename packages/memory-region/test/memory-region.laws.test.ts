import type { Address } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryRegion } from '../src/index.ts';
import { bits, filled, isRun, regionError, type Sample, SPAN, samples, setOf, WINDOWS } from './support.ts';

describe.each(WINDOWS)('%s: regions as sets', (_, window) => {
  const { kind, base } = window;
  const one = samples(window);
  const at = (position: number) => kind.tryAddress(base + BigInt(position));

  /** Checks a law for pairs of regions, and that the regions are unchanged. */
  function forPairs(law: (a: Sample, b: Sample) => void): void {
    fc.assert(
      fc.property(one, one, (a, b) => {
        law(a, b);
        for (const { region, from, to } of [a, b]) {
          expect([region.kind, region.start, region.end]).toEqual([kind, at(from), base + BigInt(to)]);
        }
      }),
    );
  }

  test('size, isEmpty and last follow from the bounds', () => {
    fc.assert(
      fc.property(one, ({ region, from, to }) => {
        expect(region.size).toBe(BigInt(to - from));
        expect(region.isEmpty).toBe(from === to);
        expect(region.last).toBe(from === to ? undefined : at(to - 1));
      }),
    );
  });

  test('contains is membership; containsInclusive adds the end', () => {
    fc.assert(
      fc.property(one, fc.nat(SPAN - 1), ({ region, set, to }, position) => {
        const member = ((set >> BigInt(position)) & 1n) === 1n;
        expect(region.contains(at(position) as Address)).toBe(member);
        const atEnd = region.isEmpty ? region.start === at(position) : position === to;
        expect(region.containsInclusive(base + BigInt(position))).toBe(member || atEnd);
        expect(region.containsInclusive(region.end)).toBe(true);
        expect(region.containsInclusive(region.end + 1n)).toBe(false);
      }),
    );
  });

  test('containsRegion is inclusion', () => {
    forPairs((a, b) => {
      expect(a.region.containsRegion(b.region)).toBe((b.set & ~a.set) === 0n);
      expect(a.region.containsRegion(a.region)).toBe(true);
    });
  });

  test('overlaps: some address lies in both', () => {
    forPairs((a, b) => {
      expect(a.region.overlaps(b.region)).toBe((a.set & b.set) !== 0n);
      expect(b.region.overlaps(a.region)).toBe(a.region.overlaps(b.region));
      expect(a.region.overlaps(a.region)).toBe(!a.region.isEmpty);
    });
  });

  test('contiguous: the union is a run', () => {
    forPairs((a, b) => {
      expect(a.region.contiguous(b.region)).toBe(isRun(a.set | b.set));
      expect(b.region.contiguous(a.region)).toBe(a.region.contiguous(b.region));
    });
  });

  test('equals: same start and same end', () => {
    forPairs((a, b) => {
      expect(a.region.equals(b.region)).toBe(a.from === b.from && a.to === b.to);
      expect(a.region.equals(a.region)).toBe(true);
    });
  });

  test('intersect is intersection, commutative and idempotent', () => {
    forPairs((a, b) => {
      const both = a.region.intersect(b.region);
      expect(setOf(window, both)).toBe(a.set & b.set);
      expect(both === undefined).toBe((a.set & b.set) === 0n);
      expect(b.region.intersect(a.region)).toEqual(both);
      expect(a.region.intersect(a.region)?.equals(a.region) ?? true).toBe(true);
      if (both) expect(both.intersect(a.region)?.equals(both)).toBe(true);
    });
  });

  test('subtract is difference; the parts are ascending and not empty, and do not touch', () => {
    forPairs((a, b) => {
      const rest = a.region.subtract(b.region);
      expect(setOf(window, ...rest)).toBe(a.set & ~b.set);
      expect(rest.length).toBeLessThanOrEqual(2);
      for (const part of rest) expect(part.isEmpty).toBe(false);
      if (rest[0] && rest[1]) expect(rest[0].end < rest[1].start).toBe(true);
      // Subtracting again changes nothing.
      expect(rest.flatMap((part) => part.subtract(b.region))).toEqual(rest);
      expect(a.region.subtract(a.region)).toEqual([]);
    });
  });

  test('the results of subtract and intersect add up to the left region', () => {
    forPairs((a, b) => {
      const both = a.region.intersect(b.region);
      const parts = [...a.region.subtract(b.region), ...(both ? [both] : [])];
      expect(setOf(window, ...parts)).toBe(a.set);
      parts.sort((x, y) => (x.start < y.start ? -1 : 1));
      const [first, ...others] = parts;
      const whole = others.reduce<MemoryRegion<Address> | undefined>((sum, part) => sum?.merge(part), first);
      expect(whole?.equals(a.region) ?? a.region.isEmpty).toBe(true);
    });
  });

  test('merge is union if that is a run, commutative and idempotent; else it throws NOT_CONTIGUOUS', () => {
    forPairs((a, b) => {
      if (isRun(a.set | b.set)) {
        expect(setOf(window, a.region.merge(b.region))).toBe(a.set | b.set);
        expect(setOf(window, b.region.merge(a.region))).toBe(a.set | b.set);
      } else {
        const { details } = regionError('NOT_CONTIGUOUS', () => a.region.merge(b.region));
        expect(details).toEqual({ left: a.region, right: b.region });
        regionError('NOT_CONTIGUOUS', () => b.region.merge(a.region));
      }
      expect(a.region.merge(a.region).equals(a.region)).toBe(true);
    });
  });

  test('hull is the run from the first to the last address, commutative, associative, idempotent', () => {
    fc.assert(
      fc.property(one, one, one, (a, b, c) => {
        const hull = a.region.hull(b.region);
        expect(setOf(window, hull)).toBe(filled(a.set | b.set));
        expect(setOf(window, b.region.hull(a.region))).toBe(filled(a.set | b.set));
        expect(setOf(window, hull.hull(c.region))).toBe(
          setOf(window, a.region.hull(b.region.hull(c.region))),
        );
        expect(hull.containsRegion(a.region) && hull.containsRegion(b.region)).toBe(true);
        expect(a.region.hull(a.region).equals(a.region)).toBe(true);
      }),
    );
  });

  test('splitAt returns two parts that add up to the region; elsewhere it throws OUTSIDE_REGION', () => {
    fc.assert(
      fc.property(one, fc.nat(SPAN - 1), ({ region, from, to, set }, position) => {
        const address = at(position) as Address;
        if (from < position && position < to) {
          const [left, right] = region.splitAt(address);
          expect(setOf(window, left)).toBe(bits(from, position));
          expect(setOf(window, right)).toBe(bits(position, to));
          expect(setOf(window, left, right)).toBe(set);
          expect(left.merge(right).equals(region)).toBe(true);
        } else {
          const { details } = regionError('OUTSIDE_REGION', () => region.splitAt(address));
          expect(details).toEqual({ region, at: address });
        }
      }),
    );
  });

  test('expand adds bytes at the end, up to the limit of the space', () => {
    fc.assert(
      fc.property(one, fc.nat(SPAN), fc.boolean(), ({ region, from, to }, more, big) => {
        const bytes = big ? BigInt(more) : more;
        const limit = kind.runEnd(region.start);
        if (region.end + BigInt(more) <= limit) {
          const expanded = region.expand(bytes);
          expect([expanded.start, expanded.size]).toEqual([at(from), BigInt(to - from + more)]);
        } else {
          expect(regionError('REGION_OVERFLOW', () => region.expand(bytes)).details.limit).toBe(limit);
        }
      }),
    );
  });

  test('alignOutward covers every unit that the region touches, alignInward every unit that it contains', () => {
    const alignments = fc.constantFrom(1, 2, 4, 8, 16, 32, 64, 8n, 64n);
    fc.assert(
      fc.property(one, alignments, ({ region, from, set }, alignment) => {
        const unit = Number(alignment);
        let touched = 0n;
        let held = 0n;
        for (let start = 0; start < SPAN; start += unit) {
          const whole = bits(start, start + unit);
          if ((set & whole) !== 0n) touched |= whole;
          if ((set & whole) === whole) held |= whole;
        }
        const outward = region.alignOutward(alignment);
        expect(setOf(window, outward)).toBe(touched);
        if (region.isEmpty) expect(outward.start).toBe(at(from - (from % unit)));
        expect(outward.alignOutward(alignment).equals(outward)).toBe(true);

        const inward = region.alignInward(alignment);
        expect(setOf(window, inward)).toBe(held);
        expect(inward === undefined).toBe(held === 0n);
        expect(inward?.alignInward(alignment)?.equals(inward) ?? true).toBe(true);
      }),
    );
  });

  test('tryNew is defined exactly where the constructor does not throw', () => {
    fc.assert(
      fc.property(fc.nat(SPAN - 1), fc.bigInt(-4n, BigInt(2 * SPAN)), (position, size) => {
        const start = at(position) as Address;
        const tried = MemoryRegion.tryNew(kind, start, size);
        if (size >= 0n && start + size <= kind.runEnd(start)) {
          expect(tried).toEqual(new MemoryRegion(kind, start, size));
          expect(tried).toEqual(MemoryRegion.fromAddresses(kind, start, start + size));
          expect(tried?.size).toBe(size);
          const trusted = MemoryRegion.unchecked(kind, start, size);
          expect(trusted.equals(tried as MemoryRegion<Address>)).toBe(true);
          expect([trusted.start, trusted.end, trusted.size]).toEqual([start, start + size, size]);
        } else {
          expect(tried).toBeUndefined();
          expect(() => new MemoryRegion(kind, start, size)).toThrow();
          expect(() => MemoryRegion.fromAddresses(kind, start, start + size)).toThrow();
        }
      }),
    );
  });
});
