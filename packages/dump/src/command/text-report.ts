import { formatAddress } from '@svsm/address';
import type { BackingFacts } from '../backing/backing.ts';
import { printable } from '../source/printable.ts';
import { sizeText } from '../source/size-text.ts';
import { LeafBits } from '../view/entry-bits.ts';
import type {
  AppearanceRecord,
  ChangeRecord,
  ChangeSide,
  ContentRecord,
  CpuRecord,
  DumpRecord,
  EndRecord,
  FaultRecord,
  FindingRecord,
  GapRecord,
  LeafRecord,
  MatchRecord,
  PageFacts,
  RegionRecord,
  ReportRecord,
  RootRecord,
  RunRecord,
  StepRecord,
  SummaryRecord,
  SummaryWarning,
  TranslationRecord,
  WalkRecord,
} from '../view/record.ts';
import { BACKING_HEADING, backingText, PAGE_NAMES, RMP_HEADING, rmpText } from './backing-text.ts';
import type { Renderer } from './renderer.ts';

const TABLE_NAMES = ['PT', 'PD', 'PDPT', 'PML4', 'PML5'] as const;
const BASES: Readonly<Record<RegionRecord['basis'], string>> = {
  documented: 'documentation',
  vmcoreinfo: 'VMCOREINFO',
  headers: 'headers of the file',
  tables: 'the mappings',
};
/** The headings of columns. The first column is two characters shorter, because the line begins with `# `. */
const HEADINGS: Partial<Record<ReportRecord['type'], string>> = {
  finding: `${'finding'.padEnd(17)} ${'start'.padEnd(18)} ${'end'.padEnd(18)} ${'size'.padStart(10)}  ${'physical'.padEnd(18)} page rights memory`,
  rmp: `${'start'.padEnd(16)} ${'end'.padEnd(18)} ${'size'.padStart(10)}  ${RMP_HEADING}`,
  region: `${'region'.padEnd(9)} ${'start'.padEnd(18)} ${'end'.padEnd(18)} ${'mapped'.padStart(12)}  known by`,
  match: `${'virtual'.padEnd(16)} ${'physical'.padEnd(18)} page rights memory`,
  appearance: `${'virtual'.padEnd(16)} ${'physical'.padEnd(18)} page rights memory  in`,
  root: `${'CR3'.padEnd(16)} levels   score   user kernel`,
  run: `${'start'.padEnd(16)} ${'end'.padEnd(18)} ${'size'.padStart(10)}  ${'physical'.padEnd(18)} page rights memory`,
  leaf: `${'virtual'.padEnd(16)} ${'physical'.padEnd(18)} page rights memory  bits of the leaf`,
  translation: `${'virtual'.padEnd(16)} ${'physical'.padEnd(18)} page rights memory  in the file`,
  change: `${'start'.padEnd(16)} ${'end'.padEnd(18)} ${'size'.padStart(10)}  ${'change'.padEnd(10)} before → after`,
};
const CHANGE_SIGNS: Readonly<Record<ChangeRecord['change'], string>> = {
  mapped: '+ mapped',
  unmapped: '- unmapped',
  remapped: '~ remapped',
  rights: '~ rights',
  visibility: '~ memory',
  'page-size': '~ page',
  backing: '~ below',
};
const WARNINGS: Readonly<Partial<Record<SummaryWarning['warning'], string>>> = {
  'writable-executable': 'writable and executable (W+X)',
  'user-in-upper-half': 'user pages in the upper half',
  'supervisor-in-lower-half': 'supervisor pages in the lower half',
  'self-mapped': 'reached at several levels (a self-map or a loop)',
};

/** Text tables. Lines that begin with `#` describe the listing; all others belong to it. */
export class TextReport implements Renderer {
  #heading: string | undefined;
  readonly #bits: LeafBits = new LeafBits();

