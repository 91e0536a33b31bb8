/** A message of a worker: how far a request is, or its answer. */
export type WorkerMessage<Answer, Progress> =
  | { readonly id: number; readonly answer: Answer }
  | { readonly id: number; readonly progress: Progress };

/** The page's end of a worker: requests, each with one answer after any number of progress notes. */
export class WorkerClient<Request, Answer, Progress> {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #next = 0;

  /**
   * @param progress - called with each progress note
   * @param failed - makes the answer of requests that the worker cannot answer any more
   */
  constructor(
    worker: Worker,
    { progress, failed }: { progress: (note: Progress) => void; failed: (why: string) => Answer },
  ) {
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<WorkerMessage<Answer, Progress>>) => {
      if ('progress' in data) {
        if (this.#waiting.has(data.id)) progress(data.progress);
        return;
      }
      this.#waiting.get(data.id)?.(data.answer);
      this.#waiting.delete(data.id);
    };
    worker.onerror = ({ message }) => {
      for (const answer of this.#waiting.values()) answer(failed(message ?? 'its script cannot be loaded'));
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

  /** Ends the worker, whatever it does. Requests that wait have no answer. */
  end(): void {
    this.#worker.terminate();
    this.#waiting.clear();
  }
}
