import { type Address, formatAddress, PAGE_SIZE } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { BlockKind, BlockState } from './block.ts';
import { BuddyError, isBuddyError } from './buddy-error.ts';
import { requireInteger } from './integers.ts';
import { readOptions, requireMethods } from './options.ts';

/** An allocator that {@link renderMap} can draw: a `PageAllocator` or a `SharedPageAllocator`. */
export interface MapSource<A extends Address> {
  /** The addresses of the picture. */
  readonly region: MemoryRegion<A>;
  /** The blocks in `region`, ascending. */
  blocks(): Iterable<{
    readonly region: MemoryRegion<A>;
    readonly state: BlockState | 'cached';
    readonly kind: BlockKind | undefined;
  }>;
}

/** The size of the picture that {@link renderMap} draws. */
export interface RenderMapOptions {
  /** Cells in a line; the default is 64. */
  readonly columns?: number | undefined;
  /** The most lines; the default is 16. The pages of a cell follow from it: the least power of two that fits. */
  readonly rows?: number | undefined;
}

const SIGNS: Readonly<Record<BlockKind, string>> = { pages: '#', run: '=', file: 'f', slab: 's', heap: 'h' };
const STATE_SIGNS = { free: '.', reserved: 'r', cached: 'c' } as const;

/**
 * Draws the allocator's regions as text. Each line has the address of its first page and a row of cells. O(blocks · orders
 * + cells).
 *
 * | Sign | Pages of the cell |
 * | --- | --- |
 * | `.` | free |
 * | `#` | blocks |
 * | `=` | runs |
 * | `f`, `s`, `h` | file pages, slabs, heaps |
 * | `c` | pages in the caches of a shared allocator |
 * | `r` | reserved |
 * | `1` to `9` | several of these; the digit is the number of tenths that are not free |
 * | blank | outside the allocator's regions |
 *
 * @throws BuddyError `INVALID_OPTION`, `BUSY`; and `LOCK_TIMEOUT`, `BROKEN_INVARIANT` for a shared allocator
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { PageAllocator, renderMap } from '@svsm/buddy-alloc';
 * import { physRegion } from '@svsm/memory-region';
 *
 * const allocator = new PageAllocator(physRegion(physAddr(0), 0x2_0000));
 * allocator.allocatePages(2);
 * allocator.allocateRun(3);
 * console.log(renderMap(allocator, { columns: 16 }).split('\n').slice(1).join('\n'));
 * // => 0x0000000000000000 ####===.........
 * // => 0x0000000000010000 ................
 * ```
 */
export function renderMap<A extends Address>(
  allocator: MapSource<A>,
  options: RenderMapOptions = {},
): string {
  const { columns = 64, rows = 16 } = readOptions(options, ['columns', 'rows']);
  requireMethods('allocator', allocator, 'blocks');
  requireInteger('columns', columns, 1);
  requireInteger('rows', rows, 1);
  try {
    return draw(allocator, columns, rows);
  } catch (cause) {
    if (isBuddyError(cause)) throw cause;
    const expected = 'an allocator, whose blocks lie in its region';
    throw new BuddyError('INVALID_OPTION', { option: 'allocator', value: allocator, expected }, { cause });
  }
}

/** Draws the map. Throws a TypeError or a RangeError if `region` or `blocks` are not those of an allocator. */
function draw<A extends Address>(allocator: MapSource<A>, columns: number, rows: number): string {
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
    if (sign === undefined) throw new TypeError('a state or a kind that no block has');
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
