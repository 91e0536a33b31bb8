/** Runs turbo: for the other scripts, and for `npm run` as `node tools/run/turbo.ts …`. */
import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The folder of the repository, without a slash at its end. */
export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url)).replace(/[/\\]$/, '');

/**
 * Runs turbo in the root and returns its exit status. With `quiet` it prints nothing if it succeeds; if it fails, it prints to
 * stderr, since stdout belongs to the caller.
 */
export function turbo(args: string[], { quiet = false }: { quiet?: boolean } = {}): number {
  const bin = fileURLToPath(import.meta.resolve('turbo/bin/turbo'));
  const run = spawnSync(process.execPath, [bin, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...hostNode(), TURBO_TELEMETRY_DISABLED: '1' },
    stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
  });
  const status = run.status ?? 1;
  if (quiet && status !== 0) process.stderr.write(`${run.stdout}${run.stderr}`);
  return status;
}

/**
 * The Node that started npm, for the environment. npm scripts run on the Node that the lock pins; the checks run the packed
 * packages on the Node of the user, so that the matrix of CI tests each of its Nodes.
 */
function hostNode(): Record<string, string> {
  const HOST_NODE = process.env['npm_node_execpath'] ?? process.execPath;
  return {
    HOST_NODE,
    HOST_NODE_VERSION: execFileSync(HOST_NODE, ['--version'], { encoding: 'utf8' }).trim(),
  };
}

if (import.meta.main) process.exitCode = turbo(process.argv.slice(2));
