/** Helpers of all benches: rounds of variants side by side, and loops that are compiled separately. */

/** One of several ways to do the same work. */
export interface Variant {
  readonly name: string;
  /** Does the work once. Returns the nanoseconds an operation for each column. */
  readonly round: () => readonly Time[];
  /** Measures the garbage for each column, in bytes an operation. */
  readonly bytes?: () => readonly number[];
  /** Whether it is so slow that it runs only once, after the others. */
  readonly once?: boolean;
}

/** Nanoseconds, with the share of the work that was done if it was given up; `undefined` if it was not started. */
export type Time = number | { readonly nanoseconds: number; readonly share: number } | undefined;

/** The milliseconds after which a variant is given up in one column. */
const LIMIT = 2000;
const CHUNK = 512;

/** The median. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value) / values.length;
}

/** The nanoseconds an operation that `run` takes. */
export function nanoseconds(operations: number, run: () => void): number {
  const start = performance.now();
  run();
  return ((performance.now() - start) * 1e6) / operations;
}

/**
 * The bytes an operation by which `run` makes the heap grow: the median of several calls, since a collection in between makes
 * single values wrong. `run` must be so short that most calls have none.
 */
export function bytesOf(operations: number, run: () => void, after: () => void = () => {}): number {
  const grown = Array.from({ length: 33 }, () => {
    const before = process.memoryUsage().heapUsed;
    run();
    const bytes = process.memoryUsage().heapUsed - before;
    after();
    return bytes;
  });
  return Math.max(0, median(grown)) / operations;
}

/** {@link nanoseconds} of a loop from one index to another, which is given up after `limit` milliseconds. */
export function nanosecondsUpTo(
  operations: number,
  run: (from: number, to: number) => void,
  limit: number = LIMIT,
): Time {
  const start = performance.now();
  let done = 0;
  while (done < operations && performance.now() - start < limit) {
    const to = Math.min(operations, done + CHUNK);
    run(done, to);
    done = to;
  }
  const time = ((performance.now() - start) * 1e6) / done;
  return done === operations ? time : { nanoseconds: time, share: done / operations };
}

/** Collects garbage. Without this, figures of memory in use would mean nothing. */
export function collectGarbage(): void {
  if (globalThis.gc === undefined) throw new Error('start it by `npm run bench`, or with --expose-gc');
  globalThis.gc();
}

let compiled = 0;

/**
 * Returns a function with `body`, which sees `values`. Each function has separate code, so an engine compiles its calls for one
 * variant only. Its text must be unique for that, because equal texts share code. The caller stays cold and is not compiled
 * together with it.
 */
export function compile<F extends (...parameters: never[]) => void>(
  values: Readonly<Record<string, unknown>>,
  parameters: string,
  body: string,
): F {
  const names = Object.keys(values);
  compiled += 1;
  const make = new Function(...names, `/* ${compiled} */ return (${parameters}) => { ${body} };`);
  return make(...Object.values(values)) as F;
}

let seed = 1;

/** A random number from 0 to `below` − 1. */
export function random(below: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  // In 31 bits, a remainder is an instruction and not a call.
  return (seed >>> 1) % below;
}

/** Brings `values` into a random order. */
export function shuffle<T>(values: T[]): void {
  for (let i = values.length - 1; i > 0; i -= 1) {
    const j = random(i + 1);
    const value = values[i] as T;
    values[i] = values[j] as T;
    values[j] = value;
  }
}

/**
 * Runs every variant once a round, so that the noise of a shared machine affects all alike. Prints for each column the mean over the
 * rounds, with their garbage collections, the least value, the ratio of the mean to that of the first variant, and the garbage.
 */
export function compare(
  title: string,
  columns: readonly string[],
  variants: readonly Variant[],
  rounds: number,
): void {
  const times = variants.map((): Time[][] => columns.map(() => []));
  const run = (index: number, isWarmUp: boolean) => {
    const row = variants[index]!.round();
    if (!isWarmUp) for (const [column, time] of row.entries()) times[index]?.[column]?.push(time);
  };
  for (let round = -Math.ceil(rounds / 4); round < rounds; round += 1) {
    for (const [index, { once }] of variants.entries()) if (!once) run(index, round < 0);
  }
  for (const [index, { once }] of variants.entries()) if (once) run(index, false);

  console.log(`\n${title}`);
  console.log(`  ${''.padEnd(34)}${columns.map((column) => column.padStart(44)).join('')}`);
  for (const [index, { name, bytes }] of variants.entries()) {
    const garbage = bytes?.();
    const cells = columns.map((_, column) => {
      const own = times[index]?.[column] ?? [];
      return cell(own, times[0]?.[column] ?? [], garbage?.[column]).padStart(44);
    });
    console.log(`  ${name.padEnd(34)}${cells.join('')}`);
  }
}

function cell(own: readonly Time[], base: readonly Time[], bytes: number | undefined): string {
  const [first] = own;
  if (first === undefined) return '-';
  if (typeof first === 'object') {
    const share = `given up after ${Math.round(first.share * 100)} %`;
    return `> ${first.nanoseconds.toFixed(0)} ns, ${share}`;
  }
  const numbers = own as readonly number[];
  const ratio = mean(numbers) / mean(base as readonly number[]);
  const least = numbers.length === 1 ? '' : ` (least ${Math.min(...numbers).toFixed(1)})`;
  const garbage = bytes === undefined ? '' : `${bytes.toFixed(0).padStart(4)} B`;
  return `${mean(numbers).toFixed(1)} ns${least} ${ratio.toFixed(2).padStart(8)} ×${garbage}`;
}
