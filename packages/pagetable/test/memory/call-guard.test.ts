import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { CallGuard } from '../../src/memory/call-guard.ts';

function errorOf(operation: () => unknown): unknown {
  try {
    operation();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('a guard', () => {
  test('is busy from the first callback until the last one inside it ends, with the name of the first', () => {
    const guard = new CallGuard();
    const seen: (string | undefined)[] = [];
    const steps = [
      () => guard.enter('words'),
      () => guard.enter('epoch'),
      () => guard.leave(),
      () => guard.leave(),
      () => guard.enter('insert'),
      () => guard.leave(),
    ];
    for (const step of steps) {
      step();
      seen.push(guard.during);
      const error = errorOf(() => guard.requireIdle());
      expect(isPageTableError(error, 'BUSY') && error.details.during).toBe(guard.during ?? false);
    }
    expect(seen).toEqual(['words', 'words', 'words', undefined, 'insert', undefined]);
  });

  test('makes the others busy too, and they stay busy while one of them has a callback', () => {
    const [guard, ...others] = [new CallGuard(), new CallGuard(), new CallGuard()];
    guard!.others = others;
    others[0]!.enter('needsFlush');
    guard!.enter('words');
    expect(others.map(({ during }) => during)).toEqual(['needsFlush', 'words']);
    guard!.leave();
    expect(others.map(({ during }) => during)).toEqual(['needsFlush', undefined]);
  });

  test('throws the first error of a callback at the end, once', () => {
    const guard = new CallGuard();
    const cause = new Error('first');
    guard.settle('map');
    guard.fail('freeFrame', cause);
    guard.fail('needsFlush', new Error('second'));
    const error = errorOf(() => guard.settle('unmap'));
    expect(isPageTableError(error, 'CALLBACK_FAILED') && error.details).toEqual({
      operation: 'unmap',
      callback: 'freeFrame',
    });
    expect((error as Error).cause).toBe(cause);
    expect(errorOf(() => guard.settle('unmap'))).toBeUndefined();
  });

  test('keeps no error of an operation that has thrown an error of its own', () => {
    const guard = new CallGuard();
    guard.fail('freeFrame', new Error('of the callback'));
    guard.dismiss();
    expect(errorOf(() => guard.settle('unmap'))).toBeUndefined();
  });
});
