import { describe, expect, test, vi } from 'vitest';
import {
  type Address,
  type AddressKind,
  assertIsAddressKind,
  type Bytes,
  defineAddressKind,
  formatAddress,
  isAddressKind,
  Phys,
  Virt,
  Virt57,
} from '../src/index.ts';
import { addressError, NOT_INTEGERS, REVOKED, SPACES, SysPhys, untyped } from './support.ts';

const LOW_END = 0x0000_8000_0000_0000n;
const HIGH_START = 0xffff_8000_0000_0000n;
const END_64 = 2n ** 64n;
const END_PHYS = 2n ** 52n;

type Edge = 'zero' | 'hole' | 'end';
type Row = readonly [kind: AddressKind<Address>, address: bigint, bytes: Bytes, expected: bigint | Edge];

const ADD: readonly Row[] = [
  [Virt, 0n, 0, 0n],
  [Virt, 0n, -0, 0n],
  [Virt, 0n, 0n, 0n],
  [Virt, 0n, 4096, 0x1000n],
  [Virt, 0n, LOW_END - 1n, LOW_END - 1n],
  [Virt, 0n, LOW_END, 'hole'],
  [Virt, 0n, HIGH_START - 1n, 'hole'],
  [Virt, 0n, HIGH_START, 'hole'],
  [Virt, 0n, END_64, 'hole'],
  [Virt, LOW_END - 2n, 1, LOW_END - 1n],
  [Virt, LOW_END - 1n, 0, LOW_END - 1n],
  [Virt, LOW_END - 1n, 1, 'hole'],
  [Virt, LOW_END - 1n, HIGH_START - LOW_END + 1n, 'hole'],
  [Virt, LOW_END - 1n, 2n ** 100n, 'hole'],
  [Virt, HIGH_START, 0, HIGH_START],
  [Virt, HIGH_START, LOW_END - 1n, END_64 - 1n],
  [Virt, HIGH_START, LOW_END, 'end'],
  [Virt, END_64 - 4096n, 4095, END_64 - 1n],
  [Virt, END_64 - 4096n, 4096, 'end'],
  [Virt, END_64 - 1n, 0, END_64 - 1n],
  [Virt, END_64 - 1n, 1, 'end'],
  [Virt57, LOW_END - 1n, 1, LOW_END],
  [Virt57, 2n ** 56n - 1n, 1, 'hole'],
  [Virt57, END_64 - 2n ** 56n, 2n ** 56n - 1n, END_64 - 1n],
  [Virt57, END_64 - 2n ** 56n, 2n ** 56n, 'end'],
  [Phys, 0n, END_PHYS - 1n, END_PHYS - 1n],
  [Phys, 0n, END_PHYS, 'end'],
  [Phys, LOW_END - 1n, 1, LOW_END],
  [Phys, END_PHYS - 1n, 0, END_PHYS - 1n],
  [Phys, END_PHYS - 1n, 1, 'end'],
  [SysPhys, 2n ** 46n - 2n, 1, 2n ** 46n - 1n],
  [SysPhys, 2n ** 46n - 2n, 2, 'end'],
];

const SUB: readonly Row[] = [
  [Virt, 0n, 0, 0n],
  [Virt, 0n, 1, 'zero'],
  [Virt, 1n, 1, 0n],
  [Virt, 0x1000n, 4097, 'zero'],
  [Virt, LOW_END - 1n, LOW_END - 1n, 0n],
  [Virt, LOW_END - 1n, LOW_END, 'zero'],
  [Virt, HIGH_START, 0, HIGH_START],
  [Virt, HIGH_START, 1, 'hole'],
  [Virt, HIGH_START + 1n, 1, HIGH_START],
  [Virt, HIGH_START, HIGH_START - LOW_END + 1n, 'hole'],
  [Virt, HIGH_START, HIGH_START, 'hole'],
  [Virt, END_64 - 1n, LOW_END - 1n, HIGH_START],
  [Virt, END_64 - 1n, LOW_END, 'hole'],
  [Virt, END_64 - 1n, END_64, 'hole'],
  [Virt57, HIGH_START, 1, HIGH_START - 1n],
  [Virt57, END_64 - 2n ** 56n, 1, 'hole'],
  [Phys, 0n, 1, 'zero'],
  [Phys, END_PHYS - 1n, END_PHYS - 1n, 0n],
  [Phys, END_PHYS - 1n, END_PHYS, 'zero'],
  [SysPhys, 4096n, 4096, 0n],
];

