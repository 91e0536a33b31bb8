import { PAGE_SIZE_2M, type PhysAddr, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import {
  type FrameAllocator,
  type PageTablePart,
  type PagingConfig,
  PageTablePart as Part,
  type PhysMemory,
  PtePreset,
} from '@svsm/pagetable';
import type { ShootDown } from '../cpu/shoot-down.ts';
import type { AddressSpaceLayout } from '../layout/address-space-layout.ts';
import { DirectMap } from '../layout/direct-map.ts';

/** The memory, frames and configuration of tables. */
export interface TableSource {
  /** The private memory of the guest, in which the tables lie. */
  readonly memory: PhysMemory;
  readonly frames: FrameAllocator;
  readonly config: PagingConfig;
}

/** The parts of an image, in their order. Sizes in bytes, multiples of 4096. */
export interface KernelImage {
  readonly phys: MemoryRegion<PhysAddr>;
  readonly code: bigint;
  readonly readOnlyAfterInit: bigint;
}

/** The virtual addresses of an image. */
export interface KernelSections {
  readonly code: MemoryRegion<VirtAddr>;
  readonly readOnlyAfterInit: MemoryRegion<VirtAddr>;
  readonly data: MemoryRegion<VirtAddr>;
}

/**
 * The step `kernel-mapping`, first half: where the heap lies. It has the same offset in 2 MiB as its memory, so that large pages
 * map it.
 *
 * @throws MmError `INVALID_ARGUMENT`
 */
export function directMapOf(layout: AddressSpaceLayout, heap: MemoryRegion<PhysAddr>): DirectMap {
  return new DirectMap(placed(layout.heap, heap), heap);
}

/** Where the parts of the image lie. */
export function sectionsOf(layout: AddressSpaceLayout, image: KernelImage): KernelSections {
  const { kind, start, end } = placed(layout.image, image.phys);
  const second = (start + image.code) as VirtAddr;
  const third = (second + image.readOnlyAfterInit) as VirtAddr;
  return Object.freeze({
    code: new MemoryRegion(kind, start, image.code),
    readOnlyAfterInit: new MemoryRegion(kind, second, image.readOnlyAfterInit),
    data: MemoryRegion.fromAddresses(kind, third, end),
  });
}

/**
 * Makes the part of the page tables that all processors share, and maps the image and the heap in it: code for execution, all
 * else writable. If it fails, the tables are given back.
 *
 * @throws PageTableError as `PageTablePart.create` and `mapRegion`
 */
export function mapKernel(
  source: TableSource,
  layout: AddressSpaceLayout,
  image: KernelImage,
  heap: DirectMap,
): PageTablePart {
  const kernel = Part.create(layout.slots.shared, source);
  try {
    const { code, readOnlyAfterInit, data } = sectionsOf(layout, image);
    const toPhys = (vaddr: VirtAddr): PhysAddr => (image.phys.start + (vaddr - code.start)) as PhysAddr;
    if (!code.isEmpty) kernel.mapRegion(code, toPhys(code.start), PtePreset.Code);
    for (const region of [readOnlyAfterInit, data])
      if (!region.isEmpty) kernel.mapRegion(region, toPhys(region.start), PtePreset.Data);
    kernel.mapRegion(heap.virt, heap.phys.start, PtePreset.Data);
    return kernel;
  } catch (error) {
    kernel.destroy();
    throw error;
  }
}

/**
 * The step `read-only`: what only the boot writes is mapped read-only from now on, on all processors. All or nothing.
 *
 * @throws PageTableError as `protectRegion`; the errors of the flush
 */
export function makeReadOnlyAfterInit(
  kernel: PageTablePart,
  region: MemoryRegion<VirtAddr>,
  shootDown: ShootDown,
): void {
  if (region.isEmpty) return;
  kernel.protectRegion(region, { clear: (PtePreset.Data & ~PtePreset.ReadOnly) as 0 });
  shootDown.broadcast(region);
}

/** The addresses in `space` for memory, with the same offset in 2 MiB. */
function placed(space: MemoryRegion<VirtAddr>, phys: MemoryRegion<PhysAddr>): MemoryRegion<VirtAddr> {
  const huge = BigInt(PAGE_SIZE_2M);
  const offset = (phys.start - space.start) % huge;
  return new MemoryRegion(space.kind, (space.start + ((offset + huge) % huge)) as VirtAddr, phys.size);
}
