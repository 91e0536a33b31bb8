import type { StepRow, StoryReport } from './story.ts';

/** The report as lines of at most 80 columns. `title` gives a title its style. */
export function render(story: StoryReport, title: (text: string) => string): string {
  const { gib, steps, validatedMib, readBack, refusals } = story;
  const [accept, validate] = steps as [StepRow, StepRow];
  return [
    title(`A guest of ${gib} GiB validates its memory through its SVSM`),
    '',
    title('The steps of the guest, in pages of 2 MiB'),
    '                     pages   exits   calls  again        time      a page',
    ...steps.map(stepLine),
    `  both in all ${' '.repeat(41)}${msOf(accept.ms + validate.ms)}`,
    '  "again" are the calls that were INCOMPLETE: one processes 128 entries',
    '',
    title('What happened meanwhile'),
    '                   PVALIDATE  RMPADJUST  RMPUPDATE  flushes: SVSM, guest',
    ...steps.map(eventLine),
    '',
    title('The memory that the SVSM has as validated'),
    `  after the launch    ${mibOf(validatedMib[0]!)}`,
    ...steps.map(({ step }, k) => `  ${step.padEnd(18)}  ${mibOf(validatedMib[k + 1]!)}`),
    `  the last page reads as ${readBack[0]}, and after a write as ${readBack[1]}`,
    '',
    title('Requests that must be refused, as the second entry of a list'),
    ...refusals.map(
      ({ what, result, entry }) =>
        `  ${what.padEnd(41)} ${result}${entry === undefined ? '' : ` at entry ${entry}`}`,
    ),
  ].join('\n');
}

function stepLine({ step, entries, stateChanges, calls, incomplete, ms, usPerEntry }: StepRow): string {
  const count = (value: number, width: number): string => String(value).padStart(width);
  return [
    `  ${step.padEnd(16)}`,
    count(entries, 7),
    count(stateChanges, 8),
    count(calls, 8),
    count(incomplete, 7),
    msOf(ms),
    `${usPerEntry.toFixed(1).padStart(9)} us`,
  ].join('');
}

function eventLine({ step, events, ownFlushes, guestFlushes }: StepRow): string {
  const count = (name: string): string => String(events[name] ?? 0).padStart(11);
  const flushes = `${String(ownFlushes).padStart(15)}${String(guestFlushes).padStart(7)}`;
  return `  ${step.padEnd(15)}${count('pvalidate')}${count('rmpadjust')}${count('rmpupdate')}${flushes}`;
}

function msOf(ms: number): string {
  return `${ms.toFixed(0).padStart(9)} ms`;
}

function mibOf(mib: number): string {
  return `${mib.toFixed(mib % 1 === 0 ? 0 : 3).padStart(10)} MiB`;
}
