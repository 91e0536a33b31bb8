/** An SVSM that maps a page of the guest only while it uses it, through a window of a few pages for each processor. */
import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { type PageTable, PtePreset } from '@svsm/pagetable';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { isSnpFault } from '../../src/rmp/snp-fault.ts';
import type { GuestPageAccess } from '../../src/svsm/guest-page-access.ts';
import { MiB, unresolvedFault } from './world.ts';

/** The windows of the processors, 8 MiB each: 8 pages of 4 KiB, then 3 of 2 MiB. */
const WINDOWS = 0xffff_a000_0000_0000n;
const SLOTS = 8;
const HUGE_SLOTS = 3;

/** How a window differs from an honest one. */
export interface WindowFaults {
  /** Called before each step of a window: an exit can happen there. Its error goes on. */
  onStep?: ((step: 'map' | 'mapped' | 'unmap' | 'unmapped') => void) | undefined;
  /** Whether the window flushes after it has unmapped a page. */
  flushes?: boolean;
}

/**
 * The window of a processor. It maps as COCONUT-SVSM's `PerCPUPageMappingGuard`: an entry for the page, and after the use no
 * entry and INVLPG, on this processor alone. Tables of the window stay; so mapping takes no frame once each slot has a table.
 */
export class Window {
  /** The pages that are mapped at the moment, by address. */
  readonly mapped: Map<bigint, PhysAddr> = new Map();
  /** The uses of an address that led elsewhere. */
  readonly stale: string[] = [];
  /** The greatest number of pages that were mapped at a time. */
  deepest = 0;
  readonly faults: WindowFaults;
  readonly #vcpu: Vcpu;
  readonly #table: PageTable;
  readonly #slots: Readonly<Record<number, readonly VirtAddr[]>>;
  #next = 0;

  constructor(vcpu: Vcpu, table: PageTable, index: number, faults: WindowFaults = {}) {
    this.#vcpu = vcpu;
    this.#table = table;
    this.faults = faults;
    const base = WINDOWS + BigInt(index * 8 * MiB);
    const slots = (count: number, size: number, first: bigint): VirtAddr[] =>
      Array.from({ length: count }, (_, k) => virtAddr(first + BigInt(k * size)));
    this.#slots = {
      [PageSize.Regular]: slots(SLOTS, PAGE_SIZE, base),
      [PageSize.Huge]: slots(HUGE_SLOTS, PageSize.Huge, base + BigInt(2 * MiB)),
    };
    // The table of the slots.
    table.map4k(virtAddr(base), physAddr(0), PtePreset.Data);
    table.unmap4k(virtAddr(base));
  }

  /** The access of this processor. */
  readonly access: GuestPageAccess = (gpa, size, use) => {
    this.#step('map');
    const slot = this.#take(size);
    this.mapped.set(slot, gpa);
    this.deepest = Math.max(this.deepest, this.mapped.size);
    try {
      const preset = PtePreset.Data;
      if (size === PageSize.Huge) this.#table.map2m(slot, gpa, preset);
      else this.#table.map4k(slot, gpa, preset);
      this.#step('mapped');
      // A stale translation of the slot would lead to the page before.
      const found = this.#vcpu.tlb?.lookup(slot)?.page.frame;
      if (found !== undefined && found !== gpa) this.stale.push(`${slot.toString(16)} ${found.toString(16)}`);
      return use(slot);
    } finally {
      this.#unmap(slot, size);
    }
  };

  /** A slot whose entry cannot be cleared, because the host hides the table, is lost. */
  #unmap(slot: VirtAddr, size: number): void {
    try {
      this.#step('unmap');
    } finally {
      if (this.#isCleared(slot, size)) {
        this.mapped.delete(slot);
        if (this.faults.flushes !== false) this.#vcpu.invlpg(slot);
      }
    }
    this.#step('unmapped');
  }

  #isCleared(slot: VirtAddr, size: number): boolean {
    try {
      if (this.#table.translate(slot) === undefined) return true;
      if (size === PageSize.Huge) this.#table.unmap2m(slot);
      else this.#table.unmap4k(slot);
      return true;
    } catch (error) {
      if (isSnpFault(error)) return false;
      throw error;
    }
  }

  /** A slot that is free. They are used in turns, so a stale translation would be met late. */
  #take(size: number): VirtAddr {
    const slots = this.#slots[size] ?? [];
    for (let k = 0; k < slots.length; k += 1) {
      const slot = slots[(this.#next + k) % slots.length]!;
      if (this.mapped.has(slot)) continue;
      this.#next += 1;
      return slot;
    }
    return unresolvedFault();
  }

  #step(step: 'map' | 'mapped' | 'unmap' | 'unmapped'): void {
    this.faults.onStep?.(step);
  }
}
