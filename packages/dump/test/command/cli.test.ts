/** The command line, run as a process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { COMMANDS, type Command } from '../../src/command/options.ts';
import { coreFile, tableOf } from '../support/core-file.ts';
import { fixture, run, runHere, temporary } from '../support/support.ts';

const CASE_F = fixture('case-f.frames.gz');

/** The tables of a small kernel, with a table outside memory, reserved bits, a table that points to itself, and pages. */
function tables(changes: Readonly<Record<number, bigint>> = {}): Buffer {
  return Buffer.concat([
    tableOf({ 0: 0x2067n, 1: 0x2067n | (1n << 45n), 300: 0x77_0000_0067n, 511: 0x1063n }),
    tableOf({ 0: 0x3067n }),
    tableOf({ 0: 0x4067n, 1: 0x0020_00e7n, 2: 0x1_4000_00e7n }),
    tableOf({ 0: 0x9067n, 1: 0x8000_0000_0000_a063n, 2: 0x000b_065n, ...changes }),
  ]);
}

const core = (bytes: Buffer): Buffer =>
  coreFile({ segments: [{ paddr: 0x1000n, bytes }], cpus: [{ cr3: 0x1000n, cr4: 0xa0n }] });
const CORRUPT = temporary('corrupt', core(tables()));
const OTHER = temporary('other', core(tables({ 0: 0x9065n, 1: 0xc063n, 2: 0n, 3: 0xd063n })));

const jsonLines = (text: string): Record<string, unknown>[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('a listing', () => {
  test('is a text table, or JSON Lines with an end record', async () => {
    const text = run([CASE_F]);
    expect([text.status, text.stderr]).toEqual([0, '']);
    const rows = text.stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(rows[0]).toBe(
      '0x0000000000400000 0x00000000004a0000    640 KiB  0x0000000007529000 4K   ur-x   -',
    );
    const json = await runHere(['runs', CASE_F, '--json']);
    const records = jsonLines(json.stdout);
    expect(records[0]).toMatchObject({
      type: 'dump',
      cr3: '0x0000000002954000',
      levels: 4,
      noExecute: false,
    });
    expect(records[1]).toEqual({
      type: 'run',
      start: '0x0000000000400000',
      end: '0x00000000004a0000',
      size: '0x00000000000a0000',
      paddr: '0x0000000007529000',
      pageSize: 4096,
      user: true,
      writable: false,
      executable: true,
      shared: null,
    });
    expect(records.at(-1)).toMatchObject({ type: 'end', what: 'runs', count: rows.length, faults: 0 });
    expect(records).toHaveLength(rows.length + 2);
  });

  test('goes on after an unreadable place, reports it, and sets the exit code', async () => {
    const { status, stdout, stderr } = await runHere([
      'runs',
      CORRUPT,
      '--physical-bits',
      '40',
      '--within',
      '0-800000000000',
    ]);
    expect([status, stderr]).toEqual([4, '']);
    expect(stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#'))).toEqual([
      '0x0000000000000000 0x0000000000001000      4 KiB  0x0000000000009000 4K   urwx   -',
      '0x0000000000001000 0x0000000000002000      4 KiB  0x000000000000a000 4K   -rw-   -',
      '0x0000000000002000 0x0000000000003000      4 KiB  0x000000000000b000 4K   ur-x   -',
      '0x0000000000200000 0x0000000000400000      2 MiB  0x0000000000200000 2M   urwx   -',
      '0x0000000000400000 0x0000000000600000      2 MiB  0x0000000140000000 2M   urwx   -',
      '0x0000008000000000 ! not listed: the PML4 entry at 0x1008 is 0x0000200000002067, with reserved bits 0x200000000000',
    ]);
    expect(stdout).toContain('1 place could not be read');
  });

  test('of a table that points to itself and outside memory ends', async () => {
    const { status, stdout } = await runHere(['leaves', CORRUPT, '--physical-bits', '40', '--json']);
    expect(status).toBe(4);
    const records = jsonLines(stdout);
    const faults = records.filter(({ type }) => type === 'fault');
    expect(faults.map(({ fault, start, level, paddr }) => [fault, start, level, paddr])).toEqual([
      ['reserved-bits', '0x0000008000000000', 3, '0x0000000000001008'],
      ['bus-error', '0xffff960000000000', 2, '0x0000007700000000'],
      ['reserved-bits', '0xffffff8040000000', 2, '0x0000000000001008'],
      ['bus-error', '0xffffffcb00000000', 1, '0x0000007700000000'],
      ['reserved-bits', '0xffffffffc0200000', 1, '0x0000000000001008'],
      ['bus-error', '0xffffffffe5800000', 0, '0x0000007700000000'],
      ['reserved-bits', '0xffffffffffe01000', 0, '0x0000000000001008'],
    ]);
    expect(records.at(-1)).toMatchObject({ type: 'end', faults: faults.length });
  });

  test('in the format of QEMU has faults on standard error', async () => {
    const { status, stdout, stderr } = await runHere([
      'leaves',
      CORRUPT,
      '--qemu',
      '--physical-bits',
      '40',
      '--within',
      '0-800000000000',
    ]);
    expect(status).toBe(4);
    expect(stdout.split('\n')[0]).toBe('0000000000000000: 0000000000009000 ---DA--UW');
    expect(stdout).not.toContain('#');
    expect(stderr).toMatch(/^svsm-dump: 0x0000008000000000 ! not listed: the PML4 entry/);
  });

  test('distinguishes shared from private by C-bit and by vTOM', async () => {
    const memory = async (args: string[]): Promise<unknown[]> =>
      jsonLines((await runHere(['leaves', CORRUPT, '--json', '--within', '0-3000', ...args])).stdout).flatMap(
        ({ type, shared }) => (type === 'leaf' ? [shared] : []),
      );
    expect(await memory([])).toEqual([null, null, null]);
    expect(await memory(['--c-bit', '51'])).toEqual([true, true, true]);
    expect(await memory(['--vtom', '39'])).toEqual([false, false, false]);
  });

  test('ends quietly when its reader has seen enough', async () => {
    const main = fileURLToPath(new URL('../../src/command/main.ts', import.meta.url));
    const child = spawn(process.execPath, [main, 'leaves', fixture('case-a.frames.gz'), '--json']);
    let complaints = '';
    child.stderr.on('data', (chunk) => {
      complaints += chunk;
    });
    await once(child.stdout, 'data');
    child.stdout.destroy();
    const [code] = await once(child, 'exit');
    expect([code, complaints]).toEqual([0, '']);
  });
});

