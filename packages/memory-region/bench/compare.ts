/** One way to do a piece of work. All variants must return the same value. */
export interface Variant {
  readonly name: string;
  readonly run: () => unknown;
}

const ROUNDS = 25;
const WARM_UP = 6;

/**
 * Runs every variant once a round and prints medians over the rounds: nanoseconds per unit, and the ratio to the first
 * variant in the same round, so that a machine that is slow for a while is slow for both.
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
  const baseline = times[0]!;
  for (const [i, { name }] of variants.entries()) {
    const own = times[i]!;
    const ratio = median(own.map((time, round) => time / baseline[round]!));
    console.log(
      `  ${name.padEnd(34)} ${median(own).toFixed(1).padStart(7)} ns ${unit}  ${ratio.toFixed(2).padStart(5)} ×`,
    );
  }
}

/** The middle one of the sorted values. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
