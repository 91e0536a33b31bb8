import { REGION_NAMES } from '../view/linux-layout.ts';

/** The commands and options: `--help`, the man page, the completion of shells and the parser are made of these tables. */

/** A command. The first one is the default. */
export interface CommandRow {
  readonly operands: string;
  readonly text: string;
}

export const COMMAND_ROWS = {
  runs: { operands: 'FILE', text: 'list contiguous mappings, by address (the default)' },
  leaves: { operands: 'FILE', text: 'list each page, with the bits of its entry' },
  translate: {
    operands: 'FILE [ADDR...]',
    text: 'translate addresses; reads them from standard input if none is given',
  },
  walk: { operands: 'FILE ADDR...', text: 'show the walk for an address, level by level' },
  find: {
    operands: 'FILE PADDR...',
    text: 'show all virtual addresses of physical ones, also inside large pages; with --all-roots, of all processes',
  },
  compare: { operands: 'OLD NEW', text: 'list what was mapped, unmapped, remapped or changed' },
  read: { operands: 'FILE ADDR LENGTH', text: 'print bytes at virtual addresses' },
  search: {
    operands: 'FILE PATTERN',
    text: 'find bytes in mapped memory, by virtual address: deadbeef, or text:WORDS',
  },
  check: {
    operands: 'FILE',
    text: 'list what a sound system does not have: writable and executable pages, kernel pages of user mode, aliases of page tables, code and tables in shared memory; with --rmp, pages that contradict the RMP',
  },
  summary: { operands: 'FILE', text: 'print totals by page size and rights, and warnings' },
  roots: {
    operands: 'FILE',
    text: 'find all top tables (CR3) by their content, with a score; of a raw image too, without --cr3',
  },
  rmp: {
    operands: 'FILE',
    text: 'list the pages of a machine with SEV-SNP by their state in the RMP; needs --rmp or --rmp-file',
  },
  regions: {
    operands: 'FILE',
    text: 'show the regions of the Linux kernel: direct map, vmalloc, vmemmap, text, modules and others, with what is mapped in them',
  },
  info: { operands: 'FILE', text: 'show format, registers of each CPU, memory in the file' },
} as const satisfies Readonly<Record<string, CommandRow>>;

export type Command = keyof typeof COMMAND_ROWS;

/** The commands. The first one is the default. */
export const COMMANDS: readonly Command[] = Object.keys(COMMAND_ROWS) as Command[];

/** The headings of the options. */
export const GROUPS = {
  output: 'Output',
  selection: 'Selection',
  cpu: 'The processor',
  below: 'Below the page tables',
  raw: 'Raw images',
  other: 'Other',
} as const;

/** An option, also as `parseArgs` takes it. */
export interface OptionRow {
  readonly type: 'boolean' | 'string';
  readonly multiple?: boolean;
  /** A letter that stands for it. */
  readonly short?: string;
  /** The name of its value. */
  readonly value?: string;
  /** All of its values, or some of them for the completion of shells. */
  readonly choices?: readonly string[];
  /** The commands that accept it: all if not given. */
  readonly only?: readonly Command[];
  readonly group: keyof typeof GROUPS;
  readonly text: string;
}

const LISTINGS = ['runs', 'leaves', 'summary', 'search', 'check'] as const;
const BACKED = [
  'runs',
  'leaves',
  'translate',
  'walk',
  'find',
  'compare',
  'search',
  'summary',
  'check',
  'rmp',
] as const;

