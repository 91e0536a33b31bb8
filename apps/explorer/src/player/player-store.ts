/** The scenarios, and the one that was played last, as signals. */
import { batch, type Signal, signal } from '@preact/signals';
import type { Selection } from '../model/address.ts';
import type { Peeks } from '../model/peek.ts';
import type { Step } from '../model/step.ts';
import { WorkerClient } from '../worker-client.ts';
import type { Answer, Progress, Request, ScenarioInfo } from './protocol.ts';

/** A scenario with its steps. */
export interface Recording {
  readonly scenario: ScenarioInfo;
  readonly steps: readonly Step[];
}

/** The scenarios of the menu. Empty until the worker has told them. */
export const scenarios: Signal<readonly ScenarioInfo[]> = signal([]);
export const recording: Signal<Recording | undefined> = signal(undefined);
/** The scenario that is being played, and how far that is. */
export const playing: Signal<{ readonly scenario: ScenarioInfo; readonly progress: Progress } | undefined> =
  signal(undefined);

type Client = WorkerClient<Request, Answer, Progress>;
type Of<Type extends Answer['type']> = Extract<Answer, { readonly type: Type }>;

let client = newClient();
/** The scenario that the client has played: bytes and code come from it. */
let played: string | undefined;

function newClient(): Client {
  const worker = new Worker(new URL('./play-worker.ts', import.meta.url), { type: 'module' });
  return new WorkerClient(worker, {
    progress: (progress) => {
      if (playing.value !== undefined) playing.value = { ...playing.value, progress };
    },
    failed: (why): Answer => ({ type: 'problem', text: `The worker has failed: ${why}.` }),
  });
}

/** An answer of the wanted type. @throws Error with the sentence of a problem */
async function ask<Type extends Answer['type']>(type: Type, request: Request): Promise<Of<Type>> {
  const answer = await client.ask(request);
  if (answer.type === type) return answer as Of<Type>;
  throw new Error(answer.type === 'problem' ? answer.text : `The worker has answered ${answer.type}.`);
}

/** Fills {@link scenarios}. */
export async function listScenarios(): Promise<void> {
  if (scenarios.value.length === 0) scenarios.value = (await ask('list', { type: 'list' })).scenarios;
}

/** Plays a scenario. A play that goes on is given up for it. Without an end, if it is given up itself. */
export async function record(scenario: ScenarioInfo): Promise<Recording> {
  if (playing.value !== undefined) cancel();
  playing.value = { scenario, progress: { done: 0, total: undefined } };
  try {
    const { steps } = await ask('steps', { type: 'record', scenario: scenario.id });
    played = scenario.id;
    return { scenario, steps };
  } finally {
    playing.value = undefined;
  }
}

/** Gives up the play that goes on. */
export function cancel(): void {
  client.end();
  batch(() => {
    client = newClient();
    played = undefined;
    playing.value = undefined;
  });
}

/** The bytes of a page after a step of the recording. */
export async function bytesAt(step: number, page: Selection): Promise<Peeks> {
  await replay();
  return (await ask('bytes', { type: 'peek', step, page })).peeks;
}

/** A module that makes the state after a step of the recording. */
export async function codeAt(step: number): Promise<string> {
  await replay();
  return (await ask('source', { type: 'source', step })).text;
}

/** After a play was given up, the new worker plays what is shown before it answers about it. */
async function replay(): Promise<void> {
  const shown = recording.value!.scenario.id;
  if (played === shown) return;
  await ask('steps', { type: 'record', scenario: shown });
  played = shown;
}
