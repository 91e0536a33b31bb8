import type { VirtAddr } from '@svsm/address';
import type { CallGuard } from '../memory/call-guard.ts';
import type { TlbListener } from './tlb-listener.ts';

/** Reports a flush to the listener of a user. If that throws, `guard` keeps the error: the change is in place already. */
export function reportFlush(
  guard: CallGuard,
  listener: TlbListener,
  start: VirtAddr,
  bytes: number,
  operation: string,
): void {
  guard.enter('needsFlush');
  try {
    listener.needsFlush(start, bytes, operation);
  } catch (error) {
    guard.fail('needsFlush', error);
  }
  guard.leave();
}

/** A listener that passes requests to that of a user by {@link reportFlush}. */
export function guardedListener(guard: CallGuard, listener: TlbListener): TlbListener {
  return {
    needsFlush: (start, bytes, operation) => reportFlush(guard, listener, start, bytes, operation),
  };
}
