import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { hex } from '../model/address.ts';
import { entryAt } from '../model/rmp-image.ts';
import { CELLS, cellStates, STATE_TEXT, windowOf, ZOOMS } from '../model/rmp-map.ts';
import { choose, frame, selection } from '../store.ts';
import { CellMap } from './cell-map.tsx';

const COLUMNS = 32;

/** The reverse map table as a map of pages, from 4 KiB to all of the machine. */
export function RmpView() {
  const level = useSignal(0);
  const start = useSignal(0n);
  const cursor = useSignal(0);
  const image = frame.value?.rmp;
  const spa = selection.value?.system;
  const zoom = ZOOMS[level.value]!;
  const last = useRef<bigint | undefined>(undefined);
  useEffect(() => {
    if (spa === undefined) return;
    start.value = windowOf(zoom, spa);
    if (last.current !== spa) cursor.value = Number((spa - start.value) / zoom.cell);
    last.current = spa;
  }, [spa, zoom, start, cursor]);
  const now = frame.value;
  if (image === undefined || now === undefined)
    return <section class="panel" aria-label="Reverse map table" />;
  const states = cellStates(image, now.nested, zoom, start.value);
  const at = start.value + BigInt(cursor.value) * zoom.cell;
  const state = states[cursor.value] ?? 'OUTSIDE';
  const marked = spa === undefined ? -1 : Number((spa - start.value) / zoom.cell);
  const entry = entryAt(image, at);
  const zoomTo = (to: number, around: bigint): void => {
    level.value = Math.max(0, Math.min(ZOOMS.length - 1, to));
    start.value = windowOf(ZOOMS[level.value]!, around);
    cursor.value = Number((around - start.value) / ZOOMS[level.value]!.cell);
  };
  const pick = (cell: number): void => {
    const page = start.value + BigInt(cell) * zoom.cell;
    if (page >= image.size) return;
    if (level.value === 0) choose('system', page);
    else zoomTo(level.value - 1, page);
  };
  const page = (by: bigint): void => {
    const size = zoom.cell * BigInt(CELLS);
    const to = start.value + by * size;
    if (to >= 0n && to < image.size) start.value = to;
  };
  return (
    <section class="panel rmp" aria-label="Reverse map table">
      <h3>
        RMP{' '}
        <small>
          {hex(start.value)} – {hex(start.value + zoom.cell * BigInt(CELLS))}
        </small>
      </h3>
      <div class="tools">
        <fieldset>
          <legend class="label">A cell is</legend>
          {ZOOMS.map(({ name }, i) => (
            <button
              type="button"
              key={name}
              aria-pressed={i === level.value}
              onClick={() => zoomTo(i, spa ?? at)}
            >
              {name}
            </button>
          ))}
        </fieldset>
        <button type="button" aria-label="Memory before" onClick={() => page(-1n)}>
          ←
        </button>
        <button type="button" aria-label="Memory after" onClick={() => page(1n)}>
          →
        </button>
      </div>
      <CellMap
        label={`Map of the RMP, ${CELLS} cells of ${zoom.name}. ${hex(at)}: ${STATE_TEXT[state][1]}`}
        columns={COLUMNS}
        cells={states.map((one) => ({ kind: one, letter: STATE_TEXT[one][0] }))}
        marked={marked}
        cursor={cursor.value}
        onCursor={(cell) => {
          cursor.value = cell;
        }}
        onPick={pick}
        onOut={() => zoomTo(level.value + 1, at)}
      />
      <p class="readout">
        {hex(at)} {STATE_TEXT[state][1]}
        {entry?.assigned &&
          `, ASID ${entry.asid}, GPA ${hex(entry.gpa)}, ${entry.pageSize === 4096 ? '4 KiB' : '2 MiB'}`}
      </p>
      <ul class="legend">
        {[...new Set(states)].map((one) => (
          <li key={one}>
            <span class={`swatch state-${one}`}>{STATE_TEXT[one][0]}</span> {STATE_TEXT[one][1]}
          </li>
        ))}
      </ul>
    </section>
  );
}
