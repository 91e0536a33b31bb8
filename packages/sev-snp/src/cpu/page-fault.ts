import type { VirtAddr } from '@svsm/address';
import type { AccessKind } from '@svsm/pagetable';
import { SnpError } from '../formats/snp-error.ts';

/** A page fault, as a guest's handler gets it. */
export interface GuestPageFault {
  /** The address in CR2. */
  readonly gva: VirtAddr;
  /** The bits of `PageFaultCode`. */
  readonly errorCode: number;
  /** The access that has faulted. */
  readonly kind: AccessKind;
}

/**
 * A guest's handler of page faults. `'retry'`: the instruction runs again from its start. `'deliver'`: the caller of the
 * instruction gets the fault, as a `SnpFault` with the code `PF`.
 */
export type PageFaultHandler = (fault: GuestPageFault) => 'retry' | 'deliver';

/** The calls of a handler. A fault inside the handler is not handled: it is thrown to the handler. */
export class FaultHandling {
  #isRunning = false;

  /** Whether the instruction runs again after a fault. @throws SnpError `INVALID_ARGUMENT` for another answer */
  isRetried(handler: PageFaultHandler | undefined, fault: GuestPageFault): boolean {
    if (handler === undefined || this.#isRunning) return false;
    this.#isRunning = true;
    try {
      const answer: unknown = handler(Object.freeze(fault));
      if (answer === 'retry' || answer === 'deliver') return answer === 'retry';
      const expected = "return 'retry' or 'deliver'";
      throw new SnpError('INVALID_ARGUMENT', { what: 'the answer of onPageFault', value: answer, expected });
    } finally {
      this.#isRunning = false;
    }
  }
}
