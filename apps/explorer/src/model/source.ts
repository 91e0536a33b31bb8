import type { Step } from './step.ts';
import type { Timeline } from './timeline.ts';
import { SVSM_WORLD_SOURCE } from './worlds.ts';

/** A module that makes the state after a step of a scenario with an SVSM. */
export function sourceOf({ steps, scenario }: Timeline, step: number): string {
  const at = steps[step]!;
  const before = steps.filter(
    ({ call, event }, i) => i < step && call < at.call && isCallEnd(steps, i, event),
  );
  const lines = before.map(statementOf).filter((line) => line !== '');
  const last = statementOf(at);
  const isInside = at.event > 0 && steps[step + 1]?.call === at.call;
  const isTableSeen = isInside && last.includes('makePageShared');
  const body = [...lines, ...(isInside ? stopped(last, at.event) : [attempt(at, last)])].filter(Boolean);
  const text = [WORLD(isInside), ...(isTableSeen ? [SEEN] : []), '', ...body].join('\n');
  return `// ${scenario.title}, after step ${step}: ${at.title}.\n${importsOf(text)}\n\n${text}\n\nexport { guest, heap, machine, pageTable, svsm, vcpu };\n`;
}

/** Whether a step is the last one of its call. */
function isCallEnd(steps: readonly Step[], index: number, _event: number): boolean {
  return steps[index + 1]?.call !== steps[index]!.call;
}

function statementOf({ run, code }: Step): string {
  return run ?? code;
}

/** The last call of an experiment may throw: that is its outcome. */
function attempt({ outcome }: Step, statement: string): string {
  if (outcome?.kind !== 'fault' && outcome?.kind !== 'refused') return statement;
  return `try {\n  ${statement}\n} catch (error) {\n  console.log(String(error));\n}`;
}

/** Runs a call up to an event of the machine. */
function stopped(statement: string, events: number): string[] {
  return [
    `// The state is one in the middle of this call: it ends after ${events} of its events.`,
    `eventsLeft = ${events};`,
    `try {\n  ${statement}\n} catch (error) {\n  if (eventsLeft !== 0) throw error;\n}`,
  ];
}

function WORLD(isInside: boolean): string {
  if (!isInside) return SVSM_WORLD_SOURCE;
  const trace = `let eventsLeft = Infinity;
const trace = () => {
  eventsLeft -= 1;
  if (eventsLeft === 0) throw new Error('stop');
};
`;
  return trace + SVSM_WORLD_SOURCE.replace('memorySize: 2 ** 40 }', 'memorySize: 2 ** 40, trace }');
}

/** Changes of the page table count like events of the machine. */
const SEEN = `for (const name of ['split4k', 'setShared4k']) {
  const change = pageTable[name].bind(pageTable);
  pageTable[name] = (page) => {
    change(page);
    trace();
  };
}`;

const EXPORTS: readonly (readonly [string, readonly string[]])[] = [
  ['@svsm/address', ['PAGE_SIZE', 'PageSize', 'physAddr', 'virtAddr']],
  ['@svsm/buddy-alloc', ['getOrder', 'PageAllocator']],
  ['@svsm/memory-region', ['physRegion']],
  ['@svsm/mm', ['Svsm']],
  ['@svsm/sev-snp', ['makePageShared', 'PageOperation', 'requestPageState', 'SnpMachine']],
];

/** The imports of the names that a module uses. */
function importsOf(text: string): string {
  return EXPORTS.map(
    ([name, all]) => [name, all.filter((one) => new RegExp(`\\b${one}\\b`).test(text))] as const,
  )
    .filter(([, used]) => used.length > 0)
    .map(([name, used]) => `import { ${used.join(', ')} } from '${name}';`)
    .join('\n');
}