export const OPTIONS = {
  json: { type: 'boolean', group: 'output', text: 'print JSON Lines: one object a line' },
  qemu: {
    type: 'boolean',
    only: ['runs', 'leaves'],
    group: 'output',
    text: "print leaves as QEMU's 'info tlb', runs as its 'info mem'",
  },
  format: {
    type: 'string',
    value: 'hex|strings|raw',
    choices: ['hex', 'strings', 'raw'],
    only: ['read'],
    group: 'output',
    text: 'how read prints bytes (default: hex)',
  },
  color: {
    type: 'string',
    value: 'WHEN',
    choices: ['auto', 'always', 'never'],
    group: 'output',
    text: 'print tables in colours: always, never, or auto (the default), on a terminal. FORCE_COLOR and NO_COLOR are obeyed',
  },
  within: {
    type: 'string',
    value: 'START-END',
    only: ['runs', 'leaves', 'summary', 'compare', 'search', 'check'],
    group: 'selection',
    text: 'list only these virtual addresses; END is exclusive. Or START+SIZE',
  },
  rights: {
    type: 'string',
    value: 'R',
    choices: ['w+x', 'u', 'u+w', 'x'],
    only: LISTINGS,
    group: 'selection',
    text: 'list only pages with these rights: w+x (writable and executable), u-w (user, not writable); --rights=-x',
  },
  'page-size': {
    type: 'string',
    value: '4k|2m|1g',
    choices: ['4k', '2m', '1g'],
    only: LISTINGS,
    group: 'selection',
    text: 'list only pages of this size',
  },
  memory: {
    type: 'string',
    value: 'shared|private',
    choices: ['shared', 'private'],
    only: LISTINGS,
    group: 'selection',
    text: 'list only pages that are shared, or private',
  },
  physical: {
    type: 'string',
    value: 'START-END',
    only: LISTINGS,
    group: 'selection',
    text: 'list only pages in this physical memory, or parts of runs; or START+SIZE',
  },
  region: {
    type: 'string',
    value: 'NAME',
    choices: REGION_NAMES,
    only: LISTINGS,
    group: 'selection',
    text: "list only pages in this region of the Linux kernel, as 'regions' names it",
  },
  regions: {
    type: 'boolean',
    only: ['runs', 'leaves'],
    group: 'output',
    text: 'name the region of the Linux kernel that has each page',
  },
  mismatches: {
    type: 'boolean',
    only: ['runs', 'leaves'],
    group: 'selection',
    text: 'list only pages that contradict the nested page table or the RMP',
  },
  all: {
    type: 'boolean',
    only: ['runs', 'leaves', 'summary', 'compare', 'find', 'search', 'check', 'roots'],
    group: 'selection',
    text: 'list even what aliased tables make extremely long',
  },
  'all-roots': {
    type: 'boolean',
    only: ['find'],
    group: 'selection',
    text: "find looks in all top tables that 'roots' finds",
  },
  cpu: {
    type: 'string',
    multiple: true,
    value: 'N',
    group: 'cpu',
    text: 'use the CR3 of this CPU, counted from 0 (default 0)',
  },
  cr3: {
    type: 'string',
    multiple: true,
    value: 'VALUE',
    group: 'cpu',
    text: 'use this CR3. compare takes --cr3 and --cpu twice: for OLD, then for NEW',
  },
  cr4: { type: 'string', value: 'VALUE', group: 'cpu', text: 'use this CR4 (LA57, PGE)' },
  levels: {
    type: 'string',
    value: '4|5',
    choices: ['4', '5'],
    group: 'cpu',
    text: 'levels of the tables, whatever CR4 says',
  },
  'physical-bits': {
    type: 'string',
    value: 'N',
    group: 'cpu',
    text: 'MAXPHYADDR, 32 to 52 (default: of the file, else 52)',
  },
  'no-nx': { type: 'boolean', group: 'cpu', text: 'EFER.NXE is 0: bit 63 of an entry is reserved' },
  vendor: {
    type: 'string',
    value: 'amd|intel',
    choices: ['amd', 'intel'],
    group: 'cpu',
    text: 'amd: bit 8 of a PML4E or PML5E is reserved (default intel: ignored)',
  },
  'c-bit': {
    type: 'string',
    value: 'N',
    group: 'cpu',
    text: 'pages with bit N set are private, others shared',
  },
  vtom: {
    type: 'string',
    value: 'N',
    group: 'cpu',
    text: 'addresses from 2^N on are shared, those below private',
  },
  nested: {
    type: 'string',
    value: 'FORMAT:POINTER',
    choices: ['npt:', 'npt5:', 'ept:'],
    group: 'below',
    text: 'FILE is the dump of a host: read the memory of one of its guests through this nested page table, npt:NCR3 (npt5: with 5 levels) or ept:EPTP. CR3 of the guest is needed; roots finds it',
  },
  'nested-c-bit': {
    type: 'string',
    value: 'N',
    group: 'below',
    text: 'bit N of the entries of the nested page table is the C-bit of the host',
  },
  rmp: {
    type: 'string',
    value: 'BASE-END',
    only: BACKED,
    group: 'below',
    text: 'show the state of each page in the flat RMP at these physical addresses (RMP_BASE and RMP_END), and what contradicts it; or BASE/SHIFT for a segmented RMP whose segments cover 2^SHIFT bytes',
  },
  'rmp-file': {
    type: 'string',
    value: 'FILE',
    only: BACKED,
    group: 'below',
    text: 'the bytes of a flat RMP from RMP_BASE on. With --rmp, another dump that has the RMP in its memory, or the bytes from BASE on, with the segments at their distance from BASE',
  },
  asid: {
    type: 'string',
    value: 'N',
    only: BACKED,
    group: 'below',
    text: 'the dump is of the guest with this ASID, whose pages are found by their guest-physical addresses (default: of the host, whose writes are compared). rmp lists only the pages of this guest',
  },
  vmpl: {
    type: 'string',
    value: '0|1|2|3',
    choices: ['0', '1', '2', '3'],
    only: BACKED,
    group: 'below',
    text: 'compare the rights of this VMPL with those of the mappings',
  },
  raw: { type: 'boolean', group: 'raw', text: 'read the file as a raw image, whatever it begins with' },
  ram: {
    type: 'string',
    multiple: true,
    value: 'START-END@OFFSET',
    group: 'raw',
    text: 'memory that a raw image has from byte OFFSET on; repeat it for each range (default: all, from 0 on, with the hole below 4 GiB that fits the tables)',
  },
  completion: {
    type: 'string',
    value: 'SHELL',
    choices: ['bash', 'zsh', 'fish'],
    group: 'other',
    text: 'print a script that completes commands and options in bash, zsh or fish',
  },
  version: { type: 'boolean', short: 'V', group: 'other', text: 'print the version; also -V' },
  help: { type: 'boolean', short: 'h', group: 'other', text: 'print this help; also -h' },
} as const satisfies Readonly<Record<string, OptionRow>>;

