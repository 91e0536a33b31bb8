/** `npm run bench`: runs each `bench/*.bench.ts` of the package in whose folder it starts, one after the other. */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';

for (const file of globSync('bench/*.bench.ts').sort()) {
  const { status } = spawnSync(process.execPath, ['--expose-gc', file], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
