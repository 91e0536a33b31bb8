/** Types as data: what a parameter accepts, in a form that a worker can receive. */

/** A type, as far as JavaScript can tell at run time. */
export type Shape =
  | { readonly is: 'unknown' }
  | { readonly is: 'undefined' | 'null' | 'bigint' | 'number' | 'string' | 'boolean' | 'symbol' }
  | { readonly is: 'literal'; readonly value: string | number | boolean | bigint }
  | { readonly is: 'union'; readonly of: readonly Shape[] }
  /** A value that only a maker can make: a branded address, an instance of a class, an object with methods. */
  | { readonly is: 'named'; readonly name: string; readonly base: 'bigint' | 'number' | 'object' }
  | { readonly is: 'object'; readonly name: string | undefined; readonly keys: readonly Key[] }
  | { readonly is: 'function'; readonly name: string | undefined }
  | { readonly is: 'list'; readonly of: Shape; readonly array: boolean; readonly length: number | undefined };

/** A property of an object, or a parameter of a function. */
export interface Key {
  readonly name: string;
  readonly optional: boolean;
  readonly shape: Shape;
}

/** Whether an object of this shape is one of options: a misspelt name of a key would be ignored without an error. */
export function isOptions(shape: Shape): boolean {
  return shape.is === 'object' && shape.keys.some(({ optional }) => optional);
}

/**
 * Whether `value` can have been meant for a parameter of this shape. A number must be an integer, since no package has a
 * parameter that is a fraction; its range is not judged.
 */
export function conforms(shape: Shape, value: unknown): boolean {
  switch (shape.is) {
    case 'unknown':
      return true;
    case 'null':
      return value === null;
    case 'number':
      return Number.isInteger(value);
    case 'undefined':
    case 'bigint':
    case 'string':
    case 'boolean':
    case 'symbol':
    case 'function':
      return typeof value === shape.is;
    case 'literal':
      return value === shape.value;
    case 'union':
      return shape.of.some((member) => conforms(member, value));
    case 'named':
      return conformsByName(shape, value);
    case 'object':
      return conformsByKeys(shape, value);
    case 'list':
      return conformsAsList(shape, value);
  }
}

function conformsByName({ name, base }: Shape & { is: 'named' }, value: unknown): boolean {
  if (base === 'number') return Number.isInteger(value);
  if (base !== 'object') return typeof value === base;
  const type: unknown = (globalThis as Record<string, unknown>)[name.replace(/Like$/, '')];
  try {
    return typeof type === 'function' && value instanceof type;
  } catch {
    // The prototype of a proxy that throws.
    return false;
  }
}

function conformsByKeys(shape: Shape & { is: 'object' }, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  try {
    if (isOptions(shape)) {
      const known = shape.keys.map(({ name }) => name);
      if (Object.keys(value).some((key) => !known.includes(key))) return false;
    }
    return shape.keys.every(({ name, optional, shape: of }) => {
      const found: unknown = (value as Record<string, unknown>)[name];
      return (optional && found === undefined) || conforms(of, found);
    });
  } catch {
    return false;
  }
}

function conformsAsList({ of, array, length }: Shape & { is: 'list' }, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  try {
    if (array && !Array.isArray(value)) return false;
    const items = [...(value as Iterable<unknown>)];
    if (length !== undefined && items.length !== length) return false;
    return items.every((item) => conforms(of, item));
  } catch {
    return false;
  }
}
