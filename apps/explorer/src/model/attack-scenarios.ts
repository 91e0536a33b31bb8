import {
  A,
  type Scenario as Attack,
  gvaOf,
  NOTHING,
  run,
  SCENARIOS,
  type Stage,
} from '@svsm/example-snp-adversary';
import type { MachineEvent } from '@svsm/sev-snp';
import { textOf } from './event-notes.ts';
import type { Outcome } from './step.ts';
import type { Recorder, Scenario, Timeline } from './timeline.ts';

/** Every attack of the example snp-adversary on a guest that does its duty, and on a careless one where that matters. */
export const ATTACKS: readonly Scenario[] = SCENARIOS.flatMap((attack) =>
  attack.duty === undefined
    ? [scenarioOf(attack, true)]
    : [scenarioOf(attack, true), scenarioOf(attack, false)],
);

function scenarioOf(attack: Attack, careful: boolean): Scenario {
  const { id, name, duty } = attack;
  const careless = careful ? '' : ', careless guest';
  return {
    id: careful ? `attack-${name}` : `attack-${name}-careless`,
    group: 'Attacks',
    title: `${id} ${name.replaceAll('-', ' ')}${careless}`,
    summary: `The hypervisor: ${attack.attack}. ${careful ? `Stopped by: ${attack.stoppedBy}.` : `The guest neglects: ${duty}.`}`,
    play: (stage) => play(stage, attack, careful),
    source: (timeline, step) => sourceOf(timeline, step, name, careful),
  };
}

async function play(recorder: Recorder, attack: Attack, careful: boolean): Promise<void> {
  const code = `await run(SCENARIOS.find(({ name }) => name === '${attack.name}')${careful ? '' : ', false'});`;
  let told = attack.attack;
  let failure: { readonly error: unknown } | undefined;
  // What software makes of the error of a callback is not the attack: it is kept, and thrown at the end.
  const guarded = (record: () => void): void => {
    if (failure !== undefined) return;
    try {
      record();
    } catch (error) {
      failure = { error };
      throw error;
    }
  };
  const page = gvaOf(A);
  const outcome = await run(
    attack,
    careful,
    (moment) =>
      guarded(() => {
        if (typeof moment === 'string') {
          told = moment;
          recorder.add({ title: moment, actor: 'hypervisor', code, why: attack.attack, page });
        } else
          recorder.event(moment, {
            ...textOf(moment),
            code,
            why: `${sentence(told)} ${textOf(moment).why}`,
            page,
            fold: foldOf(moment),
          });
      }),
    (stage) => recorder.begin(worldOf(stage), firstNote(attack, code)),
  ).catch((error: unknown) => {
    throw failure?.error ?? error;
  });
  if (failure !== undefined) throw failure.error;
  const { got, stoppedBy, guestSees } = outcome;
  const last: Outcome =
    got !== undefined
      ? { kind: 'leak', text: `The hypervisor gets: ${got}.`, check: attack.letThrough && NOTHING }
      : { kind: 'refused', text: `The attack is stopped. The guest sees: ${guestSees}.`, check: stoppedBy };
  recorder.add({
    title: got === undefined ? 'Stopped' : 'It succeeds',
    actor: 'hypervisor',
    code,
    why: attack.duty ?? attack.stoppedBy,
    page,
    outcome: last,
  });
}

function firstNote(attack: Attack, code: string) {
  return {
    title: 'The stage',
    actor: 'guest' as const,
    code,
    why: `A guest of 8 MiB has secrets in private pages. The hypervisor is hostile: ${attack.attack}.`,
    page: gvaOf(A),
  };
}

/** Exits and entries that alternate are one step, as RMPADJUST of many pages is. */
function foldOf({ type }: MachineEvent): string {
  return type === 'vmgexit' || type === 'vmrun' ? 'exit' : type;
}

function worldOf({ machine, guest, vcpu, table }: Stage) {
  return { machine, guest, vcpu, table, tlb: undefined, heap: undefined, pages: [gvaOf(A)] };
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** A module that runs the attack, and looks at the RMP at the moment of a step. */
function sourceOf({ scenario, steps }: Timeline, step: number, name: string, careful: boolean): string {
  const { title, moment } = steps[step]!;
  const isLast = step === steps.length - 1;
  const look =
    moment === 0
      ? '() => {}, look'
      : isLast
        ? '(_, stage) => look(stage), look'
        : `(_, stage) => {\n  moment += 1;\n  if (moment === ${moment}) look(stage);\n}`;
  return `// ${scenario.title}, after step ${step}: ${title}. It runs inside of this repository.
import { PageSize } from '@svsm/address';
import { run, SCENARIOS } from '@svsm/example-snp-adversary';

const attack = SCENARIOS.find(({ name }) => name === '${name}');
${moment === 0 || isLast ? '' : 'let moment = 0;\n'}
/** The RMP entries of the machine's pages after the step. */
export let entries = [];
function look({ machine: { rmp } }) {
  entries = Array.from(rmp.covered.iterPages(PageSize.Regular), (spa) => rmp.entry(spa));
}

export const outcome = await run(attack, ${careful}, ${look});
console.log(outcome.got ?? outcome.stoppedBy, entries.filter(({ assigned }) => assigned).length, 'assigned pages');
`;
}
