/** Every scenario: a replay of each of its steps has the state that the timeline shows. */
import { expect, test } from 'vitest';
import { SCENARIOS } from '../src/model/catalogue.ts';
import { Camera } from '../src/model/frame.ts';
import { Timeline } from '../src/model/timeline.ts';
import { plainOf } from './support/plain.ts';

test.each(SCENARIOS.map((scenario) => [scenario.id, scenario] as const))('%s', async (_, scenario) => {
  const timeline = await Timeline.record(scenario);
  for (const [step, { frame }] of timeline.steps.entries()) {
    const replayed = await timeline.at(step, (world) => new Camera(world).capture());
    expect(plainOf(replayed)).toEqual(plainOf(frame));
  }
});
