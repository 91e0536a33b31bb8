import { describeValue } from './describe-value.ts';

/** The symbol by which Node, Deno and Bun ask an object for its appearance. */
const INSPECT: symbol = Symbol.for('nodejs.util.inspect.custom');
/** Objects inside more objects than this are described. No value of the packages is as deep. */
const MAX_DEPTH = 5;

/**
 * Makes the instances of a class show in consoles and in JSON what `view` returns. Consoles see no private fields, and
 * `JSON.stringify` refuses each `bigint`.
 *
 * It gives the prototype two methods that declarations do not have: `toJSON`, and one named by the symbol with which Node, Deno and
 * Bun ask for an object's appearance. Call it in a static block of the class. Objects in the view appear as they do alone. O(1).
 *
 * @param type - the class
 * @param name - the name to show; a bundler may give the class another one
 * @param view - the properties to show; {@link jsonValue} converts them
 * @param text - a text that consoles show instead of the properties
 * @example
 * ```ts
 * import { showInConsoles } from '@svsm/address';
 *
 * class Counter {
 *   static {
 *     showInConsoles(this, 'Counter', (counter) => ({ count: counter.#count }));
 *   }
 *   #count = 4096n;
 * }
 * console.log(new Counter()); // => Counter { count: '0x1000' }
 * console.log(JSON.stringify(new Counter())); // => {"count":"0x1000"}
 * ```
 */
export function showInConsoles<T extends object>(
  type: { readonly prototype: T },
  name: string,
  view: (value: T) => object,
  text?: (value: T) => string,
): void {
  // Node and Deno print the name of the class in front of the properties, Bun that of the tag.
  const Shown = { [name]: class {} }[name]!;
  const tag = { value: name };
  define(type.prototype, 'toJSON', (value) => jsonValue(view(value)));
  define(type.prototype, INSPECT, (value) => {
    try {
      return text === undefined
        ? Object.defineProperty(Object.assign(new Shown(), jsonValue(view(value))), Symbol.toStringTag, tag)
        : `${name} ${text(value)}`;
    } catch {
      // The prototype itself, or an object that answers no question now.
      return `${name} {}`;
    }
  });
}

function define<T extends object>(prototype: T, key: string | symbol, show: (value: T) => unknown): void {
  function method(this: T): unknown {
    return show(this);
  }
  Object.defineProperty(prototype, key, { value: method, configurable: true, writable: true });
}

/**
 * `value` in a form that `JSON.stringify` accepts: each `bigint` as hex text, in arrays and plain objects too. An object with a
 * `toJSON` method stays as it is. Any other object, a function and a symbol become the text of {@link describeValue}. Never
 * throws. O(n) for n properties.
 *
 * @example
 * ```ts
 * import { jsonValue, physAddr } from '@svsm/address';
 *
 * console.log(JSON.stringify(jsonValue({ root: physAddr(0x1000), levels: 4 }))); // => {"root":"0x1000","levels":4}
 * ```
 */
export function jsonValue(value: unknown): unknown {
  return converted(value, []);
}

/** `path` has the objects that hold `value`. */
function converted(value: unknown, path: readonly object[]): unknown {
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value !== 'object' || value === null) {
    return typeof value === 'bigint' || typeof value === 'function' || typeof value === 'symbol'
      ? describeValue(value)
      : value;
  }
  try {
    if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return value;
    if (path.length < MAX_DEPTH && !path.includes(value)) {
      const inner = [...path, value];
      if (Array.isArray(value)) return value.map((item) => converted(item, inner));
      if (isPlain(value)) {
        return Object.fromEntries(
          Object.entries(value).map(([key, property]) => [key, converted(property, inner)]),
        );
      }
    }
  } catch {
    // Properties that cannot be read.
  }
  return describeValue(value);
}

/** Whether it was made by a literal, in any realm: the prototype of its prototype is `null`. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
