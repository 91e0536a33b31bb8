/** No file makes the program crash, run for long, take much memory, leave files behind, or write escape codes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { ExitCode } from '../../src/command/problem.ts';
import { printable, printableLines } from '../../src/source/printable.ts';
import { CODES, HOSTILE } from '../support/hostile-files.ts';

const MAIN = fileURLToPath(new URL('../../src/command/main.ts', import.meta.url));
const MEASURE = new URL('../support/measure.ts', import.meta.url).href;
const folder = mkdtempSync(join(tmpdir(), 'svsm-dump-hostile-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** C0 except the line feed, DEL, C1, and the marks that turn the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to find.
const ESCAPES = /[\0-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
const ALLOWED: readonly (number | null)[] = [
  ExitCode.Done,
  ExitCode.Negative,
  ExitCode.BadFile,
  ExitCode.BadTables,
];

function measured(args: readonly string[]) {
  const figures = join(folder, 'figures');
  const temporaryFolder = mkdtempSync(join(folder, 'tmp-'));
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', MEASURE, MAIN, ...args], {
    encoding: 'utf8',
    maxBuffer: 2 ** 29,
    env: { ...process.env, MEASURE: figures, TMPDIR: temporaryFolder },
  });
  const { seconds, mebibytes } = JSON.parse(readFileSync(figures, 'utf8')) as Record<
    'seconds' | 'mebibytes',
    number
  >;
  return { status, stdout, stderr, seconds, mebibytes, left: readdirSync(temporaryFolder) };
}

const COMMANDS = [['summary', '--json'], ['info'], ['walk', '0', '--raw', '--cr3', '1000']] as const;

test.each(Object.keys(HOSTILE).map((name, i) => [name, COMMANDS[i % COMMANDS.length]!] as const))(
  '%s: a run is bounded',
  (name, other) => {
    const path = join(folder, 'file');
    writeFileSync(path, HOSTILE[name]!());
    for (const [command, ...more] of [['runs'], other] as const) {
      const { status, stdout, stderr, seconds, mebibytes, left } = measured([command, path, ...more]);
      expect(ALLOWED).toContain(status);
      expect(stdout + stderr).not.toMatch(ESCAPES);
      expect(stdout + stderr).not.toBe('');
      if (status === ExitCode.BadFile) expect(stderr.trimEnd().split('\n')).toHaveLength(1);
      // Processor time, which a slow machine stretches: these take 0.1 to 2 s, and files without a bound minutes.
      expect(seconds).toBeLessThan(20);
      expect(mebibytes).toBeLessThan(512);
      expect(left).toEqual([]);
    }
  },
);

test.each([
  'a kdump with 134 million ranges of memory',
  'half a million headers of single bytes, shuffled',
  'zeros, compressed a thousandfold',
])('a search for top tables is bounded too: %s', (name) => {
  const path = join(folder, 'searched');
  writeFileSync(path, HOSTILE[name]!());
  const { status, seconds, mebibytes } = measured(['roots', path]);
  expect(ALLOWED).toContain(status);
  expect(seconds).toBeLessThan(20);
  expect(mebibytes).toBeLessThan(512);
});

test('a listing that would never end is refused, whatever it consists of', () => {
  for (const name of Object.keys(HOSTILE).filter((one) => one.startsWith('repeated tables'))) {
    const path = join(folder, 'repeated');
    writeFileSync(path, HOSTILE[name]!());
    expect(measured(['leaves', path]).stderr).toMatch(
      /tables are reached repeatedly: select some with --within/,
    );
  }
});

describe('text that a terminal would obey', () => {
  test.each([['info'], ['runs'], ['walk', '0']])(
    'in the name of a file is escaped: %s',
    (command, ...more) => {
      const name = join(folder, `name ${CODES.replaceAll('\0', '')}`);
      writeFileSync(name, HOSTILE['codes in the release of a kernel']!());
      const { status, stdout, stderr } = measured([command, name, ...more]);
      expect(ALLOWED).toContain(status);
      expect(stdout).toContain(
        'name \\u001b[2J\\u001b]0;title\\u0007\\u009b1A\\u0008\\u007f\\u202e\\u2066\\u200f',
      );
      expect(stdout + stderr).not.toMatch(ESCAPES);
      expect(measured([command, `${name}.missing`, ...more]).stderr).toMatch(
        /^svsm-dump: .*\\u001b.*ENOENT.*\n$/,
      );
    },
  );

  test('is the same text in JSON', () => {
    const name = join(folder, `json ${CODES.replaceAll('\0', '')}`);
    writeFileSync(name, HOSTILE['a table whose entries all lead to itself']!());
    const { stdout } = measured(['walk', name, '0', '--json']);
    expect(stdout).not.toMatch(ESCAPES);
    expect((JSON.parse(stdout.split('\n')[0]!) as { file: string }).file).toBe(name);
  });

  test('is escaped, and nothing else', () => {
    expect(printable('a\x00\t\x1b\x7f\x85\xad\u061c\u200b\u202e\u2069\ufeff\n')).toBe(
      'a\\u0000\\u0009\\u001b\\u007f\\u0085\\u00ad\\u061c\\u200b\\u202e\\u2069\\ufeff\\u000a',
    );
    expect(printable('\ud800 \u{e0041}')).toBe('\\ud800 \\udb40\\udc41');
    const plain = 'Ünïcode 漢字 🙂 → "quoted" \\n';
    expect([printable(plain), printableLines(`${plain}\n`)]).toEqual([plain, `${plain}\n`]);
  });
});
