import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

// `npm run test:vectors -- FOLDER` holds the package against other files of the same formats.
const OTHER = process.env['SVSM_VECTORS'];
const FOLDER = OTHER === undefined ? fileURLToPath(new URL('../fixtures', import.meta.url)) : resolve(OTHER);

/** The files of the folder that end in `ending`, without it: sorted. */
export function fixturesOf(ending: string): string[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith(ending))
    .map((name) => name.slice(0, -ending.length))
    .sort();
}

/** The text of a file of `test/fixtures`, unpacked. */
export function fixtureText(name: string): string {
  return fixtureBytes(name).toString('utf8');
}

/** Its bytes, unpacked. */
export function fixtureBytes(name: string): Buffer {
  return gunzipSync(readFileSync(resolve(FOLDER, name)));
}
