import { AddressProblem, type AddressSpace, hex, parseAddress, shortened } from './address.ts';

/** The part of the page's state that its address holds. */
export interface UrlState {
  readonly tab: 'story' | 'dump';
  readonly scenario: string;
  readonly step: number;
  readonly selection: readonly [AddressSpace, bigint] | undefined;
}

export const INITIAL: UrlState = { tab: 'story', scenario: 'by-hand', step: 0, selection: undefined };

/** The text after `#`. Fields with their initial value are left out. */
export function encodeState({ tab, scenario, step, selection }: UrlState): string {
  const fields = new URLSearchParams();
  if (tab !== INITIAL.tab) fields.set('tab', tab);
  if (scenario !== INITIAL.scenario) fields.set('scenario', scenario);
  if (step !== 0) fields.set('step', String(step));
  if (selection !== undefined) fields.set('at', `${selection[0].charAt(0)}:${hex(selection[1])}`);
  return fields.toString().replaceAll('%3A', ':');
}

/**
 * The state in the text after `#`. Of a field that is wrong, the initial value is taken, and a sentence says what is wrong.
 *
 * @param isScenario - whether a scenario has this id
 */
export function decodeState(
  text: string,
  isScenario: (id: string) => boolean,
): {
  readonly state: UrlState;
  readonly problem: string | undefined;
} {
  const fields = new URLSearchParams(text.replace(/^#/, ''));
  const problems: string[] = [];
  const tab = fields.get('tab') ?? INITIAL.tab;
  if (tab !== 'story' && tab !== 'dump')
    problems.push(`The address names the tab “${shortened(tab)}”, which does not exist.`);
  const scenario = fields.get('scenario') ?? INITIAL.scenario;
  const isKnown = isScenario(scenario);
  if (!isKnown)
    problems.push(`The address names the scenario “${shortened(scenario)}”, which does not exist.`);
  const step = fields.get('step') ?? '0';
  const isStep = /^\d{1,6}$/.test(step);
  if (!isStep)
    problems.push(`The address names step “${shortened(step)}”, which is not the number of a step.`);
  return {
    state: {
      tab: tab === 'dump' ? 'dump' : 'story',
      scenario: isKnown ? scenario : INITIAL.scenario,
      step: isStep && isKnown ? Number(step) : 0,
      selection: selectionIn(fields.get('at'), problems),
    },
    problem: problems[0],
  };
}

function selectionIn(text: string | null, problems: string[]): UrlState['selection'] {
  if (text === null) return undefined;
  try {
    return parseAddress(text);
  } catch (error) {
    if (!(error instanceof AddressProblem)) throw error;
    problems.push(error.message);
    return undefined;
  }
}
