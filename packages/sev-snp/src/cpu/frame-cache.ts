import { PAGE_SIZE, type VirtAddr } from '@svsm/address';
import type { AccessKind } from '@svsm/pagetable';
import type { Vmpl } from '../formats/vmpl.ts';
import { cachedFrame } from './cached-frame.ts';
import type { GuestMmu } from './guest-mmu.ts';
import type { NestedTlb } from './nested-tlb.ts';
import type { GuestContext } from './platform.ts';
import type { TranslationCache } from './translation-cache.ts';
import type { DataAccessOptions } from './vcpu-options.ts';

/** The options of an ordinary access. */
export const NO_OPTIONS: DataAccessOptions = {};

const FIRST_SLOTS = 64;
const MAX_SLOTS = 4096;

// Memory splits an address into halves: several times faster than shifts of bigints.
const CELL = new BigUint64Array(1);
const HALVES = new Uint32Array(CELL.buffer);

/** The sources of the answers of a {@link FrameCache}. */
export interface FrameSources {
  readonly guest: GuestContext;
  readonly vmpl: Vmpl;
  readonly mmu: GuestMmu;
  readonly tlb: TranslationCache | undefined;
  readonly nestedTlb: NestedTlb | undefined;
}

/**
 * The system frames of private accesses that both TLBs of a processor have allowed, by virtual page and kind of access. Each source
 * of an answer counts its changes: once a count has grown, nothing that is held counts any more, and the TLBs are asked again. So it
 * never answers differently from them, and is only faster. Without such a count it holds nothing.
 */
export class FrameCache {
  readonly #sources: FrameSources;
  #slots = FIRST_SLOTS;
  /** The numbers of the virtual pages, and their frames and kinds of access. Made at the first use. */
  #pages: Float64Array | undefined;
  #frames: Float64Array = new Float64Array(0);
  #kinds: Uint8Array = new Uint8Array(0);
  /** The sum of all counts for which the slots hold. */
  #changes = -1;
  /** How often a page has taken the slot of another one. */
  #replaced = 0;

  constructor(sources: FrameSources) {
    this.#sources = sources;
  }

  /** The frame of an access without options: as {@link cachedFrame} finds it, or -1. @throws as {@link find} */
  frameOf(gva: VirtAddr, length: number, kind: AccessKind, nestedTlb: NestedTlb): number {
    const held = this.find(gva, length, kind);
    if (held >= 0) return held;
    const { changes } = this;
    const frame = cachedFrame(this.#sources, this.#sources.mmu, nestedTlb, gva, length, kind, NO_OPTIONS);
    if (frame >= 0) this.keep(gva, kind, frame, changes);
    return frame;
  }

  /**
   * The frame of an access within one page, or -1 if it is not held. O(1), without an allocation.
   *
   * @throws PageTableError `BUSY` in the middle of a lookup of the TLB
   */
  find(gva: VirtAddr, length: number, kind: AccessKind): number {
    if (this.#pages === undefined || typeof gva !== 'bigint' || !Number.isInteger(length) || length <= 0)
      return -1;
    // Reading the cell to compare would make a bigint.
    if (gva < 0n || gva > 0xffff_ffff_ffff_ffffn) return -1;
    CELL[0] = gva;
    const low = HALVES[0]!;
    if ((low & 0xfff) + length > PAGE_SIZE) return -1;
    const page = HALVES[1]! * 2 ** 20 + (low >>> 12);
    const slot = page % this.#slots;
    if (this.#pages[slot] !== page || (this.#kinds[slot]! & bitOf(kind)) === 0) return -1;
    if (this.changes !== this.#changes) return -1;
    this.#sources.mmu.requireIdle();
    return this.#frames[slot]!;
  }

  /**
   * Holds the frame of an access to the page of `gva`, as both TLBs have answered, unless something has changed since. O(1), seldom
   * O(slots).
   *
   * @param changes - {@link changes} before they were asked
   */
  keep(gva: VirtAddr, kind: AccessKind, frame: number, changes: number): void {
    if (changes !== this.changes) return;
    if (this.#pages === undefined || this.#replaced > this.#slots) this.#grow();
    else if (changes !== this.#changes) this.#pages.fill(-1);
    this.#changes = changes;
    CELL[0] = gva;
    const page = HALVES[1]! * 2 ** 20 + (HALVES[0]! >>> 12);
    const slot = page % this.#slots;
    const pages = this.#pages!;
    if (pages[slot] === page) this.#kinds[slot]! |= bitOf(kind);
    else {
      if (pages[slot] !== -1 && this.#slots < MAX_SLOTS) this.#replaced += 1;
      pages[slot] = page;
      this.#frames[slot] = frame;
      this.#kinds[slot] = bitOf(kind);
    }
  }

  /** The sum of the counts. They only grow, so it is the same only if each of them is. `NaN` without a count. */
  get changes(): number {
    const { guest, mmu, tlb, nestedTlb } = this.#sources;
    const own = (tlb?.changes ?? Number.NaN) + (nestedTlb?.changes ?? Number.NaN);
    return own + mmu.changes + guest.tlbGeneration + guest.machine.rmp.changes;
  }

  #grow(): void {
    if (this.#pages !== undefined) this.#slots *= 4;
    this.#pages = new Float64Array(this.#slots).fill(-1);
    this.#frames = new Float64Array(this.#slots);
    this.#kinds = new Uint8Array(this.#slots);
    this.#replaced = 0;
  }
}

function bitOf(kind: AccessKind): number {
  if (kind === 'read') return 1;
  return kind === 'write' ? 2 : 4;
}
