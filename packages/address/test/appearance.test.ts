import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AddressError, jsonValue, Phys, physAddr, showInConsoles, Virt } from '../src/index.ts';
import { REVOKED } from './support.ts';

class Counter {
  static {
    showInConsoles(this, 'Counter', (counter) => ({ count: counter.#count, next: counter.#next }));
  }
  readonly #count: bigint;
  readonly #next: Counter | undefined;

  constructor(count: bigint, next?: Counter) {
    this.#count = count;
    this.#next = next;
  }
}

class Span {
  readonly from = 1;
  static {
    showInConsoles(
      this,
      'Span',
      () => ({ from: 1n }),
      () => '[1-2)',
    );
  }
}

describe('showInConsoles', () => {
  test('a console shows the name and the view, and objects in it as they are alone', () => {
    expect(inspect(new Counter(4096n, new Counter(-1n)))).toBe(
      "Counter {\n  count: '0x1000',\n  next: Counter { count: '-0x1', next: undefined }\n}",
    );
    expect(inspect({ span: new Span() })).toBe('{ span: Span [1-2) }');
  });

  test('JSON has the view, with each bigint as hex text', () => {
    expect(JSON.stringify([new Counter(1n << 64n, new Counter(0n)), new Span()])).toBe(
      '[{"count":"0x10000000000000000","next":{"count":"0x0"}},{"from":"0x1"}]',
    );
  });

  test('objects get no new properties of their own', () => {
    expect(Reflect.ownKeys(new Counter(1n))).toEqual([]);
    expect(Object.keys(Counter.prototype)).toEqual([]);
  });

  // Bun prints no name that a class gets from a computed key.
  test('the name is also a tag, which is not a property', () => {
    const view = (new Counter(1n) as unknown as Record<symbol, () => object>)[
      Symbol.for('nodejs.util.inspect.custom')
    ]!();
    expect(Object.prototype.toString.call(view)).toBe('[object Counter]');
    expect(JSON.stringify(view)).toBe('{"count":"0x1"}');
  });

  test('a console shows the bare name of an object without the private fields', () => {
    expect(inspect(Object.create(Counter.prototype))).toBe('Counter {}');
  });
});

test('an address kind shows its space', () => {
  expect(inspect(Phys)).toBe(
    "AddressKind {\n  name: 'physical',\n  bits: 52,\n  end: '0x10000000000000',\n  hole: undefined\n}",
  );
  expect(JSON.parse(JSON.stringify(Virt)).hole).toEqual({
    start: '0x800000000000',
    end: '0xffff800000000000',
  });
});

test('an error has its code, its message and its details in JSON', () => {
  const details = { kind: 'physical', value: 1n << 52n, end: 1n << 52n };
  const error = new AddressError('OUTSIDE_SPACE', details);
  expect(JSON.parse(JSON.stringify(error))).toEqual({
    name: 'AddressError',
    code: 'OUTSIDE_SPACE',
    message: error.message,
    details: { kind: 'physical', value: '0x10000000000000', end: '0x10000000000000' },
  });
});

describe('jsonValue', () => {
  test.each([
    [physAddr(0x1000), '0x1000'],
    [
      [1n, { at: -1n }],
      ['0x1', { at: '-0x1' }],
    ],
    [Object.assign(Object.create(null), { a: 1n }), { a: '0x1' }],
    ['text', 'text'],
    [4096, 4096],
    [null, null],
    [Number.NaN, 'NaN'],
    [Symbol('s'), 'a value of type symbol'],
    [() => 1, 'a value of type function'],
    [new Map(), 'a value of type object'],
  ])('%o', (value, json) => {
    expect(JSON.parse(JSON.stringify(jsonValue(value)))).toEqual(json);
  });

  test('a proxy that cannot be read is described', () => {
    expect(jsonValue([REVOKED])).toEqual(['a value of type object']);
  });

  test('an object inside itself is described', () => {
    const loop: Record<string, unknown> = { a: 1n };
    loop['loop'] = [loop];
    expect(jsonValue(loop)).toEqual({ a: '0x1', loop: ['a value of type object'] });
  });

  test('an object with toJSON stays as it is', () => {
    const counter = new Counter(1n);
    expect(jsonValue({ counter })).toEqual({ counter });
    expect((jsonValue({ counter }) as { counter: unknown }).counter).toBe(counter);
  });

  test('JSON.stringify takes the result for any value', () => {
    const anything = fc.anything({ withBigInt: true, withMap: true, withSet: true, withNullPrototype: true });
    fc.assert(
      fc.property(anything, (value) => {
        fc.pre(!JSON.stringify(Object.keys(Object(value))).includes('toJSON'));
        const text = JSON.stringify(jsonValue(value));
        expect(text === undefined || JSON.parse(text) !== undefined).toBe(true);
      }),
    );
  });
});
