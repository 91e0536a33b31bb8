import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { hex } from '../model/address.ts';
import { problem } from '../store.ts';
import {
  cancel,
  FIXTURES,
  filter,
  find,
  list,
  listMore,
  openBlob,
  opened,
  openFixture,
  places,
  runs,
  search,
  starts,
  walked,
  walkTo,
  work,
} from './dump-store.ts';
import type { Filter, RunRow } from './protocol.ts';

const ROW = 22;
const NO_ROWS: readonly RunRow[] = [];
const LEVELS = ['PT', 'PD', 'PDPT', 'PML4', 'PML5'];
const FILTERS: readonly (readonly [Filter, string])[] = [
  ['all', 'All'],
  ['w+x', 'W+X'],
  ['user', 'User'],
];

/** A memory dump: its mappings, a search, a physical page, and a walk level by level. */
export function DumpTab() {
  const isOver = useSignal(false);
  const drop = (event: DragEvent): void => {
    event.preventDefault();
    isOver.value = false;
    const [file] = event.dataTransfer?.files ?? [];
    if (file === undefined) problem.value = 'What was dropped is not a file: drop a memory dump.';
    else if (event.dataTransfer?.items[0]?.webkitGetAsEntry()?.isDirectory)
      problem.value = `${file.name} is a folder: drop a file.`;
    else void openBlob(file, file.name);
  };
  const dump = opened.value;
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the button below takes a file, too
    <div
      class={`dump${isOver.value ? ' over' : ''}`}
      onDragOver={(event) => {
        event.preventDefault();
        isOver.value = true;
      }}
      onDragLeave={() => {
        isOver.value = false;
      }}
      onDrop={drop}
    >
      <Chooser />
      {work.value !== undefined && (
        <p class="work" role="status">
          {work.value.what}… <progress aria-label={work.value.what} value={work.value.done} max={1} />
          <button type="button" onClick={cancel}>
            Cancel
          </button>
        </p>
      )}
      {dump !== undefined && (
        <>
          <h2 class="facts">
            <strong>{dump.name}</strong> {dump.kind}, {sizeText(dump.size)}, {dump.levels} levels, CR3{' '}
            {hex(dump.cr3)}, {dump.cpus} {dump.cpus === 1 ? 'processor' : 'processors'}; read to open it:{' '}
            {sizeText(dump.bytesRead)}
          </h2>
          {dump.warnings.map((text) => (
            <p class="refusal" key={text}>
              {text}
            </p>
          ))}
          <div class="dump-views">
            <Mappings />
            <div class="side">
              <Walk />
              <Places />
            </div>
          </div>
        </>
      )}
    </div>
  );
}

function Chooser() {
  const cr3 = useRef<HTMLInputElement>(null);
  return (
    <section class="chooser" aria-label="Choose a dump">
      <p>
        Drop a memory dump here: an ELF core, a vmcore, kdump, LiME, AVML, PTFRAME1, or a raw image with its
        CR3. The file stays in the browser, which reads only the pieces that a walk needs.
      </p>
      <label class="file">
        <span class="label">File</span>
        <input
          type="file"
          onChange={(event) => {
            const [file] = event.currentTarget.files ?? [];
            if (file !== undefined) void openBlob(file, file.name, cr3.current?.value.trim());
          }}
        />
      </label>
      <label class="file">
        <span class="label">CR3</span>
        <input ref={cr3} size={16} placeholder="if it has none" spellcheck={false} autocomplete="off" />
      </label>
      <fieldset>
        <legend class="label">Or take one</legend>
        {FIXTURES.map(([file, text]) => (
          <button type="button" key={file} onClick={() => void openFixture(file)}>
            {text}
          </button>
        ))}
      </fieldset>
    </section>
  );
}

