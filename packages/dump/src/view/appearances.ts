import { PAGE_SIZE, type PageSize, type PhysAddr, pageNumber } from '@svsm/address';
import { isPageTableError, type PagingConfig, type PhysMemory, reservedBits } from '@svsm/pagetable';
import { itemsOf, requireBits, requireOptional, requireOptions } from '../source/arguments.ts';
import { DumpError } from '../source/dump-error.ts';
import type { OnProgress } from '../source/on-progress.ts';
import type { DumpView } from './dump-view.ts';
import { requireView } from './dump-view.ts';
import { dumpRecord } from './listing.ts';
import type { AppearanceRecord, DumpRecord, EndRecord, PageFacts } from './record.ts';
import { backingOf } from './translation.ts';

/** Where to look for physical addresses. */
export interface FindOptions {
  /** The physical addresses of other top tables to look in, with as many levels as the view has. */
  readonly roots?: readonly bigint[] | undefined;
  /** List all appearances, however many there are. */
  readonly all?: boolean | undefined;
  readonly onProgress?: OnProgress | undefined;
}

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const LARGE = 0x80;
const NX_HIGH = 0x8000_0000;
const ENTRIES = 512;
const SPANS = [1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36, 2 ** 45] as const;
/** More appearances than this are listed only with `all`. */
const MAX_APPEARANCES = 2 ** 19;

/**
 * Finds all virtual addresses at which physical addresses appear, also inside large pages: a reverse map. It reads each table once,
 * however many top tables lead to it, and keeps one number for each. The records come by physical, then by virtual address.
 *
 * @throws DumpError `INVALID_ARGUMENT` for an address from 2^52 on; `LISTING_TOO_LONG` for more than 524,288 appearances, unless
 *   `all` is given; {@link translationOf}
 */
export function* findAppearances(
  view: DumpView,
  paddrs: readonly bigint[],
  options: FindOptions = {},
): Generator<DumpRecord | AppearanceRecord | EndRecord, undefined, undefined> {
  requireView('view', view);
  requireOptions('options', options, ['roots', 'all', 'onProgress']);
  requireOptional('all', options.all, 'boolean');
  requireOptional('onProgress', options.onProgress, 'function');
  const sorted = physicalAddresses('paddrs', paddrs).sort((a, b) => (a < b ? -1 : 1));
  const others = options.roots === undefined ? [] : physicalAddresses('roots', options.roots);
  const roots = [...new Set([view.table.root as bigint, ...others])];
  yield dumpRecord(view);
  const map = new ReverseMap(view, sorted);
  const found = new Map<string, { record: AppearanceRecord; roots: bigint[] }>();
  for (const [i, root] of roots.entries()) {
    options.onProgress?.(i, roots.length, 'page tables');
    const total = map.count(pageNumber(root as PhysAddr));
    if (total + found.size > MAX_APPEARANCES && options.all !== true) {
      throw new DumpError(
        'LISTING_TOO_LONG',
        { pages: total, entries: sorted.length, faults: 0, cause: 'tables are reached repeatedly' },
        { file: view.dump.name },
      );
    }
    for (const record of map.appearances(pageNumber(root as PhysAddr))) {
      const key = `${record.paddr}:${record.vaddr}:${Object.values(record.page).join()}`;
      const known = found.get(key);
      if (known === undefined) {
        const inRoots = [root];
        const below = backingOf(view, record.page, record.paddr);
        found.set(key, { record: { ...record, roots: inRoots, ...below }, roots: inRoots });
      } else known.roots.push(root);
    }
  }
  const records = Array.from(found.values(), ({ record }) => record).sort(byAddress);
  yield* records;
  yield { type: 'end', what: 'appearances', count: records.length, bytes: null, faults: 0 };
}

function byAddress(a: AppearanceRecord, b: AppearanceRecord): number {
  if (a.paddr !== b.paddr) return a.paddr < b.paddr ? -1 : 1;
  return a.vaddr < b.vaddr ? -1 : 1;
}

/** The different addresses of a list. @throws DumpError `INVALID_ARGUMENT` */
function physicalAddresses(what: string, list: readonly bigint[]): bigint[] {
  const addresses = new Set(itemsOf(what, list, 'pass an array of physical addresses'));
  for (const paddr of addresses) requireBits('a physical address', paddr, 52);
  return [...addresses] as bigint[];
}

/** The rights that the levels above leave. */
interface Rights {
  readonly user: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
}

class ReverseMap {
  readonly #memory: PhysMemory;
  readonly #config: PagingConfig;
  /** The wanted addresses, ascending, and the numbers of their frames. */
  readonly #paddrs: readonly bigint[];
  readonly #frames: readonly number[];
  readonly #addressHigh: number;
  readonly #encryptionHigh: number;
  readonly #reservedHigh: number;
  /** The number of appearances below a table, by its frame and its level. */
  readonly #counts: Map<number, number> = new Map();

  constructor({ memory, config }: DumpView, paddrs: readonly bigint[]) {
    const { encryption, physicalBits, noExecute } = config;
    this.#memory = memory;
    this.#config = config;
    this.#paddrs = paddrs;
    this.#frames = paddrs.map((paddr) => Number(paddr >> 12n));
    this.#encryptionHigh = encryption === undefined ? 0 : 2 ** (encryption.bit - 32);
    this.#addressHigh = 0xf_ffff & ~this.#encryptionHigh;
    const beyondWidth = 0xf_ffff & ~(2 ** (physicalBits - 32) - 1) & ~this.#encryptionHigh;
    this.#reservedHigh = beyondWidth | (noExecute ? 0 : NX_HIGH);
  }

