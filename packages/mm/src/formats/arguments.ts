import { type Address, type AddressKind, CodedError, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { type PagingConfig, pagingConfig } from '@svsm/pagetable';
import { MmError } from './mm-error.ts';

/*
 * Checks of arguments. Plain JavaScript can pass a value of any type: the error names the value and the expectation.
 */

/** @throws MmError `INVALID_ARGUMENT` always; `cause` is what reading the value threw */
export function refuseArgument(what: string, value: unknown, expected: string, cause?: unknown): never {
  throw new MmError(
    'INVALID_ARGUMENT',
    { what, value, expected },
    cause === undefined ? undefined : { cause },
  );
}

/** @throws MmError `INVALID_ARGUMENT` if `value` is not an integer from `first` to `last` */
export function requireInteger(
  what: string,
  value: unknown,
  first: number,
  last: number = Number.MAX_SAFE_INTEGER,
): asserts value is number {
  if (Number.isInteger(value) && (value as number) >= first && (value as number) <= last) return;
  const expected = last === Number.MAX_SAFE_INTEGER ? `from ${first} on` : `from ${first} to ${last}`;
  refuseArgument(what, value, `pass an integer ${expected}`);
}

/** @throws MmError `INVALID_ARGUMENT` if `value` is not a boolean */
export function requireBoolean(what: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') refuseArgument(what, value, 'pass a boolean');
}

/** @throws MmError `INVALID_ARGUMENT` if `value` is not a function */
export function requireFunction(what: string, value: unknown): void {
  if (typeof value !== 'function') refuseArgument(what, value, 'pass a function');
}

/** @throws MmError `INVALID_ARGUMENT` if `value` is neither a function nor `undefined` */
export function requireOptionalFunction(what: string, value: unknown): void {
  if (value !== undefined) requireFunction(what, value);
}

/** @throws MmError `INVALID_ARGUMENT` if `value` is not one of `values` */
export function requireOneOf(what: string, value: unknown, values: readonly unknown[]): void {
  if (!values.includes(value)) refuseArgument(what, value, `pass one of ${values.map(String).join(', ')}`);
}

/**
 * The classes of objects that functions take, each with methods that tell it from the others. They are judged by these and not by
 * `instanceof`: another installed copy of a package has classes of its own, and a class would bring its code into every bundle.
 */
const CLASSES = {
  DirectMap: ['physOf', 'virtOf'],
  Ghcb: ['exchange', 'vmgexit'],
  Guest: ['createVcpu', 'onCreateVcpu'],
  MemoryMap: ['kindOf', 'registerVmsa'],
  PageTable: ['access', 'setShared4k'],
  PageTablePart: ['attach', 'protectRegion'],
  PageUses: ['add', 'remove', 'firstIn'],
  PageVisibility: ['makeShared', 'retryLost'],
  PerCpu: ['map', 'flush'],
  Processors: ['thisCpu', 'on'],
  ShootDown: ['local', 'broadcast'],
  SvsmState: ['on'],
  Tlb: ['needsFlush', 'flushAll'],
  ValidatedPages: ['requireAll', 'requireNone'],
  Vcpu: ['pvalidate', 'flushTlb'],
  VirtualRange: ['allocate', 'free'],
} as const;

/** @throws MmError `INVALID_ARGUMENT` if `value` is not an object of the class with this name */
export function requireInstance(
  what: string,
  value: unknown,
  name: keyof typeof CLASSES,
  expected: string = `a ${name}`,
): void {
  try {
    const object = value as Readonly<Record<string, unknown>>;
    if (typeof value === 'object' && CLASSES[name].every((method) => typeof object[method] === 'function'))
      return;
  } catch {
    // Such a value, a proxy, is not one either.
  }
  refuseArgument(what, value, `pass ${expected}`);
}

/** Whether `value` is bytes. Never throws: a proxy may. */
export function isBytes(value: unknown): value is Uint8Array {
  try {
    return value instanceof Uint8Array;
  } catch {
    return false;
  }
}

/**
 * Requires an object with methods, which the caller implements or a class has.
 *
 * @throws MmError `INVALID_ARGUMENT`
 */
export function requireMethods(what: string, value: unknown, names: readonly string[]): void {
  let cause: unknown;
  try {
    const object = value as Readonly<Record<string, unknown>>;
    if (typeof value === 'object' && names.every((name) => typeof object[name] === 'function')) return;
  } catch (thrown) {
    cause = thrown;
  }
  refuseArgument(what, value, `pass an object with the methods ${names.join(', ')}`, cause);
}

/**
 * The result of `read`, which computes from `value` alone. An error without a code means that a part of the value has another
 * type.
 *
 * @throws MmError `INVALID_ARGUMENT`; the errors with a code that `read` throws
 */
export function readArgument<Result>(
  what: string,
  value: unknown,
  expected: string,
  read: () => Result,
): Result {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    return refuseArgument(what, value, expected, cause);
  }
}

