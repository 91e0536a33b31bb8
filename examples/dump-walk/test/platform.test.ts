/** Formats, walks and reports need no API of Node, so that they run wherever the bytes of a dump can be read. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SOURCES = fileURLToPath(new URL('../src/', import.meta.url));
/** Files, the terminal and the command line. */
const OF_NODE = [
  'file-source.ts',
  'main.ts',
  'open-dump.ts',
  'options.ts',
  'output.ts',
  'progress.ts',
  'unpack.ts',
];

test('only files, terminal and command line use Node', () => {
  const users = readdirSync(SOURCES).filter((name) => {
    const text = readFileSync(SOURCES + name, 'utf8');
    return /from 'node:|\bBuffer\b|\bNodeJS\b/.test(text);
  });
  expect(users.sort()).toEqual(OF_NODE);
});