/** The kinds of files. */
export const FILE_ROWS: readonly (readonly [name: string, text: string])[] = [
  ['ELF core', "of QEMU's dump-guest-memory, with or without -p; of a kernel: /proc/vmcore, makedumpfile -E"],
  ['kdump-compressed', 'of makedumpfile (also flattened, -F), and of dump-guest-memory -z, -l, -s'],
  ['LiME, AVML', 'images without registers: see roots'],
  ['PTFRAME1', 'page tables only'],
  ['SPARSE01', 'one of the others, without its zeros'],
  ['any other', 'a raw memory image; needs --cr3. Known files of other kinds are refused by name'],
];

/** The exit codes. */
export const EXIT_ROWS: readonly (readonly [code: string, text: string])[] = [
  ['0', 'success'],
  [
    '1',
    'success; the dumps differ, check found something, an address is not mapped, or nothing that was asked for is mapped or found',
  ],
  ['2', 'wrong usage'],
  ['3', 'a file cannot be opened, or has a wrong format'],
  [
    '4',
    'success, but page tables are corrupted, outside memory, empty, or do not look like page tables; each place is reported',
  ],
  ['70', 'a bug in svsm-dump'],
];

/** Command lines, each with what it does. */
export const EXAMPLE_ROWS: readonly (readonly [line: string, text: string])[] = [
  ['svsm-dump guest.core --rights w+x', 'the pages that are writable and executable'],
  ['svsm-dump roots guest.raw', 'the CR3 of the kernel and of each process'],
  ['svsm-dump find guest.core 1000000 --all-roots', 'who maps this physical page'],
  [
    'svsm-dump check guest.core --c-bit 51 --rmp-file host.rmp --asid 5',
    'what contradicts the RMP of the host',
  ],
  ['svsm-dump roots host.core --nested ept:10a801e', 'the page tables of a guest inside of the host'],
];

export const SUMMARY = 'Walks the page tables in a memory dump of an x86-64 machine.';
export const FILES_TEXT = 'Files are recognized by their first bytes. They may be gzipped, or a pipe:';
export const NUMBERS_TEXT =
  'Addresses and sizes are hexadecimal, with or without 0x; N is decimal. Long work has a progress bar on standard error, if that is a terminal.';

/** The rows of the options of a group, in their order. */
export function optionsOf(group: keyof typeof GROUPS): [name: string, row: OptionRow][] {
  return Object.entries<OptionRow>(OPTIONS).filter(([, row]) => row.group === group);
}