/**
 * Requires an object of options that can be read and has no other names than these: a misspelt one would be ignored.
 *
 * @param what - its name in the message
 * @throws MmError `INVALID_ARGUMENT`
 */
export function requireOptions(what: string, options: object, names: readonly string[]): void {
  let unknown: string | undefined;
  try {
    if (typeof options !== 'object') throw new TypeError('not an object');
    unknown = Object.keys(options).find((name) => !names.includes(name));
    for (const name of names) void (options as Record<string, unknown>)[name];
  } catch (cause) {
    refuseArgument(what, options, `pass an object with the options ${names.join(', ')}`, cause);
  }
  if (unknown === undefined) return;
  refuseArgument(`a name in ${what}`, unknown, `pass only options that exist: ${names.join(', ')}`);
}

/** Requires a list that can be iterated: its own errors come out as they are. @throws MmError `INVALID_ARGUMENT` */
export function requireIterable(what: string, value: unknown): asserts value is Iterable<unknown> {
  const expected = 'pass an array or another iterable';
  const isIterable = readArgument(
    what,
    value,
    expected,
    () => typeof value === 'object' && typeof (value as Iterable<unknown>)[Symbol.iterator] === 'function',
  );
  if (!isIterable) refuseArgument(what, value, expected);
}

/** A value as a region of addresses of a kind. @throws MmError `INVALID_ARGUMENT` */
export function regionArgument<A extends Address>(
  what: string,
  value: unknown,
  kind: AddressKind<A>,
): MemoryRegion<A> {
  try {
    return MemoryRegion.from(kind, value);
  } catch (cause) {
    return refuseArgument(what, value, `pass a region of ${kind.name} addresses`, cause);
  }
}

/** A value as a region of virtual addresses, of 48 or 57 bits. @throws MmError `INVALID_ARGUMENT` */
export function virtRegionArgument(what: string, value: MemoryRegion<VirtAddr>): MemoryRegion<VirtAddr> {
  const expected = 'pass a region of virtual addresses';
  const is57 = readArgument(what, value, expected, () => value.kind?.name === Virt57.name);
  return regionArgument(what, value, is57 ? Virt57 : Virt);
}

const CONFIG: readonly (keyof PagingConfig)[] = [
  ...(['levels', 'physicalBits', 'noExecute', 'globalPages', 'giantPages', 'vendor'] as const),
];

/** A value as a paging configuration. @throws MmError `INVALID_ARGUMENT` if a field is missing; PageTableError `INVALID_CONFIG` */
export function pagingArgument(config: PagingConfig): PagingConfig {
  const missing = readArgument('the paging configuration', config, 'pass a PagingConfig', () =>
    CONFIG.find((name) => config[name] === undefined),
  );
  if (missing !== undefined)
    refuseArgument(`${missing} of the paging configuration`, undefined, 'pass all fields');
  return pagingConfig(config);
}
