import { type Address, formatAddress, PAGE_SIZE } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { BlockKind, BlockState } from './block.ts';
import { requireInteger } from './integers.ts';

/** What {@link renderMap} draws: a `PageAllocator`, or a `SharedPageAllocator`. */
export interface MapSource<A extends Address> {
  /** What the picture is of. */
  readonly region: MemoryRegion<A>;
  /** What is in it, ascending. */
  blocks(): Iterable<{
    readonly region: MemoryRegion<A>;
    readonly state: BlockState | 'cached';
    readonly kind: BlockKind | undefined;
  }>;
}

/** How {@link renderMap} draws. */
export interface RenderMapOptions {
  /** Cells in a line, 64 if not given. */
  readonly columns?: number | undefined;
  /** Lines at most, 16 if not given: a cell has as many pages, a power of two, as that needs. */
  readonly rows?: number | undefined;
}

const SIGNS: Readonly<Record<BlockKind, string>> = { pages: '#', run: '=', file: 'f', slab: 's', heap: 'h' };
const STATE_SIGNS = { free: '.', reserved: 'r', cached: 'c' } as const;

/**
 * A picture of the allocator's regions, in text: a line for each so many pages, with the address that it starts at. A cell
 * is `.` if all its pages are free, `r` if reserved, blank if they are not the allocator's, `#` for blocks, `=` for runs, `f`, `s` and
 * `h` for file pages, slabs and heaps, `c` for pages in caches of a shared allocator; or a digit from 1 to 9 for how many tenths of it are in use, if there are several of these.
 * O(blocks · orders + cells).
 *
 * @throws BuddyError `INVALID_OPTION`
 */
export function renderMap<A extends Address>(
  allocator: MapSource<A>,
  options: RenderMapOptions = {},
): string {
  const { columns = 64, rows = 16 } = options;
  requireInteger('columns', columns, 1);
  requireInteger('rows', rows, 1);
  const { start, end } = allocator.region;
  const origin = Number(start / BigInt(PAGE_SIZE));
  const total = Number(end / BigInt(PAGE_SIZE)) - origin;
  let pages = 1;
  while (Math.ceil(total / pages) > columns * rows) pages *= 2;

  const cells = Array.from({ length: Math.ceil(total / pages) }, () => ({
    signs: new Set<string>(),
    used: 0,
    seen: 0,
  }));
  for (const { region, state, kind } of allocator.blocks()) {
    const first = Number(region.start / BigInt(PAGE_SIZE)) - origin;
    const last = first + region.pageCount();
    const sign = state === 'allocated' ? SIGNS[kind ?? 'pages'] : STATE_SIGNS[state];
    for (let index = Math.floor(first / pages); index * pages < last; index += 1) {
      const cell = cells[index]!;
      const here = Math.min(last, (index + 1) * pages) - Math.max(first, index * pages);
      cell.signs.add(sign);
      cell.seen += here;
      if (state !== 'free') cell.used += here;
    }
  }
  const lines = [
    `a cell is ${pages} ${pages === 1 ? 'page' : 'pages'}; . free, # blocks, = runs, f file, s slab, h heap, r reserved, 1-9 tenths in use`,
  ];
  for (let row = 0; row * columns < cells.length; row += 1) {
    const line = cells.slice(row * columns, (row + 1) * columns).map(({ signs, used, seen }) => {
      if (seen === 0) return ' ';
      if (signs.size === 1) return [...signs][0];
      return String(Math.min(9, Math.max(1, Math.round((10 * used) / seen))));
    });
    lines.push(
      `${formatAddress(start + BigInt(row * columns * pages * PAGE_SIZE))} ${line.join('').trimEnd()}`,
    );
  }
  return lines.join('\n');
}
