/** Fuzzes a package: each of its exports, in a worker whose calls have a limit of time. */
import { Worker } from 'node:worker_threads';
import { planOf, type Slice } from './runner.ts';
import type { Callable } from './surface.ts';
import type { Finding } from './verdict.ts';
import type { Makers } from './world.ts';

/** The calls that a worker makes. */
export interface Job {
  readonly callables: readonly Callable[];
  /** The address of the module that exports `makers`. */
  readonly makers: string;
  readonly slice: Slice;
  /** The index of the first call to make. */
  readonly from: number;
  /** The index of the call that is being made. */
  readonly progress: Int32Array<SharedArrayBuffer>;
}

export interface Report {
  readonly exports: number;
  readonly calls: number;
  readonly findings: readonly Finding[];
}

export interface FuzzOptions {
  readonly callables: readonly Callable[];
  readonly makers: string;
  readonly slice?: Slice;
  /** The milliseconds in which a call must return. */
  readonly limit?: number;
}

/** Makes all calls. A call that does not return is a finding, and the calls after it are made by another worker. */
export async function fuzz(options: FuzzOptions): Promise<Report> {
  const { callables, slice = { part: 1, seed: 0 }, limit = 10_000 } = options;
  const { makers } = (await import(options.makers)) as { makers: Makers };
  const plan = planOf(callables, makers, slice);
  const findings: Finding[] = [];
  let from = 0;
  while (from < plan.length) {
    const progress = new Int32Array(new SharedArrayBuffer(4));
    progress[0] = from;
    const job: Job = { callables, makers: options.makers, slice, from, progress };
    const end = await runWorker(job, limit, findings);
    if (end === undefined) break;
    const { callable, label } = plan[end.at]!;
    findings.push({ verdict: 'hang', id: callable.id, label, seen: end.reason });
    from = end.at + 1;
  }
  return { exports: callables.length, calls: plan.length, findings };
}

/** Runs a worker to its end; returns the call at which it was ended, if it was. */
function runWorker(
  job: Job,
  limit: number,
  findings: Finding[],
): Promise<{ at: number; reason: string } | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<{ at: number; reason: string } | undefined>();
  const worker = new Worker(new URL('worker.ts', import.meta.url), {
    workerData: job,
    resourceLimits: { maxOldGenerationSizeMb: 1024 },
  });
  let last = -1;
  let since = Date.now();
  let isStarted = false;
  const end = async (reason: string): Promise<void> => {
    clearInterval(timer);
    const at = Atomics.load(job.progress, 0);
    // Ending the worker is an exit, too.
    worker.off('exit', finish);
    await worker.terminate();
    resolve({ at, reason });
  };
  const finish = (): void => {
    clearInterval(timer);
    resolve(undefined);
  };
  const timer = setInterval(
    () => {
      const at = Atomics.load(job.progress, 0);
      if (at !== last || !isStarted) {
        last = at;
        since = Date.now();
      } else if (Date.now() - since > limit) {
        void end(`no end within ${limit} ms`);
      }
    },
    Math.min(limit / 4, 250),
  );
  worker.on('online', () => {
    isStarted = true;
  });
  worker.on('message', ({ finding }: { finding?: Finding }) => {
    if (finding !== undefined) findings.push(finding);
  });
  worker.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') return void end('no memory left');
    clearInterval(timer);
    reject(error);
  });
  worker.on('exit', finish);
  return promise;
}
