import { useSignal } from '@preact/signals';
import type { BlockState } from '@svsm/buddy-alloc';
import { useMemo } from 'preact/hooks';
import { hex } from '../model/address.ts';
import { blockAt, type HeapImage } from '../model/heap-image.ts';
import { choose, frame, selection } from '../store.ts';
import { CellMap } from './cell-map.tsx';
import type { Cell } from './cell-paint.ts';

const COLUMNS = 64;
/** Blocks that follow each other differ in shade. */
const CELLS_OF = {
  free: shades('free', ''),
  allocated: shades('allocated', 'A'),
  reserved: shades('reserved', 'R'),
} as const;
const KINDS = Object.values(CELLS_OF).flat();

/** The allocator: a map of its pages, and its free lists by order. */
export function HeapView() {
  const cursor = useSignal(0);
  const heap = frame.value?.heap;
  const cells = useMemo(() => (heap === undefined ? [] : cellsOf(heap)), [heap]);
  if (heap === undefined)
    return (
      <section class="panel heap" aria-label="Allocator">
        <h3>Allocator</h3>
        <p class="quiet">This scenario has no allocator.</p>
      </section>
    );
  const vaddr = selection.value?.virtual;
  const page = vaddr === undefined ? -1 : Number((vaddr - heap.start) / 4096n);
  const marked = page >= 0 && page < heap.pages && vaddr! >= heap.start ? page : -1;
  const at = heap.start + BigInt(cursor.value) * 4096n;
  const block = blockAt(heap, at);
  return (
    <section class="panel heap" aria-label="Allocator">
      <h3>
        Allocator{' '}
        <small>
          {heap.freePages} of {heap.pages} pages free
        </small>
      </h3>
      <CellMap
        label={`Map of the allocator, ${heap.pages} pages. ${hex(at)}: ${block?.state ?? ''}, order ${block?.order ?? ''}`}
        columns={COLUMNS}
        cells={cells}
        kinds={KINDS}
        marked={marked}
        cursor={cursor.value}
        onCursor={(cell) => {
          cursor.value = cell;
        }}
        onPick={(cell) => choose('virtual', heap.start + BigInt(cell) * 4096n)}
      />
      <p class="readout">
        {hex(at)} {block?.state}, block of order {block?.order} at {block && hex(block.start)}
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls */}
      <section class="scroll" tabIndex={0} aria-label="Free lists">
        <table class="lists">
          <tbody>
            <tr>
              <th scope="row">order</th>
              {heap.freeBlocks.map((_, order) => (
                <th scope="col" key={order}>
                  {order}
                </th>
              ))}
            </tr>
            <tr>
              <th scope="row">free</th>
              {heap.freeBlocks.map((count, order) => (
                <td key={order} class={count === 0 ? 'none' : ''}>
                  {count}
                </td>
              ))}
            </tr>
          </tbody>
        </table>
      </section>
    </section>
  );
}

function shades(state: BlockState, letter: string): readonly [Cell, Cell] {
  return [
    { kind: `${state}-0`, letter },
    { kind: `${state}-1`, letter },
  ];
}

/** A cell for each page. */
function cellsOf({ blocks, start, pages }: HeapImage): Cell[] {
  const cells = Array<Cell>(pages).fill(CELLS_OF.free[0]);
  blocks.forEach(({ start: first, pages: count, state }, index) => {
    const from = Number((first - start) / 4096n);
    cells.fill(CELLS_OF[state][(index % 2) as 0 | 1], from, from + count);
  });
  return cells;
}
