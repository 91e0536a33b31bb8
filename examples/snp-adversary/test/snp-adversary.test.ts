import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { markdown, rows, story, table } from '../src/report.ts';
import { NOTHING, run, type Scenario } from '../src/scenario.ts';
import { NOT_MODELLED, SCENARIOS } from '../src/scenarios/index.ts';

const path = (relative: string): string => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const all = await rows();

function main(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path('src/main.ts'), ...args], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

const named = (scenarios: readonly Scenario[]) =>
  scenarios.map((scenario) => [scenario.id, scenario.name, scenario] as const);

describe('every attack', () => {
  test.each(named(SCENARIOS.filter(({ letThrough }) => letThrough === undefined)))(
    '%s %s is stopped by the expected check',
    async (_, __, scenario) => {
      const { got, stoppedBy, guestSees } = await run(scenario);
      expect({ got, stoppedBy, guestSees }).toEqual({
        got: undefined,
        stoppedBy: scenario.stoppedBy,
        guestSees: scenario.guestSees,
      });
    },
  );

  test.each(named(SCENARIOS.filter(({ letThrough }) => letThrough !== undefined)))(
    '%s %s succeeds, as in reality',
    async (_, __, scenario) => {
      expect((await run(scenario)).got).toBe(scenario.letThrough?.gets);
      expect(scenario.stoppedBy).toBe(NOTHING);
    },
  );

  test.each(named(SCENARIOS.filter(({ duty }) => duty !== undefined)))(
    '%s %s succeeds against a guest that neglects its duty',
    async (_, __, scenario) => {
      expect((await run(scenario, false)).got).toBe(scenario.otherwise);
    },
  );

  test('of docs/hardware.md has a scenario with a unique name, or is listed as not modelled', () => {
    const text = readFileSync(path('../../docs/hardware.md'), 'utf8');
    const attacks = [...text.matchAll(/^\| \*\*(A\d+)\*\* /gm)].map(([, id]) => id!);
    expect(attacks.length).toBeGreaterThanOrEqual(29);
    const ids = new Set([...SCENARIOS, ...NOT_MODELLED].map(({ id }) => id));
    const missing = attacks.filter((id) => !ids.has(id));
    expect(missing).toEqual([]);
    expect(new Set(SCENARIOS.map(({ name }) => name)).size).toBe(SCENARIOS.length);
  });
});

describe('the output', () => {
  test('has at most 80 columns', async () => {
    const stories: string[] = [];
    for (const scenario of SCENARIOS) {
      for (const careful of [true, false])
        stories.push(story(scenario, await run(scenario, careful), careful));
    }
    const lines = [table(all), ...stories].join('\n').split('\n');
    expect(lines.filter((line) => [...line].length > 80)).toEqual([]);
  });

  test('of --markdown is in README.md', () => {
    expect(readFileSync(path('README.md'), 'utf8')).toContain(`\n${markdown(all)}\n`);
  });

  test('of --json has the same rows', () => {
    const { status, stdout, stderr } = main('--json');
    expect([status, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toEqual(all);
  });

  test('of --scenario has the steps and the events of the machine', () => {
    const { status, stdout } = main('--scenario', 'validate-twice', '--careless');
    expect(status).toBe(0);
    expect(stdout).toMatchInlineSnapshot(`
      "A4 validate-twice: presents another page as new memory
      The guest does not do its duty: record the validated pages.

          host: RMPUPDATE 0x1ffb000 to ASID 1, GPA 0x401000: SUCCESS
        the hypervisor flushes the guest’s translations
          flush of all translations
          guest: VMGEXIT page-state-request (0x10000000401014)
          host: RMPUPDATE 0x1ffb000 to ASID 1, GPA 0x401000: SUCCESS
          host: VMRUN page-state (0x15)
          guest: PVALIDATE validate 0xffff800000401000, 4 KiB: SUCCESS
        the hypervisor flushes the guest’s translations
          flush of all translations

      Not stopped: “attack at dawn”.
      "
    `);
  });
});

test.each([
  [['--scenario', 'none'], 'snp-adversary: there is no scenario none: run without --scenario to list all\n'],
  [['--nonsense'], /^snp-adversary: .*--nonsense.*\n$/],
])('wrong usage prints one line: %j', (args, message) => {
  const { status, stdout, stderr } = main(...args);
  expect([status, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(message);
});