test('a listing may be filtered, and one of nothing is a negative answer', async () => {
  const rows = async (...args: string[]): Promise<string[]> =>
    (await runHere(['runs', CASE_F, ...args])).stdout.split('\n').filter((line) => line.startsWith('0x'));
  const all = await rows();
  const hot = await rows('--rights', 'w+x');
  expect(hot).toEqual(all.filter((line) => /4K|2M/.test(line) && / .rwx /.test(line)));
  expect(hot.length).toBeGreaterThan(100);
  expect(await rows('--page-size', '2m', '--rights', 'u')).toEqual([]);
  expect((await runHere(['runs', CASE_F, '--rights', 'u', '--page-size', '1g'])).status).toBe(1);
  const found = (await runHere(['find', CASE_F, '7529000'])).stdout;
  const appearances = found.split('\n').filter((line) => line.startsWith('0x'));
  expect((await rows('--physical', '7529000+1000')).map((line) => line.slice(0, 18))).toEqual(
    appearances.map((line) => line.slice(0, 18)),
  );
});

describe('translate', () => {
  test('takes addresses from the command line, or from standard input with comments', async () => {
    const args = await runHere(['translate', CASE_F, '4a4010', '0xffffffff81000000', '--json']);
    const input = await runHere(
      ['translate', CASE_F, '--json'],
      '# two\n4a4010 0xffff_ffff_8100_0000 # those\n\n',
    );
    expect(input.stdout).toBe(args.stdout);
    const [, first] = jsonLines(args.stdout);
    expect(first).toMatchObject({ vaddr: '0x00000000004a4010', paddr: '0x00000000065fa010', obstacle: null });
  });

  test('reports addresses that are not mapped or not canonical, and sets the exit code', async () => {
    const { status, stdout } = await runHere(['translate', CASE_F, '123000', '8000000000000000']);
    expect(status).toBe(1);
    expect(stdout).toContain('0x0000000000123000 not mapped: its PD entry is not present');
    expect(stdout).toContain('0x8000000000000000 not canonical');
    expect((await runHere(['translate', CORRUPT, '8000000000', '--physical-bits', '40'])).status).toBe(4);
    expect((await runHere(['translate', CORRUPT, 'ffff960000000000'])).stdout).toContain(
      'a table is outside memory',
    );
  });

  test('names the input line of a wrong address', () => {
    const { status, stderr } = run(['translate', CASE_F], '1000\n\nmain\n');
    expect([status, stderr]).toEqual([
      2,
      'svsm-dump: line 3 of standard input: "main" is not a hexadecimal number of at most 64 bits\n',
    ]);
  });

  test('prints the place of a byte in the file', async () => {
    const { stdout } = await runHere(['translate', CORRUPT, 'fffffffffffff123', '123']);
    expect(stdout).toContain('0xfffffffffffff123 0x0000000000001123 4K   -rwx   -       byte 1055\n');
    expect(stdout).toContain('0x0000000000000123 0x0000000000009123 4K   urwx   -       -\n');
  });
});

