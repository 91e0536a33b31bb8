/**
 * `npm run test:vectors -- FOLDER`: tests the packages against other vectors than those in their `fixtures`, in the same
 * formats: `ctl-*.jsonl.gz` (writes to control registers), `tlb-*.jsonl.gz` (sequences of invalidations), other
 * `*.jsonl.gz` (accesses), `*.frames.gz` with QEMU's listings next to them (page tables of kernels), and
 * `launch-digest*.json`.
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { ROOT, turbo } from './turbo.ts';

const SUITES = [
  { files: '!(ctl-*|tlb-*).jsonl.gz', package: 'pagetable', test: 'test/walk/access.vectors.test.ts' },
  { files: 'ctl-*.jsonl.gz', package: 'pagetable', test: 'test/entry/control-registers.vectors.test.ts' },
  { files: 'tlb-*.jsonl.gz', package: 'pagetable', test: 'test/walk/tlb.vectors.test.ts' },
  { files: '*.frames.gz', package: 'pagetable', test: 'test/walk/mappings.vectors.test.ts' },
  { files: 'launch-digest*.json', package: 'sev-snp', test: 'test/formats/launch-digest.test.ts' },
];

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: npm run test:vectors -- FOLDER');
  process.exit(2);
}
const cwd = resolve(process.env['INIT_CWD'] ?? '.', folder);
const suites = SUITES.filter(({ files }) => globSync(files, { cwd }).length > 0);
if (suites.length === 0) {
  console.error(`${cwd} has no ${SUITES.map(({ files }) => files).join(', ')}`);
  process.exit(2);
}
if (turbo(['run', 'build'], { quiet: true }) !== 0) throw new Error('the build fails');

for (const suite of suites) {
  const { status } = spawnSync('npx', ['vitest', 'run', '--reporter=verbose', suite.test], {
    cwd: join(ROOT, 'packages', suite.package),
    env: { ...process.env, SVSM_VECTORS: cwd },
    stdio: 'inherit',
  });
  if (status !== 0) process.exitCode = 1;
}
