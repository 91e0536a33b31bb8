/** A slice of the fuzzer, a process of its own: `node test/support/fuzz-slice.ts FILES FIRST-SEED SECONDS` prints a {@link Slice} as JSON. */
import process from 'node:process';
import { tryMutation } from './mutations.ts';

/** The outcome of one slice. */
export interface Slice {
  readonly files: number;
  readonly opened: number;
  readonly failed: number;
  /** The processor time of the slowest file, in seconds, and its seed. */
  readonly slowest: number;
  readonly slowestSeed: number;
  /** The most memory that the process had, in MiB, and the first seed at which it had it. */
  readonly peak: number;
  readonly peakSeed: number;
}

const [most, first, limit] = process.argv.slice(2).map(Number) as [number, number, number];
const end = Date.now() + 1000 * limit;
let [files, opened, failed, slowest, slowestSeed, peak, peakSeed] = [0, 0, 0, 0, 0, 0, 0];
for (let seed = first; files < most && Date.now() < end; seed += 1) {
  files += 1;
  const before = process.cpuUsage();
  try {
    if (await tryMutation(seed)) opened += 1;
  } catch (error) {
    failed += 1;
    console.error(`seed ${seed}:`, error);
  }
  const { user, system } = process.cpuUsage(before);
  const seconds = (user + system) / 1e6;
  if (seconds > slowest) [slowest, slowestSeed] = [seconds, seed];
  const mebibytes = process.resourceUsage().maxRSS / 1024;
  if (mebibytes > peak) [peak, peakSeed] = [mebibytes, seed];
}
const slice: Slice = { files, opened, failed, slowest, slowestSeed, peak, peakSeed };
console.log(JSON.stringify(slice));
