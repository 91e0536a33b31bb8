import { PageTableError } from './page-table-error.ts';

/** The error for an argument, or an option of a call, that has the wrong type. */
export function invalidArgument(
  what: string,
  value: unknown,
  expected: string,
  options?: ErrorOptions,
): PageTableError<'INVALID_ARGUMENT'> {
  return new PageTableError('INVALID_ARGUMENT', { what, value, expected }, options);
}
