import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { BOOT_STEPS } from '@svsm/mm';
import { describe, expect, test } from 'vitest';
import type { StoryReport } from '../src/story.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));

function run(args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

describe('npm run boot -- --json', () => {
  const { status, stdout, stderr } = run(['--json']);
  const report = (): StoryReport => JSON.parse(stdout);

  test('prints one report, with every step in its order', () => {
    expect([status, stderr]).toEqual([0, '']);
    expect(report().steps.map(({ step }) => step)).toEqual([...BOOT_STEPS]);
  });

  test('the own region is taken out of the map, and adjacent entries are joined', () => {
    expect(report().map.map(({ mib, kind }) => [mib, kind])).toEqual([
      [0.625, 'guest'],
      [0.375, 'hole'],
      [511, 'guest'],
      [64, 'svsm'],
      [2496, 'guest'],
      [1021 * 1024, 'guest'],
    ]);
  });

  test('the boot validates the heap in 2 MiB pages, and invalidates the early memory', () => {
    const { steps, validatedMib } = report();
    const events = Object.fromEntries(steps.map(({ step, events }) => [step, events]));
    // 30 pages of 2 MiB, and the page of the GHCB.
    expect(events['heap']).toMatchObject({ pvalidate: 31 });
    expect(events['early-memory']).toMatchObject({ pvalidate: 160 });
    // The launch's 6 MiB and the rest of the heap, without 640 KiB, the hole, and a GHCB of each processor.
    expect(validatedMib).toBe(2 + 64 - 0.625 - 0.375 - 4 / 256);
  });

  test('four processors have a page table and a GHCB each', () => {
    const { cpus } = report();
    expect(new Set(cpus.map(({ cr3 }) => cr3)).size).toBe(4);
    expect(new Set(cpus.map(({ ghcb }) => ghcb)).size).toBe(4);
  });

  test('boots that must fail name the reason, and leave the guest as it was', () => {
    const errors = report().refusals.map(({ error }) => error);
    expect(errors[0]).toMatch(/runs in this guest already/);
    expect(errors[1]).toMatch(/does not announce RestrictedInjection/);
    expect(errors[2]).toMatch(/step heap of the boot failed .*: a region could not be made private/);
    expect(errors[3]).toBe('none');
  });
});

test('npm run boot prints at most 80 columns', () => {
  const { status, stdout } = run([]);
  expect(status).toBe(0);
  expect(stdout.split('\n').filter((line) => [...line].length > 80 || line !== line.trimEnd())).toEqual([]);
  expect(stdout).not.toContain('\u001b');
});

test('wrong usage prints one line', () => {
  const { status, stdout, stderr } = run(['--jsno']);
  expect([status, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(/^boot: Unknown option '--jsno'/);
  expect(run(['--help']).stdout).toMatch(/--json/);
});
