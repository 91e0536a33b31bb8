/**
 * The picture of the README: an SVSM allocates four pages and shares them. Each square is a page of 4 KiB; its colour is what the
 * allocator, the page table and the RMP of the packages say about it. `node tools/run/picture.ts`, after a build, writes it.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PAGE_SIZE_2M, PageSize, physAddr, type VirtAddr } from '@svsm/address';
import { getOrder } from '@svsm/buddy-alloc';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import { Svsm } from '@svsm/mm';
import { pageStateOf, SnpMachine } from '@svsm/sev-snp';
import { ROOT } from './turbo.ts';

export const PICTURE: string = join(ROOT, 'docs/pictures/four-pages.svg');

const MIB = 1 << 20;
const COLUMNS = 64;
/** Pixels from one square to the next. */
const STEP = 12;
const MARGIN = 16;
/** Pixels above the squares of a strip, for its title. */
const TITLE = 26;

const COLOURS = {
  free: '#dbe4ee',
  allocated: '#3b6ea8',
  encrypted: '#8fb59a',
  shared: '#d9822b',
} as const;
type Colour = keyof typeof COLOURS;

/** A colour for each page, by one part of the machine. */
interface Strip {
  readonly title: string;
  readonly pages: readonly Colour[];
}

/** The picture, as SVG. */
export function drawPicture(): string {
  const { before, after } = states();
  const columns = [
    { heading: 'before', strips: before, x: MARGIN },
    { heading: 'after makeShared(pages)', strips: after, x: 2 * MARGIN + COLUMNS * STEP },
  ];
  const height = (strip: Strip): number => TITLE + (strip.pages.length / COLUMNS) * STEP;
  const width = 3 * MARGIN + 2 * COLUMNS * STEP;
  const bottom = 40 + before.reduce((sum, strip) => sum + height(strip), 0);
  const drawn = columns.flatMap(({ heading, strips, x }) => {
    let y = 40;
    const texts = [text(x, 26, heading, 'bold')];
    for (const strip of strips) {
      texts.push(text(x, y + 18, strip.title), squares(strip, x, y + TITLE));
      y += height(strip);
    }
    return texts;
  });
  const legend = Object.entries(COLOURS).flatMap(([name, colour], i) => {
    const x = MARGIN + i * 110;
    return [
      `<rect x="${x}" y="${bottom + 14}" width="10" height="10" fill="${colour}"/>`,
      text(x + 16, bottom + 24, name),
    ];
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${bottom + 40}" role="img" aria-label="An allocator, a page table and the RMP before and after four pages are shared" font-family="sans-serif" font-size="14">
<rect width="100%" height="100%" rx="8" fill="#ffffff"/>
${[...drawn, ...legend].join('\n')}
</svg>
`;
}

/** The first 2 MiB of a heap, which one page maps, before and after four of its pages are shared. */
function states(): { before: Strip[]; after: Strip[] } {
  const { hypervisor } = new SnpMachine({ memorySize: 128 * MIB });
  const memory = physRegion(physAddr(0), 64 * MIB);
  const guest = hypervisor.launch({ memory: [{ region: memory, validated: true }] });
  const own = physRegion(physAddr(16 * MIB), 16 * MIB);
  const svsm = Svsm.boot({ guest, memory: [[memory, 'guest']], own });
  try {
    const first = svsm.pages.allocatePages(getOrder(PAGE_SIZE_2M));
    svsm.pages.freePages(first);
    const before = stripsOf(svsm, first);
    svsm.visibility.makeShared(svsm.pages.allocateAt(first.splitAt((first.start + 0x4000n) as VirtAddr)[0]));
    return { before, after: stripsOf(svsm, first) };
  } finally {
    svsm[Symbol.dispose]();
  }
}

function stripsOf(svsm: Svsm, region: MemoryRegion<VirtAddr>): Strip[] {
  const pages = [...region.iterPages(PageSize.Regular)];
  const { pageTable } = svsm.thisCpu();
  const { guest } = svsm;
  const rmpState = (page: VirtAddr): string => {
    const gpa = svsm.virtToPhys(page);
    const spa = guest.nested.lookup(gpa)?.spa;
    const entry = spa === undefined ? undefined : guest.machine.rmp.entry(spa);
    return entry === undefined ? 'none' : pageStateOf(entry);
  };
  const sizes = new Set(pages.map((page) => pageTable.lookup(page)?.size));
  const validated = pages.filter((page) => rmpState(page) === 'GUEST-VALID').length;
  return [
    {
      title: `PageAllocator: ${pages.filter((page) => isAllocated(svsm, page)).length} of 512 pages allocated`,
      pages: pages.map((page) => (isAllocated(svsm, page) ? 'allocated' : 'free')),
    },
    {
      title: `PageTable: ${[...sizes].map((size) => (size === 4096 ? '512 entries of 4 KiB' : 'one entry of 2 MiB')).join(', ')}`,
      pages: pages.map((page) => (pageTable.lookup(page)?.shared === true ? 'shared' : 'encrypted')),
    },
    {
      title: `Rmp: ${validated} pages GUEST-VALID, ${512 - validated} HYPERVISOR`,
      pages: pages.map((page) => (rmpState(page) === 'GUEST-VALID' ? 'encrypted' : 'shared')),
    },
  ];
}

function isAllocated(svsm: Svsm, page: VirtAddr): boolean {
  return svsm.pages.blockOf(page)?.state === 'allocated';
}

/** A dashed line for each run of squares in a row, and a path for each colour. */
function squares({ pages }: Strip, left: number, top: number): string {
  const paths = new Map<Colour, string>();
  for (let at = 0, end = 0; at < pages.length; at = end) {
    const colour = pages[at]!;
    end = at + 1;
    while (end % COLUMNS !== 0 && pages[end] === colour) end += 1;
    const [x, y] = [left + (at % COLUMNS) * STEP, top + Math.floor(at / COLUMNS) * STEP + 5];
    paths.set(colour, `${paths.get(colour) ?? ''}M${x} ${y}h${(end - at) * STEP - 2}`);
  }
  const stroke = 'stroke-width="10" stroke-dasharray="10 2"';
  return [...paths]
    .map(([colour, path]) => `<path stroke="${COLOURS[colour]}" ${stroke} d="${path}"/>`)
    .join('\n');
}

function text(x: number, y: number, content: string, weight = 'normal'): string {
  return `<text x="${x}" y="${y}" fill="#24292f" font-weight="${weight}">${content}</text>`;
}

if (import.meta.main) writeFileSync(PICTURE, drawPicture());
