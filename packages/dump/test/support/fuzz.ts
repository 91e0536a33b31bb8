/**
 * The fuzzer: `node test/support/fuzz.ts [FILES] [FIRST-SEED] [SECONDS]`. It opens mutated files, a million by default, or as many as
 * the time allows, and ends with exit code 1 if one causes an unexpected error, takes more than 2 s, or if the process takes more than
 * 512 MiB.
 */
import process from 'node:process';
import { tryMutation } from './mutations.ts';

const MAX_SECONDS = 2;
const MAX_MEBIBYTES = 512;

const [most = 1_000_000, first = 1, limit = Number.POSITIVE_INFINITY] = process.argv.slice(2).map(Number);
const end = Date.now() + 1000 * limit;
let [files, opened, failed, slowest, slowestSeed] = [0, 0, 0, 0, 0];
let [peak, peakSeed] = [0, 0];
for (let seed = first; files < most && Date.now() < end; seed += 1) {
  files += 1;
  const { user, system } = process.cpuUsage();
  try {
    if (await tryMutation(seed)) opened += 1;
  } catch (error) {
    failed += 1;
    console.error(`seed ${seed}:`, error);
  }
  const used = process.cpuUsage({ user, system });
  const seconds = (used.user + used.system) / 1e6;
  if (seconds > slowest) [slowest, slowestSeed] = [seconds, seed];
  if (seconds > MAX_SECONDS) console.error(`seed ${seed}: ${seconds} s`);
  const mebibytes = process.resourceUsage().maxRSS / 1024;
  if (mebibytes > peak) [peak, peakSeed] = [mebibytes, seed];
}
console.log(
  `${files} files from seed ${first}: ${opened} opened, ${failed} failed; ` +
    `the slowest took ${slowest.toFixed(2)} s (seed ${slowestSeed}); peak memory ${Math.round(peak)} MiB (seed ${peakSeed})`,
);
process.exitCode = failed > 0 || slowest > MAX_SECONDS || peak > MAX_MEBIBYTES ? 1 : 0;
