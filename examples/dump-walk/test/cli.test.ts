import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

test('finds what is writable and executable in the sample', () => {
  const { status, stdout, stderr } = run();
  expect([status, stderr]).toEqual([0, '']);
  const lines = stdout.trimEnd().split('\n');
  expect(lines[0]).toBe('page tables (PTFRAME1), 120 frames; CR3 0x0000000002954000, 4 levels');
  expect(lines[1]).toMatch(/^0x00000000004a6000 0x00000000004a7000/);
  expect(lines).toHaveLength(7);
  expect(lines[6]).toMatch(/^\d+ runs are writable and executable, 207880 KiB$/);
});

test('refuses a file that is not a dump with one line', () => {
  const { status, stdout, stderr } = run(MAIN);
  expect([status, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(/^.*main\.ts: its format is unknown.*\[UNKNOWN_FORMAT\]\n$/);
});
