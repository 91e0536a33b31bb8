import { PAGE_SIZE, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { HeapAllocator, PageAllocator } from '@svsm/buddy-alloc';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { PageTablePart, PagingConfig } from '@svsm/pagetable';
import { type Ghcb, type SvsmState, ValidatedPages } from '@svsm/sev-snp';
import type { MappingSpace } from '../cpu/mapping-guard.ts';
import { Processors } from '../cpu/processors.ts';
import type { BootStep } from '../formats/boot-step.ts';
import { isMmError, MmError } from '../formats/mm-error.ts';
import type { DirectMap } from '../layout/direct-map.ts';
import { MemoryMap } from '../layout/memory-map.ts';
import { PageVisibility } from '../visibility/page-visibility.ts';
import { BootFrames } from './boot-frames.ts';
import type { BootPlan } from './boot-options.ts';
import { claimGuest, releaseGuest } from './booted-guests.ts';
import { invalidateEarlyMemory, revalidateEarlyMemory } from './early-memory.ts';
import { createGlobalRanges } from './global-ranges.ts';
import { rescindRegion, validateHeap } from './heap-validation.ts';
import {
  directMapOf,
  type KernelSections,
  makeReadOnlyAfterInit,
  mapKernel,
  sectionsOf,
} from './kernel-space.ts';
import { encryptionMasksOf, pagingOf } from './paging-masks.ts';
import {
  addProcessor,
  createProcessor,
  giveGhcb,
  giveTables,
  type PagedProcessor,
  type ProcessorSource,
  startProcessor,
} from './processor-start.ts';
import { demandFeatures } from './required-features.ts';
import { createRootMemory } from './root-memory.ts';
import { Undo } from './undo.ts';
import { createValidityRecord, memoryOf } from './validity-record.ts';

/** An SVSM after its boot. */
export interface Booted extends ProcessorSource {
  readonly features: bigint;
  readonly config: PagingConfig;
  readonly memoryMap: MemoryMap;
  readonly directMap: DirectMap;
  readonly sections: KernelSections;
  readonly kernel: PageTablePart;
  readonly processors: Processors;
  readonly pages: PageAllocator<VirtAddr>;
  readonly heap: HeapAllocator<VirtAddr>;
  readonly state: SvsmState;
  readonly globalSpace: MappingSpace;
  readonly visibility: PageVisibility;
  /** Takes the boot back. */
  readonly undo: Undo;
}

/**
 * Runs all steps in their order. If one fails, the steps before it are undone.
 *
 * @throws MmError `ALREADY_BOOTED`, `MISSING_FEATURE`, `BOOT_FAILED`
 */
export function boot(plan: BootPlan): Booted {
  const { guest, own } = plan;
  claimGuest(guest, own);
  const undo = new Undo();
  undo.push(() => releaseGuest(guest));
  const current: { step: BootStep } = { step: 'features' };
  try {
    const booted = new BootRun(plan, undo, current).run();
    undo.settle();
    return booted;
  } catch (cause) {
    const undone = isUndone(undo);
    if (undone && isMmError(cause, 'MISSING_FEATURE')) throw cause;
    throw new MmError('BOOT_FAILED', { step: current.step, undone }, { cause });
  }
}

function isUndone(undo: Undo): boolean {
  try {
    undo.run();
    return true;
  } catch {
    return false;
  }
}

/** One run of the steps. Each method is one or more of them. */
class BootRun {
  readonly #plan: BootPlan;
  readonly #undo: Undo;
  readonly #current: { step: BootStep };

  constructor(plan: BootPlan, undo: Undo, current: { step: BootStep }) {
    this.#plan = plan;
    this.#undo = undo;
    this.#current = current;
  }

  run(): Booted {
    const plan = this.#plan;
    const { guest, layout, trace, own } = plan;
    const [bspId, ...others] = plan.apicIds as readonly [number, ...number[]];
    const vcpu = plan.createVcpu?.(bspId) ?? createProcessor(guest);
    const processors = new Processors({ ...plan.flush, trace });

    const features = this.#step('features', () => demandFeatures(vcpu, plan.requiredFeatures), hexOf);
    const config = this.#step(
      'paging',
      () => pagingOf(encryptionMasksOf(guest), guest.paging),
      ({ levels, encryption }) =>
        `${levels} levels, ${encryption === undefined ? 'no encryption' : `${encryption.mode} ${encryption.bit}`}`,
    );
    const memoryMap = this.#step(
      'memory-map',
      () => new MemoryMap(plan.memory, own),
      (map) => `${[...map].length} regions, ${mibOf(memoryOf(map).size)} of memory`,
    );
    const validated = plan.validated ?? [...memoryOf(memoryMap)];
    const source = this.#mapping(vcpu, config, validated, processors);
    const { frames, directMap, kernel, paged } = source;
    const boot = this.#heap(source, processors, validated);

    // The visibility of pages needs their allocator, and the other way round.
    const visible: { pages?: PageVisibility } = {};
    const { pages, heap } = this.#step(
      'root-memory',
      () => {
        const memory = createRootMemory(directMap, processors, (block) =>
          visible.pages?.requirePrivate(block),
        );
        frames.handOver(memory.pages, directMap);
        return memory;
      },
      (memory) => `${memory.pages.memoryInfo().freePages} free pages`,
    );
    const state = this.#step(
      'validity-record',
      () => {
        const shared = [new MemoryRegion(Phys, boot.ghcb.gpa, PAGE_SIZE)];
        const made = createValidityRecord(
          memoryMap,
          { validated: [...validated, ...boot.validated], shared },
          { entriesPerCall: plan.entriesPerCall },
        );
        boot.useRecord(made.validated);
        return made;
      },
      (made) => `${mibOf(made.validated.size)} validated`,
    );
    const globalSpace = this.#step(
      'global-ranges',
      () => createGlobalRanges(kernel, layout, processors, trace),
      ({ small, huge }) => `${small.region}, ${huge.region}`,
    );
    const visibility = new PageVisibility({
      guest,
      pages,
      directMap,
      cpu: () => processors.thisCpu(),
      validated: state.validated,
      flush: (region, pageSize) => processors.shootDown.broadcast(region, pageSize),
      uses: processors.uses,
      trace,
    });
    visible.pages = visibility;
    const booted: Booted = {
      features,
      config,
      layout,
      memoryMap,
      directMap,
      sections: sectionsOf(layout, { ...plan.image, phys: plan.imagePhys }),
      kernel,
      processors,
      pages,
      heap,
      state,
      globalSpace,
      visibility,
      tables: source.tables,
      record: state.validated,
      trace,
      undo: this.#undo,
    };
    this.#cpus(booted, paged, boot.ghcb, others);
    this.#finish(booted);
    return booted;
  }

  /** The step `kernel-mapping`: tables for the image and the heap, and the page table of the first processor. */
  #mapping(
    vcpu: PagedProcessor['vcpu'],
    config: PagingConfig,
    validated: readonly MemoryRegion<PhysAddr>[],
    processors: Processors,
  ) {
    const { layout, image, imagePhys, heapPhys, apicIds } = this.#plan;
    return this.#step(
      'kernel-mapping',
      () => {
        const directMap = directMapOf(layout, heapPhys);
        const frames = new BootFrames(firstValidated(heapPhys, validated));
        const tables = { memory: vcpu.memory, frames, config };
        const kernel = mapKernel(tables, layout, { ...image, phys: imagePhys }, directMap);
        this.#undo.push(() => kernel.destroy());
        const paged = giveTables(
          { tables, layout, kernel, processors },
          apicIds[0] as number,
          vcpu,
          this.#undo,
        );
        return { directMap, frames, tables, kernel, paged, processors };
      },
      ({ directMap }) => `heap ${directMap.virt} at ${directMap.phys}`,
    );
  }

  /** The step `heap`: the first GHCB, with which the hypervisor is asked for page states, and the rest of the heap. */
  #heap(
    { directMap, frames, paged }: { directMap: DirectMap; frames: BootFrames; paged: PagedProcessor },
    processors: Processors,
    validated: readonly MemoryRegion<PhysAddr>[],
  ) {
    // Until there is a record of all memory, this one follows the pages of the heap.
    let record = new ValidatedPages(directMap.phys, [directMap.phys]);
    return this.#step(
      'heap',
      () => {
        const page = directMap.toVirt(frames.allocateFrame());
        const ghcb: Ghcb = giveGhcb(paged, page, processors, () => record, this.#undo);
        const found = validateHeap(ghcb, paged.pageTable, directMap, validated);
        this.#undo.push(() => {
          for (const region of found) rescindRegion(paged.vcpu, directMap.virtOf(region));
        }, true);
        return {
          ghcb,
          validated: found,
          useRecord: (made: ValidatedPages): void => {
            record = made;
          },
        };
      },
      ({ validated: found }) => `${mibOf(new RegionSet(Phys, found).size)} validated`,
    );
  }

  /** The step `cpus`: the first processor, which runs already, and the others. */
  #cpus(booted: Booted, paged: PagedProcessor, ghcb: Ghcb, others: readonly number[]): void {
    const { guest, createVcpu } = this.#plan;
    this.#step(
      'cpus',
      () => {
        const self = booted.directMap.toPhys(booted.pages.allocatePage());
        addProcessor(booted, paged, ghcb, self, this.#undo);
        for (const apicId of others)
          startProcessor(booted, apicId, createVcpu?.(apicId) ?? createProcessor(guest), this.#undo);
      },
      () => `APIC IDs ${booted.processors.list.map(({ apicId }) => apicId).join(', ')}`,
    );
  }

  #finish({ kernel, sections, processors, state }: Booted): void {
    const { early, startsShared } = this.#plan;
    const region = sections.readOnlyAfterInit;
    this.#step(
      'read-only',
      () => makeReadOnlyAfterInit(kernel, region, processors.shootDown),
      () => String(region),
    );
    this.#step(
      'early-memory',
      () => {
        const { validated } = state;
        this.#undo.push(() => revalidateEarlyMemory(processors.thisCpu(), validated, early), true);
        invalidateEarlyMemory(processors.thisCpu(), validated, early, { startsShared });
      },
      () => (early.length === 0 ? 'none' : early.join(', ')),
    );
  }

  /** Runs a step, and reports it. */
  #step<Result>(step: BootStep, run: () => Result, textOf: (result: Result) => string): Result {
    this.#current.step = step;
    const result = run();
    this.#plan.trace?.({ type: 'boot', step, text: textOf(result) });
    return result;
  }
}

/** The part of the heap that is validated, from its start on. */
function firstValidated(
  heap: MemoryRegion<PhysAddr>,
  validated: readonly MemoryRegion<PhysAddr>[],
): MemoryRegion<PhysAddr> {
  const run = new RegionSet(Phys, validated).regionAt(heap.start);
  return run?.intersect(heap) ?? new MemoryRegion(Phys, heap.start, 0);
}

function hexOf(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function mibOf(bytes: bigint): string {
  return `${Number(bytes) / 2 ** 20} MiB`;
}
