import { useEffect, useRef } from 'preact/hooks';

/** A cell: its kind has a colour and a pattern in the style sheet, `--state-KIND`. */
export interface Cell {
  readonly kind: string;
  readonly letter: string;
}

interface Props {
  readonly label: string;
  readonly columns: number;
  readonly cells: readonly Cell[];
  /** The index of the selected cell; outside of the map if none is. */
  readonly marked: number;
  readonly cursor: number;
  readonly onCursor: (cell: number) => void;
  readonly onPick: (cell: number) => void;
  readonly onOut?: () => void;
}

/** A map of cells on a canvas: pointer and arrow keys move the cursor, click and Enter pick, Escape goes out. */
export function CellMap({ label, columns, cells, marked, cursor, onCursor, onPick, onOut }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const rows = Math.ceil(cells.length / columns);
  useEffect(() => {
    const draw = (): void => {
      // The observer may report once more after the map has gone.
      if (canvas.current !== null) paint(canvas.current, cells, columns, rows, marked, cursor);
    };
    draw();
    const observer = new ResizeObserver(draw);
    observer.observe(canvas.current!);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', draw);
    return () => {
      observer.disconnect();
      scheme.removeEventListener('change', draw);
    };
  });
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

function paint(
  canvas: HTMLCanvasElement,
  cells: readonly Cell[],
  columns: number,
  rows: number,
  marked: number,
  cursor: number,
): void {
  const { width, height } = canvas.getBoundingClientRect();
  if (width === 0) return;
  const scale = devicePixelRatio;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext('2d')!;
  context.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const colour = (name: string): string => style.getPropertyValue(name).trim() || style.color;
  const [w, h] = [width / columns, height / rows];
  const size = Math.floor(Math.min(w, h) * 0.68);
  context.font = `600 ${size}px ${style.fontFamily}`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  const fills = new Map<string, readonly [string, string]>();
  cells.forEach(({ kind, letter }, index) => {
    const x = (index % columns) * w;
    const y = Math.floor(index / columns) * h;
    let fill = fills.get(kind);
    if (fill === undefined) {
      fill = [colour(`--fill-${kind}`), colour(`--ink-${kind}`)];
      fills.set(kind, fill);
    }
    context.fillStyle = fill[0];
    context.fillRect(x + 0.5, y + 0.5, w - 1, h - 1);
    if (letter === '' || size < 6) return;
    context.fillStyle = fill[1];
    context.fillText(letter, x + w / 2, y + h / 2 + 0.5);
  });
  outline(context, cursor, columns, w, h, colour('--line-strong'), 1);
  outline(context, marked, columns, w, h, colour('--accent'), 2.5);
}

function outline(
  context: CanvasRenderingContext2D,
  cell: number,
  columns: number,
  w: number,
  h: number,
  colour: string,
  width: number,
): void {
  if (cell < 0) return;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.strokeRect((cell % columns) * w, Math.floor(cell / columns) * h, w, h);
}
