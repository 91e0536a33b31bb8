import { Tlb, type TlbOptions } from '@svsm/pagetable';
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

/** A TLB that writes each use of a stale translation to a list. */
export function watchedTlb(stale: string[], options: Omit<TlbOptions, 'onStaleUse'> = {}): Tlb {
  const onStaleUse: TlbOptions['onStaleUse'] = ({ staleBy }, vaddr) => {
    stale.push(`0x${vaddr.toString(16)}, stale since ${staleBy}`);
  };
  return new Tlb({ ...options, onStaleUse });
}
