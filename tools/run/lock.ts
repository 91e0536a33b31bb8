/**
 * Makes `npm ci` quiet on every Node from 20.19 on, without hiding a warning that is true.
 *
 * npm compares the `engines` of every locked package with the Node that runs npm. Here that is the wrong one: the tools
 * run on the Node that the lock itself pins (the dev dependency `node`). So this script compares each package with the
 * pinned Node, fails if one does not fit, and then leaves out of package-lock.json the `engines` of those packages that
 * an older installing Node would be warned about. Run it (`npm run lock`) after any `npm install` that changes the lock;
 * `tools/checks/test/lock.test.ts` asks for it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import semver from 'semver';

/** An entry of package-lock.json, as far as it is read here. */
export interface LockedPackage {
  version?: string;
  resolved?: string;
  engines?: Record<string, string>;
  optional?: boolean;
  hasInstallScript?: boolean;
}

/** The oldest Node that can install this repository. */
export const OLDEST_NODE = '20.19.0';

/** What of the lock an `npm ci` on {@link OLDEST_NODE} would warn about; npm skips optional packages in silence. */
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
      throw new Error(`${path}@${entry.version} wants Node ${range}, but the pinned Node is ${pinned}`);
    }
    delete entry.engines;
    console.log(`left out: ${path} (Node ${range})`);
  }
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
}
