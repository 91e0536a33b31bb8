/** `npm run explorer`: builds the packages, and serves the explorer on this machine. Options go to Vite. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT, turbo } from './turbo.ts';

if (turbo(['run', 'build', '--filter=@svsm/explorer^...'], { quiet: true }) !== 0)
  throw new Error('the build fails');
const vite = join(fileURLToPath(import.meta.resolve('vite/package.json')), '../bin/vite.js');
const { status } = spawnSync(process.execPath, [vite, ...process.argv.slice(2)], {
  cwd: join(ROOT, 'apps/explorer'),
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