const ALIGN_UP: readonly Row[] = [
  [Virt, 0n, 1, 0n],
  [Virt, 0n, 4096, 0n],
  [Virt, 0n, LOW_END, 0n],
  [Virt, 1n, 1, 1n],
  [Virt, 1n, 2n, 2n],
  [Virt, 1n, 4096, 0x1000n],
  [Virt, 0xfffn, 4096, 0x1000n],
  [Virt, 0x1000n, 4096, 0x1000n],
  [Virt, 0x1001n, 4096, 0x2000n],
  [Virt, 0x1001n, 0x20_0000, 0x20_0000n],
  [Virt, 1n, LOW_END, 'hole'],
  [Virt, LOW_END - 1n, 1, LOW_END - 1n],
  [Virt, LOW_END - 1n, 2, 'hole'],
  [Virt, LOW_END - 4096n, 4096, LOW_END - 4096n],
  [Virt, LOW_END - 4095n, 4096, 'hole'],
  [Virt, HIGH_START, LOW_END, HIGH_START],
  [Virt, HIGH_START + 1n, LOW_END, 'end'],
  [Virt, END_64 - 4096n, 4096, END_64 - 4096n],
  [Virt, END_64 - 4095n, 4096, 'end'],
  [Virt, END_64 - 1n, 2, 'end'],
  [Virt57, LOW_END - 1n, 2, LOW_END],
  [Virt57, 2n ** 56n - 1n, 2, 'hole'],
  [Phys, END_PHYS - 1n, 1, END_PHYS - 1n],
  [Phys, END_PHYS - 1n, 4096, 'end'],
  [SysPhys, 1n, 2n ** 47n, 'end'],
];

const STEP_FORWARD: readonly Row[] = [
  [Virt, 0n, 0, 0n],
  [Virt, LOW_END - 1n, 0, LOW_END - 1n],
  [Virt, LOW_END - 1n, 1, HIGH_START],
  [Virt, LOW_END - 4096n, 4096, HIGH_START],
  [Virt, LOW_END - 4096n, 8192, HIGH_START + 4096n],
  [Virt, 0n, 2n ** 48n - 1n, END_64 - 1n],
  [Virt, 0n, 2n ** 48n, 'end'],
  [Virt, END_64 - 1n, 0, END_64 - 1n],
  [Virt, END_64 - 1n, 1, 'end'],
  [Virt57, LOW_END - 1n, 1, LOW_END],
  [Virt57, 2n ** 56n - 1n, 1, END_64 - 2n ** 56n],
  [Virt57, 0n, 2n ** 57n - 1n, END_64 - 1n],
  [Virt57, 0n, 2n ** 57n, 'end'],
  [Phys, END_PHYS - 1n, 0, END_PHYS - 1n],
  [Phys, END_PHYS - 2n, 1, END_PHYS - 1n],
  [Phys, END_PHYS - 1n, 1, 'end'],
  [SysPhys, 0n, 2n ** 46n, 'end'],
];

const STEP_BACKWARD: readonly Row[] = [
  [Virt, 0n, 0, 0n],
  [Virt, 0n, 1, 'zero'],
  [Virt, HIGH_START, 1, LOW_END - 1n],
  [Virt, HIGH_START, 4096, LOW_END - 4096n],
  [Virt, HIGH_START + 4095n, 4096, LOW_END - 1n],
  [Virt, END_64 - 1n, 2n ** 48n - 1n, 0n],
  [Virt, END_64 - 1n, 2n ** 48n, 'zero'],
  [Virt57, END_64 - 2n ** 56n, 1, 2n ** 56n - 1n],
  [Virt57, END_64 - 1n, 2n ** 57n, 'zero'],
  [Phys, END_PHYS - 1n, END_PHYS - 1n, 0n],
  [Phys, END_PHYS - 1n, END_PHYS, 'zero'],
  [SysPhys, 5n, 6, 'zero'],
];

