import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** The text of a file of `test/fixtures`, unpacked. */
export function fixtureText(name: string): string {
  return fixtureBytes(name).toString('utf8');
}

/** Its bytes, unpacked. */
export function fixtureBytes(name: string): Buffer {
  return gunzipSync(readFileSync(new URL(`fixtures/${name}`, import.meta.url)));
}
