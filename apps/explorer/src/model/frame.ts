import { PAGE_SIZE_2M, type VirtAddr } from '@svsm/address';
import type { PageAllocator } from '@svsm/buddy-alloc';
import type { PageTable, Tlb } from '@svsm/pagetable';
import type { Guest, MachineEvent, SnpMachine, Vcpu } from '@svsm/sev-snp';
import { captureHeap, type HeapImage } from './heap-image.ts';
import { captureNested, type NestedRun } from './nested-image.ts';
import { captureRmp, type RmpImage } from './rmp-image.ts';
import { captureTables, type TableImages } from './table-images.ts';

/** A machine with a guest in which a scenario plays. */
export interface World {
  readonly machine: SnpMachine;
  readonly guest: Guest;
  readonly vcpu: Vcpu;
  readonly table: PageTable;
  readonly tlb: Pick<Tlb, 'lookup'> | undefined;
  /** The allocator of the scenario, if it has one. */
  readonly heap: PageAllocator<VirtAddr> | undefined;
  /** The first pages that the scenario is about: those whose cached translations are shown. */
  readonly pages: VirtAddr[];
}

/** A translation that the TLB holds. */
interface CachedTranslation {
  readonly vaddr: bigint;
  /** Bytes. */
  readonly size: number;
  readonly shared: boolean;
  /** Whether the tables have changed since. */
  readonly isStale: boolean;
}

/** The state of a world at one moment, as the views show it. Immutable; parts that have not changed are shared. */
export interface Frame {
  readonly tables: TableImages;
  readonly rmp: RmpImage;
  readonly nested: readonly NestedRun[];
  readonly heap: HeapImage | undefined;
  /** The translations of the scenario's pages that the TLB holds. */
  readonly cached: readonly CachedTranslation[];
}

/** Takes frames of one world. A capture reads memory and records, and changes nothing. */
export class Camera {
  readonly #world: World;
  readonly #touched: Set<number> = new Set();
  #masks = false;
  #last: Frame | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** Notes the memory that an event names. */
  note(event: MachineEvent): void {
    if (event.type === 'rmpadjust') this.#masks = true;
    if (event.type !== 'rmpupdate' && event.type !== 'psmash') return;
    this.#touched.add(Number(event.spa / BigInt(PAGE_SIZE_2M)));
  }

  capture(): Frame {
    const { machine, guest, heap } = this.#world;
    const last = this.#last;
    this.#last = {
      tables: captureTables(this.#world, last?.tables),
      rmp: captureRmp(machine, this.#touched, { previous: last?.rmp, masks: this.#masks }),
      nested: captureNested(guest, last?.nested),
      heap: heap && captureHeap(heap, last?.heap),
      cached: cachedIn(this.#world),
    };
    this.#masks = false;
    return this.#last;
  }
}

function cachedIn({ tlb, pages }: World): CachedTranslation[] {
  return pages.flatMap((vaddr) => {
    const entry = tlb?.lookup(vaddr);
    if (entry === undefined) return [];
    return [{ vaddr, size: Number(entry.region.size), shared: entry.page.shared, isStale: entry.isStale }];
  });
}
