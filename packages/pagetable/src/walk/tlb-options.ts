import { PageSize, type VirtAddr } from '@svsm/address';
import { ANY, BOOLEAN, Fields, FUNCTION, oneOf, optional, REGISTER } from '../entry/fields.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import type { TlbEntry } from './tlb-space.ts';

/** Options of a `Tlb`. */
export interface TlbOptions {
  /**
   * Called for each `Tlb.lookup` that returns a stale entry: a flush was forgotten. The lookup has found its entry by then, and
   * nothing has changed. It may use memory and page tables, whose changes are reported to the TLB. It may not call the TLB in
   * any other way, nor change the processor that looks up: that throws `BUSY`. An error that it throws goes on to the caller of
   * the lookup.
   */
  readonly onStaleUse?: (entry: TlbEntry, vaddr: VirtAddr) => void;
  /**
   * The number of pending 4 KiB pages above which `Tlb.flushPending` flushes everything, as kernels do. No limit if
   * not given.
   */
  readonly fullFlushThreshold?: number;
  /** CR4.PGE: whether entries can be global. `true` if not given. */
  readonly globalPages?: boolean;
  /** CR4.SMEP. `true` if not given. */
  readonly smep?: boolean;
  /** CR4.PCIDE: whether there are PCIDs other than 0. `true` if not given. */
  readonly pcids?: boolean;
  /** The number of levels of the page tables, which decides the addresses that are canonical. 4 if not given. */
  readonly levels?: 4 | 5;
}

/** The range of a broadcast invalidation. */
export interface FlushRange {
  /** A virtual address in the first page. All addresses if not given. */
  readonly start?: VirtAddr;
  /** The number of pages: 0 to 65536. 1 if not given. */
  readonly pages?: number;
  /** The distance from one page to the next in bytes: 4 KiB or 2 MiB. 4 KiB if not given. */
  readonly stride?: PageSize;
  /** The PCID whose entries are dropped, 0 to 4095. All PCIDs if not given. */
  readonly pcid?: number;
  /** Whether global entries are dropped too. `false` if not given. */
  readonly includeGlobal?: boolean;
}

/** The error for a value that no TLB and no invalidation can have. */
export function invalidFlush(
  field: string,
  value: unknown,
  expected: string,
  options?: ErrorOptions,
): PageTableError<'INVALID_FLUSH'> {
  return new PageTableError('INVALID_FLUSH', { field, value, expected }, options);
}

const IS_SET = /* @__PURE__ */ optional(BOOLEAN);

/** The fields of `TlbOptions`. */
export const TLB_OPTIONS: Fields = /* @__PURE__ */ new Fields(
  'options',
  {
    onStaleUse: /* @__PURE__ */ optional(FUNCTION),
    fullFlushThreshold: ANY,
    globalPages: IS_SET,
    smep: IS_SET,
    pcids: IS_SET,
    levels: /* @__PURE__ */ oneOf(4, 5, undefined),
  },
  invalidFlush,
);

/** The fields of `FlushRange`. */
export const FLUSH_RANGE: Fields = /* @__PURE__ */ new Fields(
  'range',
  { start: ANY, pages: ANY, stride: ANY, pcid: ANY, includeGlobal: IS_SET },
  invalidFlush,
);

/** The fields of the argument of `Tlb.loadCr3`. */
export const CR3_LOAD: Fields = /* @__PURE__ */ new Fields('load', { pcid: ANY, keep: IS_SET }, invalidFlush);

/** The fields of an `InvpcidDescriptor`. */
export const DESCRIPTOR: Fields = /* @__PURE__ */ new Fields(
  'descriptor',
  { pcid: ANY, vaddr: /* @__PURE__ */ optional(REGISTER) },
  invalidFlush,
);

/** The fields of `InvlpgbRegisters`. */
export const INVLPGB_REGISTERS: Fields = /* @__PURE__ */ new Fields(
  'registers',
  { rax: ANY, ecx: ANY, edx: ANY },
  invalidFlush,
  true,
);

const COUNT = /* @__PURE__ */ optional({
  accepts: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  expected: 'pass an integer, 0 or more',
});

/** The fields of an `InvlpgbContext`. */
export const INVLPGB_CONTEXT: Fields = /* @__PURE__ */ new Fields(
  'context',
  { asid: COUNT, maxCount: COUNT, asids: COUNT },
  invalidFlush,
);

/** @throws PageTableError `INVALID_FLUSH` */
export function requireBoolean(field: string, value: boolean): void {
  if (typeof value !== 'boolean') throw invalidFlush(field, value, 'pass true or false');
}

/** ECX[15:0] of INVLPGB counts the pages after the first (AMD64 APM vol. 3, INVLPGB). */
const MAX_FLUSH_PAGES = 0x1_0000;

/** @throws PageTableError `INVALID_FLUSH` unless INVLPGB can name so many pages, so far apart */
export function requireFlushCount(pages: number, stride: number): void {
  if (!Number.isInteger(pages) || pages < 0 || pages > MAX_FLUSH_PAGES) {
    throw invalidFlush('pages', pages, `pass an integer from 0 to ${MAX_FLUSH_PAGES}`);
  }
  if (stride !== PageSize.Regular && stride !== PageSize.Huge) {
    throw invalidFlush('stride', stride, 'pass PageSize.Regular or PageSize.Huge');
  }
}
