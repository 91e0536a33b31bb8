import { useSignal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import { hex } from '../model/address.ts';
import { blockAt, type HeapImage } from '../model/heap-image.ts';
import { choose, frame, selection } from '../store.ts';
import { CellMap } from './cell-map.tsx';
import type { Cell } from './cell-paint.ts';

const COLUMNS = 64;
const LETTERS = { free: '', allocated: 'A', reserved: 'R' } as const;

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

/** A cell for each page. Blocks that follow each other differ in shade. */
function cellsOf({ blocks, start, pages }: HeapImage): Cell[] {
  const cells: Cell[] = Array.from({ length: pages }, () => ({ kind: 'free-0', letter: '' }));
  blocks.forEach(({ start: first, pages: count, state }, index) => {
    const from = Number((first - start) / 4096n);
    for (let page = from; page < from + count; page += 1)
      cells[page] = { kind: `${state}-${index % 2}`, letter: LETTERS[state] };
  });
  return cells;
}
