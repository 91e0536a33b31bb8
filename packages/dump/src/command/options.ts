import { parseArgs } from 'node:util';
import type { VirtAddr } from '@svsm/address';
import type { MemoryEncryption, VirtBounds } from '@svsm/pagetable';
import type { RamRange } from '../formats/open-dump.ts';
import type { RegionName } from '../view/linux-layout.ts';
import type { MappingFilter } from '../view/mapping-filter.ts';
import type { ViewOptions } from '../view/view.ts';
import { type BelowOptions, belowOptions } from './below-options.ts';
import type { ColorChoice } from './colors.ts';
import { completion } from './completion.ts';
import { HELP } from './help.ts';
import { COMMANDS, type Command, OPTIONS, type OptionRow } from './manual.ts';
import { decimal, parseHex, parseRange } from './numbers.ts';
import { UsageError } from './problem.ts';
import { VERSION } from './version.ts';

export { COMMANDS, type Command, OPTIONS };

/** The formats of bytes. */
const FORMATS = OPTIONS.format.choices;
type ContentFormat = (typeof FORMATS)[number];

/** The parsed command line. */
export interface Options {
  readonly command: Command;
  /** Two files for `compare`, else one. */
  readonly files: readonly string[];
  /** For `read`, the first address and the number of bytes. */
  readonly addresses: readonly bigint[];
  /** The pattern of `search`. */
  readonly pattern: Uint8Array;
  /** How `read` prints bytes. */
  readonly format: ContentFormat;
  readonly json: boolean;
  readonly qemu: boolean;
  readonly color: ColorChoice;
  readonly all: boolean;
  /** Look in all top tables of the dump, not only in that of a processor. */
  readonly allRoots: boolean;
  readonly within: VirtBounds | undefined;
  /** The name of the region to list. */
  readonly region: RegionName | undefined;
  /** Name the regions of pages. */
  readonly regions: boolean;
  readonly filter: MappingFilter | undefined;
  readonly raw: boolean;
  readonly ram: readonly RamRange[];
  /** The nested page table and the RMP. */
  readonly below: BelowOptions;
  /** The options of the view of each file. */
  readonly views: readonly ViewOptions[];
}

/**
 * Parses the command line. Returns the text to print if it asks for one: the help, the version, or a script for a shell.
 *
 * @throws UsageError
 */
export function parseCommandLine(args: readonly string[]): Options | { readonly text: string } {
  const { values, positionals } = parse(args);
  if (values.help === true) return { text: HELP };
  if (values.version === true) return { text: `svsm-dump ${VERSION}\n` };
  if (values.completion !== undefined) return { text: completionFor(values.completion) };
  return optionsOf(values, positionals);
}

function completionFor(shell: string): string {
  const found = completion(shell);
  if (found !== undefined) return found;
  throw new UsageError(`--completion: ${JSON.stringify(shell)} is not bash, zsh or fish`);
}

function optionsOf(values: Values, positionals: readonly string[]): Options {
  const [first = '', ...rest] = positionals;
  const isCommand = (COMMANDS as readonly string[]).includes(first);
  const command = isCommand ? (first as Command) : 'runs';
  const { files, addresses, pattern } = operands(command, isCommand ? rest : positionals);
  for (const [name, { only }] of Object.entries<OptionRow>(OPTIONS)) {
    if (values[name as 'qemu'] !== undefined && only?.includes(command) === false) {
      throw new UsageError(`--${name} is for ${only.join(', ')}, not for ${command}`);
    }
  }
  if (values.region !== undefined && values.within !== undefined) {
    throw new UsageError('pass either --region or --within');
  }
  if (values.qemu === true && values.json === true) throw new UsageError('pass either --qemu or --json');
  return {
    command,
    files,
    addresses,
    pattern,
    format: parseFormat(values.format, values.json ?? false),
    json: values.json ?? false,
    qemu: values.qemu ?? false,
    color: parseColor(values.color),
    all: values.all ?? false,
    allRoots: values['all-roots'] ?? false,
    within: values.within === undefined ? undefined : parseBounds(values.within),
    region: parseRegion(values.region),
    regions: values.regions ?? false,
    filter: parseFilter(values),
    raw: values.raw ?? false,
    ram: (values.ram ?? []).map(parseRam),
    below: belowOptions(command, values),
    views: files.map((_, i) => viewOptions(values, i, files.length)),
  };
}

