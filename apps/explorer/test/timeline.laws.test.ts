/** Time travel is exact: each step has one state, whatever way leads there. */
import process from 'node:process';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { resolve } from '../src/model/address.ts';
import { SCENARIOS, scenarioById } from '../src/model/catalogue.ts';
import { peek } from '../src/model/peek.ts';
import { Timeline } from '../src/model/timeline.ts';
import { expectReplay, plainOf } from './support/plain.ts';

const numRuns = Math.max(6, Number(process.env['FC_NUM_RUNS']) / 20);

test('back and forth is the identity: a replay of any step has the state that the timeline shows', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...SCENARIOS),
      fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
      async (scenario, moves) => {
        const timeline = await Timeline.record(scenario);
        for (const move of moves) await expectReplay(timeline, move % timeline.steps.length);
      },
    ),
    { numRuns },
  );
});

test('a replay is the record: each play has the same steps with the same states', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...SCENARIOS), async (scenario) => {
      const [first, second] = [await Timeline.record(scenario), await Timeline.record(scenario)];
      const plain = ({ steps }: Timeline) =>
        steps.map(({ frame, ...note }) => ({ ...note, frame: plainOf(frame) }));
      expect(plain(second)).toEqual(plain(first));
    }),
    { numRuns },
  );
});

test('a look at the bytes changes no step', async () => {
  const timeline = await Timeline.record(scenarioById('no-flush')!);
  const before = timeline.steps.map(({ frame }) => JSON.stringify(plainOf(frame), bigints));
  for (let step = 0; step < timeline.steps.length; step += 4) {
    const page = timeline.steps.at(-1)!.page!;
    await peek(timeline, step, resolve(timeline.steps[step]!.frame, 'virtual', page));
  }
  const again = await Timeline.record(timeline.scenario);
  expect(again.steps.map(({ frame }) => JSON.stringify(plainOf(frame), bigints))).toEqual(before);
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
