/** Runs every attack of a hypervisor on the pages of an SEV-SNP guest. `--help` lists the options. */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { markdown, rows, story, table } from './report.ts';
import { run } from './scenario.ts';
import { SCENARIOS } from './scenarios/index.ts';

const HELP = `Usage: npm run snp-adversary -- [--json | --markdown | --scenario NAME [--careless]]

  --json           print the table as JSON
  --markdown       print the table in Markdown, as in README.md
  --scenario NAME  print the steps of one attack; the table has the names
  --careless       run it on a guest whose software neglects its duty
  --help           print this help
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean' },
      markdown: { type: 'boolean' },
      scenario: { type: 'string' },
      careless: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  const print = (text: string): boolean => process.stdout.write(`${text}\n`);
  if (values.help === true) process.stdout.write(HELP);
  else if (values.scenario !== undefined) {
    const scenario = SCENARIOS.find(({ name }) => name === values.scenario);
    if (scenario === undefined) throw new UnknownScenario(values.scenario);
    const careful = values.careless !== true;
    print(story(scenario, await run(scenario, careful), careful));
  } else if (values.json === true) print(JSON.stringify(await rows(), undefined, 2));
  else print(values.markdown === true ? markdown(await rows()) : table(await rows()));
}

class UnknownScenario extends Error {
  constructor(name: string) {
    super(`there is no scenario ${name}: run without --scenario to list all`);
  }
}

try {
  await main();
} catch (error) {
  // Wrong usage prints one line. Any other error is a bug, and prints its stack.
  const { code, message } = error as NodeJS.ErrnoException;
  const isMisuse = error instanceof UnknownScenario || code?.startsWith('ERR_PARSE_ARGS') === true;
  console.error(isMisuse ? `snp-adversary: ${message.split('\n')[0]}` : error);
  process.exitCode = isMisuse ? 2 : 1;
}
