import type { NestedOptions } from '../backing/nested-paging.ts';
import type { RmpPlace } from '../backing/rmp-table.ts';
import type { Command } from './manual.ts';
import { decimal, parseHex, parseRange } from './numbers.ts';
import { UsageError } from './problem.ts';

/** Where the RMP is, and the guest whose mappings are compared with it. */
export interface BelowOptions {
  /** Where it lies in the memory of a dump. */
  readonly place: RmpPlace | undefined;
  /** Another file that has it. */
  readonly file: string | undefined;
  readonly asid: number | undefined;
  readonly vmpl: number | undefined;
  readonly nested: NestedOptions | undefined;
}

/** The text of the options. */
interface Values {
  readonly rmp?: string | undefined;
  readonly 'rmp-file'?: string | undefined;
  readonly asid?: string | undefined;
  readonly vmpl?: string | undefined;
  readonly nested?: string | undefined;
  readonly 'nested-c-bit'?: string | undefined;
  readonly mismatches?: boolean | undefined;
}

/** @throws UsageError */
export function belowOptions(command: Command, values: Values): BelowOptions {
  const { rmp, 'rmp-file': file, asid, vmpl, nested, 'nested-c-bit': cBit, mismatches } = values;
  const hasRmp = rmp !== undefined || file !== undefined;
  if (command === 'rmp' && !hasRmp) throw new UsageError('rmp needs --rmp or --rmp-file: see --help');
  if (!hasRmp && (asid ?? vmpl) !== undefined) {
    throw new UsageError('--asid and --vmpl need --rmp or --rmp-file');
  }
  if (mismatches === true && !hasRmp && nested === undefined) {
    throw new UsageError('--mismatches needs --rmp, --rmp-file or --nested');
  }
  if (nested !== undefined && (command === 'rmp' || command === 'compare')) {
    throw new UsageError(`--nested is not for ${command}`);
  }
  if (cBit !== undefined && nested === undefined) throw new UsageError('--nested-c-bit needs --nested');
  return {
    place: rmp === undefined ? undefined : parsePlace(rmp),
    file,
    asid: asid === undefined ? undefined : decimal('asid', asid, command === 'rmp' ? 0 : 1, 1022),
    vmpl: vmpl === undefined ? undefined : decimal('vmpl', vmpl, 0, 3),
    nested:
      nested === undefined
        ? undefined
        : {
            ...parseNested(nested),
            cBit: cBit === undefined ? undefined : decimal('nested-c-bit', cBit, 32, 51),
          },
  };
}

/** Parses `BASE-END`, `BASE+SIZE` or `BASE/SHIFT`. */
function parsePlace(text: string): RmpPlace {
  const [base = '', shift, more] = text.split('/');
  if (more !== undefined) throw new UsageError(`--rmp ${text}: give BASE-END or BASE/SHIFT`);
  const place =
    shift === undefined
      ? flatPlace(text)
      : { base: parseHex(base, '--rmp'), segmentShift: decimal('rmp', shift, 30, 51) };
  if (place.base % 0x1000n === 0n) return place;
  throw new UsageError(`--rmp ${text}: BASE must be a multiple of 0x1000`);
}

function flatPlace(text: string): RmpPlace {
  const { start, end } = parseRange(text, '--rmp');
  if (end > start + 0x4000n && end <= 2n ** 52n) return { base: start, end };
  throw new UsageError(`--rmp ${text}: END must be more than 0x4000 above BASE, and at most 2^52`);
}

const FORMATS: Readonly<Record<string, Omit<NestedOptions, 'pointer'>>> = {
  npt: { format: 'npt' },
  npt5: { format: 'npt', levels: 5 },
  ept: { format: 'ept' },
};

/** Parses `npt:NCR3`, `npt5:NCR3` or `ept:EPTP`. */
function parseNested(text: string): NestedOptions {
  const [name = '', pointer, more] = text.split(':');
  const format = FORMATS[name];
  if (format === undefined || pointer === undefined || more !== undefined) {
    throw new UsageError(`--nested: ${JSON.stringify(text)} is not npt:NCR3, npt5:NCR3 or ept:EPTP`);
  }
  return { ...format, pointer: parseHex(pointer, '--nested') };
}
