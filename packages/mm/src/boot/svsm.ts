import type { PhysAddr, VirtAddr } from '@svsm/address';
import { showInConsoles } from '@svsm/address';
import type { HeapAllocator, PageAllocator } from '@svsm/buddy-alloc';
import type { MemoryRegion } from '@svsm/memory-region';
import type { PageTablePart, PagingConfig } from '@svsm/pagetable';
import {
  type Guest,
  type SvsmMemory,
  type SvsmRegisters,
  type SvsmState,
  type ValidatedPages,
  type Vcpu,
  Vmpl,
} from '@svsm/sev-snp';
import { type MapGuardOptions, MappingGuard } from '../cpu/mapping-guard.ts';
import type { PerCpu } from '../cpu/per-cpu.ts';
import type { Processors } from '../cpu/processors.ts';
import { requireInteger } from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';
import { GuestService } from '../guest/guest-service.ts';
import type { AddressSpaceLayout } from '../layout/address-space-layout.ts';
import type { DirectMap } from '../layout/direct-map.ts';
import type { MemoryMap } from '../layout/memory-map.ts';
import type { PageVisibility } from '../visibility/page-visibility.ts';
import { type Booted, boot } from './boot.ts';
import { type BootOptions, planOf } from './boot-options.ts';
import { launchFirmware } from './firmware-launch.ts';
import { checkInvariants } from './invariants.ts';
import { createProcessor, startProcessor } from './processor-start.ts';

/**
 * The memory management of an SVSM: allocators, page tables, processors and records, composed.
 *
 * @example
 * ```ts
 * import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
 * import { getOrder } from '@svsm/buddy-alloc';
 * import { physRegion } from '@svsm/memory-region';
 * import { Svsm } from '@svsm/mm';
 * import { SnpMachine } from '@svsm/sev-snp';
 *
 * const { hypervisor } = new SnpMachine({ memorySize: 128 << 20 });
 * const guest = hypervisor.launch({ size: 64 << 20 });
 * const own = physRegion(physAddr(0), 16 << 20);
 * using svsm = Svsm.boot({ guest, memory: [[physRegion(physAddr(0), 64 << 20), 'guest']], own });
 *
 * const pages = svsm.pages.allocatePages(getOrder(4 * PAGE_SIZE));
 * for (const page of pages.iterPages(PageSize.Regular)) svsm.thisCpu().pageTable.setShared4k(page);
 * console.log(svsm.thisCpu().pageTable.lookup(pages.start)?.shared); // => true
 * ```
 */
export class Svsm {
  static {
    showInConsoles(this, 'Svsm', ({ guest, pages, memoryMap, cpus }) => ({ guest, pages, memoryMap, cpus }));
  }

  readonly guest: Guest;
  /** The features that the hypervisor has announced. */
  readonly features: bigint;
  readonly paging: PagingConfig;
  readonly layout: AddressSpaceLayout;
  readonly memoryMap: MemoryMap;
  /** The pages of the heap, by their addresses in the direct map. Page tables are made of them too. */
  readonly pages: PageAllocator<VirtAddr>;
  /** Objects in pages of {@link pages}. */
  readonly heap: HeapAllocator<VirtAddr>;
  readonly directMap: DirectMap;
  /** The part of the page tables that all processors share. */
  readonly kernel: PageTablePart;
  readonly processors: Processors;
  /** Shares pages of the heap with the hypervisor, and takes them back. */
  readonly visibility: PageVisibility;
  /** The state of the SVSM that serves the guest: one for all processors. */
  readonly state: SvsmState;
  /** The service to the guest: it serves the calls of all processors, whenever the hypervisor enters the SVSM. */
  readonly service: GuestService;
  readonly #booted: Booted;
  readonly #createVcpu: (apicId: number) => Vcpu;
  #isDisposed = false;

