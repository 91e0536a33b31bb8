/**
 * The fuzzer: `node test/support/fuzz.ts [FILES] [FIRST-SEED] [SECONDS]`. It opens mutated files, a million by default, or as many as
 * the time allows. It ends with exit code 1 if one causes an unexpected error or takes more than 2 s of processor time, or if a process
 * takes more than 512 MiB. A process opens 10,000 files, because the C library keeps the buffers that earlier files freed.
 */
import { execFile } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Slice } from './fuzz-slice.ts';

const MAX_SECONDS = 2;
const MAX_MEBIBYTES = 512;
const SLICE = 10_000;
const NOTHING: Slice = { files: 0, opened: 0, failed: 0, slowest: 0, slowestSeed: 0, peak: 0, peakSeed: 0 };
const PROGRAM = fileURLToPath(new URL('fuzz-slice.ts', import.meta.url));

const [most = 1_000_000, first = 1, limit = 1e9] = process.argv.slice(2).map(Number);
const end = Date.now() + 1000 * limit;
const slices: Slice[] = [];
for (let done = 0; done < most && Date.now() < end; done += SLICE) {
  const slice = await run(Math.min(SLICE, most - done), first + done, (end - Date.now()) / 1000);
  slices.push(slice);
  if (slice.slowest > MAX_SECONDS) console.error(`seed ${slice.slowestSeed}: ${slice.slowest} s`);
  if (slice.peak > MAX_MEBIBYTES) console.error(`seed ${slice.peakSeed}: ${Math.round(slice.peak)} MiB`);
}
const slowest = slices.reduce((a, b) => (b.slowest > a.slowest ? b : a), NOTHING);
const peak = slices.reduce((a, b) => (b.peak > a.peak ? b : a), NOTHING);
const failed = sum(({ failed }) => failed);
console.log(
  `${sum(({ files }) => files)} files from seed ${first}: ${sum(({ opened }) => opened)} opened, ${failed} failed; ` +
    `the slowest took ${slowest.slowest.toFixed(2)} s (seed ${slowest.slowestSeed}); ` +
    `peak memory ${Math.round(peak.peak)} MiB (seed ${peak.peakSeed})`,
);
process.exitCode = failed > 0 || slowest.slowest > MAX_SECONDS || peak.peak > MAX_MEBIBYTES ? 1 : 0;

async function run(...args: number[]): Promise<Slice> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [PROGRAM, ...args.map(String)], {
    maxBuffer: Number.POSITIVE_INFINITY,
  });
  process.stderr.write(stderr);
  return JSON.parse(stdout) as Slice;
}

function sum(of: (slice: Slice) => number): number {
  return slices.reduce((total, slice) => total + of(slice), 0);
}
