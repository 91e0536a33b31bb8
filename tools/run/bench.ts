/** `npm run bench`: runs each `bench/*.bench.ts` of the package it is started in, one after the other. */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';

for (const file of globSync('bench/*.bench.ts').sort()) {
  const { status } = spawnSync(process.execPath, ['--expose-gc', file], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