const OPERATIONS = [
  ['add', ADD],
  ['sub', SUB],
  ['alignUp', ALIGN_UP],
  ['stepForward', STEP_FORWARD],
  ['stepBackward', STEP_BACKWARD],
] as const;
const CHECKED = { add: 'checkedAdd', sub: 'checkedSub', alignUp: 'checkedAlignUp' } as const;

describe.each(OPERATIONS)('%s', (operation, rows) => {
  const named = rows.map(
    (row) => [row[0].name, formatAddress(row[1]), `${row[2]}`, `${row[3]}`, row] as const,
  );

  test.each(named)('of %s %s and %s: %s', (...[, , , , [kind, value, bytes, expected]]) => {
    const address = kind.address(value);
    if (typeof expected === 'bigint') {
      expect(kind[operation](address, bytes)).toBe(expected);
      if (operation in CHECKED) {
        expect(kind[CHECKED[operation as keyof typeof CHECKED]](address, bytes)).toBe(expected);
      }
      return;
    }
    const { details, message } = addressError('ADDRESS_OVERFLOW', () => kind[operation](address, bytes));
    expect(details).toMatchObject({
      kind: kind.name,
      operation,
      address: value,
      bytes: BigInt(bytes),
      at: expected,
    });
    expect(message).toContain(`${operation}(${formatAddress(value)}, 0x${bytes.toString(16)})`);
    expect(message).toContain(formatAddress(details.limit));
    if (operation in CHECKED) {
      expect(kind[CHECKED[operation as keyof typeof CHECKED]](address, bytes)).toBeUndefined();
    }
  });

  test('refuses a value that is not an address, as assertIsAddress does', () => {
    for (const value of [...NOT_INTEGERS, 0, 4096]) {
      addressError('INVALID_ADDRESS', () => Virt[operation](untyped(value), 1));
    }
    addressError('NON_CANONICAL', () => Virt[operation](untyped(LOW_END), 1));
    addressError('NON_CANONICAL', () => Virt[operation](untyped(HIGH_START - 1n), 1));
    addressError('OUTSIDE_SPACE', () => Virt[operation](untyped(END_64), 1));
    addressError('OUTSIDE_SPACE', () => Phys[operation](untyped(-1n), 1));
    addressError('OUTSIDE_SPACE', () => Phys[operation](untyped(END_PHYS), 1));
  });
});

describe('a bad byte count', () => {
  const methods = ['add', 'sub', 'checkedAdd', 'checkedSub', 'stepForward', 'stepBackward'] as const;
  test.each(methods)('is refused by %s, even where the result would overflow', (method) => {
    for (const bytes of [...NOT_INTEGERS, -1, -1n, -4096]) {
      for (const address of [Virt.address(0), Virt.address(END_64 - 1n)]) {
        const { details } = addressError('INVALID_BYTE_COUNT', () => Virt[method](address, untyped(bytes)));
        expect(details).toEqual({ value: bytes });
      }
    }
  });
});

describe('a bad alignment', () => {
  test.each(['alignUp', 'checkedAlignUp'] as const)('is refused by %s', (method) => {
    for (const alignment of [
      ...NOT_INTEGERS,
      0,
      0n,
      -0,
      -1,
      -2n,
      -4096,
      3,
      3n,
      4095,
      4097,
      2n ** 48n,
      2n ** 64n,
    ]) {
      const { details } = addressError('INVALID_ALIGNMENT', () =>
        Virt[method](Virt.address(0), untyped(alignment)),
      );
      expect(details).toEqual({ value: alignment, max: 2n ** 47n });
    }
  });
});

