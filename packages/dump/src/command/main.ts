#!/usr/bin/env node
/** Walks the page tables in memory dumps. `--help` lists commands and options. */
import process from 'node:process';
import { createInterface } from 'node:readline';
import { inspect } from 'node:util';
import { isPageTableError } from '@svsm/pagetable';
import { isDumpError } from '../source/dump-error.ts';
import { printable, printableLines } from '../source/printable.ts';
import { colored, isColored } from './colors.ts';
import { execute } from './command.ts';
import { type Options, parseCommandLine } from './options.ts';
import { Output } from './output.ts';
import { ExitCode, lineOf, UsageError } from './problem.ts';
import { Progress } from './progress.ts';

// Whoever has stopped reading the complaints gets the exit code still.
process.stderr.on('error', () => {});
const progress = new Progress();
const output = new Output(progress);

function complain(line: string): void {
  progress.clear();
  process.stderr.write(`svsm-dump: ${printable(line)}\n`);
}

function lines(): AsyncIterable<string> {
  if (process.stdin.isTTY === true)
    throw new UsageError('translate needs addresses: pass them as arguments, or through standard input');
  return createInterface({ input: process.stdin });
}

/** Only tables have colours: other formats are for programs, and bytes of a dump are shown as they are. */
function hasColors({ command, color, json, qemu }: Options): boolean {
  if (json || qemu || command === 'read') return false;
  return isColored(color, { isTerminal: process.stdout.isTTY === true, env: process.env });
}

async function main(): Promise<number> {
  const options = parseCommandLine(process.argv.slice(2));
  if (!('text' in options)) {
    if (hasColors(options)) output.paint = colored;
    const print = (text: string): boolean => output.add(text);
    const onProgress = progress.report;
    return execute(options, {
      onProgress,
      lines,
      print,
      write: (bytes) => output.write(bytes),
      flush: () => output.flush(),
      complain,
    });
  }
  output.add(options.text.trimEnd());
  await output.flush();
  return ExitCode.Done;
}

/** Wrong usage and bad files print one line. Any other error is a bug, and prints its stack. */
function fail(error: unknown): number {
  const isBounds = isPageTableError(error, 'NON_CANONICAL') || isPageTableError(error, 'MISALIGNED');
  if (error instanceof UsageError || isDumpError(error) || isBounds) {
    // The bounds can only be those of --within.
    complain(isBounds ? `--within: ${lineOf(error as Error)}` : lineOf(error as Error));
    const isUsage = isBounds || isDumpError(error, 'NO_SUCH_CPU') || isDumpError(error, 'INVALID_ARGUMENT');
    return isUsage || error instanceof UsageError ? ExitCode.Usage : ExitCode.BadFile;
  }
  progress.clear();
  process.stderr.write(`${printableLines(inspect(error))}\n`);
  return ExitCode.Bug;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.exitCode = fail(error);
} finally {
  progress.clear();
}
