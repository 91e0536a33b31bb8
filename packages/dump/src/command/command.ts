import type { VirtAddr } from '@svsm/address';
import type { VirtBounds } from '@svsm/pagetable';
import type { RmpTable } from '../backing/rmp-table.ts';
import type { Dump } from '../formats/dump.ts';
import type { OpenDumpOptions } from '../formats/open-dump.ts';
import { openDumpFile } from '../node/open-dump-file.ts';
import type { OnProgress } from '../source/on-progress.ts';
import { findAppearances } from '../view/appearances.ts';
import { checkTables } from '../view/check.ts';
import { compareDumps } from '../view/comparison.ts';
import { listContents } from '../view/contents.ts';
import type { DumpView } from '../view/dump-view.ts';
import { describeDump } from '../view/inventory.ts';
import type { LayoutRegion } from '../view/linux-layout.ts';
import { listLeaves, listRuns } from '../view/listing.ts';
import type { EndRecord, ReportRecord, WarningRecord } from '../view/record.ts';
import { linuxRegions, listRegions } from '../view/regions.ts';
import { listRmp } from '../view/rmp-listing.ts';
import { findRoots, type RootSearchOptions, rootsIn } from '../view/root-search.ts';
import { searchMemory } from '../view/search.ts';
import { summarize } from '../view/summary.ts';
import { isFault, listTranslations } from '../view/translation.ts';
import { openView } from '../view/view.ts';
import { listWalks } from '../view/walks.ts';
import { JsonLines } from './json-lines.ts';
import { parseHex } from './numbers.ts';
import { type Beside, openBeside, rmpIn, withNested } from './open-below.ts';
import type { Command, Options } from './options.ts';
import { ExitCode } from './problem.ts';
import { QemuMem, QemuTlb } from './qemu-listing.ts';
import type { Renderer } from './renderer.ts';
import { Strings } from './strings.ts';
import { gapText, TextReport } from './text-report.ts';

/** The input and output of a command. */
export interface Terminal {
  readonly onProgress: OnProgress;
  /** The lines of standard input. Throws if standard input is a terminal. */
  lines(): AsyncIterable<string>;
  /** Prints lines. Returns whether to wait for {@link flush}. */
  print(lines: string): boolean;
  /** Writes bytes as they are. Returns whether to wait for {@link flush}. */
  write(bytes: Uint8Array): boolean;
  flush(): Promise<void>;
  /** Prints one line to standard error. */
  complain(line: string): void;
}

/** The commands that need no page table. */
const WITHOUT_VIEW: readonly Command[] = ['info', 'roots', 'rmp'];

/**
 * Runs the command. Returns the exit code.
 *
 * @throws UsageError, DumpError
 * @throws PageTableError for bounds that are not canonical
 */
export async function execute(options: Options, terminal: Terminal): Promise<number> {
  const dumps: Dump[] = [];
  for (const [i, file] of options.files.entries()) {
    dumps.push(await openDumpFile(file, { ...openOptionsOf(options, i), onProgress: terminal.onProgress }));
  }
  let beside: Beside | undefined;
  try {
    beside = await openBeside(options, terminal.onProgress);
    return await report(options, dumps, terminal, beside.rmp);
  } finally {
    for (const { source } of dumps) source.close();
    beside?.close();
  }
}

/** How to open the file with this index. */
export function openOptionsOf(
  { command, allRoots, raw, ram, views, below }: Options,
  index: number,
): OpenDumpOptions {
  const { nested } = below;
  // A file of unknown format is a raw image if nothing else is needed to read it.
  const needsNoCr3 = command === 'roots' || command === 'rmp' || allRoots || nested !== undefined;
  const isRaw = needsNoCr3 ? { isRawIfUnknown: true } : {};
  // With a nested page table, CR3 is an address in the guest.
  const { cr3, levels, encryption } =
    nested === undefined ? views[index]! : { cr3: undefined, levels: undefined, encryption: undefined };
  return { raw: raw || ram.length > 0, ram, cr3, levels, encryption, ...isRaw };
}

/**
 * Runs the command on opened dumps, one for each file of the options. Returns the exit code.
 *
 * @param beside - the RMP, if it is not in the dumps themselves
 *
 * @throws UsageError, DumpError
 * @throws PageTableError for bounds that are not canonical
 */