type Values = ReturnType<typeof parse>['values'];

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: OPTIONS,
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith('ERR_PARSE_ARGS') !== true) throw error;
    // The rest is about operands that begin with a minus, of which there are none.
    const problem = /^[^\n]*?(?=\. |\.?\n|\.?$)/.exec(message)?.[0] ?? message;
    throw new UsageError(`${problem}: see --help`, { cause: error });
  }
}

function operands(
  command: Command,
  given: readonly string[],
): { files: readonly string[]; addresses: readonly bigint[]; pattern: Uint8Array } {
  const fileCount = command === 'compare' ? 2 : 1;
  const files = given.slice(0, fileCount);
  const addresses = given.slice(fileCount);
  if (files.length < fileCount) {
    throw new UsageError(`${command} needs ${fileCount === 2 ? 'two files' : 'a file'}: see --help`);
  }
  if (command === 'search') return { files, addresses: [], pattern: parsePattern(addresses) };
  if (addresses.length > 0 && !['translate', 'walk', 'find', 'read'].includes(command)) {
    throw new UsageError(`${command} does not take the argument ${JSON.stringify(addresses[0])}: see --help`);
  }
  if (addresses.length === 0 && (command === 'walk' || command === 'find'))
    throw new UsageError(`${command} needs an address: see --help`);
  if (command === 'read' && addresses.length !== 2)
    throw new UsageError('read needs an address and a number of bytes: see --help');
  const numbers = addresses.map((text) => parseHex(text, 'address'));
  const beyond = numbers.findIndex((paddr) => paddr >= 2n ** 52n);
  if (command === 'find' && beyond >= 0)
    throw new UsageError(`find: ${JSON.stringify(addresses[beyond])} is not a physical address below 2^52`);
  const [start = 0n, length = 0n] = numbers;
  if (command === 'read' && start + length > 2n ** 64n)
    throw new UsageError('read: the bytes must end at 2^64 at most');
  return { files, addresses: numbers, pattern: new Uint8Array(0) };
}

function viewOptions(values: Values, index: number, files: number): ViewOptions {
  const cr3 = oneOf('cr3', values.cr3, index, files);
  const cpu = oneOf('cpu', values.cpu, index, files);
  const vendor = values.vendor ?? 'intel';
  if (vendor !== 'amd' && vendor !== 'intel') {
    throw new UsageError(`--vendor: ${JSON.stringify(vendor)} is neither amd nor intel`);
  }
  const levels = values.levels === undefined ? undefined : decimal('levels', values.levels, 4, 5);
  return {
    cpu: cpu === undefined ? undefined : decimal('cpu', cpu, 0, 2 ** 20),
    cr3: cr3 === undefined ? undefined : parseHex(cr3, '--cr3'),
    cr4: values.cr4 === undefined ? undefined : parseHex(values.cr4, '--cr4'),
    levels: levels as 4 | 5 | undefined,
    physicalBits:
      values['physical-bits'] === undefined
        ? undefined
        : decimal('physical-bits', values['physical-bits'], 32, 52),
    encryption: encryption(values),
    noNx: values['no-nx'] ?? false,
    vendor,
  };
}

/** The value for one of the files. A single value is for both dumps of `compare`; of two values, each dump has its own. */
function oneOf(
  name: string,
  given: readonly string[] = [],
  index: number,
  files: number,
): string | undefined {
  if (given.length > files) {
    throw new UsageError(
      `--${name} is given ${given.length} times, for ${files === 1 ? 'one file' : 'two files'}`,
    );
  }
  return given[Math.min(index, given.length - 1)];
}

function encryption(values: Values): MemoryEncryption | undefined {
  const { 'c-bit': cBit, vtom } = values;
  if (cBit !== undefined && vtom !== undefined) throw new UsageError('pass either --c-bit or --vtom');
  if (cBit !== undefined) return { mode: 'c-bit', bit: decimal('c-bit', cBit, 32, 51) };
  if (vtom !== undefined) return { mode: 'vtom', bit: decimal('vtom', vtom, 32, 51) };
  return undefined;
}

function parseBounds(text: string): VirtBounds {
  const { start, end } = parseRange(text, '--within');
  if (start % 4096n !== 0n || end % 4096n !== 0n) {
    throw new UsageError(
      `--within ${text}: start and end must be multiples of 0x1000, and the end is exclusive`,
    );
  }
  return { start: start as VirtAddr, end };
}

