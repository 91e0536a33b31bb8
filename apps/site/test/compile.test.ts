import { expect, test } from 'vitest';
import { CompileError, compile } from '../src/editor/compile.ts';

const modules = new Map([
  ['@svsm/address', 'https://host/packages/address.js'],
  ['@svsm/dump', 'https://host/packages/dump.js'],
]);

test('static and dynamic imports get addresses', async () => {
  const code = `import { virtAddr } from '@svsm/address';\nconst { openDump } = await import("@svsm/dump");\nvirtAddr(0), openDump;`;
  const compiled = await compile(code, modules);
  expect(compiled).toContain(`from 'https://host/packages/address.js'`);
  expect(compiled).toContain(`import("https://host/packages/dump.js")`);
});

test('an import that only has types is removed', async () => {
  const compiled = await compile(`import { VirtAddr } from '@svsm/address';\nlet a: VirtAddr;`, modules);
  expect(compiled).not.toContain('address');
});

test('text that looks like an import stays', async () => {
  const code = `console.log("import { a } from '@svsm/address'");`;
  expect(await compile(code, modules)).toBe(code);
});

test.each([
  [
    'an unknown module',
    `import 'lodash';`,
    "cannot import 'lodash': this page has @svsm/address, @svsm/dump",
  ],
  ['a computed name', `await import('@svsm/' + name);`, 'write the name of an imported module as a string'],
  ['a syntax error', 'const = 1;', /\(1:7\)/],
])('%s is an error', async (_, code, message) => {
  const error = await compile(code, modules).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(CompileError);
  expect((error as Error).message).toMatch(message);
});