export function report(
  options: Options,
  given: readonly Dump[],
  terminal: Terminal,
  beside?: RmpTable,
): Promise<number> {
  const { place, asid, vmpl } = options.below;
  const rmps = given.map((dump) => beside ?? (place && rmpIn(dump, place)));
  const guests = given.map((dump) => withNested(dump, options));
  const { dumps, views, roots } = withRoots(options, guests, terminal);
  const opened = WITHOUT_VIEW.includes(options.command)
    ? []
    : dumps.map((dump, i) => openView(dump, { ...views[i], rmp: rmps[i], asid, vmpl }));
  const records = recordsFor(options, { dumps, opened, roots, rmp: rmps[0] }, terminal);
  return print(records, { options, dumps, opened, terminal });
}

type Records = Iterable<ReportRecord> | AsyncIterable<ReportRecord>;

function recordsFor(options: Options, { dumps, opened, roots, rmp }: Opened, terminal: Terminal): Records {
  const { onProgress } = terminal;
  const { filter, all } = options;
  const [first, second] = opened as [DumpView, DumpView];
  const regions = options.regions || options.region !== undefined ? linuxRegions(first) : undefined;
  const within = options.within ?? boundsOf(regions, options.region);
  const scope = { within, filter, all, regions: options.regions ? regions : undefined, onProgress };
  switch (options.command) {
    case 'runs':
      return listRuns(first, scope);
    case 'leaves':
      return listLeaves(first, scope);
    case 'translate':
      return listTranslations(
        first,
        options.addresses.length > 0 ? options.addresses : addressesIn(terminal.lines()),
      );
    case 'walk':
      return listWalks(first, options.addresses);
    case 'compare':
      return compareDumps(first, second, scope);
    case 'summary':
      return summarize(first, scope);
    case 'find':
      return findAppearances(first, options.addresses, { roots, all: options.all, onProgress });
    case 'read':
      return listContents(first, options.addresses[0]!, options.addresses[1]!);
    case 'search':
      return searchMemory(first, options.pattern, scope);
    case 'check':
      return checkTables(first, scope);
    case 'roots':
      return findRoots(dumps[0]!, { ...rootOptionsOf(options), onProgress });
    case 'regions':
      return listRegions(first, { onProgress });
    case 'rmp':
      return listRmp(dumps[0]!, rmp!, { asid: options.below.asid, onProgress });
    case 'info':
      return describeDump(dumps[0]!);
  }
}

function boundsOf(
  regions: readonly LayoutRegion[] | undefined,
  wanted: string | undefined,
): VirtBounds | undefined {
  const found = regions?.find(({ name }) => name === wanted);
  return found && { start: found.start as VirtAddr, end: found.end };
}

interface Opened {
  readonly dumps: readonly Dump[];
  readonly opened: readonly DumpView[];
  /** The top tables to look in, in addition to those of the views. */
  readonly roots: readonly bigint[];
  readonly rmp: RmpTable | undefined;
}

function rootOptionsOf({ views, all }: Options): RootSearchOptions {
  const { levels, encryption } = views[0]!;
  return { levels, encryption, all };
}

/** A lower score may be of a table of another level. */
const SURE_SCORE = 70;

/** With `--all-roots`, searches for the top tables. If no CR3 is known, that of the first one is taken. */
function withRoots(options: Options, dumps: readonly Dump[], { onProgress }: Terminal) {
  const [dump] = dumps;
  if (!options.allRoots || dump === undefined) return { dumps, views: options.views, roots: [] };
  const [view] = options.views;
  const found = rootsIn(dump, { ...rootOptionsOf(options), onProgress });
  const sure = found.roots.filter(({ score }) => score >= SURE_SCORE);
  const { cpus, kernel } = found.dump;
  const levels = view?.levels ?? sure[0]?.levels;
  const known = view?.cr3 ?? cpus[view?.cpu ?? 0]?.cr3 ?? kernel?.cr3;
  const first = known === undefined ? { cr3: sure[0]?.cr3, levels } : {};
  const roots = sure.filter((root) => levels === undefined || root.levels === levels).map(({ cr3 }) => cr3);
  return { dumps: [found.dump], views: [{ ...view, ...first }], roots };
}