  /** The number of appearances below a top table. */
  count(root: number): number {
    return this.#count(root, this.#config.levels - 1);
  }

  /** The appearances below a top table. Only tables that have some are read. */
  appearances(root: number): Generator<AppearanceRecord, undefined, undefined> {
    const all: Rights = { user: true, writable: true, executable: true };
    return this.#below(root, this.#config.levels - 1, 0, all);
  }

  #count(table: number, level: number): number {
    const key = table * 8 + level;
    const known = this.#counts.get(key);
    if (known !== undefined) return known;
    let sum = 0;
    const words = this.#words(table);
    for (let i = 0; words !== undefined && i < ENTRIES; i += 1) {
      const [low, high] = this.#entry(words, table, i);
      if (!this.#isSound(low, high, level)) continue;
      if (isLeaf(low, level)) {
        const [from, to] = this.#within(this.#frameOf(low, high), level);
        sum += to - from;
      } else sum += this.#count(this.#frameOf(low, high), level - 1);
    }
    this.#counts.set(key, sum);
    return sum;
  }

  *#below(
    table: number,
    level: number,
    page: number,
    above: Rights,
  ): Generator<AppearanceRecord, undefined, undefined> {
    if (this.#count(table, level) === 0) return;
    const words = this.#words(table);
    if (words === undefined) return;
    for (let i = 0; i < ENTRIES; i += 1) {
      const [low, high] = this.#entry(words, table, i);
      if (!this.#isSound(low, high, level)) continue;
      const first = page + i * SPANS[level as 0];
      const rights: Rights = {
        user: above.user && (low & USER) !== 0,
        writable: above.writable && (low & WRITABLE) !== 0,
        executable: above.executable && (!this.#config.noExecute || (high & NX_HIGH) === 0),
      };
      if (!isLeaf(low, level)) yield* this.#below(this.#frameOf(low, high), level - 1, first, rights);
      else yield* this.#inLeaf([low, high], level, first, rights);
    }
  }

  *#inLeaf(
    [low, high]: readonly [number, number],
    level: number,
    page: number,
    rights: Rights,
  ): Generator<AppearanceRecord, undefined, undefined> {
    const frame = alignedTo(this.#frameOf(low, high), level);
    const [from, to] = this.#within(frame, level);
    for (let i = from; i < to; i += 1) {
      const paddr = this.#paddrs[i]!;
      const start = BigInt(frame) * 4096n;
      const facts: PageFacts = {
        paddr: start as PhysAddr,
        pageSize: (PAGE_SIZE * SPANS[level as 0]) as PageSize,
        ...rights,
        shared: this.#isShared(high),
      };
      const vaddr = this.#canonical(BigInt(page) * 4096n + (paddr - start));
      yield { type: 'appearance', paddr, vaddr, page: facts, roots: [] };
    }
  }

  /** `null` if memory encryption is not configured. */
  #isShared(high: number): boolean | null {
    const { encryption } = this.#config;
    if (encryption === undefined) return null;
    return ((high & this.#encryptionHigh) !== 0) === (encryption.mode === 'vtom');
  }

  #canonical(vaddr: bigint): bigint {
    const bits = this.#config.levels === 5 ? 57 : 48;
    return BigInt.asUintN(64, BigInt.asIntN(bits, vaddr));
  }

  /** The indexes of the wanted addresses that a page has. */
  #within(frame: number, level: number): readonly [from: number, to: number] {
    const start = alignedTo(frame, level);
    return [this.#lowerBound(start), this.#lowerBound(start + SPANS[level as 0])];
  }

  /** The number of wanted addresses below a frame. */
  #lowerBound(frame: number): number {
    let low = 0;
    let high = this.#frames.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#frames[middle]! < frame) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #frameOf(low: number, high: number): number {
    return (high & this.#addressHigh) * 0x10_0000 + (low >>> 12);
  }

  #isSound(low: number, high: number, level: number): boolean {
    if ((low & PRESENT) === 0 || (high & this.#reservedHigh) !== 0) return false;
    if (level === 0 || (level <= 2 && (low & LARGE) === 0)) return true;
    const entry = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    return reservedBits(entry, level, this.#config) === 0n;
  }

  #entry(words: Uint32Array, table: number, index: number): readonly [low: number, high: number] {
    const at = this.#memory.wordOffset(table) + 2 * index;
    return [words[at]!, words[at + 1]!];
  }

  #words(table: number): Uint32Array | undefined {
    try {
      return this.#memory.words(table, false);
    } catch (error) {
      if (isPageTableError(error, 'BUS_ERROR')) return undefined;
      throw error;
    }
  }
}

function isLeaf(low: number, level: number): boolean {
  return level === 0 || (level <= 2 && (low & LARGE) !== 0);
}

/** The first frame of a page. Bit 12 of a large page is its PAT. */
function alignedTo(frame: number, level: number): number {
  return frame - (frame % SPANS[level as 0]);
}
