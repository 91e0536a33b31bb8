/** Runs a program in a worker, where an endless loop does not stop the page. Each program has a worker of its own. */
import { formatLine } from './inspect.ts';
import type { RunEvent, RunRequest } from './messages.ts';

const send = (event: RunEvent): void => self.postMessage(event);
const log =
  (level: 'log' | 'error') =>
  (...values: unknown[]): void =>
    send({ type: 'line', level, text: formatLine(values) });

for (const method of ['log', 'info', 'debug'] as const) console[method] = log('log');
for (const method of ['warn', 'error'] as const) console[method] = log('error');

self.addEventListener('message', async ({ data }: MessageEvent<RunRequest>) => {
  const address = URL.createObjectURL(new Blob([data.code], { type: 'text/javascript' }));
  try {
    await import(/* @vite-ignore */ address);
  } catch (error) {
    console.error(error instanceof Error ? `${error.name}: ${error.message}` : error);
  }
  send({ type: 'done' });
});
