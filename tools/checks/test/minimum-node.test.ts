/** The oldest Node is the same everywhere: in `engines`, in each document that names one, and in the tools. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import semver from 'semver';
import { expect, test } from 'vitest';
import { OLDEST_NODE } from '../../run/lock.ts';
import { proseFiles } from '../english.ts';
import { PACKAGES, ROOT } from '../workspace.ts';

const MINIMUM = semver.minVersion(OLDEST_NODE)!;
/** As documents write it: `20.19`. */
const SHORT = `${MINIMUM.major}.${MINIMUM.minor}`;

/** Sentences that name a minimum. "Node 22 and later" says since when something exists: that is not a minimum. */
const NAMES_MINIMUM = /\bNode(?:\.js)?\s*(?:>=|≥)?\s*([\d.]*\d)\s+or\s+(?:later|newer|higher|above)\b/g;
const NEEDS_NODE = /\b(?:needs?|requires?|at least|oldest)\s+Node(?:\.js)?\s*(?:>=|≥)?\s*([\d.]*\d)/gi;

const documents = proseFiles().filter((file) => file.endsWith('.md'));

function minimumsIn(text: string): string[] {
  const named = [NAMES_MINIMUM, NEEDS_NODE].flatMap((regex) => [...text.matchAll(regex)]);
  return [...new Set(named.map((match) => match[1]!))];
}

test.each(PACKAGES.map(({ name, manifest }) => [name, manifest] as const))('engines of %s', (_, manifest) => {
  expect(manifest['engines']).toEqual({ node: `>=${SHORT}` });
});

test('a document names this minimum, or none', () => {
  const others = documents.flatMap((file) => {
    const wrong = minimumsIn(readFileSync(join(ROOT, file), 'utf8')).filter((named) => named !== SHORT);
    return wrong.map((named) => `${file}: ${named}`);
  });
  expect(others, `the minimum is ${SHORT}`).toEqual([]);
});

test.each(['README.md', 'CONTRIBUTING.md'])('%s names it', (file) => {
  expect(minimumsIn(readFileSync(join(ROOT, file), 'utf8'))).toEqual([SHORT]);
});

test('the matrix begins with it', () => {
  const matrix = readFileSync(join(ROOT, 'tools/run/matrix.ts'), 'utf8');
  expect(/'node@([\d.]+)'/.exec(matrix)?.[1]).toBe(SHORT);
});

test('sentences that name a minimum are found', () => {
  expect(minimumsIn('Node 20.20 or later. Node.js >= 18 or newer; it needs Node 22.18')).toEqual([
    '20.20',
    '18',
    '22.18',
  ]);
  expect(minimumsIn('Measured on Node 24. Iterator helpers (Node 22 and later).')).toEqual([]);
});
