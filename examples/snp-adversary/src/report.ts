import { PageSize } from '@svsm/address';
import { decodeGhcbMsr, type MachineEvent, rmpResultName } from '@svsm/sev-snp';
import { type LetThrough, NOTHING, type Outcome, run, type Scenario } from './scenario.ts';
import { NOT_MODELLED, SCENARIOS } from './scenarios/index.ts';
import type { Moment } from './stage.ts';

/** A scenario and its results: for a guest that does its duty and, if the attack needs one, for a guest that does not. */
export interface Row {
  readonly id: string;
  readonly name: string;
  readonly attack: string;
  readonly stoppedBy: string;
  readonly guestSees: string;
  readonly duty?: string;
  readonly otherwise?: string;
  readonly letThrough?: LetThrough;
}

/** Runs every attack. */
export async function rows(): Promise<Row[]> {
  const all: Row[] = [];
  for (const scenario of SCENARIOS) {
    const { id, name, attack, duty, letThrough } = scenario;
    const outcome = await run(scenario);
    if (letThrough !== undefined) {
      const end = outcome.got === letThrough.gets ? scenario : endOf(outcome);
      const { stoppedBy, guestSees } = end;
      all.push({ id, name, attack, stoppedBy, guestSees, letThrough });
      continue;
    }
    const row = { id, name, attack, ...endOf(outcome) };
    const without = duty === undefined ? undefined : await run(scenario, false);
    all.push(
      without === undefined ? row : { ...row, duty: duty!, otherwise: without.got ?? 'stopped anyway' },
    );
  }
  return all;
}

function endOf({ got, stoppedBy, guestSees }: Outcome): { stoppedBy: string; guestSees: string } {
  return { stoppedBy: stoppedBy ?? `NOT STOPPED: ${got}`, guestSees: guestSees ?? 'nothing' };
}

/** All rows as lines of at most 80 columns. */
export function table(all: readonly Row[]): string {
  const line = (id: string, name: string, by: string, sees: string, duty: string): string =>
    `${id.padEnd(4)} ${name.padEnd(24)} ${by.padEnd(21)} ${sees.padEnd(20)} ${duty}`.trimEnd();
  const duties = all.filter(({ duty }) => duty !== undefined);
  return [
    line('', 'attack', 'stopped by', 'guest sees', 'duty?'),
    ...all.map(({ id, name, stoppedBy, guestSees, duty }) =>
      line(
        id,
        name,
        stoppedBy === NOTHING ? 'nothing' : stoppedBy,
        guestSees,
        duty === undefined ? '' : 'yes',
      ),
    ),
    '',
    'Some attacks are stopped only if the guest’s software does its duty. In quotes:',
    'what the hypervisor gets if it does not.',
    '',
    ...duties.map(
      ({ name, duty, otherwise }) => `  ${name.padEnd(21)} ${`${duty}`.padEnd(30)} “${otherwise}”`,
    ),
    '',
    'Nothing stops some attacks: they succeed, as in reality. In quotes: what the',
    'hypervisor gets. Each needs something, and may be mitigated outside of SEV-SNP.',
    '',
    ...all.flatMap(({ name, letThrough }) =>
      letThrough === undefined
        ? []
        : [
            `  ${name.padEnd(23)} “${letThrough.gets}”`,
            `    needs ${letThrough.needs}`,
            `    mitigated by ${letThrough.mitigatedBy}`,
          ],
    ),
    '',
    'Not modelled, because the model has no caches, events or stack engine:',
    '',
    ...NOT_MODELLED.flatMap(({ id, attack, lacks }) => [`  ${id.padEnd(4)} ${attack}`, `       no ${lacks}`]),
  ].join('\n');
}

/** All rows as a table in Markdown. */
export function markdown(all: readonly Row[]): string {
  const line = (...cells: string[]): string =>
    `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  const lines = [
    ...all.map((row): [id: string, line: string] => [
      row.id,
      line(row.id, `\`${row.name}\``, row.attack, row.stoppedBy, row.guestSees, remarkOf(row)),
    ]),
    ...NOT_MODELLED.map(({ id, attack, lacks, mitigatedBy }): [id: string, line: string] => [
      id,
      line(id, '–', attack, `not modelled: no ${lacks}`, '–', `mitigated by ${mitigatedBy}`),
    ]),
  ];
  lines.sort(([a], [b]) => Number(a.slice(1)) - Number(b.slice(1)));
  return [
    '| | Scenario | The hypervisor | Stopped by | The guest sees | Duty of the guest’s software; result without it. Or: needs, mitigation |',
    '|---|---|---|---|---|---|',
    ...lines.map(([, line]) => line),
  ].join('\n');
}

