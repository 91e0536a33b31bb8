import { describe, expect, test, vi } from 'vitest';
import {
  AddressError,
  type AddressErrorCode,
  type AddressErrorDetails,
  alignDown,
  byteCount,
  CodedError,
  defineAddressKind,
  isAddressError,
  Phys,
  pageTableIndex,
  parseVirtAddr,
  physAddr,
  Virt,
  Virt57,
  virtAddr,
} from '../src/index.ts';
import { addressError, untyped } from './support.ts';

/** For every code: an action that throws it, its details, its message. */
const CODES: {
  [Code in AddressErrorCode]: [action: () => unknown, details: AddressErrorDetails[Code], message: string][];
} = {
  INVALID_ADDRESS: [
    [
      () => virtAddr(0.5),
      { kind: 'virtual', value: 0.5 },
      '0.5 is not a virtual address: pass a bigint or a safe integer',
    ],
    [
      () => physAddr(untyped('0x1000')),
      { kind: 'physical', value: '0x1000' },
      '"0x1000" is not a physical address: pass a bigint or a safe integer',
    ],
    [
      () => Virt.add(untyped(4096), 1),
      { kind: 'virtual', value: 4096 },
      'the number 4096 (as a bigint: 4096n) is not a virtual address: convert a number with address() first',
    ],
  ],
  OUTSIDE_SPACE: [
    [
      () => physAddr(2n ** 52n),
      { kind: 'physical', value: 2n ** 52n, end: 2n ** 52n },
      '0x10000000000000 is outside the physical address space: valid addresses are 0x0 to 0x000fffffffffffff',
    ],
    [
      () => virtAddr(-1),
      { kind: 'virtual', value: -1n, end: 2n ** 64n },
      '-0x1 is outside the virtual address space: valid addresses are 0x0 to 0xffffffffffffffff',
    ],
  ],
  NON_CANONICAL: [
    [
      () => virtAddr(2n ** 47n),
      {
        kind: 'virtual',
        bits: 48,
        value: 2n ** 47n,
        holeStart: 0x0000_8000_0000_0000n,
        holeEnd: 0xffff_8000_0000_0000n,
      },
      '0x0000800000000000 is not a canonical virtual address: with 48 bits, valid addresses are 0x0 to 0x00007fffffffffff ' +
        'and 0xffff800000000000 to 0xffffffffffffffff',
    ],
    [
      () => Virt57.address(2n ** 56n),
      {
        kind: 'virtual57',
        bits: 57,
        value: 2n ** 56n,
        holeStart: 0x0100_0000_0000_0000n,
        holeEnd: 0xff00_0000_0000_0000n,
      },
      '0x0100000000000000 is not a canonical virtual57 address: with 57 bits, valid addresses are 0x0 to 0x00ffffffffffffff ' +
        'and 0xff00000000000000 to 0xffffffffffffffff',
    ],
  ],
  INVALID_ADDRESS_TEXT: [
    [
      () => parseVirtAddr('1000'),
      { kind: 'virtual', text: '1000' },
      '"1000" is not a virtual address: write 0x and 1 to 16 hex digits (single _ between digits), ' +
        'or 8 to 16 hex digits without 0x',
    ],
  ],
  INVALID_BYTE_COUNT: [
    [
      () => byteCount(-1n),
      { value: -1n },
      '-0x1 is not a byte count: pass a bigint or a safe integer that is at least 0',
    ],
    [
      () => byteCount(2 ** 53),
      { value: 2 ** 53 },
      '9007199254740992 is not a byte count: pass a bigint or a safe integer that is at least 0',
    ],
  ],
  INVALID_ALIGNMENT: [
    [
      () => alignDown(virtAddr(0), 0x1001n),
      { value: 0x1001n, max: 2n ** 47n },
      '0x1001 is not an alignment: pass a power of two from 1 to 0x800000000000',
    ],
  ],
  ADDRESS_OVERFLOW: [
    [
      () => Phys.sub(physAddr(0x1000), 0x1001),
      {
        kind: 'physical',
        operation: 'sub',
        address: 0x1000n,
        bytes: 0x1001n,
        at: 'zero',
        limit: 0n,
      },
      'sub(0x0000000000001000, 0x1001) passes the start of the physical address space: ' +
        'the last address in that direction is 0x0000000000000000',
    ],
    [
      () => Virt.add(virtAddr(0x7fff_ffff_f000n), 4096),
      {
        kind: 'virtual',
        operation: 'add',
        address: 0x7fff_ffff_f000n,
        bytes: 0x1000n,
        at: 'hole',
        limit: 0x7fff_ffff_ffffn,
      },
      'add(0x00007ffffffff000, 0x1000) enters or crosses the non-canonical hole of the virtual address space: ' +
        'the last address in that direction is 0x00007fffffffffff',
    ],
    [
      () => Virt.sub(virtAddr(0xffff_8000_0000_0000n), 1),
      {
        kind: 'virtual',
        operation: 'sub',
        address: 0xffff_8000_0000_0000n,
        bytes: 1n,
        at: 'hole',
        limit: 0xffff_8000_0000_0000n,
      },
      'sub(0xffff800000000000, 0x1) enters or crosses the non-canonical hole of the virtual address space: ' +
        'the last address in that direction is 0xffff800000000000',
    ],
    [
      () => Phys.alignUp(physAddr(2n ** 52n - 1n), 4096),
      {
        kind: 'physical',
        operation: 'alignUp',
        address: 2n ** 52n - 1n,
        bytes: 0x1000n,
        at: 'end',
        limit: 2n ** 52n - 1n,
      },
      'alignUp(0x000fffffffffffff, 0x1000) passes the end of the physical address space: ' +
        'the last address in that direction is 0x000fffffffffffff',
    ],
    [
      () => Virt.stepForward(virtAddr(2n ** 64n - 1n), 1),
      {
        kind: 'virtual',
        operation: 'stepForward',
        address: 2n ** 64n - 1n,
        bytes: 1n,
        at: 'end',
        limit: 2n ** 64n - 1n,
      },
      'stepForward(0xffffffffffffffff, 0x1) passes the end of the virtual address space: ' +
        'the last address in that direction is 0xffffffffffffffff',
    ],
    [
      () => Virt.stepBackward(virtAddr(0), 1n),
      { kind: 'virtual', operation: 'stepBackward', address: 0n, bytes: 1n, at: 'zero', limit: 0n },
      'stepBackward(0x0000000000000000, 0x1) passes the start of the virtual address space: ' +
        'the last address in that direction is 0x0000000000000000',
    ],
  ],
  INVALID_LEVEL: [
    [
      () => pageTableIndex(virtAddr(0), 5),
      { level: 5 },
      '5 is not a page table level: pass 0 (PT), 1 (PD), 2 (PDPT), 3 (PML4) or 4 (PML5)',
    ],
  ],
  INVALID_KIND: [
    [
      () => defineAddressKind({ name: 'short', bits: 8, signExtended: false }),
      { kind: 'short', problem: 'its bits must be an integer from 12 to 64, not 8' },
      '"short" cannot be an address kind: its bits must be an integer from 12 to 64, not 8',
    ],
    [
      () => defineAddressKind({ name: '', bits: 48, signExtended: false }),
      { kind: '', problem: 'its name must be a non-empty string' },
      '"" cannot be an address kind: its name must be a non-empty string',
    ],
  ],
};

