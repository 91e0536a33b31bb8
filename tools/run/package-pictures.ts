/**
 * The pictures of packages' READMEs. Everything in them that is a number comes from the packages. `node tools/run/package-pictures.ts`,
 * after a build, writes them.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  formatAddress,
  PAGE_SIZE,
  PAGE_SIZE_2M,
  type PhysAddr,
  pageOffset,
  pageTableIndex,
  physAddr,
  virtAddr,
} from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable, PtePreset, pagingConfig } from '@svsm/pagetable';
import { COLOURS, DARK, LIGHT, legend, MARGIN, rect, svg, text, WIDTH } from './drawing.ts';
import { ROOT } from './turbo.ts';

const LEVELS = ['PT', 'PD', 'PDPT', 'PML4'] as const;
const VADDR = virtAddr(0xffff_8000_4020_3004n);

/** Each picture as SVG, by the name of its package. */
export const PICTURES: Readonly<Record<string, () => string>> = {
  address: bitsOfAnAddress,
  'buddy-alloc': blocksOfAnAllocator,
  pagetable: walkOfAnAddress,
};

/** The file of a picture. */
export function pictureFile(name: string): string {
  return join(ROOT, `docs/pictures/${name}.svg`);
}

/** The fields of a virtual address, as a page table of 4 levels divides it. */
function bitsOfAnAddress(): string {
  const fields = [
    { bits: '63:48', name: 'as bit 47', value: '', width: 130 },
    ...[3, 2, 1, 0].map((level) => ({
      bits: `${12 + 9 * level + 8}:${12 + 9 * level}`,
      name: `index in ${LEVELS[level]}`,
      value: String(pageTableIndex(VADDR, level)),
      width: 138,
    })),
    { bits: '11:0', name: 'in the page', value: `0x${pageOffset(VADDR).toString(16)}`, width: 146 },
  ];
  let x = MARGIN;
  const drawn = fields.flatMap(({ bits, name, value, width }, i) => {
    const colour = i === 0 ? COLOURS.free : i === fields.length - 1 ? COLOURS.encrypted : COLOURS.allocated;
    const ink = colour === COLOURS.allocated ? LIGHT : DARK;
    const middle = x + (width - 2) / 2;
    const box = [
      rect(x, 62, width - 2, 52, colour),
      text(middle, 54, bits, { anchor: 'middle' }),
      text(middle, 84, name, { anchor: 'middle', ink }),
      text(middle, 104, value, { anchor: 'middle', ink, weight: 'bold' }),
    ];
    x += width;
    return box;
  });
  return svg('The fields of a virtual address', 132, [
    text(MARGIN, 28, formatAddress(VADDR), { weight: 'bold' }),
    ...drawn,
  ]);
}

/** The blocks of 64 pages, before and after the two blocks of 4 pages are freed. */
function blocksOfAnAllocator(): string {
  const pages = new PageAllocator(physRegion(physAddr(0x10_0000), 64 * PAGE_SIZE));
  const [first, , second] = [2, 1, 2, 3, 0].map((order) => pages.allocatePages(order));
  const before = strip(pages, 'five blocks are allocated', 28);
  pages.freePages(first!);
  pages.freePages(second!);
  const after = strip(pages, 'two blocks of order 2 are freed: free neighbours merge', 106);
  return svg('The blocks of a buddy allocator', 206, [
    ...before,
    ...after,
    ...legend(178, { free: COLOURS.free, allocated: COLOURS.allocated }),
    text(MARGIN + 210, 188, 'The number is the order: a block has 2^order pages.'),
  ]);
}

function strip(pages: PageAllocator<PhysAddr>, title: string, y: number): string[] {
  const step = (WIDTH - 2 * MARGIN) / 64;
  let x = MARGIN;
  const blocks = [...pages.blocks()].flatMap(({ order, state, region }) => {
    const width = region.pageCount() * step;
    const colour = state === 'free' ? COLOURS.free : COLOURS.allocated;
    const ink = state === 'free' ? DARK : LIGHT;
    const label = text(x + width / 2, y + 33, String(order), { anchor: 'middle', ink });
    const drawn = [rect(x, y + 10, width - 2, 36, colour), label];
    x += width;
    return drawn;
  });
  return [text(MARGIN, y, `${title}: ${pages.memoryInfo().freePages} of 64 pages are free`), ...blocks];
}

/** The entries of a walk to a page that is shared, in a table whose other pages are private. */
function walkOfAnAddress(): string {
  let frame = 0;
  const frames = { allocateFrame: () => physAddr(PAGE_SIZE * frame++), freeFrame: () => {} };
  const memory = createPhysMemory({ size: 0x10_0000 });
  const table = PageTable.create({ memory, frames, config: pagingConfig({ cBit: 51 }) });
  const heap = virtRegion(virtAddr(VADDR & ~0x1f_ffffn), PAGE_SIZE_2M);
  table.map2m(heap.start, physAddr(0x4000_0000), PtePreset.Data);
  table.setShared4k(virtAddr(VADDR & ~0xfffn));
  const { path, page } = table.walk(VADDR);
  const rows = path.flatMap(({ level, table, index, entry }, i) => {
    const y = 66 + i * 40;
    const colour = entry.shared ? COLOURS.shared : COLOURS.encrypted;
    return [
      rect(MARGIN, y - 21, WIDTH - 2 * MARGIN, 32, colour),
      text(MARGIN + 12, y, `${LEVELS[level]} at ${formatAddress(table)}`),
      text(MARGIN + 290, y, `entry ${index}`),
      text(MARGIN + 390, y, formatAddress(entry.raw), { weight: 'bold' }),
      text(MARGIN + 600, y, entry.shared ? 'C-bit clear: shared' : 'C-bit set: encrypted'),
    ];
  });
  return svg('A walk through a page table with a C-bit', 232, [
    text(MARGIN, 28, `walk(${formatAddress(VADDR)}), C-bit 51`, { weight: 'bold' }),
    ...rows,
    text(MARGIN, 218, `→ ${formatAddress(page!.paddr)}`, { weight: 'bold' }),
  ]);
}

if (import.meta.main)
  for (const [name, draw] of Object.entries(PICTURES)) writeFileSync(pictureFile(name), draw());
