/** The end of each scenario: the fault or leak, and the check that gave it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { pageStateOf, type RmpEntry, type SnpMachine } from '@svsm/sev-snp';
import { describe, expect, test } from 'vitest';
import { resolve } from '../src/model/address.ts';
import { SCENARIOS, scenarioById } from '../src/model/catalogue.ts';
import { peek } from '../src/model/peek.ts';
import { stateAt } from '../src/model/rmp-image.ts';
import { walkImages } from '../src/model/table-images.ts';
import { Timeline } from '../src/model/timeline.ts';

const record = (id: string): Promise<Timeline> => Timeline.record(scenarioById(id)!);

test.each([
  ['by-hand', 'works', undefined],
  ['by-iterator', 'works', undefined],
  ['pte-first', 'fault', 'a check of the instruction: guest-owned'],
  ['no-flush', 'fault', 'SNP guest, private access, write: check 2 of 7, guest-owned'],
  ['forgotten-psc', 'fault', 'SNP guest, shared access, write: check 1 of 1, hypervisor-owned'],
  ['no-pvalidate', 'fault', 'SNP guest, private access: check 6 of 7, validated'],
  ['too-early', 'leak', undefined],
])('%s ends with: %s', async (id, kind, check) => {
  const { steps } = await record(id);
  const outcome = steps.at(-1)?.outcome;
  expect(outcome?.kind).toBe(kind);
  if (check === undefined) expect(outcome?.check).toBeUndefined();
  else expect(outcome?.check).toContain(check);
});

test('four pages become shared, one after the other', async () => {
  const { steps } = await record('by-hand');
  const shared = steps.map(({ frame }) => {
    const pages = [0n, 1n, 2n, 3n].map((i) => 0xffff_ff80_4040_0000n + (i << 12n));
    return pages.filter((page) => walkImages(frame.tables, page).at(-1)?.entry.shared).length;
  });
  expect(shared).toEqual([...shared].sort());
  expect([shared[0], shared.at(-1)]).toEqual([0, 4]);
});

test('the loop with iterPages has the steps of the loop by hand, in their order', async () => {
  const [hand, iterator] = await Promise.all(['by-hand', 'by-iterator'].map(record));
  const titles = ({ steps }: Timeline) => steps.map(({ title }) => title);
  expect(titles(iterator!)).toEqual(titles(hand!));
  expect(titles(iterator!).filter((title) => title === 'C-bit cleared')).toHaveLength(4);
  expect(iterator!.steps.map(({ frame }) => frame.tables.tables)).toEqual(
    hand!.steps.map(({ frame }) => frame.tables.tables),
  );
});

test('both sides read the same bytes of a shared page, and of a private page the host reads ciphertext', async () => {
  const timeline = await record('by-hand');
  const last = timeline.steps.length - 1;
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.subarray(0, 17));
  const of = async (step: number) => {
    const found = await peek(
      timeline,
      step,
      resolve(timeline.steps[step]!.frame, 'virtual', 0xffff_ff80_4040_0000n),
    );
    return [found.guest, found.host].map((one) => ('bytes' in one ? text(one.bytes) : one.refusal));
  };
  expect(await of(last)).toEqual(['hello, hypervisor', 'hello, hypervisor']);
  const [guest, host] = await of(2);
  expect(guest).toContain('a secret');
  expect(host).not.toContain('a secret');
});

test('the map of the RMP holds each region that the machine has assigned', async () => {
  const timeline = await record('by-iterator');
  await timeline.at(9, ({ machine }) => {
    const { rmp } = timeline.steps[9]!.frame;
    for (let region = 0; region < 4096; region += 1) {
      const spa = BigInt(region) << 21n;
      if (machine.rmp.isRegionUnassigned(spa as never)) expect(rmp.regions.has(region)).toBe(false);
      else expect(stateAt(rmp, spa)).toBe(pageStateOf(machine.rmp.entry(spa as never)));
    }
  });
});

describe('attacks', () => {
  const ids = SCENARIOS.filter(({ group }) => group === 'Attacks').map(({ id }) => id);

  test('each attack of the example is there', () => {
    expect(ids.length).toBeGreaterThan(100);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[a-z0-9-]+$/);
  });

  test.each(['attack-overwrite', 'attack-alias', 'attack-validate-twice'])('%s is stopped', async (id) => {
    const { steps } = await record(id);
    expect(steps.at(-1)?.outcome).toMatchObject({ kind: 'refused' });
  });

  test('a careless guest loses its secret', async () => {
    const { steps } = await record('attack-validate-twice-careless');
    expect(steps.at(-1)?.outcome).toMatchObject({
      kind: 'leak',
      text: expect.stringContaining('attack at dawn'),
    });
  });

  test('events of one kind are one step', async () => {
    const { steps } = await record('attack-asid-in-use');
    expect(steps.length).toBeLessThan(60);
  });
});

describe('copy as code', () => {
  // In the middle of a call, after a call, and at the end with a fault.
  test.each([
    ['by-hand', 5],
    ['by-hand', 11],
    ['by-iterator', 3],
    ['by-iterator', 6],
    ['by-iterator', 8],
    ['no-flush', 14],
  ])('the module of %s, step %i, makes the state of that step', async (id, step) => {
    const timeline = await record(id);
    const { machine } = await copied<{ machine: SnpMachine }>(timeline, step);
    const { frame } = timeline.steps[step]!;
    for (const index of frame.rmp.regions.keys())
      for (const page of [0n, 1n, 511n]) {
        const spa = (BigInt(index) << 21n) + (page << 12n);
        expect(pageStateOf(machine.rmp.entry(spa as never))).toBe(stateAt(frame.rmp, spa));
      }
  });

  // The stage, the middle, after a folded run, and the end.
  test.each([
    ['attack-overwrite', 0],
    ['attack-stale-shared', 6],
    ['attack-asid-in-use', 3],
    ['attack-validate-twice-careless', 10],
  ])('the module of %s, step %i, sees the RMP of that step', async (id, step) => {
    const timeline = await record(id);
    const { entries } = await copied<{ entries: RmpEntry[] }>(timeline, step);
    const { rmp } = timeline.steps[step]!.frame;
    expect(entries).toHaveLength(Number(rmp.size >> 12n));
    expect(entries.map(pageStateOf)).toEqual(entries.map((_, page) => stateAt(rmp, BigInt(page) << 12n)));
  });

  test('the module of the last step of an attack has its outcome', async () => {
    const timeline = await record('attack-validate-twice-careless');
    const last = timeline.steps.length - 1;
    const { outcome } = await copied<{ outcome: { got: string } }>(timeline, last);
    expect(timeline.steps[last]!.outcome!.text).toContain(outcome.got);
  });
});

/** Runs the module of a step. */
async function copied<Exports>(timeline: Timeline, step: number): Promise<Exports> {
  const folder = mkdtempSync(fileURLToPath(new URL('../.copied-', import.meta.url)));
  try {
    const file = join(folder, 'state.mjs');
    writeFileSync(file, timeline.scenario.source(timeline, step));
    return await import(/* @vite-ignore */ pathToFileURL(file).href);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
