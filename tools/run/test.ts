/**
 * `npm test`: lint, types, build and tests of every workspace, in turbo's order and with its cache, then one table and the
 * totals. The last line is `N passed, N failed`, with `, N skipped` if any were skipped. Each vitest test counts as one, and so
 * does each other task.
 */
import { existsSync, globSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { add, describe, NONE, type Totals } from './totals.ts';
import { ROOT, turbo } from './turbo.ts';

/** A script of a workspace that turbo is asked to run. */
interface Task {
  workspace: string;
  folder: string;
  script: string;
  /** The exit status; `undefined` if the task did not run because one that it depends on failed. */
  exit: number | undefined;
}

/** The fields of vitest's JSON report that are read here. */
interface VitestResults {
  testResults: { name: string; status: string; assertionResults: { fullName: string; status: string }[] }[];
}

const failures: string[] = [];

for (const old of globSync('{packages,examples,apps,tools}/*/test-results', { cwd: ROOT })) {
  rmSync(join(ROOT, old), { recursive: true });
}
rmSync(join(ROOT, '.turbo/runs'), { recursive: true, force: true });

const status = turbo([
  'run',
  'lint',
  'types',
  'build',
  'test',
  '--continue=dependencies-successful',
  '--summarize',
  // A task keeps about one core busy: more tasks than that only take each other's caches.
  `--concurrency=${availableParallelism() + 1}`,
  '--output-logs=errors-only',
  '--log-order=grouped',
]);

const results = readTasks().map((task) => ({ task, totals: totalsOf(task) }));
let all = results.reduce((sum, { totals }) => add(sum, totals), NONE);
if (all.failed === 0 && (status !== 0 || results.some(({ task }) => task.exit === undefined))) {
  all = { ...all, failed: 1 };
  failures.push(`turbo exited with ${status} and did not run all tasks`);
}

printTable();
for (const failure of failures) console.log(`FAILED  ${failure}`);
if (failures.length > 0) console.log();
console.log(describe(all));
process.exitCode = all.failed > 0 ? 1 : 0;

/** The tasks that the manifests define, with the exit statuses from turbo's summary, which only has the tasks that ran. */
function readTasks(): Task[] {
  const [summary] = globSync('.turbo/runs/*.json', { cwd: ROOT });
  const ran: { taskId: string; execution?: { exitCode: number | null } }[] = summary
    ? readJson(summary).tasks
    : [];
  const exitOf = (id: string) => ran.find(({ taskId }) => taskId === id)?.execution?.exitCode ?? undefined;

  const tasks: Task[] = [
    { workspace: 'whole repository', folder: '.', script: 'lint', exit: exitOf('//#lint') },
  ];
  for (const manifest of globSync('{packages,examples,apps,tools}/*/package.json', { cwd: ROOT }).sort()) {
    const { name, scripts = {} } = readJson(manifest);
    for (const script of ['test', 'types', 'build'].filter((script) => script in scripts)) {
      tasks.push({ workspace: name, folder: dirname(manifest), script, exit: exitOf(`${name}#${script}`) });
    }
  }
  return tasks;
}

function totalsOf(task: Task): Totals {
  const { workspace, script, exit } = task;
  // The task that caused this counts as failed already.
  if (exit === undefined) return { passed: 0, failed: 0, skipped: 1 };
  const totals = script === 'test' ? countTests(task) : { passed: exit === 0 ? 1 : 0, failed: 0, skipped: 0 };
  // Every test may pass and vitest still fail: after an unhandled error, or without any test.
  if (exit !== 0 && totals.failed === 0) {
    totals.failed = 1;
    failures.push(`${workspace} ${script} exited with ${exit}`);
  }
  return totals;
}

function countTests({ workspace, folder }: Task): Totals {
  const file = join(folder, 'test-results/vitest.json');
  if (!existsSync(join(ROOT, file))) {
    failures.push(`${workspace} test wrote no ${file}`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const { testResults }: VitestResults = readJson(file);
  const totals = { passed: 0, failed: 0, skipped: 0 };
  for (const { name, status, assertionResults } of testResults) {
    const before = totals.failed;
    for (const { fullName, status } of assertionResults) {
      if (status === 'passed') totals.passed++;
      else if (status === 'failed') totals.failed++;
      else totals.skipped++;
      if (status === 'failed') failures.push(`${workspace}  ${fullName}`);
    }
    // A file that cannot be loaded, or whose hook fails, has no failed test but fails.
    if (status === 'failed' && totals.failed === before) {
      totals.failed++;
      failures.push(`${workspace}  ${name}`);
    }
  }
  return totals;
}

function printTable(): void {
  const columns = ['test', 'types', 'build', 'lint'];
  const workspaces = [...new Set(results.map(({ task }) => task.workspace))];
  const rows = workspaces.map((workspace) => [
    workspace,
    ...columns.map((column) => {
      const cell = results.find(({ task }) => task.workspace === workspace && task.script === column);
      if (cell === undefined) return '';
      if (cell.task.exit === undefined) return 'not run';
      if (column === 'test') return describe(cell.totals).replace(', 0 failed', '');
      return cell.totals.failed === 0 ? 'ok' : 'FAILED';
    }),
  ]);
  const table = [['', ...columns], ...rows];
  const widths = ['', ...columns].map((_, i) => Math.max(...table.map((row) => row[i]!.length)));
  console.log();
  for (const row of table) {
    const cells = row.map((cell, i) => cell.padEnd(widths[i]!));
    console.log(cells.join('  ').trimEnd());
  }
  console.log();
}

function readJson(file: string) {
  return JSON.parse(readFileSync(join(ROOT, file), 'utf8'));
}
