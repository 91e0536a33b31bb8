/** Whatever is passed to whatever operation, in any order: an error is a coded one, never a bare TypeError or RangeError. */
import { isCodedError, Virt } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ERRORS_OF } from '../../src/pages/errors-of.ts';
import { HEAP, heapPages } from '../support/allocators.ts';
import { type Call, makeScene, type Operation } from '../support/operations.ts';

const OPERATIONS = Object.keys(ERRORS_OF) as Operation[];

function thrower(): never {
  throw new Error('the proxy was asked');
}
const handler = Object.fromEntries(
  (Reflect.ownKeys(Reflect) as (string | symbol)[])
    .filter((key): key is string => typeof key === 'string')
    .map((trap) => [trap, thrower]),
);

/** Values that lie about what they are, or cannot be asked. */
const LIARS: readonly unknown[] = [
  new Proxy({}, handler),
  new Proxy(() => undefined, handler),
  new Proxy(heapPages(0, 1), {}),
  Object.create(heapPages(0, 1)),
  Object.create(null),
  Proxy.revocable({}, {}).proxy,
  { kind: Virt, start: HEAP, end: HEAP + 4096n },
  { kind: Virt, start: 5, size: 7 },
  { kind: Virt, start: HEAP, size: 4096n, end: undefined },
  { kind: Virt, start: -1n, size: 2n ** 70n, end: 2n ** 70n },
  { kind: { name: 'virtual', assertIsAddress: 1 } },
  { kind: null },
  {
    get kind() {
      return thrower();
    },
  },
  {
    start: HEAP,
    end: HEAP,
    get space() {
      return thrower();
    },
  },
  'text\u0000\u001b[31m',
  { 'maxOrd\u0007er': 1 },
  { trace: 5 },
  { beforeFree: 5 },
  { onLeak: {} },
  { memory: {} },
  { poison: 'yes' },
  [HEAP],
  [heapPages(0, 1), 5],
  [new Proxy({}, handler)],
  Symbol.iterator,
  new Date(Number.NaN),
  new Map([[1, 2]]),
  undefined,
  null,
];

const revoked = Proxy.revocable({}, {});
revoked.revoke();

function outcomeOf(call: Call, args: readonly unknown[]): unknown {
  try {
    call(...args);
  } catch (error) {
    return error;
  }
  return undefined;
}

function requireCoded(operation: string, error: unknown): void {
  if (error === undefined) return;
  const isCoded = ['BuddyError', 'AddressError', 'RegionError'].some((name) => isCodedError(error, name));
  if (!isCoded) expect.fail(`${operation}: ${String(error)} ${(error as Error).stack?.split('\n')[1]}`);
}

test.each(OPERATIONS)('%s', (operation) => {
  const { calls, args } = makeScene();
  for (const call of calls[operation]) {
    for (const value of args) requireCoded(operation, outcomeOf(call, [value, value]));
    for (const value of [...LIARS, revoked.proxy]) {
      for (const first of [value, HEAP, heapPages(0, 64), Virt, 8]) {
        requireCoded(operation, outcomeOf(call, [first, value, value]));
      }
    }
  }
});

test('in any order', () => {
  // Known values by their index: they cannot be printed.
  const value = fc.oneof(
    fc.nat(500).map((index) => ({ index })),
    fc.anything({ withBigInt: true, withNullPrototype: true, withTypedArray: true }).map((any) => ({ any })),
  );
  const step = fc.record({
    operation: fc.constantFrom(...OPERATIONS),
    object: fc.nat(100),
    args: fc.array(value, { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { calls, args: known } = makeScene();
      const values = [...LIARS, revoked.proxy, ...known];
      for (const { operation, object, args } of steps) {
        const row = calls[operation];
        const list = args.map((one) => ('index' in one ? values[one.index % values.length] : one.any));
        requireCoded(operation, outcomeOf(row[object % row.length] as Call, list));
      }
    }),
  );
});
