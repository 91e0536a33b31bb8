import { SCENARIOS, scenarioById } from '../model/catalogue.ts';
import { peek } from '../model/peek.ts';
import { Timeline } from '../model/timeline.ts';
import type { Answer, Progress, Request } from './protocol.ts';

/** Plays scenarios, and answers requests about the last one. It is the worker's part that needs no worker. */
export class Player {
  readonly #progress: (note: Progress) => void;
  #timeline: Timeline | undefined;

  constructor(progress: (note: Progress) => void) {
    this.#progress = progress;
  }

  async answer(request: Request): Promise<Answer> {
    if (request.type === 'list') return { type: 'list', scenarios: SCENARIOS.map(infoOf) };
    if (request.type === 'record') return this.#record(request.scenario);
    const timeline = this.#timeline;
    if (timeline === undefined) return { type: 'problem', text: 'No scenario has been played.' };
    if (request.type === 'source')
      return { type: 'source', text: timeline.scenario.source(timeline, request.step) };
    return { type: 'bytes', peeks: await peek(timeline, request.step, request.page) };
  }

  async #record(id: string): Promise<Answer> {
    const scenario = scenarioById(id);
    if (scenario === undefined) return { type: 'problem', text: `The scenario “${id}” does not exist.` };
    const timeline = await Timeline.record(scenario, (done, total) => this.#progress({ done, total }));
    this.#timeline = timeline;
    return { type: 'steps', steps: timeline.steps };
  }
}

function infoOf({ id, title, group, summary }: (typeof SCENARIOS)[number]) {
  return { id, title, group, summary };
}
