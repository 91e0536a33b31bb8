import { expect } from 'vitest';
import { Camera, type Frame } from '../../src/model/frame.ts';
import type { Timeline } from '../../src/model/timeline.ts';

/** A frame as plain data: maps as arrays, entries as texts. */
export function plainOf(frame: Frame): unknown {
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

/**
 * Plays a scenario again up to a step, and compares its state with that of the timeline. A table below which the hypervisor has changed
 * the page can only be read before that: such a table is the one of the step before.
 */
export async function expectReplay(timeline: Timeline, step: number): Promise<void> {
  const { frame } = timeline.steps[step]!;
  const before = timeline.steps[step - 1]?.frame.tables.tables;
  const replayed = await timeline.at(step, (world) => new Camera(world).capture());
  const tables = new Map(replayed.tables.tables);
  for (const at of frame.tables.tables.keys()) {
    const old = before?.get(at);
    if (!tables.has(at) && old !== undefined) tables.set(at, old);
  }
  const whole = { ...replayed, tables: { ...replayed.tables, tables } };
  expect(plainOf(whole)).toEqual(plainOf(frame));
}
