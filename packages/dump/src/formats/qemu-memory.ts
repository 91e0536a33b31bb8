import { PAGE_SIZE } from '@svsm/address';
import { type Run, Runs } from '../source/runs.ts';
import { asciiOf, type Source } from '../source/source.ts';
import type { DumpCpu } from './dump.ts';
import { betweenSegments, isAscending, type PcLayout, pcLayouts } from './qemu-blocks.ts';
import { Segments } from './segments.ts';
import { lookAt } from './table-look.ts';

/** A `-p` dump, as its headers describe it. */
export interface ListedDump {
  readonly source: Source;
  readonly listed: Segments;
  readonly blockEnds: ReadonlySet<number>;
  /** The place in the file of the memory at address 0. */
  readonly first: number;
  readonly cpus: readonly DumpCpu[];
}

const ADDRESS_BITS = 0xf_ffff_ffff_f000n;
const LA57 = 12n;
const MAX_TRIED = 24;
const MAX_CPUS = 4;
const MIB = 2 ** 20;

/**
 * The memory of a `dump-guest-memory -p` dump, including what it has written but described by no segment: all memory between
 * segments of one block, and the blocks of the layout of a PC that fits best. A layout fits if it agrees with all segments; of
 * several, the page tables of the processors and the place of the firmware's ACPI tables decide.
 */
export function withUnlistedMemory(dump: ListedDump): { memory: Segments; layout: string } {
  const { listed, source, first, blockEnds } = dump;
  const runs: Run[] = Array.from(listed, ({ start, end, offset = 0 }) => ({
    start: Number(start),
    end: Number(end),
    delta: offset - Number(start),
  }));
  if (listed.hasCopies || !isAscending({ listed: runs, first })) return { memory: listed, layout: '' };
  const sure = runsOf([...runs, ...betweenSegments(runs)]);
  const facts = { listed: [...sure.joined().sorted()], blockEnds, first, fileSize: source.size };
  const layouts = pcLayouts(facts).slice(0, MAX_TRIED);
  const tried = layouts.map((layout) => {
    const memory = new Segments(sure.with(runsOf(layout.blocks)));
    return { layout, memory, fit: fitOf(dump, layout, memory) };
  });
  const best = tried.reduce<(typeof tried)[number] | undefined>(
    (known, one) => (known === undefined || one.fit > known.fit ? one : known),
    undefined,
  );
  if (best === undefined) return { memory: new Segments(sure), layout: '' };
  const { lowEnd, ram } = best.layout;
  const above = ram > lowEnd ? ` and from 4 GiB to 0x${(2 ** 32 + ram - lowEnd).toString(16)}` : '';
  return { memory: best.memory, layout: `RAM to 0x${lowEnd.toString(16)}${above} by its layout` };
}

/** How well the page tables and the ACPI tables fit a layout. Rounded, so that small differences do not count. */
function fitOf({ source, cpus }: ListedDump, { lowEnd }: PcLayout, memory: Segments): number {
  const readFrame = (frame: number, bytes: Uint8Array): boolean => memory.read(source, frame, bytes);
  let fit = 0;
  for (const { cr3, cr4 = 0n } of cpus.slice(0, MAX_CPUS)) {
    const levels = ((cr4 >> LA57) & 1n) === 1n ? 5 : 4;
    const { topEntries, sane } = lookAt(readFrame, {
      root: cr3 & ADDRESS_BITS,
      levels,
      addressBit: undefined,
    });
    if (topEntries > 0) fit += Math.round(sane * 10);
  }
  const acpi = rootTable(readFrame);
  // SeaBIOS puts its ACPI tables into the last MiB of the RAM below 4 GiB.
  const isNearEnd = acpi !== undefined && acpi < lowEnd && acpi >= lowEnd - MIB;
  return 2 * fit + (isNearEnd ? 3 : 0);
}

/** The physical address of the ACPI root table, from the pointer that the firmware leaves between 0xe0000 and 0xfffff. */
function rootTable(readFrame: (frame: number, bytes: Uint8Array) => boolean): number | undefined {
  const bytes = new Uint8Array(PAGE_SIZE);
  for (let frame = 0xe0; frame <= 0xff; frame += 1) {
    if (!readFrame(frame, bytes)) continue;
    for (let at = 0; at < PAGE_SIZE - 20; at += 16) {
      if (bytes[at] !== 0x52 || asciiOf(bytes.subarray(at, at + 8)) !== 'RSD PTR ') continue;
      return new DataView(bytes.buffer).getUint32(at + 16, true);
    }
  }
  return undefined;
}

function runsOf(list: Iterable<Run>): Runs {
  const runs = new Runs();
  for (const { start, end, delta } of list) runs.add(start, end, delta);
  return runs;
}
