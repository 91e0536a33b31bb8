import type { PageTableError } from './page-table-error.ts';

/** The check of one field of an object. */
export interface Field {
  readonly accepts: (value: unknown) => boolean;
  /** The end of the message: `pass true or false`. */
  readonly expected: string;
}

/** Makes the error for a field; for the object itself, `field` is its name. */
export type Refuse = (
  field: string,
  value: unknown,
  expected: string,
  options?: ErrorOptions,
) => PageTableError;

/** Any value: the function that reads the field checks it. */
export const ANY: Field = { accepts: () => true, expected: '' };
export const BOOLEAN: Field = {
  accepts: (value) => typeof value === 'boolean',
  expected: 'pass true or false',
};
export const FUNCTION: Field = {
  accepts: (value) => typeof value === 'function',
  expected: 'pass a function',
};
/** A register: all 64 bits. */
export const REGISTER: Field = {
  accepts: (value) => typeof value === 'bigint' && BigInt.asUintN(64, value) === value,
  expected: 'pass a bigint of 64 bits',
};

/** A field that may be `undefined` or absent. */
export function optional({ accepts, expected }: Field): Field {
  return { accepts: (value) => value === undefined || accepts(value), expected };
}

/** The same fields, each of which may be `undefined` or absent. */
export function allOptional(fields: Readonly<Record<string, Field>>): Readonly<Record<string, Field>> {
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, optional(field)]));
}

/** A field that is one of several values. */
export function oneOf(...values: readonly unknown[]): Field {
  const shown = values.map((value) => (typeof value === 'string' ? `'${value}'` : String(value)));
  return {
    accepts: (value) => values.includes(value),
    expected: `pass ${shown.slice(0, -1).join(', ')} or ${shown.at(-1)}`,
  };
}

/** An object with these methods. */
export function withMethods(...methods: readonly string[]): Field {
  return {
    accepts: (value) =>
      typeof value === 'object' &&
      value !== null &&
      methods.every((method) => typeof (value as Record<string, unknown>)[method] === 'function'),
    expected: `pass an object with the method${methods.length > 1 ? 's' : ''} ${methods.join(' and ')}`,
  };
}

/** An object that no caller can pass. */
const NONE: object = /* @__PURE__ */ Object.freeze({});

/** The fields of an object that a caller passes. */
export class Fields {
  readonly #name: string;
  readonly #fields: Readonly<Record<string, Field>>;
  readonly #names: readonly string[];
  readonly #isOpen: boolean;
  readonly #refuse: Refuse;
  /** The frozen objects that have passed: they cannot change any more. */
  readonly #passed: WeakSet<object> = new WeakSet();
  /** The last two of them: a caller often alternates between two states of a processor. */
  #last: object = NONE;
  #previous: object = NONE;

  /**
   * @param name - the name of the object in messages
   * @param refuse - makes the error
   * @param isOpen - whether the object may have other fields. An object of options may not: a misspelt name would be ignored
   */
  constructor(name: string, fields: Readonly<Record<string, Field>>, refuse: Refuse, isOpen = false) {
    this.#name = name;
    this.#fields = fields;
    this.#names = Object.keys(fields);
    this.#refuse = refuse;
    this.#isOpen = isOpen;
  }

  /** Throws the error unless `value` is an object that can be read, and each field is as it must be. */
  require(value: unknown): void {
    if (value === this.#last || value === this.#previous) return;
    let error: PageTableError | undefined;
    try {
      error = this.#refusal(value);
    } catch (cause) {
      error = this.#refuse(this.#name, value, 'pass an object whose fields can be read', { cause });
    }
    if (error !== undefined) throw error;
  }

  #refusal(value: unknown): PageTableError | undefined {
    if (typeof value !== 'object' || value === null) {
      return this.#refuse(this.#name, value, `pass an object with the fields ${this.#names.join(', ')}`);
    }
    if (this.#passed.has(value)) {
      this.#keep(value);
      return undefined;
    }
    const object = value as Readonly<Record<string, unknown>>;
    for (const name of this.#names) {
      const { accepts, expected } = this.#fields[name]!;
      if (!accepts(object[name])) return this.#refuse(name, object[name], expected);
    }
    if (!this.#isOpen) {
      for (const name in object) {
        if (Object.hasOwn(this.#fields, name)) continue;
        return this.#refuse(name, object[name], `pass only fields that exist: ${this.#names.join(', ')}`);
      }
    }
    // An object of options may hold a whole memory, which must not be kept.
    if (this.#isOpen && Object.isFrozen(value)) {
      this.#passed.add(value);
      this.#keep(value);
    }
    return undefined;
  }

  #keep(value: object): void {
    this.#previous = this.#last;
    this.#last = value;
  }
}