describe('walk', () => {
  test('shows every entry, with its bits by name', async () => {
    const { status, stdout } = await runHere(['walk', CORRUPT, '1234']);
    expect(status).toBe(0);
    expect(stdout.split('\n').slice(2, 8)).toEqual([
      '0x0000000000001234',
      '  PML4[0]   at 0x1000         0x0000000000002067  P RW US pwt pcd A ps nx bit6 → PDPT 0x2000',
      '  PDPT[0]   at 0x2000         0x0000000000003067  P RW US pwt pcd A ps nx bit6 → PD 0x3000',
      '  PD[0]     at 0x3000         0x0000000000004067  P RW US pwt pcd A ps nx bit6 → PT 0x4000',
      '  PT[1]     at 0x4008         0x800000000000a063  P RW us pwt pcd A D pat g NX key=0 → page 0xa000',
      '  0x000000000000a234, in a 4K page, -rw-',
    ]);
  });

  test('shows the entry at which it ends', async () => {
    const { status, stdout } = await runHere([
      'walk',
      CORRUPT,
      '8000000000',
      'ffff960000000000',
      '600000',
      '--physical-bits',
      '40',
    ]);
    expect(status).toBe(4);
    expect(stdout).toContain('RESERVED=0x200000000000');
    expect(stdout).toContain('PML4[300] at 0x1960         0x0000007700000067');
    expect(stdout).toContain('PD[3]     at 0x3018         0x0000000000000000  p');
  });
});

describe('compare', () => {
  test('lists what was mapped, unmapped, remapped, or got other rights', async () => {
    const { status, stdout } = await runHere(['compare', CORRUPT, OTHER, '--within', '0-8000000000']);
    expect(status).toBe(1);
    expect(stdout.split('\n').filter((line) => line.startsWith('0x'))).toEqual([
      '0x0000000000000000 0x0000000000001000      4 KiB  ~ rights   0x0000000000009000 4K   urwx   - → 0x0000000000009000 4K   ur-x   -',
      '0x0000000000001000 0x0000000000002000      4 KiB  ~ remapped 0x000000000000a000 4K   -rw-   - → 0x000000000000c000 4K   -rwx   -',
      '0x0000000000002000 0x0000000000003000      4 KiB  - unmapped 0x000000000000b000 4K   ur-x   -',
      '0x0000000000003000 0x0000000000004000      4 KiB  + mapped   0x000000000000d000 4K   -rwx   -',
    ]);
    expect((await runHere(['compare', CASE_F, CASE_F])).status).toBe(0);
  });

  test('takes a CR3 or a CPU for each dump', async () => {
    const other = runHere(['compare', CASE_F, CASE_F, '--cr3', '2954000', '--cr3', '2955000']);
    await expect(other).rejects.toThrow(/CR3 points to 0x0000000002955000, where the dump has no memory/);
    expect((await runHere(['compare', CASE_F, CASE_F, '--cpu', '0', '--cpu', '0'])).status).toBe(0);
  });
});

