/** Makes every property run `FC_NUM_RUNS` times: laws set no number of their own. */
import process from 'node:process';
import { configureGlobal } from 'fast-check';

configureGlobal({ numRuns: Number(process.env['FC_NUM_RUNS']) });
