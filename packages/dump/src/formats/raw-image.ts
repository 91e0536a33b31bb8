import { Notices } from '../source/notices.ts';
import type { Source } from '../source/source.ts';
import type { Dump, DumpContent } from './dump.ts';
import { type Segment, Segments } from './segments.ts';
import { lookAt, type TableShape } from './table-look.ts';

const FOUR_GIB = 2 ** 32;
/** Where the RAM below 4 GiB may end in a machine with RAM above: 0x80000000 on `q35`, 0xc0000000 on most others. */
const SPLITS = [0xc000_0000, 0x8000_0000, 0xb000_0000, 0xd000_0000, 0xe000_0000] as const;
/** A layout is better if this much more of the sampled entries make sense. */
const MARGIN = 0.02;

/**
 * Opens a raw image: physical memory from address 0 on, or the ranges in `ram`.
 *
 * @param shapes - readings of the page table that is to be opened. If there are no ranges, they decide whether the image has a
 *   hole below 4 GiB, and where
 */
export function openRawImage(
  source: Source,
  ram: readonly Segment[],
  shapes: readonly TableShape[],
): DumpContent {
  const given = ram.length > 0 ? { ranges: ram, sane: 0 } : bestLayout(source, shapes);
  const notices = new Notices();
  const memory = Segments.of(given.ranges, source.size, notices);
  const split = ram.length === 0 && given.ranges.length > 1 ? given.ranges[0]!.size : undefined;
  return {
    kind:
      split === undefined
        ? 'raw image'
        : `raw image, split below 4 GiB at 0x${split.toString(16)} (found by trying: ${given.ranges.map(({ name }) => name).join(' ')})`,
    source,
    isRaw: true,
    isLayoutOpen: ram.length === 0,
    cpus: [],
    memory,
    notices,
    readFrame: (frame, bytes) => memory.read(source, frame, bytes),
    offsetOf: (paddr) => memory.offsetOf(paddr),
  };
}

/** The dump, or, if it is a raw image whose hole nobody has named, the image with the hole that fits the tables. */
export function atLayoutOf(dump: Dump, shapes: readonly TableShape[]): Dump {
  if (dump.isLayoutOpen !== true || shapes.length === 0) return dump;
  return { ...dump, ...openRawImage(dump.source, [], shapes) };
}

/** The ranges in which most of the page tables make sense, as options. The image as a whole comes first. */
export function bestLayout(
  source: Source,
  shapes: readonly TableShape[],
): { ranges: readonly Segment[]; sane: number } {
  let best: { ranges: readonly Segment[]; sane: number } | undefined;
  for (const ranges of layoutsOf(source.size)) {
    const memory = Segments.of(ranges, source.size);
    for (const shape of shapes) {
      const { topEntries, sane } = lookAt((frame, bytes) => memory.read(source, frame, bytes), shape);
      const score = topEntries === 0 ? 0 : sane;
      if (best === undefined || score > best.sane + MARGIN) best = { ranges, sane: score };
    }
  }
  return best ?? { ranges: [whole(source.size)], sane: 0 };
}

function layoutsOf(size: number): (readonly Segment[])[] {
  const split = SPLITS.filter((low) => size > low).map((low) => [
    rangeOf(0, low, 0),
    rangeOf(FOUR_GIB, size - low, low),
  ]);
  return [[whole(size)], ...split];
}

function whole(size: number): Segment {
  return { paddr: 0, size, offset: 0, name: 'the image' };
}

function rangeOf(paddr: number, size: number, offset: number): Segment {
  const [start, end, at] = [paddr, paddr + size, offset].map((value) => value.toString(16));
  return { paddr, size, offset, name: `--ram ${start}-${end}@${at}` };
}
