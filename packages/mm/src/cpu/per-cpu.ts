import { PageSize, type PhysAddr, showInConsoles, type VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { PageTable, PageTablePart, Tlb } from '@svsm/pagetable';
import type { Ghcb, Vcpu } from '@svsm/sev-snp';
import {
  requireInstance,
  requireInteger,
  requireOptionalFunction,
  requireOptions,
} from '../formats/arguments.ts';
import type { MmTrace } from '../formats/mm-event.ts';
import { type AddressSpaceLayout, layoutArgument } from '../layout/address-space-layout.ts';
import { type MapGuardOptions, MappingGuard, type MappingSpace } from './mapping-guard.ts';
import type { PageUses } from './page-uses.ts';
import type { FlushTarget, ShootDown } from './shoot-down.ts';
import { VirtualRange } from './virtual-range.ts';

/** The parts of a {@link PerCpu}. */
export interface PerCpuParts {
  /** The APIC ID: 32 bits. */
  readonly apicId: number;
  readonly vcpu: Vcpu;
  /** The TLB of `vcpu`, which its page table reports to. */
  readonly tlb: Tlb;
  readonly pageTable: PageTable;
  /** The part of the page table that no other processor has. */
  readonly part: PageTablePart;
  readonly ghcb: Ghcb;
  readonly layout: AddressSpaceLayout;
  readonly shootDown: ShootDown;
  /** The physical pages that mappings use. */
  readonly uses?: PageUses | undefined;
  readonly trace?: MmTrace | undefined;
}

const PARTS: readonly (keyof PerCpuParts)[] = [
  ...(['apicId', 'vcpu', 'tlb', 'pageTable', 'part', 'ghcb'] as const),
  ...(['layout', 'shootDown', 'uses', 'trace'] as const),
];

/** A processor of the SVSM: its page table, its TLB, its GHCB, and addresses for its temporary mappings. */
export class PerCpu implements FlushTarget {
  static {
    showInConsoles(this, 'PerCpu', ({ apicId, vcpu, pageTable, tlb, ghcb }) => ({
      apicId,
      vcpu,
      pageTable,
      tlb,
      ghcb,
    }));
  }

  readonly apicId: number;
  readonly vcpu: Vcpu;
  readonly tlb: Tlb;
  /** The page table. The shared slot leads to tables that all processors share, the slot of the processor to its own. */
  readonly pageTable: PageTable;
  /** The part of the page table that no other processor has. */
  readonly part: PageTablePart;
  readonly ghcb: Ghcb;
  /** Addresses for temporary mappings of 4 KiB pages, and of 2 MiB pages. */
  readonly temp4k: VirtualRange;
  readonly temp2m: VirtualRange;
  readonly #shootDown: ShootDown;
  readonly #space: MappingSpace;

  /** @throws MmError `INVALID_ARGUMENT`, `INVALID_LAYOUT` */
  constructor(parts: PerCpuParts) {
    requireOptions('the parts', parts, PARTS);
    const { apicId, vcpu, tlb, pageTable, part, ghcb, shootDown, uses, trace } = parts;
    const { perCpu } = layoutArgument(parts.layout);
    requireInteger('the APIC ID', apicId, 0, 0xffff_ffff);
    requireInstance('vcpu', vcpu, 'Vcpu');
    requireInstance('tlb', tlb, 'Tlb');
    requireInstance('pageTable', pageTable, 'PageTable');
    requireInstance('part', part, 'PageTablePart');
    requireInstance('ghcb', ghcb, 'Ghcb');
    requireInstance('shootDown', shootDown, 'ShootDown');
    if (uses !== undefined) requireInstance('uses', uses, 'PageUses');
    requireOptionalFunction('trace', trace);
    this.apicId = apicId;
    this.vcpu = vcpu;
    this.tlb = tlb;
    this.pageTable = pageTable;
    this.part = part;
    this.ghcb = ghcb;
    this.temp4k = new VirtualRange(perCpu.temp4k);
    this.temp2m = new VirtualRange(perCpu.temp2m, { pageSize: PageSize.Huge });
    this.#shootDown = shootDown;
    this.#space = {
      mapper: part,
      small: this.temp4k,
      huge: this.temp2m,
      isGlobal: false,
      vcpu: () => vcpu,
      flush: (region, pageSize) => this.flush(region, pageSize),
      uses,
      trace,
    };
  }

  /**
   * Maps physical memory for this processor alone, until the guard is released.
   *
   * @throws as {@link MappingGuard.create}
   */
  map(region: MemoryRegion<PhysAddr>, options?: MapGuardOptions): MappingGuard {
    return MappingGuard.create(this.#space, region, options);
  }

  /** Drops the translations of a region, or all, on this processor. O(pages), at most the threshold of the {@link ShootDown}. */
  flush(region?: MemoryRegion<VirtAddr>, pageSize?: PageSize): void {
    this.#shootDown.local(this, region, pageSize);
  }
}
