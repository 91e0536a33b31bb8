/** The command at a terminal, which `script` makes: that of util-linux, or of macOS. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { coreFile, tableOf } from '../support/core-file.ts';
import { fixture, temporary } from '../support/support.ts';

const MAIN = fileURLToPath(new URL('../../src/command/main.ts', import.meta.url));
const HOT = temporary(
  'hot',
  coreFile({
    segments: [{ paddr: 0x1000n, bytes: Buffer.concat([tableOf({ 0: 0x2067n }), tableOf({ 0: 0xe7n })]) }],
    cpus: [{ cr3: 0x1000n }],
  }),
);
const RED = '\x1b[31m';

/** The output of a line of a shell at a terminal. `$DUMP` is the command. */
function atTerminal(line: string, env: Readonly<Record<string, string>> = {}): string {
  const { NO_COLOR: _, FORCE_COLOR: __, ...others } = process.env;
  const args =
    process.platform === 'darwin' ? ['-q', '/dev/null', 'sh', '-c', line] : ['-qec', line, '/dev/null'];
  const { stdout, error } = spawnSync('script', args, {
    encoding: 'utf8',
    env: { ...others, TERM: 'xterm', ...env, DUMP: `${process.execPath} ${MAIN}` },
    maxBuffer: 2 ** 28,
  });
  if (error !== undefined) throw error;
  return stdout;
}

describe('colours', () => {
  test('are for a terminal, and not for a pipe or JSON', () => {
    expect(atTerminal(`$DUMP '${HOT}'`)).toContain(RED);
    expect(atTerminal(`$DUMP '${HOT}' | cat`)).not.toContain('\x1b');
    expect(atTerminal(`$DUMP '${HOT}' --json`)).not.toContain('\x1b');
  });

  test('obey NO_COLOR, FORCE_COLOR and the kind of terminal', () => {
    expect(atTerminal(`$DUMP '${HOT}'`, { NO_COLOR: '1' })).not.toContain(RED);
    expect(atTerminal(`$DUMP '${HOT}'`, { TERM: 'dumb' })).not.toContain(RED);
    expect(atTerminal(`$DUMP '${HOT}' | cat`, { FORCE_COLOR: '1' })).toContain(RED);
  });
});

describe('the bar', () => {
  const listing = `$DUMP leaves '${fixture('core-a.sparse.gz')}'`;
  const path = temporary('listing', new Uint8Array(0));

  test('is shown while the listing goes to a file, and gone at its end', () => {
    const shown = atTerminal(`${listing} > '${path}'; echo END`);
    expect(shown).toMatch(/\] \d+ % of \d+ pages/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is the code that clears a line.
    expect(shown).toMatch(/\x1b\[2KEND\s*$/);
    expect(readFileSync(path, 'utf8')).toMatch(/; complete\n$/);
  });

  test('is not shown if standard error is a file', () => {
    expect(atTerminal(`${listing} > '${path}' 2> '${path}.err'; echo END`)).toMatch(/^END\s*$/);
    expect(readFileSync(`${path}.err`, 'utf8')).toBe('');
  });
});

test('an interrupt ends the command, and leaves no file behind', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'svsm-dump-interrupt-'));
  const temporaryFolder = mkdtempSync(join(folder, 'tmp-'));
  const fifo = join(folder, 'fifo');
  expect(spawnSync('mkfifo', [fifo]).status).toBe(0);
  const child = spawn(process.execPath, [MAIN, 'roots', fifo], {
    env: { ...process.env, TMPDIR: temporaryFolder },
  });
  const writer = createWriteStream(fifo);
  // The command copies the pipe into its temporary file.
  for (let i = 0; i < 8; i += 1) {
    if (!writer.write(Buffer.alloc(2 ** 20, 0x5a))) await once(writer, 'drain');
  }
  child.kill('SIGINT');
  const [code, signal] = await once(child, 'exit');
  expect([code, signal]).toEqual([null, 'SIGINT']);
  expect(readdirSync(temporaryFolder)).toEqual([]);
  writer.destroy();
  rmSync(folder, { recursive: true });
});

test('whoever stops reading standard error does not change the exit code', async () => {
  const child = spawn(process.execPath, [MAIN, '/none/such']);
  child.stderr.destroy();
  const [code] = await once(child, 'exit');
  expect(code).toBe(3);
});
