import { PageTableError } from './page-table-error.ts';
import { is64Bit } from './words.ts';

/** The error for a register or a setting that a processor cannot have. */
export function invalidState(
  field: string,
  value: unknown,
  expected: string,
  options?: ErrorOptions,
): PageTableError<'INVALID_CPU_STATE'> {
  return new PageTableError('INVALID_CPU_STATE', { field, value, expected }, options);
}

/** As `Array.isArray`, which throws for a revoked proxy. */
export function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** @throws PageTableError `INVALID_CPU_STATE` unless `value` is a bigint of 64 bits */
export function requireRegister(field: string, value: unknown): bigint {
  if (!is64Bit(value as bigint)) throw invalidState(field, value, 'pass a bigint of 64 bits');
  return value as bigint;
}

/** Whether bit `position` of a register is 1. */
export function hasBit(register: bigint, position: number): boolean {
  return ((register >> BigInt(position)) & 1n) === 1n;
}
