/** The number of pages in 64 bits of addresses. */
export const ALL_PAGES: number = 2 ** 52;

/** The runs of a flush of `count` pages, `step` apart, as first page and count: after the last page of all comes page 0. */
export function runsOf(first: number, count: number, step: number): [first: number, count: number][] {
  const fitting = Math.min(count, Math.ceil((ALL_PAGES - first) / step));
  if (fitting === count) return [[first, count]];
  return [
    [first, fitting],
    [(first + fitting * step) % ALL_PAGES, count - fitting],
  ];
}
