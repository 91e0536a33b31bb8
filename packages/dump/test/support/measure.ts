/**
 * Loaded into a process with `--import`. When the process ends, it writes the processor time and the peak memory that it took
 * to the file that the variable MEASURE names.
 */
import { writeFileSync } from 'node:fs';
import process from 'node:process';

const start = process.cpuUsage();
process.on('exit', () => {
  const { user, system } = process.cpuUsage(start);
  const { maxRSS } = process.resourceUsage();
  const { MEASURE } = process.env;
  if (MEASURE === undefined) return;
  writeFileSync(MEASURE, JSON.stringify({ seconds: (user + system) / 1e6, mebibytes: maxRSS / 1024 }));
});
