import { PAGE_SIZE } from '@svsm/address';
import type { Run } from '../source/runs.ts';

/** The blocks of memory that QEMU writes for a PC, as far as they are RAM or firmware, and how sure they are. */
export interface PcLayout {
  /** Disjoint, ascending. */
  readonly blocks: readonly Run[];
  /** The first address after the RAM below 4 GiB. */
  readonly lowEnd: number;
  /** The size of all RAM. */
  readonly ram: number;
  /** The places in the file of the memory of a graphics card, whose address is unknown. */
  readonly video: { readonly from: number; readonly to: number };
}

/** The facts of a `-p` dump from which its layout follows. */
export interface DumpFacts {
  /** The ranges of the segments, sorted and disjoint. */
  readonly listed: readonly Run[];
  /** Ends of segments that QEMU cut off because a block ends there. */
  readonly blockEnds: ReadonlySet<number>;
  /** The place in the file of the memory at address 0. */
  readonly first: number;
  readonly fileSize: number;
}

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const FOUR_GIB = 2 ** 32;
/** The hole for the memory of a VGA card: no RAM is visible there. */
const VGA_START = 0xa_0000;
const VGA_END = 0xc_0000;
/** Where RAM below 4 GiB may end if there is RAM above: 0xc0000000 on `pc`, 0x80000000 on `q35`, others by option. */
const SPLITS = [0xc000_0000, 0x8000_0000, 0xb000_0000, 0xe000_0000] as const;
/** RAM below 4 GiB ends below the devices of a PC. */
const DEVICES = 0xfec0_0000;
/** The devices on the PCI bus have addresses from here on, or above. */
const PCI_START = 0x8000_0000;
/** Sizes of the firmware: SeaBIOS has 256 or 128 KiB, qboot 64 KiB. The flash memory of UEFI is not written. */
const FIRMWARE_SIZES = [256 * KIB, 128 * KIB, 64 * KIB, 0] as const;
/** Sizes of the memory of a graphics card: 16 MiB of `std`, 4 of `cirrus`, 8 of `virtio`, 16 MiB and 64 KiB of `vmware`. */
const VIDEO_SIZES = [...[16, 0, 4, 8, 32, 64, 128, 256].map((size) => size * MIB), 16 * MIB + 64 * KIB];

/**
 * The layouts of a PC that agree with all segments of a `dump-guest-memory -p` dump.
 *
 * QEMU writes every block of memory as a whole, in ascending order, but makes segments only for mapped memory. In user mode
 * under page-table isolation, the page tables themselves are not mapped, so their place in the file follows only from the
 * layout. The blocks of a PC are RAM below the VGA hole, RAM above it up to 4 GiB at most, the memory of a graphics card,
 * firmware just below 4 GiB, and RAM from 4 GiB on.
 *
 * The likeliest layout is first: the roundest size of RAM, then the commonest devices.
 */
export function pcLayouts(facts: DumpFacts): PcLayout[] {
  const { first, fileSize, listed } = facts;
  // The names of sections follow the last page: a few bytes.
  const total = Math.floor(Math.max(0, fileSize - first) / PAGE_SIZE) * PAGE_SIZE;
  const above = listed.find(({ start }) => start >= FOUR_GIB);
  const found = new Map<string, { layout: PcLayout; video: number }>();
  for (const hole of [VGA_END - VGA_START, 0]) {
    for (const firmware of FIRMWARE_SIZES) {
      for (const video of VIDEO_SIZES) {
        for (const low of above === undefined
          ? [total, ...SPLITS.map((split) => split - hole + video + firmware)]
          : [FOUR_GIB + above.delta - first]) {
          const layout = layoutOf({ first, total, low, hole, firmware, video });
          const key = layout && JSON.stringify(layout.blocks);
          if (layout === undefined || found.has(key!) || !agrees(layout, facts)) continue;
          found.set(key!, { layout, video });
        }
      }
    }
  }
  const rank = ({ ram, lowEnd }: PcLayout): number => roundness(ram) * 64 + roundness(lowEnd);
  return [...found.values()].sort((a, b) => rank(b.layout) - rank(a.layout)).map(({ layout }) => layout);
}

/** Whether the segments are in ascending order in the file too, each at its address or further ahead. */
export function isAscending({ listed, first }: Pick<DumpFacts, 'listed' | 'first'>): boolean {
  let before = first;
  return listed.every(({ delta }) => {
    const isDown = delta <= before;
    before = delta;
    return isDown;
  });
}

/** The memory between two segments of one block: it is in the file, whatever the layout of the machine. */
export function betweenSegments(listed: readonly Run[]): Run[] {
  return listed.flatMap((run, i) => {
    const next = listed[i + 1];
    return next?.delta === run.delta && next.start > run.end
      ? [{ start: run.end, end: next.start, delta: run.delta }]
      : [];
  });
}

interface Sizes {
  readonly first: number;
  readonly total: number;
  /** The number of bytes in the file for addresses below 4 GiB. */
  readonly low: number;
  readonly hole: number;
  readonly firmware: number;
  readonly video: number;
}

function layoutOf({ first, total, low, hole, firmware, video }: Sizes): PcLayout | undefined {
  const lowEnd = low - video - firmware + hole;
  const high = total - low;
  const isPossible = lowEnd >= MIB && lowEnd <= DEVICES - video && high >= 0;
  if (!isPossible || lowEnd % MIB !== 0 || high % MIB !== 0) return undefined;
  const blocks: Run[] = [
    ...(hole === 0
      ? [{ start: 0, end: lowEnd, delta: first }]
      : [
          { start: 0, end: VGA_START, delta: first },
          { start: VGA_END, end: lowEnd, delta: first - hole },
        ]),
    { start: FOUR_GIB - firmware, end: FOUR_GIB, delta: first + low - FOUR_GIB },
    { start: FOUR_GIB, end: FOUR_GIB + high, delta: first + low - FOUR_GIB },
  ];
  const to = first + low - firmware;
  return {
    blocks: blocks.filter(({ start, end }) => end > start),
    lowEnd,
    ram: lowEnd + high,
    video: { from: to - video, to },
  };
}

/** Whether each segment is inside of a block, at its place, or in the memory of a graphics card. */
function agrees({ blocks, lowEnd, video }: PcLayout, { listed, blockEnds }: DumpFacts): boolean {
  const isPci = (start: number, end: number): boolean =>
    start >= Math.max(lowEnd, PCI_START) && end <= FOUR_GIB && video.to > video.from;
  const hasRuns = listed.every(({ start, end, delta }) => {
    const block = blocks.find((one) => start >= one.start && start < one.end);
    if (block === undefined) {
      return isPci(start, end) && start + delta >= video.from && end + delta <= video.to;
    }
    return delta === block.delta && end <= (block.end === FOUR_GIB ? Number.POSITIVE_INFINITY : block.end);
  });
  return (
    hasRuns && [...blockEnds].every((end) => isPci(end, end) || blocks.some((block) => block.end === end))
  );
}

/** The number of zeros at the end of a size in binary. */
function roundness(size: number): number {
  let zeros = 0;
  for (let rest = size; rest > 0 && rest % 2 === 0; rest /= 2) zeros += 1;
  return zeros;
}
