/** Paints cells on a canvas. A kind of cell has its colours in the style sheet, and its pattern and letter for eyes that do not tell colours apart. */

/** A cell: its kind has the colours `--fill-KIND` and `--ink-KIND`. */
export interface Cell {
  readonly kind: string;
  readonly letter: string;
}

/** The cells of a map, row by row. */
export interface Cells {
  readonly cells: readonly Cell[];
  /** A cell of each kind that the map may have. */
  readonly kinds: readonly Cell[];
  readonly columns: number;
  readonly rows: number;
  /** Indexes of cells with an outline; outside of the map if there is none. */
  readonly marked: number;
  readonly cursor: number;
}

type Pattern = 'rising' | 'falling' | 'dots' | 'cross' | 'rows' | 'columns';

/** Kinds without one are plain. */
const PATTERNS: Readonly<Record<string, Pattern>> = {
  'GUEST-INVALID': 'rising',
  'PRE-GUEST': 'falling',
  'PRE-SWAP': 'columns',
  SHARED: 'dots',
  MIXED: 'cross',
  CONTEXT: 'rows',
  FIRMWARE: 'falling',
  'FIRMWARE-IOMMU': 'columns',
  RECLAIM: 'rising',
  METADATA: 'dots',
  'HV-FIXED': 'rows',
  OUTSIDE: 'falling',
  DEFAULT: 'rising',
  'allocated-0': 'rising',
  'allocated-1': 'falling',
  'reserved-0': 'cross',
  'reserved-1': 'cross',
};

/** Below this size, in pixels, a letter cannot be read. */
const SMALLEST_LETTER = 6;

/** The looks of a canvas when it was painted last: of what has not changed since, nothing is painted again. */
interface Painted {
  readonly looks: string;
  readonly cells: readonly Cell[];
  readonly outlined: readonly number[];
  readonly tiles: Map<string, HTMLCanvasElement>;
}

const PAINTED = new WeakMap<HTMLCanvasElement, Painted>();

/** Paints a map. O(cells that have changed), or all if the size or the colours have. */
export function paintCells(canvas: HTMLCanvasElement, map: Cells): void {
  const { cells, kinds, columns, rows, marked, cursor } = map;
  if (!fitToScreen(canvas)) return;
  const context = canvas.getContext('2d')!;
  const looks = `${canvas.width} ${canvas.height} ${columns} ${getComputedStyle(canvas).color}`;
  const last = PAINTED.get(canvas);
  const isNew = last?.looks !== looks || last.cells.length !== cells.length;
  const tiles = isNew ? new Map<string, HTMLCanvasElement>() : last.tiles;
  const [w, h] = [canvas.width / columns, canvas.height / rows];
  const tileFor = (cell: Cell): HTMLCanvasElement => {
    let tile = tiles.get(cell.kind);
    if (tile === undefined) {
      tile = tileOf(canvas, cell, Math.max(1, Math.floor(w) - 1), Math.max(1, Math.floor(h) - 1));
      tiles.set(cell.kind, tile);
    }
    return tile;
  };
  // The first use of a picture takes milliseconds.
  if (isNew) for (const kind of kinds) whenIdle(() => context.drawImage(tileFor(kind), canvas.width, 0));
  const { ink: line, fill: accent } = coloursOf(canvas, 'outline');
  const stale = isNew ? undefined : around(last.outlined, columns);
  cells.forEach((cell, index) => {
    if (!isNew && last.cells[index]!.kind === cell.kind && !stale!.has(index)) return;
    const [x, y] = [Math.round((index % columns) * w), Math.round(Math.floor(index / columns) * h)];
    // The pictures cover each other, but not an outline.
    if (isNew || stale!.has(index)) context.clearRect(x, y, Math.ceil(w), Math.ceil(h));
    context.drawImage(tileFor(cell), x, y);
  });
  const outline = (cell: number, colour: string, width: number): void => {
    if (cell < 0 || cell >= cells.length) return;
    context.strokeStyle = colour;
    context.lineWidth = width * devicePixelRatio;
    context.strokeRect((cell % columns) * w, Math.floor(cell / columns) * h, w, h);
  };
  outline(cursor, line, 1);
  outline(marked, accent, 2.5);
  PAINTED.set(canvas, { looks, cells, outlined: [cursor, marked], tiles });
}

/** Paints one cell on all of a canvas. */
export function paintTile(canvas: HTMLCanvasElement, cell: Cell): void {
  if (!fitToScreen(canvas)) return;
  const { width, height } = canvas;
  paintCell(canvas.getContext('2d')!, canvas, cell, width, height);
}

