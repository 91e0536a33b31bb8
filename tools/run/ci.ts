/**
 * `.ci/run`: `npm test`, then `npm run test:release`, whatever came of the first. The last line has the totals of both. A suite that
 * ends without totals, as when no port is to be had, counts as a failed test.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { add, describe, NONE, type Totals, totalsOfSuite } from './totals.ts';
import { ROOT } from './turbo.ts';

let all = NONE;
for (const file of ['test.ts', 'test-release.ts']) all = add(all, await runSuite(file));
console.log(`\n${describe(all)}`);
process.exitCode = all.failed > 0 ? 1 : 0;

/** Runs a suite and shows what it prints. */
async function runSuite(file: string): Promise<Totals> {
  const child = spawn(process.execPath, [join(ROOT, 'tools/run', file)], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  let last = '';
  for await (const line of createInterface({ input: child.stdout })) {
    console.log(line);
    if (line !== '') last = line;
  }
  const exit = await ended;
  const totals = totalsOfSuite(last, exit);
  if (exit !== 0) console.log(`FAILED  tools/run/${file} ends with ${exit}`);
  return totals;
}
