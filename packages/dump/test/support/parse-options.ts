import { type Options, parseCommandLine } from '../../src/command/options.ts';

/** The options of a command line; `undefined` if it asks for a text, such as the help. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const parsed = parseCommandLine(args);
  return 'text' in parsed ? undefined : parsed;
}
