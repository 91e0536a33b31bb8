/** Computes the launch measurement of an SEV-SNP guest. `--help` lists the options. */
import { Buffer } from 'node:buffer';
import process from 'node:process';
import { HELP } from './help.ts';
import { type Launch, launchOf } from './launch.ts';
import { parseOptions } from './options.ts';
import { ExitCode, FileError, UsageError } from './problem.ts';
import { json, text } from './report.ts';

function complain(line: string): void {
  process.stderr.write(`launch-digest: ${line}\n`);
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    process.stdout.write(HELP);
    return ExitCode.Done;
  }
  const launch = await launchOf(options);
  process.stdout.write(`${options.json ? json(launch) : text(launch, options.pages)}\n`);
  return codeOf(launch);
}

function codeOf({ name, digest, expected }: Launch): number {
  if (expected === undefined || Buffer.compare(digest, expected) === 0) return ExitCode.Done;
  complain(`${name}: its ID block expects ${Buffer.from(expected).toString('hex')}`);
  return ExitCode.Mismatch;
}

/** Wrong usage and bad files print one line. Any other error is a bug, and prints its stack. */
function fail(error: unknown): number {
  if (error instanceof UsageError || error instanceof FileError) {
    complain(error.message);
    return error instanceof FileError ? ExitCode.BadFile : ExitCode.Usage;
  }
  console.error(error);
  return ExitCode.Bug;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.exitCode = fail(error);
}