describe.each(Object.keys(CODES) as AddressErrorCode[])('%s', (code) => {
  const rows = CODES[code].map(([action, details, message]) => [message, action, details] as const);

  test.each(rows)('%s', (message, action, details) => {
    const error = addressError(code, action);
    expect(error.details).toEqual(details);
    expect(error.message).toBe(`${message} [${code}]`);
    expect(error.code).toBe(code);
    expect(error.name).toBe('AddressError');
    expect(error).toBeInstanceOf(AddressError);
    expect(error).toBeInstanceOf(CodedError);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).toBe(`AddressError: ${message} [${code}]`);
    expect(error.stack).toContain('address-error.test.ts');
    expect(Object.isFrozen(error.details)).toBe(true);
    expect(() => Object.assign(error.details, { value: 0 })).toThrow(TypeError);
  });
});

test("details are a frozen copy: the caller's object stays as it is", () => {
  const details = { level: 9 };
  const error = new AddressError('INVALID_LEVEL', details);
  details.level = 10;
  expect(error.details).toEqual({ level: 9 });
});

test('an AddressError carries its cause', () => {
  const cause = new Error('why');
  expect(new AddressError('INVALID_LEVEL', { level: 9 }, { cause }).cause).toBe(cause);
  expect('cause' in new AddressError('INVALID_LEVEL', { level: 9 })).toBe(false);
});

