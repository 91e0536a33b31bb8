import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

// `npm run test:vectors -- FOLDER` tests the package with other files of the same formats.
const OTHER = process.env['SVSM_VECTORS'];
const FOLDER = OTHER === undefined ? fileURLToPath(new URL('../fixtures', import.meta.url)) : resolve(OTHER);

/** The names of the files that end in `ending`, without the ending, sorted. */
export function fixturesOf(ending: string): string[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith(ending))
    .map((name) => name.slice(0, -ending.length))
    .sort();
}

/** The unpacked text of a file of `test/fixtures`. */
export function fixtureText(name: string): string {
  return fixtureBytes(name).toString('utf8');
}

/** The unpacked bytes of a file of `test/fixtures`. */
export function fixtureBytes(name: string): Buffer {
  return gunzipSync(readFileSync(resolve(FOLDER, name)));
}
