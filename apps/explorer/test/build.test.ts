/** The build is a static page that works in any folder of a site, and is small. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

const dist = new URL('../dist/', import.meta.url);
const html = readFileSync(new URL('index.html', dist), 'utf8');
const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link!);

test('index.html loads its scripts and styles by relative links to files that exist', () => {
  expect(links.length).toBeGreaterThan(0);
  for (const link of links) {
    expect(link).toMatch(/^\.\/|^data:/);
    if (!link.startsWith('data:')) expect(existsSync(new URL(link, dist)), link).toBe(true);
  }
});

const files = globSync('**/*', { cwd: fileURLToPath(dist) });

test('the first load, with the worker that plays scenarios, is less than 200 KB of gzip', () => {
  const players = files.filter((file) => /play-worker-.*\.js$/.test(file));
  expect(players).toHaveLength(1);
  const loaded = links
    .filter((link) => !link.startsWith('data:'))
    .concat(players)
    .map((link) => readFileSync(new URL(link, dist)));
  const bytes = [Buffer.from(html), ...loaded].reduce((sum, file) => sum + gzipSync(file).length, 0);
  expect(bytes).toBeGreaterThan(50_000);
  expect(bytes).toBeLessThan(200_000);
});

test('the dumps and the worker that reads them are part of the page', () => {
  expect(files.filter((file) => file.endsWith('.gz'))).toHaveLength(3);
  expect(files.some((file) => /dump-worker-.*\.js$/.test(file))).toBe(true);
});
