/** The part of the worker that plays scenarios. */
import { expect, test } from 'vitest';
import { SCENARIOS } from '../src/model/catalogue.ts';
import { Player } from '../src/player/player.ts';
import type { Progress } from '../src/player/protocol.ts';

test('a player lists, plays, reads and copies', async () => {
  const player = new Player(() => {});
  const page = { virtual: 0xffff_ff80_4040_0000n, guest: undefined, system: undefined };
  expect(await player.answer({ type: 'peek', step: 0, page })).toMatchObject({ type: 'problem' });
  const listed = await player.answer({ type: 'list' });
  expect(listed.type === 'list' && listed.scenarios.map(({ id }) => id)).toEqual(
    SCENARIOS.map(({ id }) => id),
  );
  const recorded = await player.answer({ type: 'record', scenario: 'pte-first' });
  expect(recorded.type === 'steps' && recorded.steps.at(-1)?.outcome?.kind).toBe('fault');
  expect(await player.answer({ type: 'record', scenario: 'none' })).toMatchObject({
    type: 'problem',
    text: 'The scenario “none” does not exist.',
  });
  expect(await player.answer({ type: 'source', step: 1 })).toMatchObject({
    text: expect.stringContaining('Svsm'),
  });
  expect(await player.answer({ type: 'peek', step: 2, page })).toMatchObject({ type: 'bytes' });
});

test('all that an answer holds can go from a worker to the page', async () => {
  const recorded = await new Player(() => {}).answer({ type: 'record', scenario: 'too-early' });
  expect(structuredClone(recorded)).toEqual(recorded);
});

test('an attack of thousands of events tells how far it is, and ends at its end', async () => {
  const notes: Progress[] = [];
  await new Player((note) => notes.push(note)).answer({ type: 'record', scenario: 'attack-list-never' });
  expect(notes.length).toBeGreaterThan(2000);
  expect(notes.map(({ done }) => done)).toEqual(notes.map((_, i) => i + 1));
  expect(notes.at(-1)!.done).toBe(notes.at(-1)!.total);
});
