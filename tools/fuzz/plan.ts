/** The calls to make: for each parameter, each value of every wrong type, and for each option too. */
import { HOSTILE, withThrowingGetter } from './hostile.ts';
import { conforms, isOptions, type Key, type Shape } from './shape.ts';
import type { Callable } from './surface.ts';
import type { Makers, World } from './world.ts';

/** One call. */
export interface Case {
  readonly callable: Callable;
  /** The wrong value: `vaddr = '0x1000'`, `options.size = NaN`; '' for the call in which nothing is. */
  readonly label: string;
  /** Whether the caller can have meant it, so that the call may succeed. */
  readonly isMeant: boolean;
  readonly nature: Nature;
  /** The arguments. */
  args(world: World): unknown[];
}

/**
 * The kind of a wrong value. The error of an iterable that throws may come out as it is. A function may do nothing that the
 * package needs, and is a class at worst, whose call is an error of the caller's own. A method that lies may change what it
 * likes, whatever the package does. The error of a number for a bigint must say so: in a message, 4096 looks like 4096n.
 */
type Nature = 'value' | 'number' | 'iterable' | 'function' | 'lie';

/** A wrong value for a parameter. */
interface Wrong {
  readonly label: string;
  readonly isMeant: boolean;
  readonly nature?: Nature;
  make(valid: unknown, world: World): unknown;
}

/** All calls of one export. The first is valid. */
export function casesOf(callable: Callable, makers: Makers): Case[] {
  const { params, isPredicate } = callable;
  const of = ownerOf(callable);
  const valid = (world: World): unknown[] => params.map((param) => world.valueOf(param, of));
  const cases: Case[] = [{ callable, label: '', isMeant: true, nature: 'value', args: valid }];
  params.forEach((param, position) => {
    for (const { label, isMeant, nature = 'value', make } of wrongFor(param, makers)) {
      cases.push({
        callable,
        label: `${param.name}${label}`,
        isMeant: isMeant || isPredicate,
        nature,
        args: (world) => {
          const args = valid(world);
          args[position] = make(args[position], world);
          return args;
        },
      });
    }
  });
  return cases;
}

/** The name by which makers know the parameters of an export: without the number of the overload. */
function ownerOf({ id }: Callable): string {
  return id.replace(/#\d+$/, '');
}

function wrongFor({ shape, optional }: Key, makers: Makers): Wrong[] {
  const whole = HOSTILE.map(({ name, make }): Wrong => {
    const value = make();
    const isMeant = (optional && value === undefined) || conforms(shape, value);
    return { label: ` = ${name}`, isMeant, nature: natureOf(name, value, shape), make };
  });
  const members = shape.is === 'union' ? shape.of : [shape];
  return [...whole, ...members.flatMap((member) => wrongWithin(member, makers))];
}

function natureOf(name: string, value: unknown, shape: Shape): Nature {
  if (name === 'an iterable that throws' && accepts(shape, 'list')) return 'iterable';
  if (Number.isSafeInteger(value) && acceptsBigint(shape) && !conforms(shape, 1)) return 'number';
  return typeof value === 'function' && accepts(shape, 'function') ? 'function' : 'value';
}

function acceptsBigint(shape: Shape): boolean {
  if (shape.is === 'union') return shape.of.some(acceptsBigint);
  return shape.is === 'bigint' || (shape.is === 'named' && shape.base === 'bigint');
}

/** Whether a shape, or one of its alternatives, is of a kind. */
function accepts(shape: Shape, kind: Shape['is']): boolean {
  return shape.is === kind || (shape.is === 'union' && shape.of.some((member) => accepts(member, kind)));
}

/** The wrong values inside a value: a property, an element, a method. */
function wrongWithin(shape: Shape, makers: Makers): Wrong[] {
  switch (shape.is) {
    case 'object':
      return [...shape.keys.flatMap((key) => wrongKey(shape, key, makers)), ...unknownKeys(shape)];
    case 'list':
      return HOSTILE.map(({ name, make }) => ({
        label: `[…] = ${name}`,
        isMeant: conforms(shape.of, make()),
        make: () => [make()],
      }));
    case 'named':
      return wrongMethods(shape.name, makers);
    default:
      return [];
  }
}

/** A valid object of one shape: for a union, of this member. */
function validObject(shape: Shape & { is: 'object' }, valid: unknown, world: World): object {
  const isOfShape = typeof valid === 'object' && valid !== null && conforms(shape, valid);
  const made = isOfShape ? valid : world.make(shape);
  const copy: Record<string, unknown> = {};
  for (const { name } of shape.keys) {
    const value: unknown = (made as Record<string, unknown>)[name];
    if (value !== undefined || Object.hasOwn(made as object, name)) copy[name] = value;
  }
  return copy;
}

function wrongKey(shape: Shape & { is: 'object' }, key: Key, makers: Makers): Wrong[] {
  const { name, optional, shape: of } = key;
  const values = wrongFor(key, makers).map(
    ({ label, isMeant, nature = 'value', make }): Wrong => ({
      label: `.${name}${label}`,
      isMeant,
      nature,
      make: (valid, world) => {
        const object = validObject(shape, valid, world) as Record<string, unknown>;
        return { ...object, [name]: make(object[name] ?? world.valueOf(key, shape.name ?? ''), world) };
      },
    }),
  );
  const getter: Wrong = {
    label: `.${name} = a getter that throws`,
    isMeant: false,
    make: (valid, world) => withThrowingGetter(validObject(shape, valid, world), name),
  };
  const missing: Wrong = {
    label: `.${name} is missing`,
    isMeant: optional || conforms(of, undefined),
    make: (valid, world) => {
      const { [name]: _, ...rest } = validObject(shape, valid, world) as Record<string, unknown>;
      return rest;
    },
  };
  return [...values, getter, missing];
}

/** A misspelt option, and one whose name would write to a console. */
function unknownKeys(shape: Shape & { is: 'object' }): Wrong[] {
  if (!isOptions(shape)) return [];
  return ['mispelt', '\u001b[31m\n'].map((key) => ({
    label: ` has the unknown key ${JSON.stringify(key)}`,
    isMeant: false,
    make: (valid, world) => ({ ...validObject(shape, valid, world), [key]: 1 }),
  }));
}

/** An object that the caller implements, with a method that is missing, is none, or returns anything. */
function wrongMethods(type: string, makers: Makers): Wrong[] {
  return (makers.types[type]?.methods ?? []).flatMap((written) => {
    const method = written.replace('?', '');
    return [
      ...['undefined', 'null', '1', '{}'].map((name): Wrong => {
        const { make } = HOSTILE.find((hostile) => hostile.name === name) ?? HOSTILE[0]!;
        return {
          label: `.${method} is ${name}`,
          isMeant: name === 'undefined' && written.endsWith('?'),
          make: (_, world) => withMethod(world.get(type), method, make()),
        };
      }),
      ...HOSTILE.map(
        ({ name, make }): Wrong => ({
          label: `.${method} returns ${name}`,
          // What a method may return, and whether the call needs it, only the package can tell.
          isMeant: true,
          nature: 'lie',
          make: (_, world) => withMethod(world.get(type), method, () => make()),
        }),
      ),
    ];
  });
}

function withMethod(object: object, method: string, value: unknown): object {
  return new Proxy(object, {
    get: (target, key) => {
      if (key === method) return value;
      const found: unknown = Reflect.get(target, key, target);
      return typeof found === 'function' ? found.bind(target) : found;
    },
  });
}
