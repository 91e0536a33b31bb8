import { PAGE_SHIFT, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { PhysMemory } from '@svsm/pagetable';
import { accessGuestPhys, type Privilege } from './guest-access.ts';
import type { NestedTlb } from './nested-tlb.ts';
import type { GuestContext } from './platform.ts';

/** For whom a {@link GuestMemory} is accessed at the moment. */
export interface GuestMemoryUser extends Privilege {
  /** Whether it is the processor's own walk; else it is software that reads and writes. */
  readonly isWalk: boolean;
  /** What the walk is for. */
  readonly gva: VirtAddr | undefined;
}

/**
 * A guest's private memory by guest-physical frame numbers: through the nested page table, the RMP's checks and the
 * guest's key, anew on every access. What a `PageTable` of a guest lies in.
 */
export class GuestMemory implements PhysMemory {
  // Host and RMP may change what is here at any time.
  readonly epoch: number = Number.NaN;
  readonly #guest: GuestContext;
  readonly #user: () => GuestMemoryUser;
  readonly #nestedTlb: NestedTlb | undefined;

  constructor(guest: GuestContext, user: () => GuestMemoryUser, nestedTlb?: NestedTlb) {
    this.#guest = guest;
    this.#user = user;
    this.#nestedTlb = nestedTlb;
  }

  /**
   * The words of the guest-physical frame.
   *
   * @throws SnpFault `NPF`, `VC_NOT_VALIDATED`
   */
  words(frame: number, write: boolean): Uint32Array {
    const { machine, key } = this.#guest;
    const { vmpl, cpl, gva, isWalk } = this.#user();
    const gpa = (BigInt(frame) << BigInt(PAGE_SHIFT)) as PhysAddr;
    const kind = isWalk ? (write ? 'table-update' : 'table') : write ? 'write' : 'read';
    const spa = accessGuestPhys(this.#guest, { vmpl, cpl, gpa, gva, kind, isPrivate: true }, this.#nestedTlb);
    return machine.memory.words(Number(spa >> BigInt(PAGE_SHIFT)), key, write);
  }

  wordOffset(_frame: number): number {
    return 0;
  }
}
