/**
 * `npm run site`: builds the packages, the explorer and the documentation site, into apps/site/dist. With `--dev` it serves the site on
 * this machine instead; with `--test` it tests what it has built.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT, turbo } from './turbo.ts';

const [mode] = process.argv.slice(2);
if (turbo(['run', 'build'], { quiet: true }) !== 0) throw new Error('the build fails');
const vitest = join(fileURLToPath(import.meta.resolve('vitest/package.json')), '../vitest.mjs');
run(['tools/build.ts', ...(mode === '--dev' ? [mode] : [])]);
if (mode === '--test') run([vitest, 'run', '--mode', 'site']);

/** Runs Node in the folder of the site. Stops here if it fails. */
function run(args: string[]): void {
  const { status } = spawnSync(process.execPath, args, { cwd: join(ROOT, 'apps/site'), stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