function Mappings() {
  const top = useSignal(0);
  const box = useRef<HTMLElement>(null);
  const found = runs.value;
  const rows = found?.rows ?? NO_ROWS;
  const first = Math.max(0, Math.floor(top.value / ROW) - 6);
  const shown = rows.slice(first, first + 60);
  useEffect(() => {
    if (box.current !== null) box.current.scrollTop = 0;
  }, [rows]);
  return (
    <section class="panel mappings" aria-label="Mappings">
      <h3>
        Mappings{' '}
        <small>
          {rangeText(rows.length)}
          {found !== undefined && found.faults > 0 && `, ${found.faults} faults`}
        </small>
      </h3>
      <div class="tools">
        <fieldset>
          <legend class="label">Show</legend>
          {FILTERS.map(([name, text]) => (
            <button
              type="button"
              key={name}
              aria-pressed={filter.value === name}
              onClick={() => void list(name)}
            >
              {text}
            </button>
          ))}
        </fieldset>
        {starts.value.length > 1 && (
          <button type="button" onClick={() => void listMore('previous')}>
            Rows before
          </button>
        )}
        {found?.next !== undefined && (
          <button type="button" onClick={() => void listMore('next')}>
            Rows after
          </button>
        )}
      </div>
      {rows.length === 0 && <p class="quiet">No mapping is like that.</p>}
      <section
        class="rows"
        ref={box}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls
        tabIndex={0}
        aria-label="List of mappings"
        onScroll={(event) => {
          top.value = event.currentTarget.scrollTop;
        }}
      >
        <div style={{ height: rows.length * ROW }}>
          <ol style={{ transform: `translateY(${first * ROW}px)` }}>
            {shown.map((row) => (
              <li key={String(row.start)} class="row">
                <button type="button" class="plain" onClick={() => void walkTo(hex(row.start))}>
                  {row.start.toString(16).padStart(16, '0')}
                </button>
                <span class="size">{sizeText(Number(row.size))}</span>
                <span class={row.writable && row.executable ? 'rights bad' : 'rights'}>{rightsOf(row)}</span>
                <span class="to">→ {hex(row.paddr)}</span>
              </li>
            ))}
          </ol>
        </div>
      </section>
    </section>
  );
}

/** The number of the rows, and the part of the list that they are. */
function rangeText(rows: number): string {
  const part = starts.value.length;
  const isWhole = part === 1 && runs.value?.next === undefined;
  const text = rows.toLocaleString('en');
  return isWhole ? text : `${text} in part ${part}${runs.value?.next === undefined ? ', the last one' : ''}`;
}

function Walk() {
  const walk = walked.value;
  return (
    <section class="panel" aria-label="Walk">
      <Ask label="Walk to" button="Walk" hint="ffffffff81000000" onAsk={walkTo} />
      {walk !== undefined && (
        <>
          <p class="readout">
            {hex(walk.address)} → {walk.paddr === undefined ? 'not mapped' : hex(walk.paddr)}
          </p>
          <ol class="levels">
            {walk.levels.map(({ level, table, index, raw, text }) => (
              <li key={level}>
                <strong>
                  {LEVELS[level]} {index}
                </strong>{' '}
                <code>
                  {hex(table + BigInt(index * 8))}:{' '}
                  {raw === undefined ? '' : raw.toString(16).padStart(16, '0')}
                </code>
                <span>{text}</span>
              </li>
            ))}
          </ol>
        </>
      )}
    </section>
  );
}

function Places() {
  const found = places.value;
  return (
    <section class="panel" aria-label="Search">
      <Ask label="Physical page" button="Find" hint="1000000" onAsk={find} />
      <Ask label="Text" button="Search" hint="Linux version" onAsk={search} />
      {found !== undefined && (
        <>
          <p class="readout">
            {found.title}: {found.addresses.length}
            {found.isCut && ' and more'}
          </p>
          <ol class="places">
            {found.addresses.map((address) => (
              <li key={String(address)}>
                <button type="button" class="plain" onClick={() => void walkTo(hex(address))}>
                  {hex(address)}
                </button>
              </li>
            ))}
          </ol>
        </>
      )}
    </section>
  );
}

interface AskProps {
  readonly label: string;
  readonly button: string;
  readonly hint: string;
  readonly onAsk: (text: string) => Promise<void>;
}

function Ask({ label, button, hint, onAsk }: AskProps) {
  const submit = (event: Event): void => {
    event.preventDefault();
    const input = (event.currentTarget as HTMLFormElement).elements.namedItem('text') as HTMLInputElement;
    void onAsk(input.value.trim());
  };
  return (
    <form class="ask" onSubmit={submit}>
      <label>
        <span class="label">{label}</span>
        <input name="text" placeholder={hint} spellcheck={false} autocomplete="off" />
      </label>
      <button type="submit">{button}</button>
    </form>
  );
}

function rightsOf({ user, writable, executable }: RunRow): string {
  return `${user ? 'u' : '-'}r${writable ? 'w' : '-'}${executable ? 'x' : '-'}`;
}

function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}