describe('stepsBetween', () => {
  test.each([
    [Virt, 0n, 0n, 0n],
    [Virt, 0n, LOW_END - 1n, LOW_END - 1n],
    [Virt, LOW_END - 1n, HIGH_START, 1n],
    [Virt, HIGH_START, LOW_END - 1n, -1n],
    [Virt, 0n, END_64 - 1n, 2n ** 48n - 1n],
    [Virt, END_64 - 1n, 0n, 1n - 2n ** 48n],
    [Virt57, 0n, END_64 - 1n, 2n ** 57n - 1n],
    [Phys, 0n, END_PHYS - 1n, END_PHYS - 1n],
    [Phys, END_PHYS - 1n, 0n, 1n - END_PHYS],
  ] as const)('%o: from %s to %s', (kind: AddressKind<Address>, from, to, expected) => {
    expect(kind.stepsBetween(kind.address(from), kind.address(to))).toBe(expected);
  });

  test('refuses a value that is not an address, on either side', () => {
    const zero = Virt.address(0);
    addressError('NON_CANONICAL', () => Virt.stepsBetween(untyped(LOW_END), zero));
    addressError('NON_CANONICAL', () => Virt.stepsBetween(zero, untyped(LOW_END)));
    addressError('INVALID_ADDRESS', () => Virt.stepsBetween(zero, untyped(0)));
  });
});

describe('runEnd', () => {
  test.each([
    [Virt, 0n, LOW_END],
    [Virt, LOW_END - 1n, LOW_END],
    [Virt, HIGH_START, END_64],
    [Virt, END_64 - 1n, END_64],
    [Virt57, LOW_END, 2n ** 56n],
    [Virt57, END_64 - 2n ** 56n, END_64],
    [Phys, 0n, END_PHYS],
    [Phys, END_PHYS - 1n, END_PHYS],
  ] as const)('%o: of %s', (kind: AddressKind<Address>, address, expected) => {
    expect(kind.runEnd(kind.address(address))).toBe(expected);
  });

  test('refuses a value that is not an address', () => {
    addressError('NON_CANONICAL', () => Virt.runEnd(untyped(LOW_END)));
    addressError('OUTSIDE_SPACE', () => Phys.runEnd(untyped(END_PHYS)));
    addressError('INVALID_ADDRESS', () => Phys.runEnd(untyped(0)));
  });
});

