/** Lets a guest validate its memory through an SVSM, and prints a report. `--help` lists the options. */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { render } from './report.ts';
import { tellStory } from './story.ts';

const HELP = `Usage: npm run guest-requests -- [--gib N] [--json]

  --gib N  the memory of the guest, 5 to 1024: 64 if not given
  --json   print the report as JSON
  --help   print this help
`;

function main(): void {
  const { values } = parseArgs({
    options: { gib: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return;
  }
  const story = tellStory(gibOf(values.gib ?? '64'));
  if (values.json === true) {
    console.log(JSON.stringify(story, null, 2));
    return;
  }
  // Titles are bold, unless stdout is not a terminal or NO_COLOR is set (https://no-color.org).
  const colour = process.stdout.isTTY === true && !process.env['NO_COLOR'];
  console.log(render(story, (text) => (colour ? `\u001b[1m${text}\u001b[0m` : text)));
}

class WrongSize extends Error {}

function gibOf(text: string): number {
  const gib = Number(text);
  if (Number.isInteger(gib) && gib >= 5 && gib <= 1024) return gib;
  throw new WrongSize(`--gib ${text} is not a size of the guest: pass 5 to 1024`);
}

try {
  main();
} catch (error) {
  // Wrong usage prints one line. Any other error is a bug, and prints its stack.
  const { code, message } = error as NodeJS.ErrnoException;
  const isMisuse = error instanceof WrongSize || code?.startsWith('ERR_PARSE_ARGS') === true;
  console.error(isMisuse ? `guest-requests: ${message.split('\n')[0]}` : error);
  process.exitCode = isMisuse ? 2 : 1;
}