function remarkOf({ duty, otherwise, letThrough }: Row): string {
  if (letThrough !== undefined) {
    const { gets, needs, mitigatedBy } = letThrough;
    return `succeeds, as in reality: “${gets}”; needs ${needs}; mitigated by ${mitigatedBy}`;
  }
  return duty === undefined ? '' : `${duty}; “${otherwise}”`;
}

/** The steps of one attack, with the instructions and exits of each. */
export function story(scenario: Scenario, outcome: Outcome, careful: boolean): string {
  const { id, name, attack, duty } = scenario;
  const software = careful ? 'does' : 'does not do';
  const end =
    outcome.got === undefined
      ? `Stopped by: ${outcome.stoppedBy}. The guest sees: ${outcome.guestSees}.`
      : '';
  return [
    `${id} ${name}: ${attack}`,
    ...(duty === undefined ? [] : [`The guest ${software} its duty: ${duty}.`]),
    '',
    ...folded(outcome.moments.map(momentText)).flatMap(wrapped),
    '',
    outcome.got === undefined ? end : `Not stopped: “${outcome.got}”.`,
  ].join('\n');
}

/** Wraps a line at 80 columns. Continuation lines are indented. */
function wrapped(line: string): string[] {
  const indent = ' '.repeat(line.search(/\S/) + 2);
  const lines = [line.slice(0, indent.length - 2)];
  for (const word of line.trim().split(' ')) {
    const last = lines.length - 1;
    const longer = `${lines[last]}${lines[last]!.trim() === '' ? '' : ' '}${word}`;
    if (longer.length <= 80) lines[last] = longer;
    else lines.push(indent + word);
  }
  return lines;
}

/** Joins equal lines that follow each other into one, with their number. */
function folded(lines: readonly string[]): string[] {
  const runs: [line: string, count: number][] = [];
  for (const line of lines) {
    const last = runs.at(-1);
    if (last?.[0] === line) last[1] += 1;
    else runs.push([line, 1]);
  }
  return runs.map(([line, count]) => (count === 1 ? line : `${line} (${count} times)`));
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

function momentText(moment: Moment): string {
  return typeof moment === 'string' ? `  ${moment}` : `    ${eventText(moment)}`;
}

function eventText(event: MachineEvent): string {
  switch (event.type) {
    case 'rmpupdate': {
      const { assigned, gpa = 0n, asid = 0 } = event.state;
      const to = assigned ? `ASID ${asid}, GPA ${hex(gpa)}` : 'the hypervisor';
      return `host: RMPUPDATE ${hex(event.spa)} to ${to}: ${rmpResultName(event.result)}`;
    }
    case 'psmash':
      return `host: PSMASH ${hex(event.spa)}: ${rmpResultName(event.result)}`;
    case 'pvalidate': {
      const size = event.pageSize === PageSize.Huge ? '2 MiB' : '4 KiB';
      const carry = event.unchanged ? ', carry' : '';
      const what = event.validate ? 'validate' : 'rescind';
      return `guest: PVALIDATE ${what} ${hex(event.gva)}, ${size}: ${rmpResultName(event.result)}${carry}`;
    }
    case 'rmpadjust':
      return `guest: RMPADJUST ${hex(event.gva)}: ${rmpResultName(event.result)}`;
    case 'vmgexit':
      return `guest: VMGEXIT ${decodeGhcbMsr(event.request).type} (${hex(event.request)})`;
    case 'vmrun':
      return `host: VMRUN ${decodeGhcbMsr(event.response).type} (${hex(event.response)})`;
    case 'npf':
      return `#VMEXIT(NPF) at GPA ${hex(event.gpa)}, EXITINFO1 ${hex(event.exitInfo1)}`;
    case 'flush':
      return `flush of ${event.gva === undefined ? 'all translations' : hex(event.gva)}`;
    default:
      // An event of a later version.
      return (event as { readonly type: string }).type;
  }
}
