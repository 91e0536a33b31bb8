/** `npm start`: builds what the example imports, in silence, then runs it with the arguments given. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT, turbo } from './turbo.ts';

const built = turbo(['run', 'build', '--filter=@svsm/example-pr131^...'], { quiet: true });
if (built !== 0) process.exit(built);

const example = join(ROOT, 'examples/pr131/src/main.ts');
process.exitCode =
  spawnSync(process.execPath, [example, ...process.argv.slice(2)], { stdio: 'inherit' }).status ?? 1;
