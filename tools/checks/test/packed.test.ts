/** The tarballs that npm would publish: their files, their types for every resolver, and that they load. */
import { execFileSync, spawnSync } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { build as viteBuild } from 'vite';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { tarballOf } from '../consumer.ts';
import { LAYERS } from '../layers.ts';
import { PACKAGES } from '../workspace.ts';

const { folder, problem } = inject('consumer');
const node = process.env['HOST_NODE'] ?? process.execPath;

beforeAll(() => {
  if (problem) throw new Error(`packing failed: ${problem}`);
});

describe.each(PACKAGES.map((p) => [p.manifest.name, p] as const))('%s', (name, { manifest }) => {
  test('has the files that users need, and no tests', () => {
    const files = globSync('**/*.*', { cwd: join(folder, 'node_modules', name) }).map((f) =>
      f.replaceAll('\\', '/'),
    );
    expect(files).toEqual(
      expect.arrayContaining([
        'package.json',
        'README.md',
        'CHANGELOG.md',
        'dist/index.js',
        'dist/index.d.ts',
      ]),
    );
    expect(globSync('LICENSE', { cwd: join(folder, 'node_modules', name) })).toEqual(['LICENSE']);
    expect(files.filter((file) => !/^(dist|src|man)\/|^[^/]+\.(md|json)$/.test(file))).toEqual([]);
    expect(files.filter((file) => /test|bench|tsconfig/.test(file))).toEqual([]);
  });

  test('passes publint', async () => {
    const tarball = readFileSync(tarballOf(folder, manifest));
    const { messages, pkg } = await publint({
      pack: { tarball: new Uint8Array(tarball).buffer },
      level: 'suggestion',
      strict: true,
    });
    expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([]);
  });

  test('has types for every resolver (are-the-types-wrong)', () => {
    const manifestFile = createRequire(import.meta.url).resolve('@arethetypeswrong/cli/package.json');
    const bin = join(dirname(manifestFile), 'dist/index.js');
    const options = [
      '--profile',
      'esm-only',
      '--no-definitely-typed',
      '--no-color',
      '--no-emoji',
      '--format',
      'ascii',
    ];
    const { status, stdout } = spawnSync(process.execPath, [bin, tarballOf(folder, manifest), ...options], {
      encoding: 'utf8',
    });
    expect(status, stdout).toBe(0);
  });

  test.each(doorsOf(manifest))('%s: require() returns the names that import returns', (door) => {
    const script = join(folder, `load-${door.replace(/\W/g, '-')}.cjs`);
    const [required, imported] = [`require('${door}')`, `await import('${door}')`];
    writeFileSync(
      script,
      `const names = (module) => Object.keys(module).filter((name) => name !== 'module.exports').sort().join();
(async () => console.log(JSON.stringify([names(${required}), names(${imported})])))();
`,
    );
    const [a, b] = JSON.parse(execFileSync(node, [script], { encoding: 'utf8' }));
    expect(a).toBe(b);
    expect(a).not.toBe('');
  });

  test('its sub-paths export the same objects as the package, except those for Node', () => {
    const script = join(folder, `same-${name.replace(/\W/g, '-')}.mjs`);
    const doors = doorsOf(manifest)
      .slice(1)
      .filter((door) => !isForNode(door));
    writeFileSync(
      script,
      `const whole = await import('${name}');
const parts = await Promise.all(${JSON.stringify(doors)}.map((door) => import(door)));
const names = parts.flatMap((part) => Object.keys(part));
const others = parts.flatMap((part) => Object.keys(part).filter((name) => part[name] !== whole[name]));
const twice = names.filter((name, index) => names.indexOf(name) !== index);
const missing = parts.length === 0 ? [] : Object.keys(whole).filter((name) => !names.includes(name));
console.log(JSON.stringify([...others, ...twice, ...missing]));
`,
    );
    expect(JSON.parse(execFileSync(node, [script], { encoding: 'utf8' }))).toEqual([]);
  });

  test('Vite bundles each of its sub-paths, except those for Node', async () => {
    for (const door of doorsOf(manifest).filter((one) => !isForNode(one))) {
      const entry = join(folder, `vite-${door.replace(/\W/g, '-')}.js`);
      writeFileSync(entry, `import * as all from '${door}'; globalThis.names = Object.keys(all).length;`);
      const output = await viteBuild({
        root: folder,
        configFile: false,
        logLevel: 'silent',
        build: { write: false, lib: { entry, formats: ['es'] } },
      });
      expect(JSON.stringify(output), door).toContain('globalThis.names');
    }
  });
});

/** Whether an entry point, such as `@svsm/dump/node`, is a room that uses the modules of Node. */
function isForNode(door: string): boolean {
  const [, name = '', room = ''] = door.split('/');
  return LAYERS[name]?.rooms?.[room]?.platform === 'node';
}

/** The entry points of a package: `@svsm/sev-snp`, `@svsm/sev-snp/formats`, …. */
function doorsOf({ name, exports }: { name: string; [field: string]: unknown }): string[] {
  return Object.keys(exports as object)
    .filter((path) => path !== './package.json')
    .map((path) => `${name}${path.slice(1)}`);
}
