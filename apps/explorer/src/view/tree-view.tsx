import { useSignal } from '@preact/signals';
import type { RefObject } from 'preact';
import { memo } from 'preact/compat';
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { hex } from '../model/address.ts';
import type { TableImages } from '../model/table-images.ts';
import { bitsText, entryOf, idsTo, type TreeRow, treeRows } from '../model/tree-rows.ts';
import { choose, frame, selection } from '../store.ts';

const ROW = 22;
const NAMES = ['PT', 'PD', 'PDPT', 'PML4', 'PML5'];

/** The page table as a tree. Only the rows that are visible exist. */
export function TreeView() {
  const box = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const toggled = useSignal<ReadonlySet<string>>(new Set());
  const cursor = useSignal(0);
  const tables = frame.value?.tables;
  const vaddr = selection.value?.virtual;
  const path = tables === undefined || vaddr === undefined ? [] : idsTo(tables.levels, vaddr);
  // The path to the selected page is open, unless it was closed.
  const open = new Set(path.slice(0, -1));
  for (const id of toggled.value) if (!open.delete(id)) open.add(id);
  const key = [...open].join();
  // `key` stands for `open`.
  const rows = useMemo(() => (tables === undefined ? [] : treeRows(tables, open)), [tables, key]);
  const selected = rows.findLastIndex(({ id }) => path.includes(id));

  const height = useHeight(box);
  // It scrolls when another page is selected, before the rows are drawn: none is drawn at the old place.
  const followed = useRef('');
  const place = `${vaddr} ${selected}`;
  const isNew = selected >= 0 && followed.current !== place;
  followed.current = place;
  const from = isNew ? topOf(selected, top.value, height) : top.value;
  useLayoutEffect(() => {
    if (!isNew) return;
    cursor.value = selected;
    box.current!.scrollTop = from;
    top.value = from;
  }, [place]);

  const toggle = (id: string): void => {
    const next = new Set(toggled.value);
    if (!next.delete(id)) next.add(id);
    toggled.value = next;
  };
  const entry = (row: TreeRow) => tables && entryOf(tables, row)?.entry;
  const act = (row: TreeRow): void => {
    const leaf = entry(row)?.leaf;
    if (leaf === undefined) return;
    if (leaf) choose('virtual', row.vaddr);
    else toggle(row.id);
  };
  const onAct = useCallback(
    (row: TreeRow): void => {
      cursor.value = rows.indexOf(row);
      act(row);
    },
    [rows],
  );
  const move = (to: number): void => {
    cursor.value = Math.max(0, Math.min(rows.length - 1, to));
    const at = cursor.value * ROW;
    const { scrollTop, clientHeight } = box.current!;
    if (at < scrollTop) box.current!.scrollTop = at;
    if (at + ROW > scrollTop + clientHeight) box.current!.scrollTop = at + ROW - clientHeight;
  };
  const onKey = (event: KeyboardEvent): void => {
    const row = rows[cursor.value];
    const step = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: 10,
      PageUp: -10,
      Home: -rows.length,
      End: rows.length,
    }[event.key];
    if (step !== undefined) move(cursor.value + step);
    else if (row !== undefined && (event.key === 'Enter' || event.key === ' ')) act(row);
    else if (row !== undefined && event.key === 'ArrowRight' && entry(row)?.leaf === false && !row.isOpen)
      toggle(row.id);
    else if (row !== undefined && event.key === 'ArrowLeft' && row.isOpen) toggle(row.id);
    else return;
    event.preventDefault();
  };

  const first = Math.max(0, Math.floor(from / ROW) - 2);
  const shown = rows.slice(first, first + Math.ceil(height / ROW) + 4);
  return (
    <section class="panel tree" aria-label="Page table">
      <h3>
        Page table <small>{tables && `${tables.tables.size} tables, CR3 ${hex(tables.root)}`}</small>
      </h3>
      <div
        class="rows"
        ref={box}
        role="tree"
        aria-label="Entries of the page table"
        tabIndex={0}
        aria-activedescendant={rows[cursor.value] && `row-${rows[cursor.value]!.id}`}
        onScroll={(event) => {
          top.value = event.currentTarget.scrollTop;
        }}
        onKeyDown={onKey}
      >
        <div style={{ height: rows.length * ROW }} role="presentation">
          <div style={{ transform: `translateY(${first * ROW}px)` }} role="presentation">
            {shown.map((row, i) => (
              <Row
                key={row.id}
                row={row}
                tables={tables!}
                isSelected={first + i === selected}
                isCursor={first + i === cursor.value}
                onAct={onAct}
              />
            ))}
          </div>
        </div>
      </div>
      <p class="key">
        P present · W writable · U user · A accessed · D dirty · L large · G global · X no execute
      </p>
    </section>
  );
}

/** The height of an element in pixels. To read it while the page is drawn would lay out the page once more. */
function useHeight(box: RefObject<HTMLElement | null>): number {
  const height = useSignal(320);
  useEffect(() => {
    const observer = new ResizeObserver(() => {
      height.value = box.current?.clientHeight ?? height.value;
    });
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  return height.value;
}

/** The position to scroll to for a row: `top` if it is in view there, else one that has the row in the middle. All in pixels. */
function topOf(row: number, top: number, height: number): number {
  const at = row * ROW;
  return at >= top && at + ROW <= top + height ? top : Math.max(0, at - height / 2);
}

interface RowProps {
  readonly row: TreeRow;
  readonly tables: TableImages;
  readonly isSelected: boolean;
  readonly isCursor: boolean;
  readonly onAct: (row: TreeRow) => void;
}

/** A row is drawn again when its tables, its selection or its cursor change. */
const Row = memo(({ row, tables, isSelected, isCursor, onAct }: RowProps) => {
  const at = entryOf(tables, row);
  const { id, depth, level, index, count, isOpen } = row;
  const name = NAMES[level];
  const isTable = at?.entry.leaf === false;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree has the focus and the keys
    // biome-ignore lint/a11y/useFocusableInteractive: the tree has the focus
    <div
      id={`row-${id}`}
      role="treeitem"
      aria-level={depth + 1}
      aria-selected={isSelected}
      aria-expanded={isTable ? isOpen : undefined}
      class={`row${isSelected ? ' selected' : ''}${isCursor ? ' cursor' : ''}${at === undefined ? ' absent' : ''}`}
      style={{ paddingInlineStart: `${0.4 + depth * 0.9}rem` }}
      onClick={() => onAct(row)}
    >
      <span class="twist">{isTable ? (isOpen ? '▾' : '▸') : ''}</span>
      <span class="index">
        {name} {count > 1 ? `${index}–${index + count - 1}` : index}
      </span>
      {at === undefined ? (
        <span>not present</span>
      ) : (
        <>
          <span class="bits">{bitsText(at)}</span>
          {at.entry.leaf && (
            <span class={`c ${at.entry.shared ? 'shared' : 'private'}`}>
              {at.entry.shared ? 'C=0 shared' : 'C=1 private'}
            </span>
          )}
          <span class="to">→ {hex(at.entry.address)}</span>
        </>
      )}
    </div>
  );
});
