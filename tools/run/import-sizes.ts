/**
 * The size of a bundle with one import. `node tools/run/import-sizes.ts`, after a build, sets the ceilings in
 * `tools/checks/import-sizes.json` to a tenth above what is measured. A new import gets the ceiling 0 there first.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { ROOT } from './turbo.ts';

/** Bytes of a minified and gzipped bundle, by entry point without `@svsm/` and by name. */
export type ImportSizes = Readonly<Record<string, Readonly<Record<string, number>>>>;

const CEILINGS: string = join(ROOT, 'tools/checks/import-sizes.json');

export function readCeilings(): ImportSizes {
  return JSON.parse(readFileSync(CEILINGS, 'utf8'));
}

/** Bytes of a bundle that imports one name. The packages are those of `folder`. */
export async function importSize(door: string, name: string, folder: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: `import { ${name} } from '@svsm/${door}'; console.log(${name});`, resolveDir: folder },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    platform: door.endsWith('/node') ? 'node' : 'browser',
    write: false,
    logLevel: 'silent',
  });
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
}

if (import.meta.main) {
  const measured: Record<string, Record<string, number>> = {};
  for (const [door, names] of Object.entries(readCeilings())) {
    measured[door] = {};
    for (const name of Object.keys(names)) {
      measured[door][name] = Math.ceil(((await importSize(door, name, ROOT)) * 1.1) / 10) * 10;
    }
  }
  writeFileSync(CEILINGS, `${JSON.stringify(measured, null, 2)}\n`);
}
