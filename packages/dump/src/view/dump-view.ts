import { type PageTable, type PagingConfig, type PhysMemory, pagingConfig } from '@svsm/pagetable';
import type { Backing } from '../backing/backing.ts';
import type { Dump } from '../formats/dump.ts';
import { requireDump } from '../formats/require-dump.ts';
import {
  readArgument,
  refuseArgument,
  requireBits,
  requireInteger,
  requireMethods,
} from '../source/arguments.ts';
import type { Notices } from '../source/notices.ts';

/** One page table of a dump. */
export interface DumpView {
  readonly dump: Dump;
  readonly cpu: number;
  readonly cr3: bigint;
  readonly cr4: bigint | undefined;
  readonly config: PagingConfig;
  readonly memory: PhysMemory;
  readonly table: PageTable;
  /** The layers below the mappings, if a nested page table or an RMP is known. */
  readonly backing: Backing | undefined;
  /** Problems of the page table, or of the dump. */
  readonly notices: Notices;
}

const CONFIG = [
  'levels',
  'physicalBits',
  'noExecute',
  'globalPages',
  'giantPages',
  'vendor',
] as const satisfies readonly (keyof PagingConfig)[];

/** The views that `openView` made. They are frozen, and need no check. */
const SOUND = new WeakSet<DumpView>();

/** Freezes a view, and remembers that it is sound. */
export function soundView(view: DumpView): DumpView {
  SOUND.add(view);
  return Object.freeze(view);
}

/** @throws DumpError `INVALID_ARGUMENT` if `value` does not have what a view has; PageTableError `INVALID_CONFIG` */
export function requireView(what: string, value: DumpView): void {
  if (SOUND.has(value)) return;
  const expected = 'pass a view, as openView returns it';
  const parts = readArgument(what, value, expected, () => {
    const { dump, cpu, cr3, cr4, config, memory, table, backing, notices } = value;
    return { dump, cpu, cr3, cr4, config, memory, table, backing, notices };
  });
  const { dump, cpu, cr3, cr4, config, memory, table, backing, notices } = parts;
  requireDump(`the dump of ${what}`, dump);
  requireInteger(`cpu of ${what}`, cpu, 0, Number.MAX_SAFE_INTEGER);
  requireBits(`cr3 of ${what}`, cr3, 64);
  if (cr4 !== undefined) requireBits(`cr4 of ${what}`, cr4, 64);
  requireMethods(`memory of ${what}`, memory, ['words', 'wordOffset']);
  requireMethods(`table of ${what}`, table, ['walk', 'mappings', 'leaves']);
  if (backing !== undefined) requireMethods(`backing of ${what}`, backing, ['of']);
  requireMethods(`notices of ${what}`, notices, ['add', 'take', 'quietly']);
  const missing = readArgument(`config of ${what}`, config, 'pass a PagingConfig', () =>
    CONFIG.find((name) => config[name] === undefined),
  );
  if (missing !== undefined) refuseArgument(`${missing} of config`, undefined, 'pass all fields');
  pagingConfig(config);
}
