/** Every scenario: a replay of each of its steps has the state that the timeline shows. */
import { test } from 'vitest';
import { SCENARIOS } from '../src/model/catalogue.ts';
import { Timeline } from '../src/model/timeline.ts';
import { expectReplay } from './support/plain.ts';

test.each(SCENARIOS.map((scenario) => [scenario.id, scenario] as const))('%s', async (_, scenario) => {
  const timeline = await Timeline.record(scenario);
  for (const step of timeline.steps.keys()) await expectReplay(timeline, step);
});
