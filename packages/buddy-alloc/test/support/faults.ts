/** Simulates that memory runs out: tables cannot be allocated. */
import { expect } from 'vitest';

const TABLES = [
  'Int8Array',
  'Uint8Array',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'BigUint64Array',
] as const;

/**
 * Runs `action` and makes the allocation of table number `failing`, counted from 0, throw a `RangeError`, as engines do
 * without memory. Returns whether that table was reached; then `action` must have thrown this very error.
 */
export function withoutRoom(failing: number, action: () => unknown): boolean {
  const globals = globalThis as unknown as Record<string, new (...args: unknown[]) => unknown>;
  const saved = TABLES.map((name) => [name, globals[name]] as const);
  const refusal = new RangeError('Array buffer allocation failed');
  let made = 0;
  let caught: unknown;
  for (const [name, table] of saved) {
    globals[name] = new Proxy(table as new () => object, {
      construct(target, args, self) {
        made += 1;
        if (made === failing + 1) throw refusal;
        return Reflect.construct(target, args, self);
      },
    });
  }
  try {
    action();
  } catch (error) {
    caught = error;
  } finally {
    for (const [name, table] of saved) globals[name] = table as new () => unknown;
  }
  if (made <= failing) {
    if (caught !== undefined) throw caught;
    return false;
  }
  expect(caught).toBe(refusal);
  return true;
}
