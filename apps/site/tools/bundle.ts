/** Bundles the packages for the programs that run in a page: a module for each name that can be imported. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { doorsOf, PACKAGES } from '../src/packages.ts';

/** Writes the modules to a folder, and the file of each name to `modules.json`. Shared code is in modules of its own. */
export async function bundle(folder: string): Promise<void> {
  // `@svsm/dump/node` reads files, which a page cannot.
  const names = PACKAGES.flatMap(doorsOf).filter(({ specifier }) => specifier !== '@svsm/dump/node');
  const fileOf = (specifier: string): string => specifier.replace('@svsm/', '').replace('/', '.');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await build({
    entryPoints: names.map(({ specifier }) => ({
      in: fileURLToPath(import.meta.resolve(specifier)),
      out: fileOf(specifier),
    })),
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    keepNames: true,
    chunkNames: 'chunks/[hash]',
    logLevel: 'error',
  });
  const files = names.map(({ specifier }) => [specifier, `${fileOf(specifier)}.js`]);
  writeFileSync(`${folder}/modules.json`, JSON.stringify(Object.fromEntries(files), null, 2));
}
