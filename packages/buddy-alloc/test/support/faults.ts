/** Memory that runs out: tables that cannot be made. */
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
 * Runs `action` while the table that is made as number `failing`, counted from 0, cannot be: engines throw a `RangeError` when
 * there is no memory for it. Returns whether it came to that, in which case `action` must have thrown just this.
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
