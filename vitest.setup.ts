/** Makes every property run `FC_NUM_RUNS` times, with the seed `FC_SEED`: laws set none of their own. */
import process from 'node:process';
import { configureGlobal } from 'fast-check';

const { FC_NUM_RUNS, FC_SEED } = process.env;
configureGlobal({ numRuns: Number(FC_NUM_RUNS), seed: Number(FC_SEED) });
