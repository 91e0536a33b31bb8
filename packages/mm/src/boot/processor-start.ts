import { PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { PageAllocator } from '@svsm/buddy-alloc';
import { type EntryFlags, PageTable, PageTablePart, PteFlags, PtePreset, Tlb } from '@svsm/pagetable';
import {
  acceptPage,
  Ghcb,
  type Guest,
  makePagePrivate,
  NestedTlb,
  type ValidatedPages,
  type Vcpu,
  type VisibilityOptions,
} from '@svsm/sev-snp';
import { PerCpu } from '../cpu/per-cpu.ts';
import type { Processors } from '../cpu/processors.ts';
import { refuseArgument, requireInstance } from '../formats/arguments.ts';
import type { MmTrace } from '../formats/mm-event.ts';
import type { AddressSpaceLayout } from '../layout/address-space-layout.ts';
import type { DirectMap } from '../layout/direct-map.ts';
import { prepareTables } from './global-ranges.ts';
import type { TableSource } from './kernel-space.ts';
import { Undo } from './undo.ts';

/** The objects that the start of a processor needs. */
export interface ProcessorSource {
  readonly tables: TableSource;
  readonly layout: AddressSpaceLayout;
  /** The part of the page tables that all processors share. */
  readonly kernel: PageTablePart;
  readonly directMap: DirectMap;
  readonly pages: PageAllocator<VirtAddr>;
  readonly processors: Processors;
  /** The record of validated pages. */
  readonly record: ValidatedPages;
  readonly trace?: MmTrace | undefined;
}

/** A processor with its page table, before it can make requests to the hypervisor. */
export interface PagedProcessor {
  readonly apicId: number;
  readonly vcpu: Vcpu;
  readonly tlb: Tlb;
  readonly pageTable: PageTable;
  readonly part: PageTablePart;
}

/**
 * A processor of the SVSM, at VMPL0, with TLBs of its own.
 *
 * @throws SnpError `INVALID_ARGUMENT`
 */
export function createProcessor(guest: Guest): Vcpu {
  const { levels } = guest.paging;
  return guest.createVcpu({ vmpl: 0, tlb: new Tlb({ levels }), nestedTlb: new NestedTlb() });
}

/**
 * Gives a processor its page table: the shared slot leads to the tables of all processors, the slot of the processor to its own,
 * and the self-map to the root. Then it loads CR3. If it fails, the tables are given back.
 *
 * @throws MmError `INVALID_ARGUMENT` unless the processor is at VMPL0 and has a `Tlb`; PageTableError as `PageTable.create`
 */
export function giveTables(
  {
    tables,
    layout,
    kernel,
    processors,
  }: Pick<ProcessorSource, 'tables' | 'layout' | 'kernel' | 'processors'>,
  apicId: number,
  vcpu: Vcpu,
  undo: Undo,
): PagedProcessor {
  if (vcpu.vmpl !== 0) refuseArgument('the VMPL of a processor', vcpu.vmpl, 'make it at VMPL0');
  requireInstance('the TLB of a processor', vcpu.tlb, 'Tlb');
  const tlb = vcpu.tlb as Tlb;
  const { perCpu, selfMap } = layout.slots;
  const pageTable = PageTable.create({ ...tables, tlb, selfMap });
  undo.push(() => pageTable.destroy());
  kernel.attach(pageTable);
  undo.push(() => kernel.detach(pageTable));
  const part = PageTablePart.create(perCpu, tables);
  undo.push(() => part.destroy());
  part.attach(pageTable);
  undo.push(() => part.detach(pageTable));
  prepareTables(part, layout.perCpu.temp4k, PageSize.Regular);
  prepareTables(part, layout.perCpu.temp2m, PageSize.Huge);
  const target = { vcpu, tlb };
  processors.shootDown.add(target);
  undo.push(() => processors.shootDown.remove(target));
  vcpu.loadCr3(pageTable.cr3);
  return { apicId, vcpu, tlb, pageTable, part };
}

/**
 * Makes a page of the heap the GHCB of a processor. To undo it, the page becomes private and validated again, at whatever step
 * it has failed.
 *
 * @param page - a private page of the heap, 4 KiB
 * @param record - the record of validated pages
 * @throws SnpError as `Ghcb.create`
 */
export function giveGhcb(
  paged: PagedProcessor,
  page: VirtAddr,
  processors: Processors,
  record: () => ValidatedPages,
  undo: Undo,
): Ghcb {
  const { vcpu, pageTable } = paged;
  const options = (): VisibilityOptions => ({
    flush: (region) => processors.shootDown.broadcast(region),
    validated: record(),
  });
  let ghcb: Ghcb | undefined;
  let isPrivate = false;
  undo.push(() => {
    if (isPrivate) return;
    if (ghcb !== undefined) ghcb.release(pageTable, options());
    else takeBack(paged, page, options(), record());
    isPrivate = true;
  });
  ghcb = Ghcb.create(vcpu, pageTable, page, options());
  return ghcb;
}

/** Makes a page private again whose change to a GHCB has failed. */
function takeBack(
  { vcpu, pageTable }: PagedProcessor,
  page: VirtAddr,
  options: VisibilityOptions,
  record: ValidatedPages,
): void {
  const mapped = pageTable.lookup(page);
  if (mapped === undefined || record.has(mapped.paddr)) return;
  if (mapped.shared) makePagePrivate(vcpu, pageTable, page, options);
  else acceptPage(vcpu, pageTable, page, options);
}

/**
 * The step `cpus`, for one processor: adds it to the processors, with a page of its own at the layout's `perCpu.self`.
 *
 * @throws MmError `ALREADY_STARTED`; PageTableError as `map4k`
 */
export function addProcessor(
  { layout, processors, trace }: Pick<ProcessorSource, 'layout' | 'processors' | 'trace'>,
  paged: PagedProcessor,
  ghcb: Ghcb,
  self: PhysAddr,
  undo: Undo,
): PerCpu {
  paged.part.map4k(layout.perCpu.self, self, (PtePreset.Data & ~PteFlags.Global) as EntryFlags<0>);
  const { shootDown, uses } = processors;
  const cpu = new PerCpu({ ...paged, ghcb, layout, shootDown, uses, trace });
  processors.add(cpu);
  undo.push(() => processors.remove(cpu.apicId));
  return cpu;
}

/**
 * The step `cpus`, for a processor other than the first: its page table, its GHCB and its own page. If it fails, nothing of it
 * is left; what the hypervisor does not let it take back stays in `undo`.
 *
 * @throws MmError `ALREADY_STARTED`, `INVALID_ARGUMENT`; SnpError as `Ghcb.create`; PageTableError as `PageTable.create`;
 *   BuddyError as `allocatePage`
 */
export function startProcessor(source: ProcessorSource, apicId: number, vcpu: Vcpu, undo: Undo): PerCpu {
  const { pages, directMap, processors, record } = source;
  const steps = new Undo();
  try {
    const paged = giveTables(source, apicId, vcpu, steps);
    const page = pages.allocatePage();
    steps.push(() => pages.freePage(page));
    const self = pages.allocatePage();
    steps.push(() => pages.freePage(self));
    const ghcb = giveGhcb(paged, page, processors, () => record, steps);
    const cpu = addProcessor(source, paged, ghcb, directMap.toPhys(self), steps);
    undo.take(steps);
    return cpu;
  } catch (error) {
    try {
      steps.run();
    } catch {
      // The hypervisor holds a page back: its processor never ran. The error of the start is the one to report.
      undo.take(steps);
    }
    throw error;
  }
}
