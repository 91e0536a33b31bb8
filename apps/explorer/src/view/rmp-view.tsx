import { useSignal } from '@preact/signals';
import { useMemo, useRef } from 'preact/hooks';
import { hex } from '../model/address.ts';
import type { Frame } from '../model/frame.ts';
import { entryAt } from '../model/rmp-image.ts';
import {
  CELLS,
  type CellState,
  cellStates,
  STATE_TEXT,
  statesIn,
  windowOf,
  ZOOMS,
  type Zoom,
} from '../model/rmp-map.ts';
import { choose, frame, selection } from '../store.ts';
import { CellMap, Swatch } from './cell-map.tsx';
import type { Cell } from './cell-paint.ts';

const COLUMNS = 32;
const CELL_OF = Object.fromEntries(
  Object.entries(STATE_TEXT).map(([kind, [letter]]) => [kind, { kind, letter }]),
) as Readonly<Record<CellState, Cell>>;
const KINDS = Object.values(CELL_OF);

/** The part of memory that the map shows, and its cursor, while the page at `spa` is selected. */
interface Place {
  readonly spa: bigint | undefined;
  readonly start: bigint;
  readonly cursor: number;
}

function placeOf(zoom: Zoom, address: bigint, spa: bigint | undefined): Place {
  const start = windowOf(zoom, address);
  return { spa, start, cursor: Number((address - start) / zoom.cell) };
}

/** The reverse map table as a map of pages, from 4 KiB to all of the machine. */
export function RmpView() {
  const now = frame.value;
  if (now === undefined) return <section class="panel rmp" aria-label="Reverse map table" />;
  return <RmpMap now={now} />;
}

function RmpMap({ now }: { readonly now: Frame }) {
  const level = useSignal(0);
  const moved = useSignal<Place | undefined>(undefined);
  const around = useRef(0n);
  const spa = selection.value?.system;
  const { rmp: image, nested } = now;
  const zoom = ZOOMS[level.value]!;
  if (spa !== undefined) around.current = spa;
  // The map is where the reader has moved it, until another page is selected.
  const place =
    moved.value !== undefined && moved.value.spa === spa ? moved.value : placeOf(zoom, around.current, spa);
  const { start, cursor } = place;
  const states = useMemo(() => cellStates(image, nested, zoom, start), [image, nested, zoom, start]);
  const cells = useMemo(() => states.map((one) => CELL_OF[one]), [states]);
  const at = start + BigInt(cursor) * zoom.cell;
  const state = states[cursor] ?? 'OUTSIDE';
  const marked = spa === undefined || spa < start ? -1 : Number((spa - start) / zoom.cell);
  const entry = entryAt(image, at);
  const zoomTo = (to: number, address: bigint): void => {
    level.value = Math.max(0, Math.min(ZOOMS.length - 1, to));
    moved.value = placeOf(ZOOMS[level.value]!, address, spa);
  };
  const pick = (cell: number): void => {
    const page = start + BigInt(cell) * zoom.cell;
    if (page >= image.size) return;
    if (level.value === 0) choose('system', page);
    else zoomTo(level.value - 1, page);
  };
  const page = (by: bigint): void => {
    const to = start + by * zoom.cell * BigInt(CELLS);
    if (to >= 0n && to < image.size) moved.value = { ...place, spa, start: to };
  };
  return (
    <section class="panel rmp" aria-label="Reverse map table">
      <h3>
        RMP{' '}
        <small>
          {hex(start)} – {hex(start + zoom.cell * BigInt(CELLS))}
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
        cells={cells}
        kinds={KINDS}
        marked={marked}
        cursor={cursor}
        onCursor={(cell) => {
          moved.value = { ...place, spa, cursor: cell };
        }}
        onPick={pick}
        onOut={() => zoomTo(level.value + 1, at)}
      />
      <p class="readout">
        {hex(at)}{' '}
        {state === 'MIXED'
          ? `pages: ${[...statesIn(image, nested, at, zoom.cell)]
              .map(([one, pages]) => `${pages.toLocaleString('en')} ${STATE_TEXT[one][1]}`)
              .join('; ')}`
          : STATE_TEXT[state][1]}
        {state !== 'MIXED' &&
          entry?.assigned &&
          `, ASID ${entry.asid}, GPA ${hex(entry.gpa)}, ${entry.pageSize === 4096 ? '4 KiB' : '2 MiB'}`}
      </p>
      <ul class="legend">
        {[...new Set(states)].map((one) => (
          <li key={one}>
            <Swatch {...CELL_OF[one]} /> {STATE_TEXT[one][1]}
          </li>
        ))}
      </ul>
    </section>
  );
}
