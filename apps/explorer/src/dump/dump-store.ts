/** The state of the dump tab, as signals. */
import { type Signal, signal } from '@preact/signals';
import { AddressProblem, parseAddress } from '../model/address.ts';
import { problem } from '../store.ts';
import { WorkerClient } from '../worker-client.ts';
import type { Answer, Filter, Request } from './protocol.ts';

type Of<Type extends Answer['type']> = Extract<Answer, { readonly type: Type }>;

export const opened: Signal<(Of<'opened'> & { readonly name: string; readonly size: number }) | undefined> =
  signal(undefined);
export const runs: Signal<Of<'runs'> | undefined> = signal(undefined);
export const walked: Signal<Of<'walk'> | undefined> = signal(undefined);
export const places: Signal<Of<'places'> | undefined> = signal(undefined);
export const filter: Signal<Filter> = signal('all');
/** The addresses at which the listings begin, up to the one that is shown. The first one is undefined: the start. */
export const starts: Signal<readonly (bigint | undefined)[]> = signal([undefined]);
/** The work that goes on, and the share of it that is done; `undefined` if none does. */
export const work: Signal<{ readonly what: string; readonly done: number } | undefined> = signal(undefined);

let client: WorkerClient<Request, Answer, number> | undefined;
/** The request that opened what is open. */
let last: Extract<Request, { readonly type: 'open' }> | undefined;

/** The dumps that come with the page. */
export const FIXTURES: readonly (readonly [file: string, text: string])[] = [
  ['case-a.frames.gz', 'Linux, 4 levels'],
  ['la57.frames.gz', 'Linux, 5 levels'],
  ['core-a.sparse.gz', 'QEMU core'],
];

export async function openFixture(file: string): Promise<void> {
  const response = await fetch(new URL(`fixtures/${file}`, document.baseURI)).catch(() => undefined);
  if (response?.ok !== true) {
    problem.value = `The page cannot load ${file} from its server.`;
    return;
  }
  await openBlob(await response.blob(), file);
}

export async function openBlob(blob: Blob, name: string, cr3Text = ''): Promise<void> {
  problem.value = undefined;
  const cr3 = cr3Text === '' ? undefined : numberIn(cr3Text);
  if (cr3Text !== '' && cr3 === undefined) return;
  const request = { type: 'open', blob, name, cr3 } as const;
  const answer = await ask('Opening', request);
  if (answer?.type !== 'opened') return;
  last = request;
  opened.value = { ...answer, name, size: blob.size };
  runs.value = undefined;
  walked.value = undefined;
  places.value = undefined;
  await list('all');
}

/** Lists the mappings of a filter. */
export async function list(to: Filter): Promise<void> {
  await listFrom(to, [undefined]);
}

/** Lists the mappings after those that are shown, or before them. */
export async function listMore(by: 'next' | 'previous'): Promise<void> {
  const next = runs.value?.next;
  if (by === 'previous') await listFrom(filter.value, starts.value.slice(0, -1));
  else if (next !== undefined) await listFrom(filter.value, [...starts.value, next]);
}

async function listFrom(to: Filter, from: readonly (bigint | undefined)[]): Promise<void> {
  const answer = await ask('Listing', { type: 'runs', filter: to, from: from.at(-1) });
  if (answer?.type !== 'runs') return;
  filter.value = to;
  starts.value = from;
  runs.value = answer;
}

/** Gives up the work that goes on. What is open is opened again, in a new worker. */
export function cancel(): void {
  client?.end();
  client = newClient();
  work.value = undefined;
  if (last !== undefined) void client.ask(last);
}

export async function walkTo(text: string): Promise<void> {
  const address = numberIn(text, 'virtual');
  if (address === undefined) return;
  const answer = await ask('Walking', { type: 'walk', address });
  if (answer?.type === 'walk') walked.value = answer;
}

export async function find(text: string): Promise<void> {
  const paddr = numberIn(text);
  if (paddr === undefined) return;
  const answer = await ask('Looking for the page', { type: 'find', paddr });
  if (answer?.type === 'places') places.value = answer;
}

export async function search(text: string): Promise<void> {
  if (text === '') {
    problem.value = 'The search has no text: write the words to look for.';
    return;
  }
  const answer = await ask('Searching', { type: 'search', pattern: new TextEncoder().encode(text) });
  if (answer?.type === 'places') places.value = answer;
}

function numberIn(text: string, space: 'virtual' | 'guest' = 'guest'): bigint | undefined {
  try {
    return parseAddress(space === 'virtual' ? `v:${text}` : `g:${text}`)[1];
  } catch (error) {
    if (!(error instanceof AddressProblem)) throw error;
    problem.value = error.message.replace('v:', '').replace('g:', '');
    return undefined;
  }
}

/** Asks the worker. A problem is shown, and what was open before stays as it is. */
async function ask(what: string, request: Request): Promise<Answer | undefined> {
  client ??= newClient();
  work.value = { what, done: 0 };
  const answer = await client.ask(request);
  work.value = undefined;
  if (answer.type !== 'problem') return answer;
  problem.value = answer.text;
  return undefined;
}

function newClient(): WorkerClient<Request, Answer, number> {
  const worker = new Worker(new URL('./dump-worker.ts', import.meta.url), { type: 'module' });
  return new WorkerClient(worker, {
    progress: (done) => {
      if (work.value !== undefined) work.value = { ...work.value, done };
    },
    failed: (why): Answer => ({ type: 'problem', text: `The worker has failed: ${why}.` }),
  });
}
