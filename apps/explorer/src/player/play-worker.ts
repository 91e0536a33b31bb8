/** The worker that plays scenarios: the page stays responsive while it does. */
import type { WorkerMessage } from '../worker-client.ts';
import { Player } from './player.ts';
import type { Answer, Progress, Request } from './protocol.ts';

/** The part of a worker's global scope that is used here. */
interface Scope {
  postMessage(message: WorkerMessage<Answer, Progress>): void;
  onmessage: ((event: MessageEvent<{ readonly id: number; readonly request: Request }>) => void) | null;
}

const scope = self as unknown as Scope;
/** Milliseconds from one progress note to the next. */
const INTERVAL = 100;
let current = 0;
let lastNote = 0;
/** Requests are answered one after the other: each of them plays. */
let queue: Promise<void> = Promise.resolve();

const player = new Player((progress) => {
  const now = performance.now();
  if (now - lastNote < INTERVAL) return;
  lastNote = now;
  scope.postMessage({ id: current, progress });
});

scope.onmessage = ({ data: { id, request } }) => {
  queue = queue.then(async () => {
    current = id;
    lastNote = performance.now();
    const answer = await player
      .answer(request)
      .catch((error: unknown): Answer => ({ type: 'problem', text: `The scenario fails: ${String(error)}` }));
    scope.postMessage({ id, answer });
  });
};
