import type { VirtAddr } from '@svsm/address';
import {
  bytesSource,
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
import { CODECS } from './codecs.ts';
import type { Answer, Filter, LevelRow, Request, RunRow } from './protocol.ts';

/** Browsers limit the height of what scrolls, at some 800,000 rows. */
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
  readonly #maxRows: number;
  #view: DumpView | undefined;

  /**
   * @param progress - called with the share of the work that is done, 0 to 1
   * @param maxRows - the rows of one listing; the next one begins where it ends
   */
  constructor(progress: (done: number) => void, maxRows: number = MAX_ROWS) {
    this.#progress = progress;
    this.#maxRows = maxRows;
  }

  /** Opens a dump from its source. What was open before is closed then; it stays open if this one cannot be opened. */
  open(source: Source & { readonly bytesRead?: number }, name: string, cr3: bigint | undefined): Answer {
    return this.#attempt(() => {
      const dump: Dump = openDump(source, { name, cr3, codecs: CODECS });
      const view = openView(dump, { cr3 });
      this.#view?.dump.source.close();
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
          return this.#runs(view, request.filter, request.from);
        case 'walk':
          return walk(view, request.address);
        case 'find':
          return this.#find(view, request.paddr);
        case 'search':
          return this.#search(view, request.pattern);
      }
    });
  }

  #runs(view: DumpView, filter: Filter, from: bigint | undefined): Answer {
    const rows: RunRow[] = [];
    let faults = 0;
    for (const within of boundsFrom(from, view.config.levels)) {
      const options = { filter: FILTERS[filter], within, onProgress: this.#onProgress };
      for (const record of listRuns(view, options)) {
        if (record.type === 'fault') faults += 1;
        if (record.type !== 'run') continue;
        const { start, size, paddr, pageSize, user, writable, executable } = record;
        if (rows.length === this.#maxRows) return { type: 'runs', rows, next: start, faults };
        rows.push({ start, size, paddr, pageSize, user, writable, executable });
      }
    }
    return { type: 'runs', rows, next: undefined, faults };
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

/** The rest of virtual memory from an address on: a region does not span the hole of non-canonical addresses. */
function boundsFrom(from: bigint | undefined, levels: number) {
  if (from === undefined) return [undefined];
  const half = 1n << BigInt(9 * levels + 11);
  const upper = (1n << 64n) - half;
  const rest = { start: (from >= half ? from : upper) as VirtAddr, end: 1n << 64n };
  return from >= half ? [rest] : [{ start: from as VirtAddr, end: half }, rest];
}

/** Bytes that a packed file may have once it is unpacked: they are all in memory. */
const MAX_UNPACKED = 2 ** 30;

/**
 * A source of the bytes in a gzip file.
 *
 * @throws Error with a sentence if the file is damaged, or too large for memory
 */
export async function unpacked(blob: Blob, name: string, most: number = MAX_UNPACKED): Promise<Source> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  const stream = blob.stream().pipeThrough(new DecompressionStream('gzip')).getReader();
  for (;;) {
    const { value } = await stream.read().catch(() => {
      throw new Error(`${name}: its gzip data is damaged or cut off.`);
    });
    if (value === undefined) break;
    size += value.length;
    if (size > most) {
      await stream.cancel();
      throw new Error(
        `${name}: it unpacks to more than ${most} bytes. Unpack it with gunzip, and open the result.`,
      );
    }
    parts.push(value);
  }
  return bytesSource(new Uint8Array(await new Blob(parts).arrayBuffer()));
}

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
