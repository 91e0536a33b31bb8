import { PAGE_SHIFT, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { PhysMemory } from '@svsm/pagetable';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { VmplPermission } from '../formats/vmpl.ts';
import type { Rmp } from '../rmp/rmp.ts';
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
   * The words of the guest-physical frame. Use them at once and do not keep them: they end with the state of the page, as
   * those of `EncryptedMemory` do.
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
    const words = machine.memory.words(Number(spa >> BigInt(PAGE_SHIFT)), key, write);
    // The array is the page. A level that may only read the page gets a copy.
    return kind === 'read' && !mayWrite(machine.rmp, spa, privilege) ? words.slice() : words;
  }

  wordOffset(_frame: number): number {
    return 0;
  }
}

function mayWrite(rmp: Rmp, spa: SysPhysAddr, { vmpl }: Privilege): boolean {
  // Nobody can reduce the mask of VMPL0.
  return vmpl === 0 || ((rmp.entry(spa)?.vmplMasks[vmpl] ?? 0) & VmplPermission.Write) !== 0;
}