/** Calls a function when the page has nothing else to do: a step that needs its result is quick then. */
function whenIdle(act: () => void): void {
  if (globalThis.requestIdleCallback === undefined) setTimeout(act, 200);
  else requestIdleCallback(act);
}

/** Gives a canvas the pixels of its size on the screen. Returns whether it has one. */
function fitToScreen(canvas: HTMLCanvasElement): boolean {
  const { width, height } = canvas.getBoundingClientRect();
  const [w, h] = [Math.round(width * devicePixelRatio), Math.round(height * devicePixelRatio)];
  if (w === 0 || h === 0) return false;
  // Even the same size empties a canvas.
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  return true;
}

/** The cells that an outline of these cells touches. */
function around(cells: readonly number[], columns: number): Set<number> {
  const steps = [-1, 0, 1].flatMap((row) => [-1, 0, 1].map((column) => row * columns + column));
  return new Set(cells.flatMap((cell) => steps.map((step) => cell + step)));
}

interface Colours {
  readonly ink: string;
  readonly fill: string;
}

/** Colours by the colour of text, which differs in the two schemes of the page, and by kind. To resolve them costs a pass over styles. */
const COLOURS = new Map<string, Colours>();

/** The colours of a kind as a canvas takes them, in the scheme of the page. */
function coloursOf(canvas: HTMLCanvasElement, kind: string): Colours {
  const key = `${getComputedStyle(canvas).color} ${kind}`;
  let colours = COLOURS.get(key);
  if (colours === undefined) {
    canvas.style.color = `var(--ink-${kind})`;
    canvas.style.backgroundColor = `var(--fill-${kind})`;
    const { color: ink, backgroundColor: fill } = getComputedStyle(canvas);
    canvas.style.color = '';
    canvas.style.backgroundColor = '';
    colours = { ink, fill };
    COLOURS.set(key, colours);
  }
  return colours;
}

/** A picture of a cell, of `w` by `h` pixels of the canvas. */
function tileOf(canvas: HTMLCanvasElement, cell: Cell, w: number, h: number): HTMLCanvasElement {
  const tile = document.createElement('canvas');
  tile.width = w;
  tile.height = h;
  paintCell(tile.getContext('2d')!, canvas, cell, w, h);
  return tile;
}

/** Paints a cell of `w` by `h` pixels at the origin, with the colours and the letters of a canvas of the page. */
function paintCell(
  context: CanvasRenderingContext2D,
  canvas: HTMLCanvasElement,
  { kind, letter }: Cell,
  w: number,
  h: number,
): void {
  const { ink, fill } = coloursOf(canvas, kind);
  context.fillStyle = fill;
  context.fillRect(0, 0, w, h);
  const pattern = PATTERNS[kind];
  if (pattern !== undefined) {
    context.strokeStyle = ink;
    context.fillStyle = ink;
    context.globalAlpha = 0.35;
    paintPattern(context, pattern, w, h);
    context.globalAlpha = 1;
  }
  const size = Math.floor(Math.min(w, h) * 0.72);
  if (letter !== '' && size >= SMALLEST_LETTER * devicePixelRatio) {
    context.font = `600 ${size}px ${getComputedStyle(canvas).fontFamily}`;
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    // The pattern leaves room for the letter.
    context.fillStyle = fill;
    context.fillRect(w / 2 - size * 0.4, h / 2 - size / 2, size * 0.8, size);
    context.fillStyle = ink;
    context.fillText(letter, w / 2, h / 2 + size / 16);
  }
}

function paintPattern(context: CanvasRenderingContext2D, pattern: Pattern, w: number, h: number): void {
  const gap = Math.max(4, Math.round(Math.min(w, h) / 4));
  const line = (x: number, y: number, toX: number, toY: number): void => {
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(toX, toY);
    context.stroke();
  };
  for (let at = gap / 2; at < w + h; at += gap) {
    if (pattern === 'rising' || pattern === 'cross') line(at, 0, at - h, h);
    if (pattern === 'falling' || pattern === 'cross') line(w - at, 0, w - at + h, h);
    if (pattern === 'rows') line(0, at, w, at);
    if (pattern === 'columns') line(at, 0, at, h);
    if (pattern === 'dots')
      for (let y = gap / 2; y < h; y += gap) context.fillRect(Math.round(at), Math.round(y), 1, 1);
  }
}
