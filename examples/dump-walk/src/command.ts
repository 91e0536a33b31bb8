import { comparison } from './comparison.ts';
import type { Dump } from './dump.ts';
import { shapesOf } from './examine.ts';
import { inventory } from './inventory.ts';
import { JsonLines } from './json-lines.ts';
import { leaves, runs } from './listing.ts';
import { openDump } from './open-dump.ts';
import { type Options, parseHex } from './options.ts';
import { ExitCode } from './problem.ts';
import type { Progress } from './progress.ts';
import { QemuMem, QemuTlb } from './qemu-listing.ts';
import type { DumpWalkRecord, EndRecord, WarningRecord } from './record.ts';
import type { Renderer } from './renderer.ts';
import { summary } from './summary.ts';
import { TextReport } from './text-report.ts';
import { isFault, translations } from './translation.ts';
import { openView, type View } from './view.ts';
import { walks } from './walks.ts';

/** The input and output of a command. */
export interface Terminal {
  readonly progress: Progress;
  /** The lines of standard input. Throws if standard input is a terminal. */
  lines(): AsyncIterable<string>;
  /** Prints lines. Returns whether to wait for {@link flush}. */
  print(lines: string): boolean;
  flush(): Promise<void>;
  /** Prints one line to standard error. */
  complain(line: string): void;
}

/**
 * Runs the command. Returns the exit code.
 *
 * @throws UsageError, DumpError; PageTableError for bounds that are not canonical
 */
export async function execute(options: Options, terminal: Terminal): Promise<number> {
  const dumps: Dump[] = [];
  for (const [i, file] of options.files.entries()) {
    const { raw, ram, views } = options;
    const { cr3, levels, encryption } = views[i]!;
    const shapes = cr3 === undefined ? [] : shapesOf(cr3, levels, encryption);
    const how = { raw: raw || ram.length > 0, cr3Known: cr3 !== undefined, ram, shapes };
    dumps.push(await openDump(file, how, terminal.progress));
  }
  try {
    return await report(options, dumps, terminal);
  } finally {
    for (const { source } of dumps) source.close();
  }
}

/**
 * Runs the command on opened dumps, one for each file of the options. Returns the exit code.
 *
 * @throws UsageError, DumpError; PageTableError for bounds that are not canonical
 */
export function report(options: Options, dumps: readonly Dump[], terminal: Terminal): Promise<number> {
  const opened = options.command === 'info' ? [] : dumps.map((dump, i) => viewOf(options, dump, i));
  return print(recordsFor(options, dumps, opened, terminal), { options, opened, terminal });
}

type Records = Iterable<DumpWalkRecord> | AsyncIterable<DumpWalkRecord>;

function recordsFor(
  options: Options,
  dumps: readonly Dump[],
  opened: readonly View[],
  terminal: Terminal,
): Records {
  const { progress } = terminal;
  const [first, second] = opened as [View, View];
  switch (options.command) {
    case 'runs':
      return runs(first, options, progress);
    case 'leaves':
      return leaves(first, options, progress);
    case 'translate':
      return translations(
        first,
        options.addresses.length > 0 ? options.addresses : addressesIn(terminal.lines()),
      );
    case 'walk':
      return walks(first, options.addresses);
    case 'compare':
      return comparison(first, second, options, progress);
    case 'summary':
      return summary(first, options, progress);
    case 'info':
      return inventory(options.files[0]!, dumps[0]!);
  }
}

function viewOf({ files, views }: Options, dump: Dump, index: number): View {
  return openView(files[index]!, dump, views[index]!);
}

function rendererFor({ command, json, qemu }: Options): Renderer {
  if (json) return new JsonLines();
  if (qemu) return command === 'leaves' ? new QemuTlb() : new QemuMem();
  return new TextReport();
}

interface Printing {
  readonly options: Options;
  readonly opened: readonly View[];
  readonly terminal: Terminal;
}

/** Prints all records, and the warnings that come up meanwhile. Returns the exit code that follows from them. */
async function print(records: Records, printing: Printing): Promise<number> {
  const { terminal } = printing;
  const renderer = rendererFor(printing.options);
  let code: number = ExitCode.Done;
  /** Prints one record. Returns whether to wait for the reader. */
  const take = (record: DumpWalkRecord): boolean => {
    code = Math.max(code, codeOf(record));
    const text = renderer.render(record);
    if (text !== undefined) return terminal.print(text);
    // If the output format has no line for a fault or a warning, it goes to standard error.
    if (record.type === 'fault') terminal.complain(new TextReport().render(record) ?? '');
    if (record.type === 'warning') terminal.complain(`${record.file}: warning: ${record.message}`);
    return false;
  };
  const takeAll = (record: DumpWalkRecord): boolean => {
    if (record.type !== 'end') return take(record);
    code = Math.max(code, codeOfEnd(record, printing));
    for (const warning of warningsOf(printing)) take(warning);
    return take(record);
  };
  const step = (record: DumpWalkRecord): boolean => {
    const isFull = takeAll(record);
    for (const warning of warningsOf(printing)) take(warning);
    return isFull;
  };
  if (Symbol.asyncIterator in records) {
    for await (const record of records) if (step(record)) await terminal.flush();
  } else {
    for (const record of records) if (step(record)) await terminal.flush();
  }
  terminal.progress.clear();
  await terminal.flush();
  return code;
}

/** The warnings since the last call. */
function warningsOf({ opened }: Printing): WarningRecord[] {
  return opened.flatMap(({ file, notices }) =>
    notices.take().map((notice) => ({ type: 'warning', file, ...notice }) as const),
  );
}

/** A listing of nothing is an answer only for a part of the addresses. Otherwise something is wrong, and a warning says so. */
function codeOfEnd({ what, count }: EndRecord, { options, opened }: Printing): number {
  if (count > 0 || (what !== 'runs' && what !== 'pages')) return ExitCode.Done;
  if (options.within !== undefined) return ExitCode.Negative;
  // The exit code follows from the warning.
  for (const { notices, cr3 } of opened) {
    if (!notices.isEmpty) continue;
    notices.add('nothing-mapped', `nothing is mapped by the table at CR3 0x${cr3.toString(16)}. Check --cr3`);
  }
  return ExitCode.Done;
}

function codeOf(record: DumpWalkRecord): number {
  const result = record.type === 'walk' ? record.result : record;
  if (result.type === 'translation' && result.obstacle !== null) {
    return isFault(result.obstacle) ? ExitCode.BadTables : ExitCode.Negative;
  }
  if (record.type === 'fault' || record.type === 'warning') return ExitCode.BadTables;
  return record.type === 'change' ? ExitCode.Negative : ExitCode.Done;
}

/** The addresses in lines, separated by blanks. The rest of a line after `#` is a comment. */
async function* addressesIn(lines: AsyncIterable<string>): AsyncGenerator<bigint, undefined, undefined> {
  let number = 0;
  for await (const line of lines) {
    number += 1;
    const words = line.replace(/#.*/, '').trim().split(/\s+/);
    for (const word of words) if (word !== '') yield parseHex(word, `line ${number} of standard input`);
  }
}
