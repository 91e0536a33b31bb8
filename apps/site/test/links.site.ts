import { expect, test } from 'vitest';
import { BASE, fileAt, pages } from './support/site.ts';

const all = pages();
const anchors = new Map([...all].map(([path, html]) => [path, anchorsOf(html)]));

test('there are pages', () => {
  expect(all.size).toBeGreaterThan(80);
  expect([...all.keys()]).toContain('guide/share-four-pages');
});

test('every link within the site leads to a file, and to an anchor that exists', () => {
  const broken: string[] = [];
  for (const [path, html] of all) {
    for (const target of linksOf(html)) {
      const { pathname, hash } = new URL(target, `http://site${BASE}${path}`);
      const inside = decodeURIComponent(pathname.slice(BASE.length));
      const page = inside.replace(/(^|\/)index\.html$/, '$1').replace(/\.html$/, '');
      if (!pathname.startsWith(BASE) || fileAt(inside) === undefined) broken.push(`${path}: ${target}`);
      else if (hash !== '' && anchors.get(page)?.has(decodeURIComponent(hash.slice(1))) === false) {
        broken.push(`${path}: ${target}`);
      }
    }
  }
  expect(broken).toEqual([]);
});

test('every page has a title, a description and one heading of the first level', () => {
  const wrong = [...all]
    .filter(([path]) => path !== '404')
    .filter(
      ([, html]) =>
        !/<title>[^<]+<\/title>/.test(html) ||
        !/<meta name="description" content="[^"]+">/.test(html) ||
        html.split('<h1').length !== 2,
    )
    .map(([path]) => path);
  expect(wrong).toEqual([]);
});

test.each([
  'llms.txt',
  'llms-full.txt',
  'guide/share-four-pages.md',
  'errors/pagetable.md',
  'packages/modules.json',
])('%s is there', (file) => {
  expect(fileAt(file)).toBeDefined();
});

function linksOf(html: string): string[] {
  const links = [...html.matchAll(/<(?:a|link|script|img)\b[^>]*?\b(?:href|src)="([^"]*)"/g)].map(
    ([, link]) => link!.replaceAll('&amp;', '&'),
  );
  return links.filter((link) => !/^(https?:|mailto:|data:)/.test(link));
}

function anchorsOf(html: string): Set<string> {
  return new Set([...html.matchAll(/\bid="([^"]*)"/g)].map(([, id]) => id!.replaceAll('&amp;', '&')));
}
