import { PAGE_SIZE, PAGE_SIZE_2M, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import {
  type FrameAllocator,
  PageTablePart,
  type PagingConfig,
  type PhysMemory,
  PtePreset,
} from '@svsm/pagetable';
import type { ShootDown } from '../cpu/shoot-down.ts';
import {
  readArgument,
  refuseArgument,
  regionArgument,
  requireInstance,
  virtRegionArgument,
} from '../formats/arguments.ts';
import { type AddressSpaceLayout, layoutArgument } from '../layout/address-space-layout.ts';
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
 * @throws MmError `INVALID_ARGUMENT`, `INVALID_LAYOUT`
 */
export function directMapOf(layout: AddressSpaceLayout, heap: MemoryRegion<PhysAddr>): DirectMap {
  const frames = regionArgument('the heap', heap, Phys);
  return new DirectMap(placed(layoutArgument(layout).heap, frames), frames);
}

/** Where the parts of the image lie. @throws MmError `INVALID_ARGUMENT`, `INVALID_LAYOUT` */
export function sectionsOf(layout: AddressSpaceLayout, image: KernelImage): KernelSections {
  requireImage(image);
  const { kind, start, end } = placed(layoutArgument(layout).image, image.phys);
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
 * @throws MmError `INVALID_ARGUMENT`, `INVALID_LAYOUT`; PageTableError as `PageTablePart.create` and `mapRegion`
 */
export function mapKernel(
  source: TableSource,
  layout: AddressSpaceLayout,
  image: KernelImage,
  heap: DirectMap,
): PageTablePart {
  const places = layoutArgument(layout);
  requireImage(image);
  requireInstance('the heap', heap, 'DirectMap');
  const kernel = PageTablePart.create(places.slots.shared, source);
  try {
    const { code, readOnlyAfterInit, data } = sectionsOf(places, image);
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
 * @throws MmError `INVALID_ARGUMENT`; PageTableError as `protectRegion`; the errors of the flush
 */
export function makeReadOnlyAfterInit(
  kernel: PageTablePart,
  region: MemoryRegion<VirtAddr>,
  shootDown: ShootDown,
): void {
  requireInstance('the part', kernel, 'PageTablePart');
  requireInstance('the shoot-down', shootDown, 'ShootDown');
  const pages = virtRegionArgument('the region', region);
  if (pages.isEmpty) return;
  kernel.protectRegion(pages, { clear: (PtePreset.Data & ~PtePreset.ReadOnly) as 0 });
  shootDown.broadcast(pages);
}

/** @throws MmError `INVALID_ARGUMENT` unless the parts of an image are whole pages of it */
function requireImage(image: KernelImage): void {
  const expectedOf = 'pass an object with phys, code and readOnlyAfterInit';
  const { phys, code, readOnlyAfterInit } = readArgument('the image', image, expectedOf, () => ({
    ...image,
  }));
  const { size } = regionArgument('the memory of the image', phys, Phys);
  const isPart = (bytes: unknown): boolean =>
    typeof bytes === 'bigint' && bytes >= 0n && bytes <= size && bytes % BigInt(PAGE_SIZE) === 0n;
  const expected = `pass a multiple of 4096 bytes, at most ${size} for both parts`;
  if (!isPart(code)) refuseArgument('code', code, expected);
  if (!isPart(readOnlyAfterInit) || !isPart(code + readOnlyAfterInit))
    refuseArgument('readOnlyAfterInit', readOnlyAfterInit, expected);
}

/** The addresses in `space` for memory, with the same offset in 2 MiB. */
function placed(space: MemoryRegion<VirtAddr>, phys: MemoryRegion<PhysAddr>): MemoryRegion<VirtAddr> {
  const huge = BigInt(PAGE_SIZE_2M);
  const offset = (phys.start - space.start) % huge;
  return new MemoryRegion(space.kind, (space.start + ((offset + huge) % huge)) as VirtAddr, phys.size);
}
