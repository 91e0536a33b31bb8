/** The messages between the page and the worker that plays scenarios. */
import type { Selection } from '../model/address.ts';
import type { Peeks } from '../model/peek.ts';
import type { Step } from '../model/step.ts';
import type { Scenario } from '../model/timeline.ts';

/** A scenario in the menu. */
export type ScenarioInfo = Pick<Scenario, 'id' | 'title' | 'group' | 'summary'>;

export type Request =
  | { readonly type: 'list' }
  | { readonly type: 'record'; readonly scenario: string }
  | { readonly type: 'peek'; readonly step: number; readonly page: Selection }
  | { readonly type: 'source'; readonly step: number };

export type Answer =
  | { readonly type: 'list'; readonly scenarios: readonly ScenarioInfo[] }
  | { readonly type: 'steps'; readonly steps: readonly Step[] }
  | { readonly type: 'bytes'; readonly peeks: Peeks }
  | { readonly type: 'source'; readonly text: string }
  | { readonly type: 'problem'; readonly text: string };

/** How far a play is: its steps and events so far, and all of them once they are known. */
export interface Progress {
  readonly done: number;
  readonly total: number | undefined;
}
