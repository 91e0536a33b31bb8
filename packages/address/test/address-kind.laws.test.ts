import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { alignDown, formatAddress, isAddressError, isAligned } from '../src/index.ts';
import {
  addressAndBytes,
  addresses,
  alignments,
  atOrdinal,
  byteCounts,
  integers,
  ordinalOf,
  runOf,
  SPACES,
} from './support.ts';

/** The value of `action`, or `overflow` if it throws ADDRESS_OVERFLOW. Other errors pass through. */
function orOverflow<T>(action: () => T): T | 'overflow' {
  try {
    return action();
  } catch (error) {
    if (isAddressError(error, 'ADDRESS_OVERFLOW')) return 'overflow';
    throw error;
  }
}

describe.each(SPACES)('%s', (_, space) => {
  const { kind, runs } = space;
  const end = runs.at(-1)![1];

  describe('validity', () => {
    test('a value is an address exactly if it lies in a run', () => {
      fc.assert(
        fc.property(integers, (value) => {
          const valid = runOf(space, value) !== undefined;
          expect(kind.isAddress(value)).toBe(valid);
          expect(kind.tryAddress(value)).toBe(valid ? value : undefined);
        }),
      );
    });

    test('address returns what tryAddress returns, and throws where that is undefined', () => {
      fc.assert(
        fc.property(integers, (value) => {
          const expected = kind.tryAddress(value);
          if (expected !== undefined) expect(kind.address(value)).toBe(expected);
          else expect(() => kind.address(value)).toThrow();
        }),
      );
    });

    test('truncate yields a valid address, leaves valid ones alone, and keeps the low bits', () => {
      fc.assert(
        fc.property(integers, (value) => {
          const cut = kind.truncate(value);
          expect(runOf(space, cut)).toBeDefined();
          expect(kind.truncate(cut)).toBe(cut);
          if (runOf(space, value)) expect(cut).toBe(value);
          const modulus = 2n ** BigInt(kind.bits);
          expect((cut - value) % modulus).toBe(0n);
        }),
      );
    });

    test('parse undoes formatAddress', () => {
      fc.assert(
        fc.property(addresses(space), (address) => {
          expect(kind.parse(formatAddress(address))).toBe(address);
        }),
      );
    });
  });

  describe('add and sub', () => {
    test('checkedAdd returns the sum if it lies in the same run, else undefined', () => {
      fc.assert(
        fc.property(addressAndBytes(space), ([address, bytes]) => {
          const sum = address + BigInt(bytes);
          expect(kind.checkedAdd(address, bytes)).toBe(sum < runOf(space, address)![1] ? sum : undefined);
        }),
      );
    });

    test('checkedSub returns the difference if it lies in the same run, else undefined', () => {
      fc.assert(
        fc.property(addressAndBytes(space), ([address, bytes]) => {
          const difference = address - BigInt(bytes);
          expect(kind.checkedSub(address, bytes)).toBe(
            difference >= runOf(space, address)![0] ? difference : undefined,
          );
        }),
      );
    });

    test('the checked forms return undefined exactly where the others throw ADDRESS_OVERFLOW', () => {
      fc.assert(
        fc.property(addressAndBytes(space), alignments, ([address, bytes], alignment) => {
          expect(orOverflow(() => kind.add(address, bytes))).toBe(
            kind.checkedAdd(address, bytes) ?? 'overflow',
          );
          expect(orOverflow(() => kind.sub(address, bytes))).toBe(
            kind.checkedSub(address, bytes) ?? 'overflow',
          );
          expect(orOverflow(() => kind.alignUp(address, alignment))).toBe(
            kind.checkedAlignUp(address, alignment) ?? 'overflow',
          );
        }),
      );
    });

    test('sub undoes add, and add undoes sub', () => {
      fc.assert(
        fc.property(addressAndBytes(space), ([address, bytes]) => {
          const sum = kind.checkedAdd(address, bytes);
          if (sum !== undefined) expect(kind.sub(sum, bytes)).toBe(address);
          const difference = kind.checkedSub(address, bytes);
          if (difference !== undefined) expect(kind.add(difference, bytes)).toBe(address);
        }),
      );
    });

    test('where add and sub are defined, stepping agrees', () => {
      fc.assert(
        fc.property(addressAndBytes(space), ([address, bytes]) => {
          const sum = kind.checkedAdd(address, bytes);
          if (sum !== undefined) expect(kind.stepForward(address, bytes)).toBe(sum);
          const difference = kind.checkedSub(address, bytes);
          if (difference !== undefined) expect(kind.stepBackward(address, bytes)).toBe(difference);
        }),
      );
    });

    test('runEnd is the end of the run', () => {
      fc.assert(
        fc.property(addresses(space), (address) => {
          expect(kind.runEnd(address)).toBe(runOf(space, address)![1]);
        }),
      );
    });

    test('the limit in an overflow is the furthest address that add and sub reach', () => {
      fc.assert(
        fc.property(addressAndBytes(space), ([address, bytes]) => {
          for (const operation of ['add', 'sub'] as const) {
            try {
              kind[operation](address, bytes);
            } catch (error) {
              if (!isAddressError(error, 'ADDRESS_OVERFLOW')) throw error;
              const { limit } = error.details;
              const reach = operation === 'add' ? limit - address : address - limit;
              expect(kind[operation](address, reach)).toBe(limit);
              expect(() => kind[operation](address, reach + 1n)).toThrow();
            }
          }
        }),
      );
    });
  });

  // The algebra that the x86_64 crate proves with kani for `Step`.
  describe('stepping', () => {
    test('agrees with counting valid addresses', () => {
      fc.assert(
        fc.property(addressAndBytes(space), ([address, bytes]) => {
          const ordinal = ordinalOf(space, address);
          expect(orOverflow(() => kind.stepForward(address, bytes))).toBe(
            atOrdinal(space, ordinal + BigInt(bytes)) ?? 'overflow',
          );
          expect(orOverflow(() => kind.stepBackward(address, bytes))).toBe(
            atOrdinal(space, ordinal - BigInt(bytes)) ?? 'overflow',
          );
        }),
      );
    });

    test('forward by 0 stays; forward by 1 is the next valid address', () => {
      fc.assert(
        fc.property(addresses(space), (address) => {
          expect(kind.stepForward(address, 0)).toBe(address);
          expect(kind.stepBackward(address, 0)).toBe(address);
          const next = runs.flatMap(([start, end]) =>
            address + 1n < end ? [address + 1n < start ? start : address + 1n] : [],
          )[0];
          expect(orOverflow(() => kind.stepForward(address, 1))).toBe(next ?? 'overflow');
        }),
      );
    });

    test('forward by n, then by m, is forward by n + m', () => {
      fc.assert(
        fc.property(addressAndBytes(space), byteCounts, ([address, n], m) => {
          const twice = orOverflow(() => kind.stepForward(kind.stepForward(address, n), m));
          expect(twice).toBe(orOverflow(() => kind.stepForward(address, BigInt(n) + BigInt(m))));
        }),
      );
    });

    test('backward undoes forward, and forward undoes backward', () => {
      fc.assert(
        fc.property(addressAndBytes(space), ([address, n]) => {
          const forward = orOverflow(() => kind.stepForward(address, n));
          if (forward !== 'overflow') expect(kind.stepBackward(forward, n)).toBe(address);
          const backward = orOverflow(() => kind.stepBackward(address, n));
          if (backward !== 'overflow') expect(kind.stepForward(backward, n)).toBe(address);
        }),
      );
    });

    test('forward by n leads to b exactly if stepsBetween is n', () => {
      fc.assert(
        fc.property(addresses(space), addresses(space), (a, b) => {
          const n = kind.stepsBetween(a, b);
          expect(n).toBe(ordinalOf(space, b) - ordinalOf(space, a));
          expect(kind.stepsBetween(b, a)).toBe(-n);
          expect(n < 0n ? kind.stepBackward(a, -n) : kind.stepForward(a, n)).toBe(b);
        }),
      );
    });

    test('after forward by n, stepsBetween returns n', () => {
      fc.assert(
        fc.property(addressAndBytes(space), ([address, n]) => {
          const forward = orOverflow(() => kind.stepForward(address, n));
          if (forward !== 'overflow') expect(kind.stepsBetween(address, forward)).toBe(BigInt(n));
        }),
      );
    });
  });

  describe('alignment', () => {
    test('alignDown returns the greatest multiple that is at most the address, and it is a valid address', () => {
      fc.assert(
        fc.property(addresses(space), alignments, (address, alignment) => {
          const down = alignDown(address, alignment);
          expect(down).toBe((address / BigInt(alignment)) * BigInt(alignment));
          expect(runOf(space, down)).toEqual(runOf(space, address));
          expect(alignDown(down, alignment)).toBe(down);
          expect(isAligned(down, alignment)).toBe(true);
        }),
      );
    });

    test('checkedAlignUp returns the least multiple that is at least the address, if it lies in the same run', () => {
      fc.assert(
        fc.property(addresses(space), alignments, (address, alignment) => {
          const unit = BigInt(alignment);
          const multiple = address % unit === 0n ? address : (address / unit + 1n) * unit;
          const expected = multiple < runOf(space, address)![1] ? multiple : undefined;
          const up = kind.checkedAlignUp(address, alignment);
          expect(up).toBe(expected);
          if (up === undefined) return;
          expect(kind.alignUp(up, alignment)).toBe(up);
          expect(up - alignDown(address, alignment)).toBe(address % unit === 0n ? 0n : unit);
        }),
      );
    });
  });

  test('the last address is valid, and no address follows it', () => {
    const last = kind.address(end - 1n);
    expect(orOverflow(() => kind.stepForward(last, 1))).toBe('overflow');
    expect(kind.checkedAdd(last, 1)).toBeUndefined();
    expect(kind.stepsBetween(kind.address(0), last) + 1n).toBe(
      runs.reduce((sum, [start, end]) => sum + end - start, 0n),
    );
  });
});
