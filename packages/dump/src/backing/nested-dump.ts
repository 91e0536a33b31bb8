import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import type { Dump } from '../formats/dump.ts';
import { requireDump, requireFrame, requirePaddr } from '../formats/require-dump.ts';
import type { MemoryRange } from '../formats/segments.ts';
import { DumpError, inFile } from '../source/dump-error.ts';
import { type NestedOptions, NestedPaging } from './nested-paging.ts';

const PAGE = BigInt(PAGE_SIZE);
const TOO_MANY = 'its nested page table maps more than 4194304 parts of the memory of the host';

/** The memory of a guest in the dump of its host. */
export interface NestedDump extends Dump {
  /** The nested page table, through which `readFrame` reads. */
  readonly nested: NestedPaging;
}

/**
 * The memory of a guest, as a dump, in the dump of its host: each frame is read through a nested page table (NPT or EPT). The registers
 * of the guest are not known, so its CR3 has to be given; `findRoots` finds it. The private memory of a guest with memory encryption is
 * ciphertext for its host. O(1).
 *
 * @throws DumpError `INVALID_ARGUMENT`; `NO_MEMORY` if the pointer leads to no memory; `TRUNCATED_FILE`, `READ_FAILED`,
 *   `UNSUPPORTED_FORMAT`
 */
export function openNested(host: Dump, options: NestedOptions): NestedDump {
  requireDump('host', host);
  const { source, notices, memory } = host;
  const readHost = (frame: number, bytes: Uint8Array): boolean => host.readFrame(frame, bytes);
  const nested = inFile(host.name, () => new NestedPaging(readHost, options));
  const { format, levels, root } = nested;
  const place = `${format.toUpperCase()} of ${levels} levels at 0x${root.toString(16)}`;
  return {
    name: host.name,
    kind: `${host.kind}; memory of a guest through ${place}`,
    source,
    cpus: [],
    ...(memory === undefined ? {} : { memory: { [Symbol.iterator]: () => memoryOf([...memory], nested) } }),
    nested,
    ...(notices === undefined ? {} : { notices }),
    readFrame(frame, bytes) {
      requireFrame(frame, bytes);
      const page = nested.translate(frame);
      return 'frame' in page && host.readFrame(page.frame, bytes);
    },
    offsetOf(paddr) {
      requirePaddr(paddr);
      const page = nested.translate(Number(paddr >> 12n));
      if (!('frame' in page)) return undefined;
      return host.offsetOf((BigInt(page.frame) * BigInt(PAGE_SIZE) + (paddr & 0xfffn)) as PhysAddr);
    },
  };
}

/** The most parts of a guest's memory that are looked up in the memory of its host. */
const MAX_PARTS = 2 ** 22;

/** The guest's memory that the host's dump has, as the nested page table and the ranges of the host split it. */
function* memoryOf(
  ranges: readonly MemoryRange[],
  nested: NestedPaging,
): Generator<MemoryRange, undefined, undefined> {
  const reached = endsUpTo(ranges);
  let parts = 0;
  for (const { first, count, frame } of nested.runs()) {
    const [from, to] = [BigInt(frame) * PAGE, BigInt(frame + count) * PAGE];
    const moved = BigInt(first - frame) * PAGE;
    for (let i = firstAbove(reached, from); i < ranges.length && ranges[i]!.start < to; i += 1) {
      parts += 1;
      if (parts > MAX_PARTS) throw new DumpError('OUTSIDE_LIMITS', { reason: TOO_MANY });
      const { start, end, offset, isZero } = ranges[i]!;
      const [low, high] = [start > from ? start : from, end < to ? end : to];
      if (low >= high) continue;
      const place = offset === undefined ? undefined : offset + Number(low - start);
      yield { start: physAddr(low + moved), end: high + moved, offset: place, isZero };
    }
  }
}

/** For each range, the end of the memory up to it: ranges with the same memory may overlap. */
function endsUpTo(ranges: readonly MemoryRange[]): bigint[] {
  let reached = 0n;
  return ranges.map(({ end }) => {
    if (end > reached) reached = end;
    return reached;
  });
}

/** The index of the first item above a limit, in an ascending list. */
function firstAbove(ascending: readonly bigint[], limit: bigint): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
