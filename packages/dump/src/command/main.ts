#!/usr/bin/env node
/** Walks the page tables in memory dumps. `--help` lists commands and options. */
import process from 'node:process';
import { createInterface } from 'node:readline';
import { isPageTableError } from '@svsm/pagetable';
import { isDumpError } from '../source/dump-error.ts';
import { printable } from '../source/printable.ts';
import { colored, isColored } from './colors.ts';
import { execute } from './command.ts';
import { type Options, parseCommandLine } from './options.ts';
import { Output } from './output.ts';
import { ExitCode, lineOf, UsageError } from './problem.ts';
import { Progress } from './progress.ts';

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
    complain(lineOf(error));
    return isDumpError(error) && error.code !== 'NO_SUCH_CPU' ? ExitCode.BadFile : ExitCode.Usage;
  }
  console.error(error);
  return ExitCode.Bug;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.exitCode = fail(error);
}
