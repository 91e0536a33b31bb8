import { Phys, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion, RegionMap } from '@svsm/memory-region';
import { DumpError } from './dump-error.ts';
import { Runs } from './runs.ts';
import { readBytes, readFields, type Source } from './source.ts';
import { Window } from './window.ts';

const HEADER = 4096;
const RECORD_HEADER = 16;
const MAGIC_SIZE = 16;
const END = 2n ** 64n - 1n;
/** makedumpfile writes a record for each 4 to 64 KiB: enough for 128 GiB of pages that do not compress. */
const MAX_RECORDS = 2 ** 21;
/** Records that overlap are sorted by a slower way. makedumpfile writes a few of them. */
const MAX_OVERLAPPING = 2 ** 16;

/**
 * The file inside a flattened dump of makedumpfile (`makedumpfile -F`), which is written to a pipe: a header of 4096 bytes, then
 * records of a place, a length (both of 64 bits, big-endian) and bytes, until a record with the place -1. Where records overlap,
 * the last one counts. Bytes in no record read as zero.
 */
export class FlattenedSource implements Source {
  static readonly MAGIC = 'makedumpfile\0';
  readonly size: number;
  readonly #flat: Source;
  /** The records, sorted and disjoint, each with its place in the container minus its place in the file. */
  readonly #records: Runs;

  /** @throws DumpError */
  constructor(flat: Source) {
    if (flat.size < HEADER) {
      throw new DumpError('TRUNCATED_FILE', {
        reason: `it ends at byte ${flat.size}, within the header of a flattened dump`,
      });
    }
    const header = readFields(flat, MAGIC_SIZE, 16);
    const [type, version] = [header.getBigUint64(0), header.getBigUint64(8)];
    if (type !== 1n || version !== 1n) {
      throw new DumpError('UNSUPPORTED_FORMAT', {
        reason: `it is a flattened dump of type ${type} and version ${version}; type 1 and version 1 are supported`,
      });
    }
    this.#flat = flat;
    const { records, size } = readRecords(flat);
    this.size = size;
    this.#records = disjoint(records);
  }

  read(position: number, into: Uint8Array): void {
    const end = position + into.length;
    if (end > this.size) {
      throw new DumpError('TRUNCATED_FILE', { reason: `it ends at byte ${this.size}, before byte ${end}` });
    }
    into.fill(0);
    for (const { from, to, delta } of this.#records.within(position, end)) {
      this.#flat.read(from + delta, into.subarray(from - position, to - position));
    }
  }

  dataFrom(position: number): number {
    return this.#records.firstFrom(position) ?? this.size;
  }

  close(): void {
    this.#flat.close();
  }
}

function readRecords(flat: Source): { records: Runs; size: number } {
  const records = new Runs();
  const window = new Window(flat);
  let size = 0;
  for (let at = HEADER, index = 0; ; index += 1) {
    // Empty records count too: a hostile file can have them without end.
    if (index > MAX_RECORDS) {
      throw new DumpError('OUTSIDE_LIMITS', {
        reason: `the flattened dump has more than ${MAX_RECORDS} records`,
      });
    }
    if (at + RECORD_HEADER > flat.size) throw truncated(index);
    const { fields, offset } = window.at(at, RECORD_HEADER);
    const place = fields.getBigUint64(offset);
    if (place === END) return { records, size };
    const length = fields.getBigUint64(offset + 8);
    if (place + length > 2n ** 52n) {
      throw new DumpError('INVALID_FILE', {
        reason: `record ${index} of the flattened dump ends at byte 0x${(place + length).toString(16)}`,
      });
    }
    const start = Number(place);
    const end = start + Number(length);
    at += RECORD_HEADER;
    if (at + (end - start) > flat.size) throw truncated(index);
    records.add(start, end, at - start);
    size = Math.max(size, end);
    at += end - start;
  }
}

function truncated(record: number): DumpError {
  return new DumpError('TRUNCATED_FILE', {
    reason: `the flattened dump is truncated in record ${record}`,
  });
}

/** The records without what later records replace. */
function disjoint(records: Runs): Runs {
  const isOverlapped = overlapped(records);
  const simple = new Runs();
  const map = new RegionMap<PhysAddr, number>(Phys);
  for (let i = 0; i < records.length; i += 1) {
    const [start, end, delta] = [records.start(i), records.end(i), records.delta(i)];
    if (isOverlapped[i] === 1) map.overlay(physRegion(physAddr(start), end - start), delta);
    else simple.add(start, end, delta);
  }
  for (const [region, delta] of map) simple.add(Number(region.start), Number(region.end), delta);
  const [sorted = new Runs()] = simple.layers(1, () => {
    throw new Error('records overlap');
  });
  return sorted;
}

/** For each record, whether another one has bytes at the same place. */
function overlapped(records: Runs): Uint8Array {
  const marks = new Uint8Array(records.length);
  let [count, reached, last] = [0, 0, -1];
  for (const i of records.order()) {
    if (records.start(i) < reached) {
      for (const one of [i, last]) {
        if (marks[one] === 0) count += 1;
        marks[one] = 1;
      }
    }
    if (records.end(i) > reached) {
      reached = records.end(i);
      last = i;
    }
    if (count > MAX_OVERLAPPING) {
      throw new DumpError('OUTSIDE_LIMITS', {
        reason: `more than ${MAX_OVERLAPPING} records of the flattened dump overlap`,
      });
    }
  }
  return marks;
}

/** Whether the source begins as a flattened dump. */
export function isFlattened(source: Source): boolean {
  const { MAGIC } = FlattenedSource;
  if (source.size < MAGIC.length) return false;
  return readBytes(source, 0, MAGIC.length).every((byte, i) => byte === MAGIC.charCodeAt(i));
}
