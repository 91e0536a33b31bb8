/** The thread that makes the calls. `fuzz.ts` ends it when a call does not return. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Job } from './fuzz.ts';
import { type Modules, planOf, Runner } from './runner.ts';
import type { Makers } from './world.ts';

const { callables, makers: file, slice, from, progress } = workerData as Job;

const { makers } = (await import(file)) as { makers: Makers };
const modules: Record<string, Modules[string]> = {};
for (const { module } of callables) modules[module] ??= await import(module);

const runner = new Runner(modules, makers);
const plan = planOf(callables, makers, slice);
for (let i = from; i < plan.length; i += 1) {
  const call = plan[i]!;
  // What the main thread reads if this call does not return.
  Atomics.store(progress, 0, i);
  for (const finding of await runner.run(call)) parentPort?.postMessage({ finding });
}
Atomics.store(progress, 0, plan.length);
parentPort?.postMessage({ calls: plan.length });
