import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import type { Dump } from '../formats/dump.ts';
import type { MemoryRange } from '../formats/segments.ts';
import { inFile } from '../source/dump-error.ts';
import { type NestedOptions, NestedPaging } from './nested-paging.ts';

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
 * @throws DumpError `INVALID_ARGUMENT`; `NO_MEMORY` if the pointer leads to no memory
 */
export function openNested(host: Dump, options: NestedOptions): NestedDump {
  const { source, notices } = host;
  const readHost = (frame: number, bytes: Uint8Array): boolean => host.readFrame(frame, bytes);
  const nested = inFile(host.name, () => new NestedPaging(readHost, options));
  const { format, levels, root } = nested;
  const place = `${format.toUpperCase()} of ${levels} levels at 0x${root.toString(16)}`;
  return {
    name: host.name,
    kind: `${host.kind}; memory of a guest through ${place}`,
    source,
    cpus: [],
    memory: { [Symbol.iterator]: () => memoryOf(host, nested) },
    nested,
    ...(notices === undefined ? {} : { notices }),
    readFrame(frame, bytes) {
      const page = nested.translate(frame);
      return 'frame' in page && host.readFrame(page.frame, bytes);
    },
    offsetOf(paddr) {
      const page = nested.translate(Number(paddr >> 12n));
      if (!('frame' in page)) return undefined;
      return host.offsetOf((BigInt(page.frame) * BigInt(PAGE_SIZE) + (paddr & 0xfffn)) as PhysAddr);
    },
  };
}

function* memoryOf(host: Dump, nested: NestedPaging): Generator<MemoryRange, undefined, undefined> {
  for (const { first, count, frame } of nested.runs()) {
    const size = count * PAGE_SIZE;
    const [from, last] = [
      host.offsetOf(physAddr(frame * PAGE_SIZE)),
      host.offsetOf(physAddr(frame * PAGE_SIZE + size - 1)),
    ];
    const isWhole = from !== undefined && last === from + size - 1;
    const start = physAddr(first * PAGE_SIZE);
    yield { start, end: start + BigInt(size), offset: isWhole ? from : undefined, isZero: false };
  }
}
