import { ATTACKS } from './attack-scenarios.ts';
import { LOOPS } from './loop-scenarios.ts';
import type { Scenario } from './timeline.ts';
import { WHAT_IFS } from './what-if-scenarios.ts';

/** All scenarios, in the order of the menu. */
export const SCENARIOS: readonly Scenario[] = [...LOOPS, ...WHAT_IFS, ...ATTACKS];

export function scenarioById(id: string): Scenario | undefined {
  return SCENARIOS.find((scenario) => scenario.id === id);
}
