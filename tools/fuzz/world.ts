/** Valid values: what a call gets at the positions that are not under test. */
import type { Key, Shape } from './shape.ts';

/** How to make a valid value of a type, and what of it an error must leave as it was. */
interface Maker {
  make(world: World): unknown;
  /** The state, as text or bytes. Two states are compared after an error. */
  state?(value: never, world: World): State;
  /** The methods of an object that callers implement. A `?` ends the name of one that it need not have. */
  readonly methods?: readonly string[];
  /** Whether only callers implement it, so that its methods are not part of the package. */
  readonly isCallers?: boolean;
}

export type State = readonly (string | Uint8Array)[];

/** The makers of a package: by type, and by the name of a parameter for types that say too little. */
export interface Makers {
  readonly types: Readonly<Record<string, Maker>>;
  /** By `export(parameter)`, `export.member(parameter)` or `parameter` alone; the most exact one is taken. */
  readonly values: Readonly<Record<string, (world: World) => unknown>>;
}

/** The values of one call, or of several as long as none changes them. Each type has one value. */
export class World {
  readonly #makers: Makers;
  readonly #values = new Map<string, unknown>();

  constructor(makers: Makers) {
    this.#makers = makers;
  }

  /** The value of a type. */
  get<T = unknown>(type: string): T {
    if (!this.#values.has(type)) {
      const maker = this.#makers.types[type];
      if (maker === undefined) throw new NoMaker(type);
      this.#values.set(type, maker.make(this));
    }
    return this.#values.get(type) as T;
  }

  /** A valid value for a parameter. */
  valueOf(key: Key, of: string): unknown {
    const { values } = this.#makers;
    const make = values[`${of}(${key.name})`] ?? values[key.name];
    return make === undefined ? this.make(key.shape) : make(this);
  }

  make(shape: Shape): unknown {
    switch (shape.is) {
      case 'named':
        return this.get(shape.name);
      case 'object':
        return this.#object(shape);
      case 'function':
        return shape.name !== undefined && shape.name in this.#makers.types
          ? this.get(shape.name)
          : () => undefined;
      case 'list':
        return this.#list(shape);
      case 'union':
        return this.make(shape.of.find(({ is }) => is !== 'undefined' && is !== 'null') as Shape);
      case 'literal':
        return shape.value;
      default:
        return PRIMITIVES[shape.is];
    }
  }

  /** The state of everything that has been made. */
  state(): State {
    const parts: (string | Uint8Array)[] = [];
    for (const [type, value] of this.#values) {
      const state = this.#makers.types[type]?.state;
      if (state !== undefined) parts.push(type, ...state(value as never, this));
    }
    return parts;
  }

  #object({ name, keys }: Shape & { is: 'object' }): unknown {
    if (name !== undefined && name in this.#makers.types) return this.get(name);
    const required = keys.filter(({ optional }) => !optional);
    return Object.fromEntries(required.map((key) => [key.name, this.valueOf(key, name ?? '')]));
  }

  #list({ of, array, length }: Shape & { is: 'list' }): unknown {
    const items = Array.from({ length: length ?? 1 }, () => this.make(of));
    return array || length !== undefined ? items : new Set(items);
  }
}

const PRIMITIVES = {
  unknown: 'anything',
  undefined,
  null: null,
  bigint: 0n,
  number: 1,
  string: 'text',
  boolean: true,
  symbol: Symbol.iterator,
} as const;

/** A type for which nobody has written how to make a value: nothing is skipped in silence. */
export class NoMaker extends Error {
  constructor(type: string) {
    super(`no maker for the type ${type}: write one in tools/fuzz/makers`);
  }
}
