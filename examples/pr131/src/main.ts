/** Shares four pages with the hypervisor and prints a report. `--help` lists the options. */
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { UnreadableFile } from './frames-file.ts';
import { shareInKernel } from './kernel.ts';
import { render, styleFor } from './report.ts';
import { tellStory } from './story.ts';

const HELP = `Usage: npm start -- [--json] [--frames FILE]

  --json          print the report as JSON; addresses and entries are "0x…"
  --frames FILE   use other page tables than those in fixtures/, in the same format
  --help          print this help
`;

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

function main(): void {
  const { values } = parseArgs({
    options: { json: { type: 'boolean' }, frames: { type: 'string' }, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return;
  }
  const kernel =
    values.frames === undefined
      ? shareInKernel(fixture('case-a.frames.gz'), fixture('case-a.gva2gpa.json.gz'))
      : shareInKernel(values.frames);
  const story = tellStory();
  if (values.json === true) {
    const hex = (_: string, value: unknown): unknown =>
      typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
    console.log(JSON.stringify({ story, kernel }, hex, 2));
    return;
  }
  const colour = process.stdout.isTTY === true && !process.env['NO_COLOR'];
  console.log(render(story, kernel, styleFor(colour)));
}

try {
  main();
} catch (error) {
  // Wrong usage prints one line. Any other error is a bug, and prints its stack.
  const { code, message } = error as NodeJS.ErrnoException;
  const isMisuse = error instanceof UnreadableFile || code?.startsWith('ERR_PARSE_ARGS') === true;
  console.error(isMisuse ? `pr131: ${message.split('\n')[0]}` : error);
  process.exitCode = isMisuse ? 2 : 1;
}
