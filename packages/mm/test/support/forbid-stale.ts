import { onTestFinished } from 'vitest';

/**
 * Makes a test fail if a processor of its world has used a stale translation: a flush was forgotten. It does nothing outside of a
 * test. A test that provokes such a use empties the list.
 */
export function forbidStale(stale: readonly string[]): void {
  try {
    onTestFinished(() => {
      if (stale.length > 0) throw new Error(`a stale translation: ${stale.join('; ')}`);
    });
  } catch {
    // The world belongs to several tests.
  }
}