  private constructor(guest: Guest, booted: Booted, createVcpu: ((apicId: number) => Vcpu) | undefined) {
    this.guest = guest;
    this.features = booted.features;
    this.paging = booted.config;
    this.layout = booted.layout;
    this.memoryMap = booted.memoryMap;
    this.pages = booted.pages;
    this.heap = booted.heap;
    this.directMap = booted.directMap;
    this.kernel = booted.kernel;
    this.processors = booted.processors;
    this.visibility = booted.visibility;
    this.state = booted.state;
    this.service = new GuestService(booted.state, booted.processors, { trace: booted.trace });
    guest.onEnter(Vmpl.Vmpl0, (caller) => {
      if (!this.#isDisposed) this.service.enter(caller);
    });
    this.#booted = booted;
    this.#createVcpu = createVcpu ?? (() => createProcessor(guest));
  }

  /**
   * Boots an SVSM in a guest: all steps in the order of `BOOT_STEPS`. If a step fails, the steps before it are undone, so that
   * the same boot can be tried again. O(memory of the SVSM / 2 MiB + entries of the memory map + processors), whatever the size of
   * the guest.
   *
   * @throws MmError `INVALID_ARGUMENT`, `INVALID_MEMORY_MAP`, `INVALID_LAYOUT`, `OUTSIDE_LAYOUT` for wrong options;
   *   `ALREADY_BOOTED` if an SVSM runs in the guest, or could not be undone there; `MISSING_FEATURE`; `BOOT_FAILED` with the
   *   step, and its error as `cause`
   */
  static boot(options: BootOptions): Svsm {
    const plan = planOf(options);
    return new Svsm(plan.guest, boot(plan), plan.createVcpu);
  }

  /** The processors, in the order in which they were started. */
  get cpus(): readonly PerCpu[] {
    return this.processors.list;
  }

  /** The one record of validated pages. */
  get validated(): ValidatedPages {
    return this.state.validated;
  }

  /**
   * Starts another processor: its page table, its GHCB and its own pages. If it fails, nothing of it is left.
   *
   * @param apicId - 32 bits
   * @throws MmError `NOT_BOOTED`, `INVALID_ARGUMENT`, `ALREADY_STARTED`; SnpError as `Ghcb.create`; PageTableError, BuddyError
   *   if there is too little memory
   */
  startCpu(apicId: number): PerCpu {
    this.#requireBooted();
    requireInteger('the APIC ID', apicId, 0, 0xffff_ffff);
    if (this.cpus.some((cpu) => cpu.apicId === apicId)) throw new MmError('ALREADY_STARTED', { apicId });
    return startProcessor(this.#booted, apicId, this.#createVcpu(apicId), this.#booted.undo);
  }

  /**
   * The processor on whose behalf code runs: that of the innermost {@link on}, else the first one.
   *
   * @throws MmError `NOT_BOOTED`
   */
  thisCpu(): PerCpu {
    this.#requireBooted();
    return this.processors.thisCpu();
  }

  /**
   * Runs `run` on behalf of a processor, as `Processors.on`.
   *
   * @throws MmError `NOT_BOOTED`; as {@link Processors.on}
   */
  on<T>(cpu: PerCpu | number, run: () => T): T {
    this.#requireBooted();
    return this.processors.on(cpu, run);
  }

  /**
   * The physical address to which the current processor's page table maps a virtual one.
   *
   * @throws MmError `NOT_BOOTED`, `NOT_A_MAPPING`; PageTableError as `translate`
   */
  virtToPhys(vaddr: VirtAddr): PhysAddr {
    const paddr = this.thisCpu().pageTable.translate(vaddr);
    if (paddr === undefined) throw new MmError('NOT_A_MAPPING', { vaddr });
    return paddr;
  }

  /** The virtual address of a byte of the heap. @throws MmError `INVALID_ARGUMENT`, `NOT_DIRECT_MAPPED` */
  physToVirt(paddr: PhysAddr): VirtAddr {
    return this.directMap.toVirt(paddr);
  }

  /**
   * Maps physical memory for all processors, until the guard is released.
   *
   * @throws MmError `NOT_BOOTED`; as {@link MappingGuard.create}
   */
  mapGlobal(region: MemoryRegion<PhysAddr>, options?: MapGuardOptions): MappingGuard {
    this.#requireBooted();
    return MappingGuard.create(this.#booted.globalSpace, region, options);
  }

  /**
   * Gives memory to the firmware that a level of the guest runs, through the current processor: see `launchFirmware`.
   *
   * @throws MmError `NOT_BOOTED`, `NO_VIRTUAL_RANGE`; as {@link launchFirmware}
   */
  launchFirmware(regions: Iterable<MemoryRegion<PhysAddr>>, vmpl: Vmpl): void {
    launchFirmware(this.guestMemory, this.validated, regions, vmpl);
  }

  /**
   * Compares what the parts of the SVSM say about the same pages: see `checkInvariants`.
   *
   * @throws MmError `NOT_BOOTED`; as {@link checkInvariants}
   */
  checkInvariants(): void {
    this.#requireBooted();
    checkInvariants(this);
  }

  /**
   * The guest's memory, as the current processor uses it: `copyFromGuest`, `copyToGuest` and `GuestPtr` take it.
   *
   * @throws MmError `NOT_BOOTED`; `NO_VIRTUAL_RANGE` if the temporary ranges of the processor have no room
   */
  get guestMemory(): SvsmMemory {
    this.#requireBooted();
    return this.service.on().memory;
  }

  /**
   * Serves a call of the guest whose arguments are in `registers`, as `GuestService.call`.
   *
   * @throws MmError `NOT_BOOTED`, `INVALID_ARGUMENT`, `NO_VIRTUAL_RANGE`; SnpError as `SvsmCore.call`
   */
  serve(caller: Vcpu, registers: SvsmRegisters): number {
    this.#requireBooted();
    return this.service.call(caller, registers);
  }

  /**
   * Ends the SVSM: the GHCBs become private pages again, and all tables are given up. Another SVSM can boot in the guest then,
   * with the runs of {@link validated} as its option `validated`. Does nothing the second time.
   *
   * @throws SnpError as `Ghcb.release`, if the hypervisor does not give a page back: call it again
   */
  [Symbol.dispose](): void {
    this.service[Symbol.dispose]();
    this.#booted.undo.run();
    this.#isDisposed = true;
  }

  #requireBooted(): void {
    if (this.#isDisposed) throw new MmError('NOT_BOOTED', {});
  }
}
