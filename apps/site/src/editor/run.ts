/** Runs the TypeScript of an example in a worker. */
import { CompileError, compile } from './compile.ts';
import type { RunEvent, RunRequest } from './messages.ts';

/** Receives what a program prints, line by line. */
export type OnLine = (level: 'log' | 'error', text: string) => void;

/** Ends a program that prints without end. */
const MAX_LINES = 2000;

/**
 * Runs a program until its end, or until `signal` stops it. Errors are lines: a program that cannot be compiled prints one.
 *
 * @param modules - the address of each module that can be imported, by its name
 */
export async function run(
  source: string,
  modules: ReadonlyMap<string, string>,
  onLine: OnLine,
  signal: AbortSignal,
): Promise<void> {
  let code: string;
  try {
    code = await compile(source, modules);
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    onLine('error', error.message);
    return;
  }
  if (signal.aborted) return;
  const worker = new Worker(new URL('./run-worker.ts', import.meta.url), { type: 'module' });
  await new Promise<void>((resolve) => {
    let lines = 0;
    const stop = (why: string): void => {
      onLine('error', why);
      resolve();
    };
    signal.addEventListener('abort', () => stop('stopped'));
    worker.addEventListener('error', ({ message }) => stop(message || 'the program could not be loaded'));
    worker.addEventListener('message', ({ data }: MessageEvent<RunEvent>) => {
      if (data.type === 'done') return resolve();
      if (++lines > MAX_LINES) return stop(`stopped after ${MAX_LINES} lines`);
      onLine(data.level, data.text);
    });
    worker.postMessage({ code } satisfies RunRequest);
  });
  worker.terminate();
}
