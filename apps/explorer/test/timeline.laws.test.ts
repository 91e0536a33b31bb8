/** Time travel is exact: each step has one state, whatever way leads there. */
import process from 'node:process';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { resolve } from '../src/model/address.ts';
import { SCENARIOS, scenarioById } from '../src/model/catalogue.ts';
import { Camera, type Frame } from '../src/model/frame.ts';
import { peek } from '../src/model/peek.ts';
import { Timeline } from '../src/model/timeline.ts';

const short = SCENARIOS.filter(({ group }) => group !== 'Attacks');

/** A frame as plain data: maps as arrays, entries as texts. */
function plain(frame: Frame): unknown {
  const { tables, rmp, nested, heap, cached } = frame;
  return {
    root: tables.root,
    tables: [...tables.tables].map(([at, words]) => [at, words.join()]).sort(),
    rmp: [...rmp.regions],
    nested,
    heap,
    cached,
  };
}

test('back and forth is the identity: a replay of any step has the state that the timeline shows', async () => {
  const recorded = await Promise.all(short.map((scenario) => Timeline.record(scenario)));
  await fc.assert(
    fc.asyncProperty(
      fc.nat(recorded.length - 1),
      fc.array(fc.nat(), { minLength: 1, maxLength: 2 }),
      async (which, moves) => {
        const timeline = recorded[which]!;
        for (const move of moves) {
          const step = move % timeline.steps.length;
          const replayed = await timeline.at(step, (world) => new Camera(world).capture());
          expect(plain(replayed)).toEqual(plain(timeline.steps[step]!.frame));
        }
      },
    ),
    { numRuns: Math.max(5, Number(process.env['FC_NUM_RUNS']) / 20) },
  );
});

test('a look at the bytes changes no step', async () => {
  const timeline = await Timeline.record(scenarioById('no-flush')!);
  const before = timeline.steps.map(({ frame }) => JSON.stringify(plain(frame), bigints));
  for (let step = 0; step < timeline.steps.length; step += 4) {
    const page = timeline.steps.at(-1)!.page!;
    await peek(timeline, step, resolve(timeline.steps[step]!.frame, 'virtual', page));
  }
  const again = await Timeline.record(timeline.scenario);
  expect(again.steps.map(({ frame }) => JSON.stringify(plain(frame), bigints))).toEqual(before);
});

test('states share what a step does not change', async () => {
  const { steps } = await Timeline.record(scenarioById('by-hand')!);
  const booted = steps[0]!.frame;
  const allocated = steps[1]!.frame;
  expect(allocated.tables).toBe(booted.tables);
  expect(allocated.rmp).toBe(booted.rmp);
  expect(allocated.nested).toBe(booted.nested);
  expect(allocated.heap).not.toBe(booted.heap);
});

test('a step that does not exist is refused by its number', async () => {
  const timeline = await Timeline.record(scenarioById('pte-first')!);
  await expect(timeline.at(99, () => 0)).rejects.toThrow('step 99 does not exist');
});

function bigints(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
