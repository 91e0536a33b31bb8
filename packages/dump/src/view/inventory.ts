import type { Dump } from '../formats/dump.ts';
import { requireDump } from '../formats/require-dump.ts';
import type { CpuRecord, EndRecord, FileRecord, MemoryRecord } from './record.ts';

/**
 * The format of a file, the registers of its processors, and its memory.
 *
 * @throws DumpError `INVALID_ARGUMENT` at the first step; `OUTSIDE_LIMITS` for a nested page table with too many parts;
 *   `TRUNCATED_FILE`, `READ_FAILED`, `UNSUPPORTED_FORMAT`
 */
export function* describeDump(
  dump: Dump,
): Generator<FileRecord | CpuRecord | MemoryRecord | EndRecord, undefined, undefined> {
  requireDump('dump', dump);
  yield { type: 'file', file: dump.name, kind: dump.kind, size: dump.source.size, cpus: dump.cpus.length };
  for (const [cpu, { cpl, ...registers }] of dump.cpus.entries()) {
    const known = Object.entries(registers as Record<string, bigint | undefined>).filter(
      (register): register is [string, bigint] => register[1] !== undefined,
    );
    yield { type: 'cpu', cpu, registers: Object.fromEntries(known), cpl: cpl ?? null };
  }
  let count = 0;
  for (const { start, end, offset, isZero } of dump.memory ?? []) {
    count += 1;
    yield { type: 'memory', start, end, size: end - start, fileOffset: offset ?? null, isZero };
  }
  yield { type: 'end', what: 'ranges', count, bytes: null, faults: 0 };
}
