/** The state of the page, as signals. */
import { batch, computed, type ReadonlySignal, type Signal, signal } from '@preact/signals';
import { type AddressSpace, parseAddress, resolve, type Selection } from './model/address.ts';
import { decodeState, encodeState, INITIAL, type UrlState } from './model/url-state.ts';
import { listScenarios, record, recording, scenarios } from './player/player-store.ts';

export const tab: Signal<UrlState['tab']> = signal('story');
export const step: Signal<number> = signal(0);
/** The address that was chosen; the others of its page follow from the step. */
export const chosen: Signal<readonly [AddressSpace, bigint] | undefined> = signal(undefined);
/** One sentence about input that was refused. */
export const problem: Signal<string | undefined> = signal(undefined);

export const current = computed(() => recording.value?.steps[step.value]);
export const frame = computed(() => current.value?.frame);
/** The selected page, or the page of the step. */
export const selection: ReadonlySignal<Selection | undefined> = computed(() => {
  const now = frame.value;
  if (now === undefined) return undefined;
  const at = chosen.value;
  if (at !== undefined) return resolve(now, ...at);
  const page = current.value?.page ?? recording.value?.steps.find((one) => one.page !== undefined)?.page;
  return page === undefined ? undefined : resolve(now, 'virtual', page);
});

/** Plays a scenario, and goes to a step of it. */
export async function openScenario(id: string, at = 0): Promise<void> {
  try {
    const recorded = await record(scenarios.value.find((scenario) => scenario.id === id)!);
    batch(() => {
      recording.value = recorded;
      arrive(at);
    });
  } catch (error) {
    problem.value = (error as Error).message;
  }
}

/** Goes to the step that an address names. */
function arrive(at: number): void {
  goTo(at);
  const { steps, scenario } = recording.value!;
  if (at >= steps.length)
    problem.value = `The address names step ${at}, but “${scenario.title}” has steps 0 to ${steps.length - 1}.`;
}

/** Goes to a step; outside of the scenario, to the nearest one. */
export function goTo(to: number): void {
  const last = (recording.value?.steps.length ?? 1) - 1;
  step.value = Math.max(0, Math.min(last, to));
  remember();
}

/** Chooses a page; `undefined` follows the page of the step again. */
export function choose(space: AddressSpace | undefined, address = 0n): void {
  chosen.value = space === undefined ? undefined : [space, address];
  problem.value = undefined;
  remember();
}

/** Chooses the page of a typed address. @throws AddressProblem */
export function chooseText(text: string): void {
  choose(...parseAddress(text));
}

export function openTab(to: UrlState['tab']): void {
  tab.value = to;
  problem.value = undefined;
  remember();
}

/** Takes the state from the part of the page's address after `#`. */
export async function restore(hash: string): Promise<void> {
  clearTimeout(waiting);
  // The tab needs no list of scenarios.
  tab.value = decodeState(hash, () => true).state.tab;
  try {
    await listScenarios();
  } catch (error) {
    problem.value = (error as Error).message;
    return;
  }
  const isScenario = (id: string): boolean => scenarios.value.some((scenario) => scenario.id === id);
  const { state, problem: found } = decodeState(hash, isScenario);
  batch(() => {
    chosen.value = state.selection;
    problem.value = found;
  });
  if (recording.value?.scenario.id === state.scenario) arrive(state.step);
  else await openScenario(state.scenario, state.step);
}

/** Milliseconds: while steps follow each other quickly, the page's address waits. Browsers limit how often it may change. */
const QUIET = 150;
let waiting: ReturnType<typeof setTimeout> | undefined;

function remember(): void {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const scenario = recording.value?.scenario.id ?? INITIAL.scenario;
    const state = { tab: tab.value, scenario, step: step.value, selection: chosen.value };
    const text = encodeState(state);
    history.replaceState(null, '', text === '' ? location.pathname + location.search : `#${text}`);
  }, QUIET);
}
