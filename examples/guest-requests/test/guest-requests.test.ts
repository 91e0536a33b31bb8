import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { StepRow, StoryReport } from '../src/story.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));

function run(args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

describe('npm run guest-requests -- --json', () => {
  const { status, stdout, stderr } = run(['--json', '--gib', '6']);
  const report = (): StoryReport => JSON.parse(stdout);
  const stepOf = (name: string): StepRow => report().steps.find(({ step }) => step === name) as StepRow;
  /** 6 GiB without the image of 2 MiB, and without the 64 MiB of the SVSM. */
  const pages = 6 * 512 - 1 - 32;

  test('prints one report, with every step in its order', () => {
    expect([status, stderr]).toEqual([0, '']);
    expect(report().steps.map(({ step }) => step)).toEqual([
      'make it private',
      'validate it',
      'rescind 1 GiB',
      'share 1 GiB',
    ]);
  });

  test('the hypervisor makes each page private by one RMPUPDATE, in lists of 253', () => {
    // Three regions: 255, 1248 and 1536 pages.
    const stateChanges = [255, 1248, 1536].reduce((sum, count) => sum + Math.ceil(count / 253), 0);
    const step = stepOf('make it private');
    expect(step).toMatchObject({ entries: pages, stateChanges, calls: 0, events: { rmpupdate: pages } });
    expect(step.events['pvalidate']).toBeUndefined();
  });

  test('the SVSM validates each page, and gives rights to two levels, in calls of 128 entries', () => {
    const lists = [255, 1248, 1536].flatMap((count) => [
      ...Array.from({ length: Math.floor(count / 510) }, () => 510),
      count % 510,
    ]);
    const calls = lists.reduce((sum, count) => sum + Math.ceil(count / 128), 0);
    expect(stepOf('validate it')).toMatchObject({
      entries: pages,
      stateChanges: 0,
      calls,
      incomplete: calls - lists.length,
      guestFlushes: 0,
      events: { pvalidate: pages, rmpadjust: 2 * pages },
    });
  });

  test('the SVSM flushes its addresses once for 128 pages, and the guest once for a call that takes rights', () => {
    const { entries, calls, ownFlushes } = stepOf('validate it');
    expect(ownFlushes).toBeGreaterThanOrEqual(Math.floor(entries / 128));
    expect(ownFlushes).toBeLessThan(entries / 128 + calls);
    const { guestFlushes, ...rescind } = stepOf('rescind 1 GiB');
    expect(guestFlushes).toBe(rescind.calls);
    expect(rescind).toMatchObject({ entries: 512, events: { pvalidate: 512, rmpadjust: 3 * 512 } });
  });

  test('the record of the SVSM has what was validated, and the guest can use it', () => {
    const { validatedMib, readBack } = report();
    const gained = validatedMib.slice(1).map((mib, k) => mib - validatedMib[k]!);
    expect(gained).toEqual([0, 2 * pages, -1024, 0]);
    expect(readBack).toEqual([0, 0x5a]);
  });

  test('requests that must be refused end at their entry, after the one before was done', () => {
    expect(report().refusals.map(({ result, entry }) => [result, entry])).toEqual([
      ['PvalidateUnchanged', 1],
      ['InvalidAddress', 1],
      ['InvalidAddress', 1],
      ['InvalidParameter', 1],
      ['InvalidAddress', 1],
      ['PvalidateUnchanged', 1],
    ]);
  });
});

test('npm run guest-requests prints at most 80 columns', () => {
  const { status, stdout } = run(['--gib', '5']);
  expect(status).toBe(0);
  expect(stdout.split('\n').filter((line) => [...line].length > 80 || line !== line.trimEnd())).toEqual([]);
  expect(stdout).not.toContain('\u001b');
});

test('wrong usage prints one line', () => {
  const { status, stdout, stderr } = run(['--jsno']);
  expect([status, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(/^guest-requests: Unknown option '--jsno'/);
  expect(run(['--gib', '4'])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/pass 5 to 1024\n$/),
  });
  expect(run(['--help']).stdout).toMatch(/--json/);
});
