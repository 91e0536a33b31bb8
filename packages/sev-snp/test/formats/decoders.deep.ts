import process from 'node:process';
import { expect, test } from 'vitest';
import { randomOf } from '../support/adversary-campaign.ts';
import { DECODERS, decoderProblem, randomContent } from '../support/decoders.ts';

const BUFFERS = 1_000_000;
/** `FC_SEED` repeats a run. */
const seed = Number(process.env['FC_SEED']);

test('a million random buffers: a decoder throws only coded errors, and reads only its own bytes', () => {
  const random = randomOf(seed);
  const names = Object.keys(DECODERS);
  for (let k = 0; k < BUFFERS; k += 1) {
    const name = names[k % names.length]!;
    const content = randomContent(DECODERS[name]!.length, random);
    const problem = decoderProblem(name, content);
    if (problem !== undefined) expect.fail(`${problem}: FC_SEED=${seed}, buffer ${k}`);
  }
  console.log(`${BUFFERS} buffers, FC_SEED=${seed}`);
});