function rendererFor({ command, format, json, qemu }: Options): Renderer {
  if (json) return new JsonLines();
  if (command === 'read' && format === 'strings') return new Strings();
  if (qemu) return command === 'leaves' ? new QemuTlb() : new QemuMem();
  return new TextReport();
}

interface Printing {
  readonly options: Options;
  readonly dumps: readonly Dump[];
  readonly opened: readonly DumpView[];
  readonly terminal: Terminal;
}

/** Prints all records, and the warnings that come up meanwhile. Returns the exit code that follows from them. */
async function print(records: Records, printing: Printing): Promise<number> {
  const { terminal } = printing;
  const renderer = rendererFor(printing.options);
  let code: number = ExitCode.Done;
  /** Prints one record. Returns whether to wait for the reader. */
  const take = (record: ReportRecord): boolean => {
    code = Math.max(code, codeOf(record));
    const isRaw = printing.options.command === 'read' && printing.options.format === 'raw';
    if (isRaw && record.type === 'content') return terminal.write(record.bytes);
    const text = isRaw ? undefined : renderer.render(record);
    if (text !== undefined) return terminal.print(text);
    // If the output format has no line for a fault or a warning, it goes to standard error.
    if (record.type === 'fault') terminal.complain(new TextReport().render(record) ?? '');
    if (record.type === 'warning') terminal.complain(`${record.file}: warning: ${record.message}`);
    if (record.type === 'gap') terminal.complain(gapText(record));
    return false;
  };
  const takeAll = (record: ReportRecord): boolean => {
    if (record.type !== 'end') return take(record);
    code = Math.max(code, codeOfEnd(record, printing));
    for (const warning of warningsOf(printing)) take(warning);
    return take(record);
  };
  const step = (record: ReportRecord): boolean => {
    const isFull = takeAll(record);
    for (const warning of warningsOf(printing)) take(warning);
    return isFull;
  };
  if (Symbol.asyncIterator in records) {
    for await (const record of records) if (step(record)) await terminal.flush();
  } else {
    for (const record of records) if (step(record)) await terminal.flush();
  }
  await terminal.flush();
  return code;
}

/** The warnings since the last call. The notices of a view are also those of its dump, if it has some. */
function warningsOf({ dumps, opened }: Printing): WarningRecord[] {
  const viewed = opened.map(({ dump, notices }) => ({ file: dump.name, notices }));
  const others = opened.length > 0 ? [] : dumps.map(({ name, notices }) => ({ file: name, notices }));
  return [...viewed, ...others].flatMap(({ file, notices }) =>
    (notices?.take() ?? []).map((notice) => ({ type: 'warning', file, ...notice }) as const),
  );
}

/** A listing of nothing is an answer only for a part of the addresses. Otherwise something is wrong, and a warning says so. */
function codeOfEnd({ what, count }: EndRecord, { options, opened }: Printing): number {
  // A dump of page tables only has no ranges of memory.
  if (options.command === 'info') return ExitCode.Done;
  if (['roots', 'appearances', 'matches', 'bytes', 'ranges'].includes(what) && count === 0)
    return ExitCode.Negative;
  if (count > 0 || (what !== 'runs' && what !== 'pages')) return ExitCode.Done;
  if ((options.within ?? options.filter ?? options.region) !== undefined) return ExitCode.Negative;
  // The exit code follows from the warning.
  for (const { notices, cr3 } of opened) {
    if (!notices.isEmpty) continue;
    notices.add('nothing-mapped', `nothing is mapped by the table at CR3 0x${cr3.toString(16)}. Check --cr3`);
  }
  return ExitCode.Done;
}

function codeOf(record: ReportRecord): number {
  const result = record.type === 'walk' ? record.result : record;
  if (result.type === 'translation' && result.obstacle !== null) {
    return isFault(result.obstacle) ? ExitCode.BadTables : ExitCode.Negative;
  }
  if (record.type === 'fault' || record.type === 'warning') return ExitCode.BadTables;
  if (record.type === 'gap') {
    const isOfTables = record.obstacle !== 'not-in-dump' && isFault(record.obstacle);
    return isOfTables ? ExitCode.BadTables : ExitCode.Negative;
  }
  return record.type === 'change' || record.type === 'finding' ? ExitCode.Negative : ExitCode.Done;
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
