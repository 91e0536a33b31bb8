/** One way to do a piece of work. All variants must return the same value. */
export interface Variant {
  readonly name: string;
  readonly run: () => unknown;
}

const ROUNDS = 25;
const WARM_UP = 6;

/**
 * Runs every variant once a round and prints means over the rounds, with their garbage collections: nanoseconds per unit, and the
 * ratio to the first variant. Variants alternate, so a machine that is slow for a while is slow for all.
 */
export function compare(units: number, unit: string, variants: readonly Variant[]): void {
  const times = variants.map((): number[] => []);
  const expected = variants[0]?.run();
  for (let round = 0; round < ROUNDS + WARM_UP; round += 1) {
    for (const [i, { name, run }] of variants.entries()) {
      const start = performance.now();
      const result = run();
      const time = ((performance.now() - start) * 1e6) / units;
      if (result !== expected) throw new Error(`${name} returned ${result}, not ${expected}`);
      if (round >= WARM_UP) times[i]!.push(time);
    }
  }
  const baseline = mean(times[0]!);
  for (const [i, { name }] of variants.entries()) {
    const own = mean(times[i]!);
    console.log(
      `  ${name.padEnd(34)} ${own.toFixed(1).padStart(7)} ns ${unit}  ${(own / baseline).toFixed(2).padStart(5)} ×`,
    );
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b) / values.length;
}

/** The middle one of the sorted values. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
