/** The public classes in consoles and in JSON. Their fields are private: without help, a console shows nothing of them. */
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { PACKAGES, type PackageName } from '../package-fuzz.ts';
import { type Makers, World } from '../world.ts';

const NAMES = Object.keys(PACKAGES) as PackageName[];

/** Without anything to show. */
const WITHOUT = ['GuestWindow'];

const loaded = await Promise.all(
  NAMES.map(async (name) => {
    const module: Record<string, unknown> = await import(`@svsm/${name}`);
    const { makers }: { makers: Makers } = await import(`../makers/${name}.ts`);
    return { name, makers, classes: Object.entries(module).filter(([, value]) => isShown(value)) };
  }),
);

/** Whether it is a class, and not one of errors. */
function isShown(value: unknown): value is new () => unknown {
  return (
    typeof value === 'function' &&
    /^class\b/.test(Function.prototype.toString.call(value)) &&
    !(value.prototype instanceof Error)
  );
}

describe.each(loaded.filter(({ classes }) => classes.length > 0))('$name', ({ classes, makers }) => {
  test.each(classes.filter(([name]) => !WITHOUT.includes(name)))('%s', (name, type) => {
    const value = new World(makers).get(name);
    expect(value).toBeInstanceOf(type);
    const shown = value instanceof (loadedClass('HostileHypervisor') as never) ? 'HostileHypervisor' : name;
    expect(inspect(value)).toMatch(new RegExp(`^${shown} (\\w+ )?[[{].*\\w`, 's'));
    expect(inspect(value, { depth: 9 })).not.toContain('a value of type');
    expect(() => inspect((type as new () => unknown).prototype)).not.toThrow();
    expect(Object.keys(JSON.parse(JSON.stringify(value)))).not.toEqual([]);
  });
});

function loadedClass(name: string): unknown {
  return loaded.flatMap(({ classes }) => classes).find(([one]) => one === name)?.[1];
}

test('every class left out exists', () => {
  expect(WITHOUT.filter((name) => loadedClass(name) === undefined)).toEqual([]);
});
