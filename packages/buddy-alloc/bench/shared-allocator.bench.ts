/**
 * One allocator for several workers: operations a second with 1 and 2 workers, with and without a cache for each, compared
 * with a `PageAllocator` that one worker has for itself. It also shows the cost of the tables before they are used.
 *
 * Workers start together and do the same number of operations; the time is that of the slowest. In each round every variant
 * runs once; figures are medians over the rounds. With fewer free cores than workers, this measures the scheduler.
 */
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { PAGE_SIZE, Phys, type PhysAddr, physAddr } from '@svsm/address';
import { PageAllocator, SharedPageAllocator } from '@svsm/buddy-alloc';
import { physRegion } from '@svsm/memory-region';
import { collectGarbage, median } from './harness.ts';

const REGION = physRegion(physAddr(0), 256 * 0x10_0000);
const WORKERS = 2;
const OPERATIONS = 200_000;
const ROUNDS = 9;

/** The work of each worker with single pages. */
const WORKLOADS = [
  'a page at a time, freed at once',
  '16 pages, freed in turn',
  '4096 live, a random one replaced',
] as const;
const VARIANTS = ['PageAllocator', 'shared', 'shared, cache of 64'] as const;

// The words that the main thread shares with the workers.
const ROUND = 0;
const DONE = 1;
const WORKLOAD = 2;
const VARIANT = 3;
const ACTIVE = 4;
const IDLE = 5;

interface Shared {
  readonly control: SharedArrayBuffer;
  readonly buffer: SharedArrayBuffer;
  readonly index: number;
}

interface Pages {
  allocatePage(): PhysAddr;
  freePage(page: PhysAddr): void;
}

function work({ control, buffer, index }: Shared): void {
  const words = new Int32Array(control);
  const shared = SharedPageAllocator.attach(Phys, buffer);
  const single = new PageAllocator(REGION);
  const live: PhysAddr[] = [];
  for (let round = 0; ; round += 1) {
    Atomics.wait(words, ROUND, round);
    if (words[ACTIVE] === 0) return;
    if (index >= words[ACTIVE]!) {
      finish(words, IDLE);
      continue;
    }
    const cache = words[VARIANT] === 2 ? shared.cache({ pages: 64 }) : undefined;
    const pages: Pages = cache ?? (words[VARIANT] === 0 ? single : shared);
    // The live pages are allocated before the clock starts.
    while (words[WORKLOAD] === 2 && live.length < 4096) live.push(pages.allocatePage());
    finish(words, DONE);
    while (Atomics.load(words, DONE) < words[ACTIVE]! + 1);
    run(words[WORKLOAD]!, pages, live);
    finish(words, DONE);
    while (live.length > 0) pages.freePage(live.pop() as PhysAddr);
    cache?.close();
    finish(words, IDLE);
  }
}

function finish(words: Int32Array<SharedArrayBuffer>, word: number): void {
  Atomics.add(words, word, 1);
  Atomics.notify(words, word);
}

let seed = 12345;
function random(below: number): number {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
  return (seed >>> 8) % below;
}

function run(workload: number, pages: Pages, live: PhysAddr[]): void {
  if (workload === 0) {
    for (let i = 0; i < OPERATIONS; i += 2) pages.freePage(pages.allocatePage());
  } else if (workload === 1) {
    for (let i = 0; i < OPERATIONS; i += 32) {
      for (let page = 0; page < 16; page += 1) live.push(pages.allocatePage());
      for (let page = 0; page < 16; page += 1) pages.freePage(live.pop() as PhysAddr);
    }
  } else {
    for (let i = 0; i < OPERATIONS; i += 2) {
      const victim = random(live.length);
      pages.freePage(live[victim]!);
      live[victim] = pages.allocatePage();
    }
  }
}

function main(): void {
  const control = new SharedArrayBuffer(64);
  const words = new Int32Array(control);
  const { buffer } = SharedPageAllocator.create(REGION);
  const workers = Array.from({ length: WORKERS }, (_, index) => {
    const data: Shared = { control, buffer, index };
    return new Worker(new URL(import.meta.url), { workerData: data, execArgv: [] });
  });

  /** Waits until `word` is at least `count`. */
  const until = (word: number, count: number) => {
    for (let done = Atomics.load(words, word); done < count; done = Atomics.load(words, word)) {
      Atomics.wait(words, word, done, 1000);
    }
  };
  const measure = (workload: number, variant: number, active: number): number => {
    words[WORKLOAD] = workload;
    words[VARIANT] = variant;
    words[ACTIVE] = active;
    words[DONE] = 0;
    words[IDLE] = 0;
    Atomics.add(words, ROUND, 1);
    Atomics.notify(words, ROUND);
    until(DONE, active);
    const start = performance.now();
    finish(words, DONE);
    until(DONE, 2 * active + 1);
    const time = performance.now() - start;
    until(IDLE, WORKERS);
    return (active * OPERATIONS) / time / 1000;
  };

  const cores = availableParallelism();
  console.log(
    `@svsm/buddy-alloc, Node ${process.versions.node}, ${cores} cores; ratios to the first line of each table`,
  );
  for (const [workload, name] of WORKLOADS.entries()) {
    const lines = VARIANTS.flatMap((variant, index) =>
      Array.from({ length: index === 0 ? 1 : WORKERS }, (_, active) => ({
        variant,
        index,
        active: active + 1,
        rates: [] as number[],
      })),
    );
    for (let round = -2; round < ROUNDS; round += 1) {
      for (const { index, active, rates } of lines) {
        const rate = measure(workload, index, active);
        if (round >= 0) rates.push(rate);
      }
    }
    console.log(`\n${name}: millions of operations a second, all workers together`);
    const base = median(lines[0]?.rates ?? []);
    for (const { variant, active, rates } of lines) {
      const rate = median(rates);
      const label = `${variant}, ${active} worker${active > 1 ? 's' : ''}`;
      console.log(
        `  ${label.padEnd(34)}${rate.toFixed(2).padStart(8)}${(rate / base).toFixed(2).padStart(8)}`,
      );
    }
  }
  words[ACTIVE] = 0;
  Atomics.add(words, ROUND, 1);
  Atomics.notify(words, ROUND);
  for (const worker of workers) worker.unref();
  construction();
}

function construction(): void {
  console.log('\nCreation, median of 9, and additional memory of the process after some use');
  for (const [name, size] of [
    ['64 MiB', 2 ** 26],
    ['16 GiB', 2 ** 34],
    ['1 TiB', 2 ** 40],
  ] as const) {
    const times: number[] = [];
    const before = process.memoryUsage().rss;
    const kept: SharedPageAllocator<PhysAddr>[] = [];
    for (let round = 0; round < 9; round += 1) {
      const start = performance.now();
      kept.push(SharedPageAllocator.create(physRegion(physAddr(0), size)));
      times.push(performance.now() - start);
    }
    const [allocator] = kept;
    const pages = Math.min(size / PAGE_SIZE, 0x4_0000);
    for (let page = 0; page < pages; page += 1) allocator?.allocatePage();
    collectGarbage();
    const used = Math.max(0, process.memoryUsage().rss - before);
    console.log(
      `  ${name.padEnd(8)}${(median(times) * 1000).toFixed(0).padStart(6)} µs; a buffer of ${allocator?.buffer.byteLength} bytes;` +
        ` ${(used / 1024).toFixed(0)} KiB after ${pages} pages of one of 9`,
    );
  }
}

if (isMainThread) main();
else work(workerData as Shared);
