/** The size of one import of each kind: a constant that bundlers cannot leave out shows here. */
import { describe, expect, inject, test } from 'vitest';
import { importSize, readCeilings } from '../../run/import-sizes.ts';
import { pureConstants } from '../../run/pure-constants.ts';
import { PACKAGES } from '../workspace.ts';

const { folder, problem } = inject('consumer');
const ceilings = readCeilings();

test('every entry point has its imports', () => {
  const doors = PACKAGES.flatMap(({ name, manifest }) =>
    Object.keys(manifest['exports'] as object)
      .filter((door) => door !== './package.json')
      .map((door) => `${name}${door.slice(1)}`),
  );
  expect(Object.keys(ceilings).sort()).toEqual(doors.sort());
});

describe.each(Object.entries(ceilings))('%s', (door, names) => {
  test.each(Object.entries(names))('%s', async (name, ceiling) => {
    if (problem) throw new Error(`packing failed: ${problem}`);
    const size = await importSize(door, name, folder);
    const advice = `${size} bytes; if that is right: node tools/run/import-sizes.ts`;
    expect(size, advice).toBeLessThanOrEqual(ceiling);
    expect(size, advice).toBeGreaterThan(ceiling * 0.6 - 100);
  });
});

test('constants are marked as pure, and keep their lines and names', () => {
  const code = `const A = 1n << 47n;
const B = "text", C = [1, { a: -2 }], D = (x) => x, E = class {};
const F = /* @__PURE__ */ new Map([
  [A, B.length],
]);
export { A };
`;
  expect(pureConstants(code)).toBe(`const A = /* @__PURE__ */ (() => (1n << 47n))();
const B = "text", C = [1, { a: -2 }], D = (x) => x, E = class {};
const F = /* @__PURE__ */ (() => (new Map([
  [A, B.length],
])))();
export { A };
`);
});
