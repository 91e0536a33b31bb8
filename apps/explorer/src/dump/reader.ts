import {
  bytesSource,
  type Codecs,
  type Dump,
  type DumpView,
  findAppearances,
  isDumpError,
  listRuns,
  listWalks,
  openDump,
  openView,
  type Source,
  type StepRecord,
  searchMemory,
} from '@svsm/dump';
import type { Answer, Filter, LevelRow, Request, RunRow } from './protocol.ts';

/** Rows that one answer has at most. */
const MAX_ROWS = 100_000;
const MAX_PLACES = 500;

const FILTERS: Readonly<Record<Filter, object | undefined>> = {
  all: undefined,
  'w+x': { writable: true, executable: true },
  user: { user: true },
};

/** Opens a dump, and answers requests about it. It is the worker's part that needs no worker. */
export class DumpReader {
  readonly #progress: (done: number) => void;
  #view: DumpView | undefined;

  /** @param progress - called with the share of the work that is done, 0 to 1 */
  constructor(progress: (done: number) => void) {
    this.#progress = progress;
  }

  /** Opens a dump from its source. What was open before is closed first. */
  open(source: Source & { readonly bytesRead?: number }, name: string, cr3: bigint | undefined): Answer {
    this.#view?.dump.source.close();
    this.#view = undefined;
    return this.#attempt(() => {
      const dump: Dump = openDump(source, { name, cr3, codecs: CODECS });
      const view = openView(dump, { cr3 });
      this.#view = view;
      return {
        type: 'opened',
        kind: dump.kind,
        cr3: view.cr3,
        levels: view.config.levels,
        cpus: dump.cpus.length,
        bytesRead: source.bytesRead ?? source.size,
        warnings: view.notices.take().map(({ message }) => message),
      };
    });
  }

  /** Answers every request but `open`. */
  answer(request: Exclude<Request, { type: 'open' }>): Answer {
    const view = this.#view;
    if (view === undefined) return { type: 'problem', text: 'No dump is open.' };
    return this.#attempt(() => {
      switch (request.type) {
        case 'runs':
          return this.#runs(view, request.filter);
        case 'walk':
          return walk(view, request.address);
        case 'find':
          return this.#find(view, request.paddr);
        case 'search':
          return this.#search(view, request.pattern);
      }
    });
  }

  #runs(view: DumpView, filter: Filter): Answer {
    const rows: RunRow[] = [];
    let faults = 0;
    let isCut = false;
    for (const record of listRuns(view, { filter: FILTERS[filter], onProgress: this.#onProgress })) {
      if (record.type === 'fault') faults += 1;
      if (record.type !== 'run') continue;
      if (rows.length === MAX_ROWS) {
        isCut = true;
        break;
      }
      const { start, size, paddr, pageSize, user, writable, executable } = record;
      rows.push({ start, size, paddr, pageSize, user, writable, executable });
    }
    return { type: 'runs', rows, isCut, faults };
  }

  #find(view: DumpView, paddr: bigint): Answer {
    const found = findAppearances(view, [paddr], { onProgress: this.#onProgress });
    return places(`Virtual addresses of ${hex(paddr)}`, found, 'appearance');
  }

  #search(view: DumpView, pattern: Uint8Array): Answer {
    const found = searchMemory(view, pattern, { onProgress: this.#onProgress });
    return places('Places of the bytes', found, 'match');
  }

  readonly #onProgress = (done: number, total: number | undefined): void => {
    if (total !== undefined && total > 0) this.#progress(Math.min(1, done / total));
  };

  /** An error of the dump is an answer. Any other error is a bug, and goes on. */
  #attempt(run: () => Answer): Answer {
    try {
      return run();
    } catch (error) {
      if (isDumpError(error)) return { type: 'problem', text: error.message };
      throw error;
    }
  }
}

/** A source of bytes that were unpacked, for small files. */
export async function unpacked(blob: Blob): Promise<Source> {
  const stream = blob.stream().pipeThrough(new DecompressionStream('gzip'));
  return bytesSource(new Uint8Array(await new Response(stream).arrayBuffer()));
}

/** Browsers decompress asynchronously only. Dumps with lzo and snappy need no decoder. */
const CODECS: Codecs = {};

function walk(view: DumpView, address: bigint): Answer {
  for (const record of listWalks(view, [address])) {
    if (record.type !== 'walk') continue;
    const levels = record.steps.map(levelOf);
    return { type: 'walk', address, levels, paddr: record.result.paddr ?? undefined };
  }
  return { type: 'problem', text: `The walk to ${hex(address)} has no result.` };
}

function levelOf({
  level,
  table,
  index,
  entry,
  present,
  leaf,
  address,
  bits,
  reserved,
}: StepRecord): LevelRow {
  const names = Object.entries(bits).flatMap(([name, isSet]) => (isSet ? [name] : []));
  const target = address === null ? '' : `${leaf ? 'page' : 'table'} ${hex(address)}`;
  const problem = reserved === 0n ? '' : `reserved bits ${hex(reserved)}`;
  const text = present ? [target, names.join(' '), problem].filter(Boolean).join(' · ') : 'not present';
  return { level, table, index, raw: entry, text };
}

function places(
  title: string,
  records: Iterable<{ readonly type: string; readonly vaddr?: bigint }>,
  type: string,
): Answer {
  const addresses: bigint[] = [];
  for (const record of records) {
    if (record.type !== type) continue;
    if (addresses.length === MAX_PLACES) return { type: 'places', title, addresses, isCut: true };
    addresses.push(record.vaddr!);
  }
  return { type: 'places', title, addresses, isCut: false };
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