test('summary warns of pages that are writable and executable', async () => {
  const { status, stdout } = await runHere(['summary', CORRUPT, '--within', '0-8000000000', '--json']);
  expect(status).toBe(0);
  const record = jsonLines(stdout).find(({ type }) => type === 'summary');
  expect(record).toMatchObject({
    pages: 5,
    warnings: [
      { warning: 'writable-executable', pages: 3, bytes: '0x0000000000401000' },
      { warning: 'supervisor-in-lower-half', pages: 1, bytes: '0x0000000000001000' },
    ],
  });
});

test('summary warns of pages of one half with the rights of the other, and of self-maps', async () => {
  const { status, stdout } = await runHere(['summary', CORRUPT, '--physical-bits', '40', '--json']);
  expect(status).toBe(4);
  const { warnings } = jsonLines(stdout).find(({ type }) => type === 'summary') as {
    warnings: { warning: string; pages: number; examples: unknown[] }[];
  };
  expect(warnings.map(({ warning }) => warning)).toEqual([
    'writable-executable',
    'supervisor-in-lower-half',
    'self-mapped',
  ]);
  expect(warnings[1]).toMatchObject({
    pages: 1,
    examples: [{ start: '0x0000000000001000', end: '0x0000000000002000' }],
  });
  expect(warnings[2]?.examples[0]).toEqual({ start: '0x0000000000001000', end: '0x0000000000002000' });
  const user = temporary('user', core(Buffer.concat([tableOf({ 256: 0x2067n }), tableOf({ 0: 0xe7n })])));
  expect((await runHere(['summary', user])).stdout).toContain(
    'warning: user pages in the upper half: 1 page, 1 GiB; the first of them:\n  0xffff800000000000',
  );
});

test('each command ends its JSON Lines with an end record', async () => {
  const operands: Partial<Record<Command, string[]>> = {
    translate: ['0'],
    walk: ['0'],
    find: ['9000'],
    compare: [OTHER],
    read: ['0', '10'],
    search: ['00'],
    rmp: ['--rmp', '1000-6000'],
  };
  // Of a kernel only.
  for (const command of COMMANDS.filter((name) => name !== 'regions')) {
    const { stdout } = await runHere([command, CORRUPT, ...(operands[command] ?? []), '--json']);
    const records = jsonLines(stdout);
    expect(records[0], command).toHaveProperty(
      'type',
      command === 'info' || command === 'roots' || command === 'rmp' ? 'file' : 'dump',
    );
    expect(records.at(-1), command).toHaveProperty('type', 'end');
  }
});

test('short options are those of other programs', () => {
  expect(run(['-h']).stdout).toBe(run(['--help']).stdout);
  expect(run(['-V']).stdout).toBe(run(['--version']).stdout);
});

test('info prints registers and memory', async () => {
  const { status, stdout } = await runHere(['info', CORRUPT]);
  expect(status).toBe(0);
  expect(stdout).toContain('CR3 0x1000');
  expect(stdout).toMatch(/memory 0x0000000000001000 0x0000000000005000 +16 KiB {2}at byte 764 of the file/);
});

test('--help lists commands, options and exit codes', () => {
  const { status, stdout, stderr } = run(['--help']);
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
  for (const word of ['compare', '--within', '--c-bit', 'Exit codes', '--physical-bits'])
    expect(stdout).toContain(word);
});

describe('wrong usage', () => {
  test.each<[string[], number, RegExp]>([
    [['--jsno', CASE_F], 2, /^svsm-dump: Unknown option '--jsno': see --help\n$/],
    [['runs', CASE_F, '--within', '0-ffff800000000000'], 2, /canonical virtual address/],
    [['runs', CASE_F, '--cpu', '1'], 2, /there is no CPU 1/],
    [['runs', CASE_F, '--within', '800000000000-900000000000'], 2, /^svsm-dump: --within: 0x[^[]*needs\n$/],
    [['find', CASE_F, '10000000000000'], 2, /find: "10000000000000" is not a physical address below 2\^52/],
    [['runs', CASE_F, '--rmp-file', CASE_F, '--asid', '5'], 2, /needs the C-bit of the guest/],
    [['/dev/zero'], 3, /it is a character device/],
    [['/none/such'], 3, /\/none\/such: ENOENT/],
  ])('%j prints one line', (args, code, message) => {
    const { status, stdout, stderr } = run(args);
    expect([status, stdout]).toEqual([code, '']);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^svsm-dump: .*\n$/);
  });
});