  render(record: ReportRecord): string | undefined {
    const text = this.#textOf(record);
    const heading = headingOf(record);
    if (heading === undefined || heading === this.#heading) return text;
    this.#heading = heading;
    return `# ${heading}\n${text}`;
  }

  #textOf(record: ReportRecord): string | undefined {
    switch (record.type) {
      case 'dump':
        return dumpText(record);
      case 'run':
        return runText(record);
      case 'leaf':
        return leafText(record, this.#bits);
      case 'fault':
        return faultText(record);
      case 'warning':
        return undefined;
      case 'translation':
        return translationText(record);
      case 'walk':
        return walkText(record);
      case 'change':
        return changeText(record);
      case 'summary':
        return summaryText(record);
      case 'file':
        return `# ${printable(record.file)}: ${printable(record.kind)}; ${record.size} bytes, ${record.cpus} ${record.cpus === 1 ? 'CPU' : 'CPUs'}`;
      case 'finding':
        return findingText(record);
      case 'content':
        return contentText(record);
      case 'gap':
        return undefined;
      case 'region':
        return regionText(record);
      case 'rmp':
        return rmpText(record);
      case 'match':
        return matchText(record);
      case 'appearance':
        return appearanceText(record);
      case 'root':
        return rootText(record);
      case 'cpu':
        return cpuText(record);
      case 'memory': {
        const { start, end, size, fileOffset, isZero } = record;
        return `memory ${range(start, end)} ${sizeText(size).padStart(10)}  ${isZero ? 'zeros, not in the file' : fileOffset === null ? 'compressed' : `at byte ${fileOffset} of the file`}`;
      }
      case 'end':
        return endText(record);
    }
  }
}

function dumpText({ file, kind, ...of }: DumpRecord): string {
  const cpu = of.cpus === 0 ? 'CR3' : `CPU ${of.cpu} of ${of.cpus}: CR3`;
  const cr4 = of.cr4 === null ? '' : `, CR4 0x${of.cr4.toString(16)}`;
  const encryption =
    of.encryption === null
      ? 'no memory encryption'
      : `${of.encryption.mode === 'vtom' ? 'vTOM' : 'C-bit'} at bit ${of.encryption.bit}`;
  const facts = `${of.levels} levels, ${of.physicalBits} physical bits, NX ${of.noExecute ? 'on' : 'off'}, ${encryption}`;
  return `# ${printable(file)}: ${printable(kind)}\n# ${cpu} 0x${of.cr3.toString(16)}${cr4}; ${facts}`;
}

/** The layers below a mapping have columns of their own. */
function headingOf(record: ReportRecord): string | undefined {
  const heading = HEADINGS[record.type];
  const { region, backing, backings } = record as Partial<RunRecord & LeafRecord>;
  if (heading === undefined) return heading;
  const below = backing === undefined && backings === undefined ? '' : ` | ${BACKING_HEADING}`;
  return `${heading}${region === undefined ? '' : ' | region'}${below}`;
}

function runText({ start, end, size, region, backing, ...facts }: RunRecord): string {
  const line = `${range(start, end)} ${sizeText(size).padStart(10)}  ${factsText(facts)}${nameText(region)}`;
  return `${line}${below(backing)}`.trimEnd();
}

/** The last column: the layers below, if they are known. */
function below(backing: BackingFacts | undefined): string {
  return backing === undefined ? '' : ` | ${backingText(backing)}`;
}

function nameText(region: RunRecord['region']): string {
  return region === undefined ? '' : ` | ${(region ?? '-').padEnd(10)}`;
}

function regionText({ name, start, end, mapped, basis, kernelOffset, textStart }: RegionRecord): string {
  const moved = kernelOffset === undefined ? '' : `, moved by ${short(kernelOffset)}`;
  const code = textStart === undefined ? '' : `, code from ${short(textStart)}`;
  return `${name.padEnd(11)} ${range(start, end)} ${sizeText(mapped).padStart(12)}  ${BASES[basis]}${moved}${code}`;
}

/** If the parts of a large page differ in what lies below, each part has a line of its own. */
function leafText({ start, flags, region, backings, ...facts }: LeafRecord, bits: LeafBits): string {
  const line = `${formatAddress(start)} ${factsText(facts)} ${bits.of(flags, facts.pageSize).join(' ')}${nameText(region)}`;
  if (backings === undefined) return line;
  if (backings.length === 1) return `${line} | ${backingText(backings[0]!)}`.trimEnd();
  const parts = backings.map(
    (part) =>
      `  ${range(start + part.offset, start + part.offset + part.size)} ${sizeText(part.size).padStart(10)} | ${backingText(part)}`,
  );
  return [line, ...parts].join('\n');
}

function faultText({ fault, start, level, paddr, entry, reserved }: FaultRecord): string {
  const name = TABLE_NAMES[level as 0];
  const what =
    fault === 'reserved-bits'
      ? `the ${name} entry at ${short(paddr)} is ${formatAddress(entry ?? 0n)}, with reserved bits ${short(reserved ?? 0n)}`
      : `the ${name} at ${short(paddr)} is outside memory`;
  return `${formatAddress(start)} ! not listed: ${what}`;
}

function translationText(record: TranslationRecord): string {
  const { vaddr, page, paddr, fileOffset } = record;
  if (page === null || paddr === null) return `${formatAddress(vaddr)} ${obstacleText(record)}`;
  const place = fileOffset === null ? '-' : `byte ${fileOffset}`;
  const line = `${formatAddress(vaddr)} ${factsText({ ...page, paddr: paddr as PageFacts['paddr'] })} ${place}`;
  return line + below(record.backing);
}

function obstacleText({ obstacle, level }: TranslationRecord): string {
  const entry = level === null ? 'an entry' : `its ${TABLE_NAMES[level as 0]} entry`;
  switch (obstacle) {
    case 'not-canonical':
      return 'not canonical';
    case 'reserved-bits':
      return `not translated: ${entry} has reserved bits set`;
    case 'bus-error':
      return 'not translated: a table is outside memory';
    default:
      return `not mapped: ${entry} is not present`;
  }
}

function walkText({ vaddr, steps, result }: WalkRecord): string {
  const place = result.fileOffset === null ? '' : `, byte ${result.fileOffset} of the file`;
  const last =
    result.page === null || result.paddr === null
      ? `  ${obstacleText(result)}`
      : `  ${formatAddress(result.paddr)}, in a ${PAGE_NAMES[result.page.pageSize]} page, ${rights(result.page)}${memory(result.page.shared)}${place}`;
  const below = result.backing === undefined ? [] : [`  below: ${backingText(result.backing)}`];
  return [formatAddress(vaddr), ...steps.map(stepText), last, ...below].join('\n');
}

/** Named bits are in capitals if they are set, else in small letters. Other bits appear only if they are set. */
function stepText(step: StepRecord): string {
  const { level, index, entryAddress, entry, present, leaf, address, protectionKey, reserved } = step;
  const place = `  ${`${TABLE_NAMES[level as 0]}[${index}]`.padEnd(9)} at ${short(entryAddress).padEnd(14)} ${formatAddress(entry)}`;
  if (!present) return `${place}  p`;
  const bits = Object.entries(step.bits).flatMap(([name, isSet]) => {
    if (isSet) return [name];
    return name.startsWith('bit') ? [] : [name.toLowerCase()];
  });
  if (protectionKey !== null) bits.push(`key=${protectionKey}`);
  if (reserved !== 0n) bits.push(`RESERVED=${short(reserved)}`);
  const target = `${leaf ? 'page' : TABLE_NAMES[(level - 1) as 0]} ${short(address ?? 0n)}`;
  return `${place}  ${bits.join(' ')} → ${target}`;
}

function changeText({ start, end, size, change, before, after }: ChangeRecord): string {
  const textOf = ({ backing, ...facts }: ChangeSide): string =>
    (factsText(facts) + below(change === 'backing' ? backing : undefined)).trimEnd();
  const sides = [before, after].flatMap((side) => (side === null ? [] : [textOf(side)]));
  return `${range(start, end)} ${sizeText(size).padStart(10)}  ${CHANGE_SIGNS[change].padEnd(10)} ${sides.join(' → ')}`;
}

function summaryText({ tables, pages, bytes, rows, warnings }: SummaryRecord): string {
  const lines = [`${'page'} rights ${'memory'.padEnd(7)} ${'pages'.padStart(12)} ${'bytes'.padStart(14)}`];
  for (const row of rows) {
    lines.push(
      `${PAGE_NAMES[row.pageSize].padEnd(4)} ${rights(row).padEnd(6)} ${(memory(row.shared).trim() || '-').padEnd(7)} ${String(row.pages).padStart(12)} ${sizeText(row.bytes).padStart(14)}`,
    );
  }
  lines.push(`${'all'.padEnd(19)} ${String(pages).padStart(12)} ${sizeText(bytes).padStart(14)}`);
  lines.push(
    `${'tables'.padEnd(19)} ${String(tables).padStart(12)} ${sizeText(BigInt(tables) * 4096n).padStart(14)}`,
  );
  for (const { warning, pages: found, bytes: size, examples } of warnings) {
    const noun = warning === 'self-mapped' ? 'table' : 'page';
    const what = found === 1 ? noun : `${noun}s`;
    lines.push(
      '',
      `warning: ${WARNINGS[warning] ?? warning}: ${found} ${what}, ${sizeText(size)}; the first of them:`,
    );
    for (const { start, end } of examples) lines.push(`  ${range(start, end)}`);
  }
  return lines.join('\n');
}

function findingText({ finding, start, end, size, ...facts }: FindingRecord): string {
  const place = start === null || end === null ? '-'.padEnd(37) : range(start, end);
  return `${finding.padEnd(19)} ${place} ${sizeText(size).padStart(10)}  ${factsText(facts)}`.trimEnd();
}

/** Sixteen bytes a line, at multiples of 16, as in hexdump -C. */
function contentText({ vaddr, bytes }: ContentRecord): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const column = Number((vaddr + BigInt(at)) % 16n);
    const part = bytes.subarray(at, at + 16 - column);
    const digits = Array.from(part, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = Array.from(part, (byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.',
    ).join('');
    const padding = ' '.repeat(3 * column);
    lines.push(
      `${formatAddress(vaddr + BigInt(at))}  ${(padding + digits).padEnd(47)}  ${' '.repeat(column)}${text}`.trimEnd(),
    );
    at += part.length;
  }
  return lines.join('\n');
}

/** A line for standard error about addresses without bytes. */
export function gapText({ start, end, obstacle }: GapRecord): string {
  const why = {
    'not-mapped': 'not mapped',
    'not-canonical': 'not canonical',
    'reserved-bits': 'not read: an entry has reserved bits set',
    'bus-error': 'not read: a table is outside memory',
    'not-in-dump': 'mapped to memory that the dump does not have',
  }[obstacle];
  return `${range(start, end).trimEnd()} ${why}`;
}

function matchText({ vaddr, paddr, size: _, backing, ...facts }: MatchRecord): string {
  const text = factsText({ ...facts, paddr: paddr as PageFacts['paddr'] });
  return `${formatAddress(vaddr)} ${text}${below(backing)}`.trimEnd();
}

function appearanceText({ paddr, vaddr, page, roots, backing }: AppearanceRecord): string {
  const [first = 0n] = roots;
  const where = roots.length === 1 ? `CR3 ${short(first)}` : `${roots.length} CR3s, first ${short(first)}`;
  return `${formatAddress(vaddr)} ${factsText({ ...page, paddr: paddr as PageFacts['paddr'] })} ${where}${below(backing)}`;
}

function rootText({ cr3, levels, score, lowerEntries, upperEntries, ...root }: RootRecord): string {
  const facts = [
    ...(root.isKernel ? ['VMCOREINFO'] : []),
    ...root.cpus.map((cpu) => `CPU ${cpu}`),
    ...(root.mapsItself ? ['maps itself'] : []),
    ...(root.isShared ? ["shares its kernel's half"] : []),
  ];
  return `${formatAddress(cr3)} ${levels} levels ${String(score).padStart(5)} ${String(lowerEntries).padStart(6)} ${String(upperEntries).padStart(6)}  ${facts.join(', ')}`.trimEnd();
}

function cpuText({ cpu, registers, cpl }: CpuRecord): string {
  const known = Object.entries(registers).map(
    ([name, value]) => `${name.toUpperCase()} 0x${value.toString(16)}`,
  );
  return `CPU ${cpu}: ${[...known, ...(cpl === null ? [] : [`CPL ${cpl}`])].join(', ')}`;
}

function endText({ count, what, bytes, faults }: EndRecord): string {
  const size = bytes === null ? '' : `, ${sizeText(bytes)}`;
  const noun = count === 1 ? what.replace(/(?<=address|match)es$|s$/, '') : what;
  return `# ${count} ${noun}${size}; ${faults === 0 ? 'complete' : `${faults} ${faults === 1 ? 'place' : 'places'} could not be read`}`;
}

function factsText({ paddr, pageSize, shared, ...facts }: PageFacts): string {
  const seen = memory(shared).trim() || '-';
  return `${formatAddress(paddr)} ${PAGE_NAMES[pageSize].padEnd(4)} ${rights(facts).padEnd(6)} ${seen.padEnd(7)}`;
}

/** The rights as in `info mem`, and `x`: user mode, read, write, execute. */
function rights({ user, writable, executable }: Pick<PageFacts, 'user' | 'writable' | 'executable'>): string {
  return `${user ? 'u' : '-'}r${writable ? 'w' : '-'}${executable ? 'x' : '-'}`;
}

function memory(shared: boolean | null): string {
  if (shared === null) return '';
  return shared ? ' shared' : ' private';
}

function range(start: bigint, end: bigint): string {
  return `${formatAddress(start)} ${formatAddress(end).padEnd(18)}`;
}

function short(value: bigint): string {
  return `0x${value.toString(16)}`;
}
