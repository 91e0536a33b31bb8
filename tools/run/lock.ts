/**
 * `npm run lock`: keeps `npm ci` from printing wrong warnings about `engines`.
 *
 * npm compares the `engines` of every locked package with the Node that runs npm. Here that is the wrong Node: the tools run on
 * the Node that the lock pins (the dev dependency `node`). So this script compares each package with the pinned Node, and fails
 * if one does not run on it. Then it removes from package-lock.json the `engines` that would cause a warning on an older Node.
 * Run it after each `npm install` that changes the lock; `tools/checks/test/lock.test.ts` fails otherwise.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import semver from 'semver';

/** The fields of an entry of package-lock.json that are read here. */
export interface LockedPackage {
  version?: string;
  resolved?: string;
  engines?: Record<string, string>;
  optional?: boolean;
  hasInstallScript?: boolean;
}

/** The oldest Node that can install this repository. */
export const OLDEST_NODE = '20.19.0';

/** The packages that `npm ci` on {@link OLDEST_NODE} would warn about. npm silently skips optional packages. */
export function enginesToLeaveOut(packages: Record<string, LockedPackage>): string[] {
  return Object.entries(packages)
    .filter(([path, { optional }]) => path.includes('node_modules/') && !optional)
    .filter(([, { engines }]) => engines?.['node'] && !semver.satisfies(OLDEST_NODE, engines['node']))
    .map(([path]) => path);
}

if (import.meta.main) {
  const file = new URL('../../package-lock.json', import.meta.url);
  const lock: { packages: Record<string, LockedPackage> } = JSON.parse(readFileSync(file, 'utf8'));
  const pinned = lock.packages['node_modules/node']?.version ?? '';

  for (const path of enginesToLeaveOut(lock.packages)) {
    const entry = lock.packages[path]!;
    const range = entry.engines?.['node'] ?? '';
    if (!semver.satisfies(pinned, range)) {
      throw new Error(`${path}@${entry.version} needs Node ${range}, but the pinned Node is ${pinned}`);
    }
    delete entry.engines;
    console.log(`removed engines of ${path} (Node ${range})`);
  }
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
}
