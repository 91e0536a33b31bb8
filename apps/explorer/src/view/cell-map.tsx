import { useEffect, useRef } from 'preact/hooks';
import { type Cell, paintCells, paintTile } from './cell-paint.ts';

interface Props {
  readonly label: string;
  readonly columns: number;
  readonly cells: readonly Cell[];
  /** A cell of each kind that the map may have. */
  readonly kinds: readonly Cell[];
  /** The index of the selected cell; outside of the map if none is. */
  readonly marked: number;
  readonly cursor: number;
  readonly onCursor: (cell: number) => void;
  readonly onPick: (cell: number) => void;
  readonly onOut?: () => void;
}

/** A map of cells on a canvas: pointer and arrow keys move the cursor, click and Enter pick, Escape goes out. */
export function CellMap({ label, columns, cells, kinds, marked, cursor, onCursor, onPick, onOut }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const rows = Math.ceil(cells.length / columns);
  const draw = useRef(() => {});
  draw.current = () => {
    // An observer may report once more after the map has gone.
    if (canvas.current !== null) paintCells(canvas.current, { cells, kinds, columns, rows, marked, cursor });
  };
  useEffect(() => draw.current(), [cells, columns, marked, cursor]);
  useEffect(() => watchLooks(canvas.current!, () => draw.current()), []);
  const cellAt = (event: MouseEvent): number => {
    const { width, height } = canvas.current!.getBoundingClientRect();
    const x = Math.min(columns - 1, Math.floor((event.offsetX / width) * columns));
    const y = Math.min(rows - 1, Math.floor((event.offsetY / height) * rows));
    return Math.max(0, Math.min(cells.length - 1, y * columns + x));
  };
  const onKey = (event: KeyboardEvent): void => {
    const move = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    const to = cursor + (move ?? 0);
    if (move !== undefined && to >= 0 && to < cells.length) onCursor(to);
    else if (event.key === 'Enter' || event.key === ' ') onPick(cursor);
    else if (event.key === 'Escape' && onOut !== undefined) onOut();
    else return;
    event.preventDefault();
  };
  return (
    // biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: it takes keys as an application does
    <canvas
      ref={canvas}
      class="map"
      style={{ aspectRatio: `${columns} / ${rows}` }}
      role="application"
      aria-label={`${label}. Arrow keys move, Enter selects${onOut === undefined ? '' : ', Escape zooms out'}.`}
      tabIndex={0}
      onKeyDown={onKey}
      onPointerMove={(event) => onCursor(cellAt(event))}
      onClick={(event) => onPick(cellAt(event))}
    />
  );
}

/** One cell of a map, in a legend. The words beside it name it. */
export function Swatch({ kind, letter }: Cell) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const draw = (): void => {
      if (canvas.current !== null) paintTile(canvas.current, { kind, letter });
    };
    draw();
    return watchLooks(canvas.current!, draw);
  }, [kind, letter]);
  return (
    <span aria-hidden="true">
      <canvas ref={canvas} class="swatch" />
    </span>
  );
}

/** Calls `draw` when the size of a canvas or the colours of the page change. Returns the function that ends that. */
function watchLooks(canvas: HTMLCanvasElement, draw: () => void): () => void {
  const observer = new ResizeObserver(draw);
  observer.observe(canvas);
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  scheme.addEventListener('change', draw);
  return () => {
    observer.disconnect();
    scheme.removeEventListener('change', draw);
  };
}
