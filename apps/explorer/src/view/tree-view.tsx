import { useSignal } from '@preact/signals';
import { decodeEntry, type PagingConfig } from '@svsm/pagetable';
import type { RefObject } from 'preact';
import { memo } from 'preact/compat';
import { useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { hex } from '../model/address.ts';
import { bitsText, entryOf, idsTo, type TreeRow, treeRows, wordOf } from '../model/tree-rows.ts';
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
    top.value = from;
    // To scroll lays out the page: all views have changed it by then.
    const wait = requestAnimationFrame(() => {
      box.current!.scrollTop = from;
    });
    return () => cancelAnimationFrame(wait);
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
  const onClick = ({ target }: MouseEvent): void => {
    const id = (target as Element).closest('[role=treeitem]')?.id;
    const at = rows.findIndex((row) => `row-${row.id}` === id);
    if (at < 0) return;
    cursor.value = at;
    act(rows[at]!);
  };
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
        onClick={onClick}
      >
        <div style={{ height: rows.length * ROW }} role="presentation">
          <div style={{ transform: `translateY(${first * ROW}px)` }} role="presentation">
            {shown.map((row, i) => (
              <Row
                key={i}
                id={row.id}
                depth={row.depth}
                level={row.level}
                index={row.index}
                count={row.count}
                isOpen={row.isOpen}
                word={wordOf(tables!, row)}
                config={tables!.config}
                isSelected={first + i === selected}
                isCursor={first + i === cursor.value}
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

type RowProps = Pick<TreeRow, 'id' | 'depth' | 'level' | 'index' | 'count' | 'isOpen'> & {
  /** The entry, 0 if it is not present. */
  readonly word: bigint;
  readonly config: PagingConfig;
  readonly isSelected: boolean;
  readonly isCursor: boolean;
};

/** A row is drawn again when one of its properties changes: each compares by its value. */
const Row = memo((props: RowProps) => {
  const { id, depth, level, index, count, isOpen, word, config, isSelected, isCursor } = props;
  const entry = word === 0n ? undefined : decodeEntry(word, level, config);
  const name = NAMES[level];
  const isTable = entry?.leaf === false;
  const twist = isTable ? (isOpen ? '▾' : '▸') : ' ';
  const place = count > 1 ? `${name} ${index}–${index + count - 1}` : `${name} ${index}`;
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the tree has the focus and the keys
    <div
      id={`row-${id}`}
      role="treeitem"
      aria-level={depth + 1}
      aria-selected={isSelected}
      aria-expanded={isTable ? isOpen : undefined}
      class={`row${isSelected ? ' selected' : ''}${isCursor ? ' cursor' : ''}${entry === undefined ? ' absent' : ''}`}
      style={{ paddingInlineStart: `${1 + 2 * depth}ch` }}
    >
      {`${twist} ${place.padEnd(19 - 2 * depth)}`}
      {entry === undefined ? (
        'not present'
      ) : (
        <>
          {`${bitsText(word, level)}  `}
          {entry.leaf && (
            <span class={`c ${entry.shared ? 'shared' : 'private'}`}>
              {entry.shared ? 'C=0 shared' : 'C=1 private'}
            </span>
          )}
          {`  → ${hex(entry.address)}`}
        </>
      )}
    </div>
  );
});
