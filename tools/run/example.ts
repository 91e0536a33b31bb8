/**
 * `npm start` and the scripts of the other examples, as `node tools/run/example.ts NAME …`: silently builds the packages that
 * the example imports, then runs it with the arguments given, in the folder where npm was called.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { ROOT, turbo } from './turbo.ts';

const [name = '', ...args] = process.argv.slice(2);
const built = turbo(['run', 'build', `--filter=@svsm/example-${name}^...`], { quiet: true });
if (built !== 0) process.exit(built);

const { status } = spawnSync(process.execPath, [join(ROOT, 'examples', name, 'src/main.ts'), ...args], {
  cwd: process.env['INIT_CWD'] ?? ROOT,
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
