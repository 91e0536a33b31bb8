/** Every attack of a hypervisor on an SEV-SNP guest, run to its end. `--help` tells the rest. */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { markdown, rows, story, table } from './report.ts';
import { run } from './scenario.ts';
import { SCENARIOS } from './scenarios/index.ts';

const HELP = `Usage: npm run snp-adversary -- [--json | --markdown | --scenario NAME [--careless]]

  --json           print the table as JSON
  --markdown       print it as in README.md
  --scenario NAME  one attack step by step, by its name in the table
  --careless       on a guest whose software leaves its part undone
  --help           print this
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
    super(`no scenario is called ${name}: without --scenario, all are listed`);
  }
}

try {
  await main();
} catch (error) {
  // Wrong use gets one line; anything else is a bug, and shows where it is.
  const { code, message } = error as NodeJS.ErrnoException;
  const isMisuse = error instanceof UnknownScenario || code?.startsWith('ERR_PARSE_ARGS') === true;
  console.error(isMisuse ? `snp-adversary: ${message.split('\n')[0]}` : error);
  process.exitCode = isMisuse ? 2 : 1;
}
