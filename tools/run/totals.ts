/** The line with which a suite of tests ends: `N passed, N failed`, and `, N skipped` if any were skipped. */

export interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

export const NONE: Readonly<Totals> = { passed: 0, failed: 0, skipped: 0 };

export function add(a: Totals, b: Totals): Totals {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

export function describe({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

/**
 * The totals of a suite: those of its last line. One test more has failed if that is not such a line, or if the suite ends with a
 * failure that it does not count.
 */
export function totalsOfSuite(lastLine: string, exit: number | null): Totals {
  const [, passed, failed, skipped = '0'] =
    /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/.exec(lastLine) ?? [];
  if (passed === undefined) return { ...NONE, failed: 1 };
  const totals = { passed: Number(passed), failed: Number(failed), skipped: Number(skipped) };
  return exit !== 0 && totals.failed === 0 ? { ...totals, failed: 1 } : totals;
}