describe('defineAddressKind', () => {
  test('makes kinds of 12 to 64 bits, and 48 to 64 if sign-extended', () => {
    for (const bits of [12, 16, 36, 48, 52, 63, 64]) {
      const kind = defineAddressKind({ name: 'k', bits, signExtended: false });
      expect(kind.end).toBe(2n ** BigInt(bits));
      expect(kind.hole).toBeUndefined();
      expect(kind.address(kind.end - 1n)).toBe(kind.end - 1n);
      addressError('OUTSIDE_SPACE', () => kind.address(kind.end));
    }
    for (const bits of [48, 52, 57, 63]) {
      const kind = defineAddressKind({ name: 'k', bits, signExtended: true });
      const half = 2n ** BigInt(bits - 1);
      expect(kind.end).toBe(END_64);
      expect(kind.hole).toEqual({ start: half, end: END_64 - half });
      expect(kind.isAddress(half - 1n)).toBe(true);
      expect(kind.isAddress(half)).toBe(false);
      expect(kind.isAddress(END_64 - half - 1n)).toBe(false);
      expect(kind.isAddress(END_64 - half)).toBe(true);
    }
  });

  test('has no hole at 64 bits, sign-extended or not', () => {
    for (const signExtended of [true, false]) {
      const kind = defineAddressKind({ name: 'k', bits: 64, signExtended });
      expect(kind).toMatchObject({ bits: 64, end: END_64, hole: undefined });
      expect(kind.add(kind.address(LOW_END - 1n), 1)).toBe(LOW_END);
      expect(kind.truncate(-1)).toBe(END_64 - 1n);
      expect(kind.truncate(END_64 + 5n)).toBe(5n);
    }
  });

  const bad: readonly [unknown, string][] = [
    [undefined, 'pass { name, bits, signExtended }'],
    [null, 'pass { name, bits, signExtended }'],
    ['virtual', 'pass { name, bits, signExtended }'],
    [{}, 'name'],
    [{ name: '', bits: 48, signExtended: false }, 'name'],
    [{ name: 7, bits: 48, signExtended: false }, 'name'],
    [{ name: 'k', bits: 48 }, 'signExtended'],
    [{ name: 'k', bits: 48, signExtended: 'no' }, 'signExtended'],
    [{ name: 'k', signExtended: false }, 'from 12 to 64, not undefined'],
    [{ name: 'k', bits: 11, signExtended: false }, 'from 12 to 64, not 11'],
    [{ name: 'k', bits: 65, signExtended: false }, 'from 12 to 64, not 65'],
    [{ name: 'k', bits: 47, signExtended: true }, 'from 48 to 64, not 47'],
    [{ name: 'k', bits: 65, signExtended: true }, 'from 48 to 64, not 65'],
    [{ name: 'k', bits: 48.5, signExtended: true }, 'not 48.5'],
    [{ name: 'k', bits: NaN, signExtended: false }, 'not NaN'],
    [{ name: 'k', bits: 48n, signExtended: false }, 'not 0x30'],
    [{ name: 'k', bits: '48', signExtended: false }, 'not "48"'],
    [{ name: 'k', bits: 48, signExtended: false, signextended: true }, 'the unknown property "signextended"'],
    [{ ...Virt, signExtended: true }, 'the unknown property "end"'],
  ];
  test.each(bad)('refuses %o', (spec, problem) => {
    const { details, message } = addressError('INVALID_KIND', () => defineAddressKind(untyped(spec)));
    expect(details.problem).toContain(problem);
    expect(message).toContain(details.problem);
  });

  test('refuses a description whose properties cannot be read, and keeps the cause', () => {
    const cause = new Error('no');
    const throwing = {
      get name(): string {
        throw cause;
      },
    };
    expect(addressError('INVALID_KIND', () => defineAddressKind(untyped(throwing))).cause).toBe(cause);
    const { message } = addressError('INVALID_KIND', () => defineAddressKind(untyped(REVOKED)));
    expect(message).toContain('its properties cannot be read');
  });

  test('copies the description: a later change of it has no effect', () => {
    const spec = { name: 'k', bits: 48, signExtended: false };
    const kind = defineAddressKind(spec);
    spec.bits = 12;
    expect(kind.bits).toBe(48);
    expect(kind.isAddress(0x1000n)).toBe(true);
  });
});

describe('isAddressKind', () => {
  test('accepts every kind, and those of another installed copy', async () => {
    vi.resetModules();
    const copy = await import('../src/index.ts');
    expect(copy.Virt).not.toBe(Virt);
    for (const kind of [...SPACES.map(([, space]) => space.kind), copy.Virt, copy.Phys]) {
      expect(isAddressKind(kind)).toBe(true);
      expect(() => assertIsAddressKind(kind)).not.toThrow();
    }
  });

  const NOT_KINDS: readonly unknown[] = [
    ...[undefined, null, 0, 48n, 'virtual', Symbol('virtual'), {}, [], () => Virt],
    ...[{ ...Virt }, { name: 'virtual', bits: 48, end: END_64 }],
    // The methods of a kind work on the kind itself only.
    ...[Object.create(Virt), new Proxy(Virt, {}), REVOKED],
  ];

  test('refuses everything else', () => {
    for (const value of NOT_KINDS) {
      expect(isAddressKind(value)).toBe(false);
      const { details, message } = addressError('INVALID_KIND', () => assertIsAddressKind(value));
      expect(details.kind).toBe(value);
      expect(message).toContain('pass Virt, Virt57, Phys or a kind that defineAddressKind returned');
    }
  });
});

test('the spaces that the laws use match the kinds', () => {
  for (const [, { kind, runs }] of SPACES) {
    expect(runs.at(-1)?.[1]).toBe(kind.end);
    expect(runs.length === 2 ? { start: runs[0]?.[1], end: runs[1]?.[0] } : undefined).toEqual(kind.hole);
  }
});