/** Parses `deadbeef`, with or without spaces, or `text:` and any text. */
function parsePattern(words: readonly string[]): Uint8Array {
  const [only = ''] = words;
  if (words.length !== 1) throw new UsageError('search needs one pattern: see --help');
  const digits = only.replaceAll(/[\s_]/g, '').replace(/^0x/i, '');
  const isText = only.startsWith('text:');
  if (!isText && !/^(?:[0-9a-f]{2})+$/i.test(digits)) {
    throw new UsageError(`search: ${JSON.stringify(only)} is neither bytes in hexadecimal nor text:WORDS`);
  }
  const bytes = isText
    ? new TextEncoder().encode(only.slice('text:'.length))
    : Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  if (bytes.length > 0 && bytes.length <= 4096) return bytes;
  throw new UsageError(`search: the pattern has ${bytes.length} bytes, not 1 to 4096`);
}

function parseRegion(text: string | undefined): RegionName | undefined {
  const found = OPTIONS.region.choices.find((name) => name === text);
  if (text === undefined || found !== undefined) return found;
  throw new UsageError(
    `--region: ${JSON.stringify(text)} is not one of ${OPTIONS.region.choices.join(', ')}`,
  );
}

function parseFormat(text: string | undefined, json: boolean): ContentFormat {
  const found = FORMATS.find((format) => format === (text ?? 'hex'));
  if (found === undefined)
    throw new UsageError(`--format: ${JSON.stringify(text)} is not hex, strings or raw`);
  if (json && text !== undefined) throw new UsageError('pass either --format or --json');
  return found;
}

function parseColor(text = 'auto'): ColorChoice {
  const found = OPTIONS.color.choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw new UsageError(`--color: ${JSON.stringify(text)} is not auto, always or never`);
}

const PAGE_SIZES: Readonly<Record<string, number>> = { '4k': 2 ** 12, '2m': 2 ** 21, '1g': 2 ** 30 };
const RIGHTS = { u: 'user', w: 'writable', x: 'executable' } as const;

/** The filter of a listing, if one of its options is given. */
function parseFilter(values: Values): MappingFilter | undefined {
  const { rights, memory, physical, mismatches, 'page-size': pageSize } = values;
  if ([rights, memory, physical, pageSize, mismatches].every((text) => text === undefined)) return undefined;
  const size = pageSize === undefined ? undefined : PAGE_SIZES[pageSize.toLowerCase()];
  if (pageSize !== undefined && size === undefined) {
    throw new UsageError(`--page-size: ${JSON.stringify(pageSize)} is not 4k, 2m or 1g`);
  }
  if (memory !== undefined && memory !== 'shared' && memory !== 'private') {
    throw new UsageError(`--memory: ${JSON.stringify(memory)} is neither shared nor private`);
  }
  return {
    ...(rights === undefined ? {} : parseRights(rights)),
    pageSize: size,
    shared: memory === undefined ? undefined : memory === 'shared',
    physical: physical === undefined ? undefined : parseRange(physical, '--physical'),
    mismatched: mismatches,
  };
}

/** Parses `w+x` (both), `u-w` (the first, and not the second), `-x` (not). */
function parseRights(text: string): MappingFilter {
  if (!/^[-+]?[uwx](?:[-+][uwx])*$/.test(text)) {
    throw new UsageError(
      `--rights: ${JSON.stringify(text)} is not made of u, w and x, with + or - between them`,
    );
  }
  const found: Partial<Record<(typeof RIGHTS)[keyof typeof RIGHTS], boolean>> = {};
  for (const [, sign, letter] of text.matchAll(/([-+]?)([uwx])/g)) {
    const right = RIGHTS[letter as 'u'];
    const isWanted = sign !== '-';
    if (found[right] !== undefined && found[right] !== isWanted) {
      throw new UsageError(`--rights: ${JSON.stringify(text)} asks for ${letter} and against it`);
    }
    found[right] = isWanted;
  }
  return found;
}

function parseRam(text: string): RamRange {
  const [range = '', offset = '', more] = text.split('@');
  if (offset === '' || more !== undefined) throw new UsageError(`--ram ${text}: give START-END@OFFSET`);
  const { start, end } = parseRange(range, '--ram');
  const [paddr, at] = [Number(start), Number(parseHex(offset, '--ram'))];
  if (end > 2n ** 52n || at > 2 ** 52)
    throw new UsageError(`--ram ${text}: addresses and offsets end at 2^52`);
  return { paddr, size: Number(end) - paddr, offset: at };
}
