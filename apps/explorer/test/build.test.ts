/** The build is a static page that works in any folder of a site. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const dist = new URL('../dist/', import.meta.url);
const html = readFileSync(new URL('index.html', dist), 'utf8');

test('index.html loads its scripts and styles by relative links to files that exist', () => {
  const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link!);
  expect(links.length).toBeGreaterThan(0);
  for (const link of links) {
    expect(link).toMatch(/^\.\//);
    expect(existsSync(new URL(link, dist)), link).toBe(true);
  }
});
