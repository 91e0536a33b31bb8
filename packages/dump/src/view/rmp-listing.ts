import { PAGE_SIZE } from '@svsm/address';
import { followsInRmp, MAX_ASID, rmpFactsOf } from '../backing/backing.ts';
import type { RmpTable } from '../backing/rmp-table.ts';
import type { Dump } from '../formats/dump.ts';
import { requireDump } from '../formats/require-dump.ts';
import { requireInteger, requireMethods, requireOptional, requireOptions } from '../source/arguments.ts';
import type { OnProgress } from '../source/on-progress.ts';
import type { EndRecord, FileRecord, RmpRecord } from './record.ts';

/** The scope of a listing of an RMP. */
export interface RmpListingOptions {
  /** List only the pages of the guest with this ASID; 0 lists those without a guest. */
  readonly asid?: number | undefined;
  readonly onProgress?: OnProgress | undefined;
}

/**
 * The pages of system memory by their state in the RMP, ascending: a record for each range of pages that are alike. A page that
 * the table does not cover is the hypervisor's, and not listed. O(n) for n entries.
 *
 * @throws DumpError `INVALID_ARGUMENT` at the first step; `TRUNCATED_FILE`, `READ_FAILED`, `UNSUPPORTED_FORMAT`
 */
export function* listRmp(
  dump: Dump,
  rmp: RmpTable,
  options: RmpListingOptions = {},
): Generator<FileRecord | RmpRecord | EndRecord, undefined, undefined> {
  requireDump('dump', dump);
  requireMethods('rmp', rmp, ['runFrom', 'runs'], 'pass a table of openRmp or openSavedRmp');
  requireOptions('options', options, ['asid', 'onProgress']);
  if (options.asid !== undefined) requireInteger('asid', options.asid, 0, MAX_ASID);
  requireOptional('onProgress', options.onProgress, 'function');
  const { name, kind, source, cpus } = dump;
  yield { type: 'file', file: name, kind: `${kind}; ${rmp.kind}`, size: source.size, cpus: cpus.length };
  let last: RmpRecord | undefined;
  let [count, pages, bytes] = [0, 0, 0n];
  for (const run of rmp.runs()) {
    pages += run.count;
    options.onProgress?.(pages, undefined, 'entries');
    const facts = rmpFactsOf(run.entry);
    if (options.asid !== undefined && facts.asid !== options.asid) continue;
    const start = BigInt(run.first) * BigInt(PAGE_SIZE);
    const size = BigInt(run.count) * BigInt(PAGE_SIZE);
    bytes += size;
    if (last !== undefined && last.end === start && followsInRmp(factsOf(last), last.size, facts)) {
      last = { ...last, end: start + size, size: last.size + size };
      continue;
    }
    if (last !== undefined) yield last;
    last = { type: 'rmp', start, end: start + size, size, ...facts };
    count += 1;
  }
  if (last !== undefined) yield last;
  yield { type: 'end', what: 'ranges', count, bytes, faults: 0 };
}

function factsOf({ type: _, start: _start, end: _end, size: _size, ...facts }: RmpRecord) {
  return facts;
}
