import { PAGE_SHIFT, type PhysAddr, pageNumber, type VirtAddr } from '@svsm/address';
import type { PhysMemory } from '@svsm/pagetable';
import { maskOfWord, RMP_ENTRY_WORDS } from '../formats/rmp-entry.ts';
import { type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import type { Rmp } from '../rmp/rmp.ts';
import type { RmpAccessKind } from '../rmp/rmp-check.ts';
import { accessBit, accessGuestPhys, guestPhysAccess, type Privilege } from './guest-access.ts';
import type { NestedTlb } from './nested-tlb.ts';
import type { GuestContext } from './platform.ts';

/** The user of a {@link GuestMemory}, with the privilege of the moment. */
export interface GuestMemoryUser extends Privilege {
  /** The address that the walk of the processor translates. */
  readonly walkedFor: VirtAddr | undefined;
}

/**
 * The private memory of a guest, by guest-physical frame numbers. Every access goes through the nested page table, the
 * RMP checks and the guest's key. The page tables of a guest lie in it.
 */
export class GuestMemory implements PhysMemory {
  readonly #guest: GuestContext;
  readonly #user: GuestMemoryUser;
  /** Whether the walk of the processor accesses it; else software reads or writes. */
  readonly #isWalk: boolean;
  readonly #nestedTlb: NestedTlb | undefined;

  constructor(guest: GuestContext, user: GuestMemoryUser, isWalk: boolean, nestedTlb?: NestedTlb) {
    this.#guest = guest;
    this.#user = user;
    this.#isWalk = isWalk;
    this.#nestedTlb = nestedTlb;
  }

  /**
   * A count that grows whenever {@link heldWords} may answer differently. `NaN` without a nested TLB: then the hypervisor's tables
   * and the RMP decide on each access anew. The sum of counts that only grow is the same only if each of them is.
   */
  get epoch(): number {
    const tlb = this.#nestedTlb;
    if (tlb === undefined) return Number.NaN;
    const { machine, tlbGeneration, key } = this.#guest;
    return tlb.changes + tlbGeneration + machine.rmp.changes + machine.memory.epochOf(key);
  }

  /**
   * The words of the guest-physical frame. Use them at once and do not keep them: they end with the state of the page, as
   * those of `EncryptedMemory` do.
   *
   * @throws SnpFault `NPF`, `VC_NOT_VALIDATED`, `VC_MMIO`
   */
  words(frame: number, write: boolean): Uint32Array {
    const held = this.heldWords(frame, write);
    if (held !== undefined) return held;
    const user = this.#user;
    const gpa = (BigInt(frame) << FRAME_SHIFT) as PhysAddr;
    const gva = this.#isWalk ? user.walkedFor : undefined;
    const access = guestPhysAccess(user, gpa, gva, this.#kindOf(write), true);
    const spa = accessGuestPhys(this.#guest, access, this.#nestedTlb);
    return this.#wordsOf(pageNumber(spa), write);
  }

  /**
   * As {@link words}, if the nested TLB allows the access, so that nothing is walked or checked; else `undefined`. O(1), without
   * an allocation.
   */
  heldWords(frame: number, write: boolean): Uint32Array | undefined {
    const tlb = this.#nestedTlb;
    if (tlb === undefined || !Number.isInteger(frame)) return undefined;
    const { vmpl, cpl } = this.#user;
    const held = tlb.frameOf(this.#guest, vmpl, frame, accessBit(this.#kindOf(write), true, cpl));
    return held < 0 ? undefined : this.#wordsOf(held, write);
  }

  #kindOf(write: boolean): RmpAccessKind {
    if (this.#isWalk) return write ? 'table-update' : 'table';
    return write ? 'write' : 'read';
  }

  /** The words of a system frame, after all checks. The array is the page: a level that may only read it gets a copy. */
  #wordsOf(frame: number, write: boolean): Uint32Array {
    const { machine, key } = this.#guest;
    const words = machine.memory.words(frame, key, write);
    return write || this.#isWalk || mayWrite(machine.rmp, frame, this.#user.vmpl) ? words : words.slice();
  }

  wordOffset(_frame: number): number {
    return 0;
  }
}

/**
 * The memory as software of a processor accesses it: see `Vcpu.memory`.
 *
 * @param run - runs an instruction, with its faults and exits
 */
export function softwareMemory(
  data: GuestMemory,
  isRunning: () => boolean,
  run: (access: () => Uint32Array) => Uint32Array,
): PhysMemory {
  const walk = (frame: number, write: boolean): Uint32Array => run(() => data.words(frame, write));
  return {
    get epoch() {
      return isRunning() ? data.epoch : Number.NaN;
    },
    words: (frame, write) => (isRunning() ? data.heldWords(frame, write) : undefined) ?? walk(frame, write),
    wordOffset: () => 0,
  };
}

const FRAME_SHIFT = BigInt(PAGE_SHIFT);

/** Scratch: the words of the entry of a page. */
const ENTRY = new Uint32Array(RMP_ENTRY_WORDS);

function mayWrite(rmp: Rmp, frame: number, vmpl: Vmpl): boolean {
  // Nobody can reduce the mask of VMPL0.
  if (vmpl === 0) return true;
  rmp.readWords(frame, ENTRY);
  return (maskOfWord(ENTRY[2]!, vmpl) & VmplPermission.Write) !== 0;
}
