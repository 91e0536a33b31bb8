/** Real threads on one shared allocator. Each of them runs `shared-worker.ts`. */
import { Worker } from 'node:worker_threads';
import { expect } from 'vitest';
import { SharedPageAllocator } from '../../src/index.ts';
import { type FlatAddr, flatRegion } from './allocators.ts';
import { picture } from './shared-allocators.ts';
import type { WorkerReport, WorkerTask } from './shared-worker.ts';

/** The work of the threads. */
export interface Load {
  readonly pages: number;
  readonly maxOrder: number;
  readonly operations: number;
  /** The number of pages in the cache of each worker; 0 means no cache. */
  readonly caches: readonly number[];
}

interface Crew {
  readonly allocator: SharedPageAllocator<FlatAddr>;
  readonly claims: Int32Array<SharedArrayBuffer>;
  readonly workers: readonly Hand[];
  readonly initial: string;
}

/** Starts workers on a new allocator. */
function start({ pages, maxOrder, operations, caches }: Load): Crew {
  const allocator = SharedPageAllocator.create(flatRegion(0x3000n, 0x3000n + BigInt(pages) * 4096n), {
    lockTimeout: 60_000,
  });
  const owners = new SharedArrayBuffer(4 * pages);
  const quota = Math.ceil((0.9 * pages) / caches.length);
  const initial = picture(allocator);
  const workers = caches.map((cachePages, index) => {
    const self = index + 1;
    const seed = 0x9e37 * self;
    const { buffer } = allocator;
    const workerData: WorkerTask = { buffer, owners, self, seed, operations, maxOrder, cachePages, quota };
    return listenTo(new Worker(new URL('./shared-worker.ts', import.meta.url), { workerData, execArgv: [] }));
  });
  return { allocator, claims: new Int32Array(owners), workers, initial };
}

/** A worker and its messages. They are received from the start, because one may follow another at once. */
interface Hand {
  readonly worker: Worker;
  /** The number of the worker's owner. */
  readonly owner: Promise<number>;
  readonly report: Promise<WorkerReport>;
}

function listenTo(worker: Worker): Hand {
  const owner = Promise.withResolvers<number>();
  const report = Promise.withResolvers<WorkerReport>();
  worker.on('message', (message: { owner: number } | WorkerReport) => {
    owner.resolve(message.owner);
    if ('operations' in message) report.resolve(message);
  });
  worker.on('error', (error) => {
    owner.reject(error);
    report.reject(error);
  });
  // Nobody awaits the report of a worker that is terminated.
  report.promise.catch(() => undefined);
  return { worker, owner: owner.promise, report: report.promise };
}

/** Lets workers run to their end, and checks that no page is lost or allocated twice. Returns the number of operations. */
export async function checkLoad(load: Load): Promise<number> {
  const { allocator, claims, workers, initial } = start(load);
  const reports = await Promise.all(workers.map(({ report }) => report));
  expect(reports.map(({ problem }) => problem)).toEqual(reports.map(() => undefined));
  expect(new Set(reports.map(({ owner }) => owner)).size).toBe(workers.length);
  expect(claims.every((owner) => owner === 0)).toBe(true);
  allocator.checkInvariants();
  expect(picture(allocator)).toBe(initial);
  expect(allocator.memoryInfo()).toMatchObject({ freePages: load.pages, cachedPages: 0, allocatedPages: 0 });
  return reports.reduce((sum, { operations }) => sum + operations, 0);
}

/**
 * Terminates workers while they work, the first after `delay` milliseconds, and checks that they leave a sound allocator.
 * Returns the number of workers that held the lock.
 */
export async function checkEnded(delay: number): Promise<number> {
  const pages = 3000;
  const { allocator, claims, workers } = start({
    pages,
    maxOrder: 4,
    operations: Number.POSITIVE_INFINITY,
    caches: [0, 16, 0, 16],
  });
  const owners = await Promise.all(workers.map(({ owner }) => owner));
  const held = [];
  for (const [index, { worker }] of workers.entries()) {
    // Each time at a different moment.
    const until = performance.now() + delay + 7 * index;
    while (performance.now() < until) allocator.freePage(allocator.allocatePage());
    await worker.terminate();
    held.push(allocator.recover(owners[index]!));
    allocator.checkInvariants();
  }
  const words = [...claims];
  let unclaimed = 0;
  for (const { region, state } of [...allocator.blocks()]) {
    const first = Number((region.start - 0x3000n) / 4096n);
    const owned = words.slice(first, first + region.pageCount());
    if (state === 'free') {
      expect(owned.every((owner) => owner === 0)).toBe(true);
      continue;
    }
    expect(state).toBe('allocated');
    // A worker claims one page after another, and may have ended in between.
    const [mine] = owned.filter((owner) => owner !== 0);
    expect(owned.every((owner) => owner === mine || owner === 0)).toBe(true);
    if (owned.includes(0)) unclaimed += 1;
    allocator.freePages(region);
  }
  // Each worker may have had one block that it had not recorded, and may have fetched one page for its cache.
  expect(unclaimed).toBeLessThanOrEqual(2 * workers.length);
  expect(allocator.memoryInfo().freePages).toBe(pages);
  allocator.checkInvariants();
  return held.filter(Boolean).length;
}
