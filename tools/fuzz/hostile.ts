/** Values of every wrong type. */

/** A value that a caller may pass by mistake. It is made anew for each call. */
export interface Hostile {
  readonly name: string;
  make(): unknown;
}

/** The error that a hostile object throws when it is read. */
export class HostileError extends Error {}

function refuse(): never {
  throw new HostileError('this value cannot be read');
}

/** A string with a control character that would change the colour of a console, and with a line end. */
const CONTROL_TEXT = '\u0000\u001b[31m\r\n\u009b\u202e';

const EVERY_TRAP: ProxyHandler<object> = Object.fromEntries(
  Object.getOwnPropertyNames(Reflect).map((trap) => [trap, refuse]),
);

function constant(name: string, value: unknown): Hostile {
  return { name, make: () => value };
}

/** Values of every type, at the edges of each. Whether one is wrong for a parameter, its shape tells. */
export const HOSTILE: readonly Hostile[] = [
  constant('undefined', undefined),
  constant('null', null),
  constant('NaN', Number.NaN),
  constant('Infinity', Number.POSITIVE_INFINITY),
  constant('-Infinity', Number.NEGATIVE_INFINITY),
  constant('-1', -1),
  constant('-0', -0),
  constant('0', 0),
  constant('1', 1),
  constant('0.5', 0.5),
  constant('0x1000', 0x1000),
  constant('0x1001', 0x1001),
  constant('2**31', 2 ** 31),
  constant('2**32', 2 ** 32),
  constant('2**53', 2 ** 53),
  constant('2**64', 2 ** 64),
  constant('-1n', -1n),
  constant('0n', 0n),
  constant('1n', 1n),
  constant('0x1001n', 0x1001n),
  constant('2n**63n', 1n << 63n),
  constant('2n**64n', 1n << 64n),
  constant('2n**200n', 1n << 200n),
  constant("''", ''),
  constant("'x'", 'x'),
  constant("'0x1000'", '0x1000'),
  constant('a control text', CONTROL_TEXT),
  constant('true', true),
  constant('false', false),
  { name: 'Symbol()', make: () => Symbol('hostile') },
  { name: '{}', make: () => ({}) },
  { name: 'Object.create(null)', make: () => Object.create(null) },
  { name: '[]', make: () => [] },
  { name: '[undefined]', make: () => [undefined] },
  { name: '() => {}', make: () => () => {} },
  { name: 'class {}', make: () => class {} },
  { name: 'Uint8Array(8)', make: () => new Uint8Array(8) },
  { name: 'Date', make: () => new Date(0) },
  { name: 'a proxy that throws', make: () => new Proxy({}, EVERY_TRAP) },
  { name: 'a revoked proxy', make: revokedProxy },
  { name: 'an iterable that throws', make: () => ({ [Symbol.iterator]: refuse }) },
  { name: 'an object with toString that throws', make: () => ({ toString: refuse, valueOf: refuse }) },
];

function revokedProxy(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** A copy of an object in which reading one property throws. */
export function withThrowingGetter(object: object, key: string): object {
  const copy: object = Object.create(Object.getPrototypeOf(object), Object.getOwnPropertyDescriptors(object));
  return Object.defineProperty(copy, key, { get: refuse, enumerable: true, configurable: true });
}
