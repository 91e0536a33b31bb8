import type { MapRow, StoryReport } from './story.ts';

/** The report as lines of at most 80 columns. `title` gives a title its style. */
export function render(story: StoryReport, title: (text: string) => string): string {
  const { launched, steps, map, layout, cpus, freePages, totalPages, validatedMib, refusals } = story;
  return [
    title('The boot of an SVSM in a guest of 1 TiB'),
    '',
    title('The memory map of the launch'),
    ...launched.map(mapLine),
    '',
    title('The steps, and the instructions and exits of each'),
    ...steps.flatMap(({ step, text, events }) => [
      ...wrap(`${step.padEnd(16)} ${text}`, 17),
      ...(Object.keys(events).length === 0 ? [] : wrap(`${' '.repeat(17)}${countsOf(events)}`, 17)),
    ]),
    '',
    title('The memory map afterwards'),
    ...map.map(mapLine),
    `  validated: ${validatedMib} MiB`,
    '',
    title('The address space'),
    ...layout.split('\n').map((line) => `  ${line}`),
    '',
    title('The processors'),
    ...cpus.map(({ apicId, cr3, ghcb }) => `  APIC ID ${apicId}: CR3 ${cr3}, GHCB at ${ghcb}`),
    `  free pages of the heap: ${freePages} of ${totalPages}`,
    '',
    title('Boots that must fail'),
    ...refusals.flatMap(({ what, error }) => wrap(`  ${what}: ${error}`, 4)),
  ].join('\n');
}

function mapLine({ start, end, mib, kind }: MapRow): string {
  return `  ${start}-${end} ${sizeOf(mib).padStart(9)}  ${kind}`;
}

function sizeOf(mib: number): string {
  if (mib < 1) return `${mib * 1024} KiB`;
  return mib % 1024 === 0 ? `${mib / 1024} GiB` : `${mib} MiB`;
}

function countsOf(events: Readonly<Record<string, number>>): string {
  return Object.entries(events)
    .map(([name, count]) => `${name}×${count}`)
    .join(' ');
}

/** Breaks a text at spaces into lines of at most 80 columns; all but the first are indented. */
function wrap(text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/(?<=\S) (?=\S)/)) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (longer.length <= 80 || line === '') {
      line = longer;
      continue;
    }
    lines.push(line);
    line = ' '.repeat(indent) + word;
  }
  return [...lines, line];
}
