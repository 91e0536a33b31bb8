/** A worker of the tests with real threads: allocates and frees at random, and claims what it has in a table of its own. */
import { parentPort, workerData } from 'node:worker_threads';
import { type Address, defineAddressKind } from '@svsm/address';
import { isBuddyError, SharedPageAllocator } from '../../src/index.ts';

/** As in support.ts, which only runs where vitest is. */
type FlatAddr = Address<'flat64'>;
const Flat = defineAddressKind<FlatAddr>({ name: 'flat', bits: 64, signExtended: false });

/** What a worker is told. */
export interface WorkerTask {
  readonly buffer: SharedArrayBuffer;
  /** A word for each page of the region: whose it is. */
  readonly owners: SharedArrayBuffer;
  readonly self: number;
  readonly seed: number;
  /** How many allocations and frees it does; `Infinity` until it is ended. */
  readonly operations: number;
  readonly maxOrder: number;
  /** Pages of its cache; 0 for none. */
  readonly cachePages: number;
  /** Pages that it has at most. */
  readonly quota: number;
}

/** What it says at the end. */
export interface WorkerReport {
  readonly owner: number;
  readonly operations: number;
  readonly refused: number;
  /** What went wrong. */
  readonly problem: string | undefined;
}

const { buffer, owners, self, seed, operations, maxOrder, cachePages, quota } = workerData as WorkerTask;
const allocator = SharedPageAllocator.attach(Flat, buffer, { lockTimeout: 60_000 });
const claims = new Int32Array(owners);
const cache = cachePages === 0 ? undefined : allocator.cache({ pages: cachePages });
const first = Number(allocator.region.start / 4096n);
parentPort?.postMessage({ owner: allocator.owner });

let state = seed;
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
}

/** Every page of a block changes hands in one step each: one that has another owner already is a page given twice. */
function hand(start: FlatAddr, order: number, from: number, to: number): void {
  const page = Number(start / 4096n) - first;
  for (let index = page; index < page + 2 ** order; index += 1) {
    const found = Atomics.compareExchange(claims, index, from, to);
    if (found !== from) throw new Error(`page ${index} is of ${found}, not of ${from}`);
  }
}

const live: { readonly start: FlatAddr; readonly order: number }[] = [];
let pages = 0;
let refused = 0;

function step(): void {
  const isFull = pages >= quota;
  if (!isFull && (live.length === 0 || random() % 2 === 0)) {
    // Small blocks more often.
    const order = Math.min(maxOrder, Math.clz32(random() | 1));
    try {
      const start =
        order === 0 && cache !== undefined ? cache.allocatePage() : allocator.allocateBlock(order);
      hand(start, order, 0, self);
      live.push({ start, order });
      pages += 2 ** order;
    } catch (error) {
      if (!isBuddyError(error, 'OUT_OF_MEMORY')) throw error;
      refused += 1;
    }
    return;
  }
  const at = random() % live.length;
  const block = live[at]!;
  live[at] = live.at(-1) as (typeof live)[number];
  live.pop();
  free(block);
  // What must be refused, now and then.
  if (random() % 256 === 0 && live.length > 0) {
    const { start, order } = live[random() % live.length]!;
    if (order > 0) expectRefusal(() => allocator.freePage(start), 'WRONG_SIZE');
    else expectRefusal(() => allocator.freePages((start + 1n) as FlatAddr), 'MISALIGNED_ADDRESS');
    if (order > 0) expectRefusal(() => cache?.freePage((start + 4096n) as FlatAddr), 'BLOCK_TAIL');
  }
}

function free({ start, order }: (typeof live)[number]): void {
  hand(start, order, self, 0);
  pages -= 2 ** order;
  if (order === 0 && cache !== undefined) cache.freePage(start);
  else allocator.freePages(start);
}

function expectRefusal(action: () => void, code: string): void {
  try {
    action();
  } catch (error) {
    if (isBuddyError(error) && error.code === code) return;
    throw error;
  }
  if (cache === undefined && code === 'BLOCK_TAIL') return;
  throw new Error(`${code} is missing`);
}

let done = 0;
let problem: string | undefined;
try {
  for (; done < operations; done += 1) step();
  for (const block of live) free(block);
  cache?.close();
} catch (error) {
  problem = String(error);
}
parentPort?.postMessage({
  owner: allocator.owner,
  operations: done,
  refused,
  problem,
} satisfies WorkerReport);
