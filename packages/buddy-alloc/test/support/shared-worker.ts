/** A worker of the tests with real threads: it allocates and frees at random, and claims its pages in a separate table. */
import { parentPort, workerData } from 'node:worker_threads';
import { type Address, defineAddressKind } from '@svsm/address';
import { isBuddyError, SharedPageAllocator } from '../../src/index.ts';

/** As in allocators.ts, which imports vitest and so does not run in a worker. */
type FlatAddr = Address<'flat64'>;
const Flat = defineAddressKind<FlatAddr>({ name: 'flat', bits: 64, signExtended: false });

/** The task of a worker. */
export interface WorkerTask {
  readonly buffer: SharedArrayBuffer;
  /** A word for each page of the region: the number of the worker that has it, or 0. */
  readonly owners: SharedArrayBuffer;
  readonly self: number;
  readonly seed: number;
  /** The number of allocations and frees; with `Infinity` it runs until it is terminated. */
  readonly operations: number;
  readonly maxOrder: number;
  /** The number of pages in its cache; 0 means no cache. */
  readonly cachePages: number;
  /** The most pages that it allocates at a time. */
  readonly quota: number;
}

/** The report of a worker at its end. */
export interface WorkerReport {
  readonly owner: number;
  readonly operations: number;
  readonly refused: number;
  /** The error that stopped it. */
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

/** Moves each page of a block from one owner to another in an atomic step. A page with another owner was allocated twice. */
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
    // Small blocks are more frequent.
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
  // Sometimes it tries a free that must be refused.
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
