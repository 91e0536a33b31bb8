/** The state of the page, as signals. */
import { batch, computed, type ReadonlySignal, type Signal, signal } from '@preact/signals';
import { type AddressSpace, parseAddress, resolve, type Selection } from './model/address.ts';
import { scenarioById } from './model/catalogue.ts';
import { Timeline } from './model/timeline.ts';
import { decodeState, encodeState, INITIAL, type UrlState } from './model/url-state.ts';

export const tab: Signal<UrlState['tab']> = signal('story');
export const scenarioId: Signal<string> = signal(INITIAL.scenario);
export const timeline: Signal<Timeline | undefined> = signal(undefined);
export const step: Signal<number> = signal(0);
/** The address that was chosen; the others of its page follow from the step. */
export const chosen: Signal<readonly [AddressSpace, bigint] | undefined> = signal(undefined);
/** One sentence about input that was refused. */
export const problem: Signal<string | undefined> = signal(undefined);

export const current = computed(() => timeline.value?.steps[step.value]);
export const frame = computed(() => current.value?.frame);
/** The selected page, or the page of the step. */
export const selection: ReadonlySignal<Selection | undefined> = computed(() => {
  const now = frame.value;
  if (now === undefined) return undefined;
  const at = chosen.value;
  if (at !== undefined) return resolve(now, ...at);
  const page = current.value?.page ?? timeline.value?.steps.find((one) => one.page !== undefined)?.page;
  return page === undefined ? undefined : resolve(now, 'virtual', page);
});

/** Plays a scenario, and goes to a step of it. */
export async function openScenario(id: string, at = 0): Promise<void> {
  scenarioId.value = id;
  const recorded = await Timeline.record(scenarioById(id)!);
  // Another one was chosen meanwhile.
  if (scenarioId.value !== id) return;
  batch(() => {
    timeline.value = recorded;
    arrive(at);
  });
}

/** Goes to the step that an address names. */
function arrive(at: number): void {
  goTo(at);
  const { steps, scenario } = timeline.value!;
  if (at >= steps.length)
    problem.value = `The address names step ${at}, but “${scenario.title}” has steps 0 to ${steps.length - 1}.`;
}

/** Goes to a step; outside of the scenario, to the nearest one. */
export function goTo(to: number): void {
  const last = (timeline.value?.steps.length ?? 1) - 1;
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

/** Takes the state from the page's address. */
export async function restore(): Promise<void> {
  const { state, problem: found } = decodeState(location.hash);
  batch(() => {
    tab.value = state.tab;
    chosen.value = state.selection;
    problem.value = found;
  });
  if (timeline.value === undefined || scenarioId.value !== state.scenario)
    await openScenario(state.scenario, state.step);
  else arrive(state.step);
}

function remember(): void {
  const state = { tab: tab.value, scenario: scenarioId.value, step: step.value, selection: chosen.value };
  const text = encodeState(state);
  history.replaceState(null, '', text === '' ? location.pathname + location.search : `#${text}`);
}
