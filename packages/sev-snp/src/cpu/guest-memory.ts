import { PAGE_SHIFT, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { PhysMemory } from '@svsm/pagetable';
import { accessGuestPhys, type Privilege } from './guest-access.ts';
import type { NestedTlb } from './nested-tlb.ts';
import type { GuestContext } from './platform.ts';

/** The user of a {@link GuestMemory} at the moment. */
export interface GuestMemoryUser extends Privilege {
  /** Whether the walk of the processor accesses it; else software reads or writes. */
  readonly isWalk: boolean;
  /** The address that the walk translates. */
  readonly gva: VirtAddr | undefined;
}

/**
 * The private memory of a guest, by guest-physical frame numbers. Every access goes through the nested page table, the
 * RMP checks and the guest's key. The page tables of a guest lie in it.
 */
export class GuestMemory implements PhysMemory {
  // Host and RMP can change the memory at any time.
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
   * @throws SnpFault `NPF`, `VC_NOT_VALIDATED`, `VC_MMIO`
   */
  words(frame: number, write: boolean): Uint32Array {
    const { machine, key } = this.#guest;
    const { gva, isWalk, ...privilege } = this.#user();
    const gpa = (BigInt(frame) << BigInt(PAGE_SHIFT)) as PhysAddr;
    const kind = isWalk ? (write ? 'table-update' : 'table') : write ? 'write' : 'read';
    const access = { ...privilege, gpa, gva, kind, isPrivate: true } as const;
    const spa = accessGuestPhys(this.#guest, access, this.#nestedTlb);
    return machine.memory.words(Number(spa >> BigInt(PAGE_SHIFT)), key, write);
  }

  wordOffset(_frame: number): number {
    return 0;
  }
}
