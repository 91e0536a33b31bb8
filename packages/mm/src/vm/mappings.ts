import { type Bytes, byteCount, PAGE_SIZE, PageSize, Phys, type PhysAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { PteFlags } from '@svsm/pagetable';
import {
  readArgument,
  refuseArgument,
  requireBoolean,
  requireMethods,
  requireOptions,
} from '../formats/arguments.ts';
import type { PageStore } from './page-store.ts';
import { PagedMapping } from './paged-mapping.ts';
import type { FrameRun, Resolution, VirtualMapping } from './virtual-mapping.ts';

/** The rights of a mapping. */
export interface MappingRights {
  /** `false` if not given. */
  readonly writable?: boolean;
  /** `false` if not given. */
  readonly executable?: boolean;
}

/** Something that has pages of content, as a file of a RAM file system. */
export interface FileLike {
  /** Bytes. The last page may be partly used. */
  readonly size: bigint;
  /** The frame of a page: a page of the store, to which the file has a reference. */
  page(index: number): PhysAddr;
}

/** Options of a mapping of a file. */
export interface FileMappingOptions extends MappingRights {
  /** Whether writes go to copies of the pages. `false` if not given: they go to the file. */
  readonly private?: boolean;
}

/** A kernel stack between two guards. */
export interface KernelStack extends PagedMapping {
  /** Bytes from the start of the mapping to the top of the stack. It grows down. */
  readonly topOfStack: bigint;
}

/** Options of a kernel stack. */
export interface KernelStackOptions {
  /** Bytes, rounded up to pages. 32 KiB if not given; 4 KiB for a shadow stack. */
  readonly size?: Bytes;
  /** Whether it is a shadow stack: read-only and dirty. `false` if not given. */
  readonly shadow?: boolean;
}

/**
 * The mappings of COCONUT-SVSM. Sizes are rounded up to pages. A mapping with pages of its own is released by `using`, or by
 * its `[Symbol.dispose]`, when it is not inserted any more.
 */
export const mappings: {
  /** Memory at fixed addresses, with large pages where the place allows them. Owns nothing. @throws MmError `INVALID_ARGUMENT` */
  physical(
    region: MemoryRegion<PhysAddr>,
    options?: MappingRights & { readonly shared?: boolean },
  ): VirtualMapping;
  /** Addresses that are kept free: every access faults. @throws MmError `INVALID_ARGUMENT` */
  reserved(size: Bytes): VirtualMapping;
  /** Pages of zeros: all from the start, or with `lazy`, each at its first access. @throws MmError `INVALID_ARGUMENT` */
  allocated(
    store: PageStore,
    size: Bytes,
    options?: MappingRights & { readonly lazy?: boolean },
  ): PagedMapping;
  /**
   * A kernel stack, between guards of the same size, at least a page each: as many as fill a power of two, rounded down.
   *
   * @throws MmError `INVALID_ARGUMENT`
   */
  kernelStack(store: PageStore, options?: KernelStackOptions): KernelStack;
  /** Pages of a file, each from its first access on. @throws MmError `INVALID_ARGUMENT` if they are not pages of the file */
  file(
    store: PageStore,
    file: FileLike,
    offset: Bytes,
    size: Bytes,
    options?: FileMappingOptions,
  ): PagedMapping;
} = {
  physical(given, options = {}) {
    const region = readArgument('the region', given, 'pass a region of physical addresses', () =>
      MemoryRegion.from(Phys, given),
    );
    requireSwitches(options, ['writable', 'executable', 'shared']);
    return new PhysicalMapping(region, flagsOf(options), options.shared ?? false);
  },
  reserved(size) {
    return { size: BigInt(pagesOf(size)) * BigInt(PAGE_SIZE), frames: () => [] };
  },
  allocated(store, size, options = {}) {
    requireStore(store);
    requireSwitches(options, ['writable', 'executable', 'lazy']);
    const mapping = new PagedMapping({ store, pages: pagesOf(size), flags: flagsOf(options) });
    if (options.lazy !== true) mapping.populate();
    return mapping;
  },
  kernelStack(store, options = {}) {
    requireStore(store);
    requireOptions('options', options, ['size', 'shadow']);
    const { shadow = false, size = shadow ? PAGE_SIZE : STACK_SIZE } = options;
    requireBoolean('shadow', shadow);
    const pages = pagesOf(size);
    const guards = Math.floor((2 ** Math.ceil(Math.log2(pages + 2)) - pages) / 2);
    const flags = shadow ? SHADOW_STACK : flagsOf({ writable: true });
    const mapping = new PagedMapping({ store, pages, guards, flags });
    mapping.populate();
    return Object.assign(mapping, { topOfStack: BigInt(pages + guards) * BigInt(PAGE_SIZE) });
  },
  file(store, file, offset, size, options = {}) {
    requireStore(store);
    requireMethods('the file', file, ['page']);
    if (typeof file.size !== 'bigint') refuseArgument('the size of the file', file.size, 'pass a bigint');
    requireSwitches(options, ['writable', 'executable', 'private']);
    const pages = pagesOf(size);
    const start = byteCount(offset);
    const first = Number(start / BigInt(PAGE_SIZE));
    const filePages = (file.size + BigInt(PAGE_SIZE) - 1n) / BigInt(PAGE_SIZE);
    if (start % BigInt(PAGE_SIZE) !== 0n) refuseArgument('the offset', offset, 'pass a multiple of 4096');
    if (BigInt(first) + BigInt(pages) > filePages) refuseArgument('the size', size, 'pass pages of the file');
    const source = (page: number): PhysAddr => file.page(first + page);
    const isShared = options.private !== true;
    return new PagedMapping({ store, pages, flags: flagsOf(options), source, isShared });
  },
};

/** 8 pages, as COCONUT-SVSM's `STACK_PAGES`. */
const STACK_SIZE = 8 * PAGE_SIZE;
const SHADOW_STACK: number = PteFlags.NoExecute | PteFlags.Accessed | PteFlags.Dirty;

/** Memory at fixed physical addresses. */
class PhysicalMapping implements VirtualMapping {
  readonly size: bigint;
  readonly alignment: PageSize;
  readonly #run: FrameRun;

  constructor(region: MemoryRegion<PhysAddr>, flags: number, shared: boolean) {
    const isWhole = (region.start | region.size) % BigInt(PAGE_SIZE) === 0n;
    if (!isWhole || region.isEmpty)
      refuseArgument('the region', region.toString(), 'pass whole pages, at least one');
    this.size = region.size;
    const fits = (size: PageSize): boolean => region.size >= size && region.start % BigInt(size) === 0n;
    this.alignment = [PageSize.Giant, PageSize.Huge].find(fits) ?? PageSize.Regular;
    this.#run = { offset: 0n, paddr: region.start, size: region.size, flags, shared };
  }

  frames(): readonly FrameRun[] {
    return [this.#run];
  }

  fault(
    offset: bigint,
    { kind, shadowStack }: { kind: string; shadowStack: boolean },
  ): Resolution | undefined {
    const { flags, paddr } = this.#run;
    if (shadowStack) return undefined;
    if (kind === 'write' && (flags & PteFlags.Writable) === 0) return undefined;
    if (kind === 'fetch' && (flags & PteFlags.NoExecute) !== 0) return undefined;
    const page = (paddr + offset) as PhysAddr;
    return { run: { ...this.#run, offset, paddr: page, size: BigInt(PAGE_SIZE) } };
  }
}

function flagsOf({ writable = false, executable = false }: MappingRights): number {
  const write = writable ? PteFlags.Writable | PteFlags.Dirty : 0;
  return (PteFlags.Accessed | write | (executable ? 0 : PteFlags.NoExecute)) >>> 0;
}

function requireStore(store: PageStore): void {
  requireMethods('the store', store, ['allocate', 'copy', 'reference', 'release']);
}

/** Requires options that are all booleans. @throws MmError `INVALID_ARGUMENT` */
function requireSwitches(options: object, names: readonly string[]): void {
  requireOptions('options', options, names);
  for (const [name, value] of Object.entries(options)) if (value !== undefined) requireBoolean(name, value);
}

/** The number of pages of a size. @throws MmError `INVALID_ARGUMENT` for none, or more than an address space has */
function pagesOf(size: Bytes): number {
  const pages = (byteCount(size) + BigInt(PAGE_SIZE) - 1n) / BigInt(PAGE_SIZE);
  if (pages === 0n || pages > MAX_PAGES) refuseArgument('the size', size, 'pass 1 to 2^57 bytes');
  return Number(pages);
}

const MAX_PAGES = 2n ** 45n;