describe('isAddressError', () => {
  const error = addressError('NON_CANONICAL', () => virtAddr(2n ** 47n));

  test('accepts an AddressError, and only one with the code if a code is given', () => {
    expect(isAddressError(error)).toBe(true);
    expect(isAddressError(error, 'NON_CANONICAL')).toBe(true);
    expect(isAddressError(error, 'INVALID_ADDRESS')).toBe(false);
  });

  test('accepts the errors of another copy of the package', async () => {
    vi.resetModules();
    const copy = await import('../src/index.ts');
    expect(copy.AddressError).not.toBe(AddressError);

    const other: unknown = catching(() => copy.virtAddr(2n ** 47n));
    expect(other).not.toBeInstanceOf(AddressError);
    expect(isAddressError(other)).toBe(true);
    expect(isAddressError(other, 'NON_CANONICAL')).toBe(true);
    expect(isAddressError(other, 'INVALID_LEVEL')).toBe(false);
    expect(copy.isAddressError(error, 'NON_CANONICAL')).toBe(true);
    // The details hold what the narrowed type says.
    if (isAddressError(other, 'NON_CANONICAL')) expect(other.details.holeEnd).toBe(0xffff_8000_0000_0000n);
  });

  test('accepts an error of another realm', async () => {
    const vm = await import('node:vm');
    const foreign: unknown = vm.runInNewContext(
      `Object.assign(new Error('no'), { name: 'AddressError', code: 'INVALID_LEVEL', details: { level: 9 } })`,
    );
    expect(foreign).not.toBeInstanceOf(Error);
    expect(isAddressError(foreign, 'INVALID_LEVEL')).toBe(true);
  });

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['text', 'AddressError'],
    ['a number', 0],
    ['a function', () => error],
    ['an empty object', {}],
    ['plain data with the same fields', { ...error, name: 'AddressError', message: error.message }],
    [
      'the same error after a round trip through JSON',
      JSON.parse(JSON.stringify({ name: error.name, code: error.code, details: {} })),
    ],
    ['an error without the fields', new Error(error.message)],
    ['an error with only the name', Object.assign(new Error('no'), { name: 'AddressError' })],
    [
      'an error without details',
      Object.assign(new Error('no'), { name: 'AddressError', code: 'INVALID_LEVEL' }),
    ],
    [
      'an error whose details are null',
      Object.assign(new Error('no'), { name: 'AddressError', code: 'INVALID_LEVEL', details: null }),
    ],
    [
      'an error whose code is not text',
      Object.assign(new Error('no'), { name: 'AddressError', code: 7, details: {} }),
    ],
    [
      'the error of another package',
      Object.assign(new Error('no'), { name: 'RegionError', code: 'INVALID_LEVEL', details: {} }),
    ],
    ['an error of Node', Object.assign(new TypeError('no'), { code: 'ERR_INVALID_ARG_TYPE' })],
  ])('refuses %s', (_, value) => {
    expect(isAddressError(value)).toBe(false);
    expect(isAddressError(value, 'INVALID_LEVEL')).toBe(false);
  });
});

function catching(action: () => unknown): unknown {
  try {
    return action();
  } catch (error) {
    return error;
  }
}
