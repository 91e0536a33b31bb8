import type { Answer, Message, Request } from './protocol.ts';

/** The page's end of the worker: one request after the other, each with its answer. */
export class DumpClient {
  readonly #worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #next = 0;

  /** @param progress - called with the share of the work that is done, 0 to 1 */
  constructor(progress: (done: number) => void) {
    this.#worker.onmessage = ({ data }: MessageEvent<Message>) => {
      if ('progress' in data) {
        progress(data.progress);
        return;
      }
      this.#waiting.get(data.id)?.(data.answer);
      this.#waiting.delete(data.id);
    };
    this.#worker.onerror = ({ message }) => {
      for (const answer of this.#waiting.values())
        answer({ type: 'problem', text: `The worker has failed: ${message}` });
      this.#waiting.clear();
    };
  }

  ask(request: Request): Promise<Answer> {
    const id = this.#next;
    this.#next += 1;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#worker.postMessage({ id, request });
    });
  }
}
