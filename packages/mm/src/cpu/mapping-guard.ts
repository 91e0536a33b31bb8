import { PAGE_SIZE_2M, PageSize, Phys, type PhysAddr, showInConsoles, type VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { type EntryFlags, type PageMapper, PteFlags, PtePreset } from '@svsm/pagetable';
import type { Vcpu } from '@svsm/sev-snp';
import {
  isBytes,
  readArgument,
  refuseArgument,
  regionArgument,
  requireBoolean,
  requireFunction,
  requireInstance,
  requireInteger,
  requireMethods,
  requireOneOf,
  requireOptionalFunction,
  requireOptions,
} from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';
import type { MmTrace } from '../formats/mm-event.ts';
import type { PageUses } from './page-uses.ts';
import type { VirtualRange } from './virtual-range.ts';

/** Options of a mapping. */
export interface MapGuardOptions {
  /** Whether it can be written: `true` if not given. */
  readonly writable?: boolean;
  /** Whether it is shared with the hypervisor: `false` if not given. */
  readonly shared?: boolean;
  /** The size of its pages, 4 KiB or 2 MiB. If not given: 2 MiB if the region has whole pages of 2 MiB, else 4 KiB. */
  readonly pageSize?: PageSize;
}

/** Where mappings of a {@link MappingGuard} lie, and what keeps them apart. A processor has one, and all processors together. */
export interface MappingSpace {
  /** The page table, or the part of one, that maps them. */
  readonly mapper: Pick<PageMapper, 'mapRegion' | 'unmapRegion'>;
  /** Addresses for pages of 4 KiB, and for pages of 2 MiB. */
  readonly small: VirtualRange;
  readonly huge: VirtualRange;
  /** Whether its translations are global: a load of CR3 does not drop them. */
  readonly isGlobal: boolean;
  /** The processor that reads and writes through a mapping. */
  readonly vcpu: () => Vcpu;
  /** Drops translations wherever a processor can have cached them. */
  readonly flush: (region: MemoryRegion<VirtAddr>, pageSize: PageSize) => void;
  /** Notes the physical pages that are mapped: their owner must not free or share them meanwhile. */
  readonly uses?: PageUses | undefined;
  readonly trace?: MmTrace | undefined;
}

const OPTIONS: readonly (keyof MapGuardOptions)[] = ['writable', 'shared', 'pageSize'];

/**
 * A mapping of physical memory for a time: `using guard = cpu.map(region)` unmaps it at the end of the scope, flushes it, and
 * only then gives its addresses back. If one of these steps fails, the later ones have not happened, and the next release
 * continues there.
 */
export class MappingGuard {
  static {
    showInConsoles(this, 'MappingGuard', (guard) => ({
      region: guard.#region,
      phys: guard.phys,
      pageSize: guard.pageSize,
      state: guard.#state,
    }));
  }

  /** The physical memory. */
  readonly phys: MemoryRegion<PhysAddr>;
  readonly pageSize: PageSize;
  readonly #space: MappingSpace;
  readonly #region: MemoryRegion<VirtAddr>;
  #state: 'mapped' | 'unmapped' | 'flushed' | 'released' | 'leaked' = 'mapped';

  private constructor(
    space: MappingSpace,
    phys: MemoryRegion<PhysAddr>,
    region: MemoryRegion<VirtAddr>,
    pageSize: PageSize,
  ) {
    this.#space = space;
    this.#region = region;
    this.phys = phys;
    this.pageSize = pageSize;
  }

  /**
   * Maps `phys`. If that fails, nothing is left: no entry, and no address is taken.
   *
   * @param phys - whole pages
   * @throws MmError `INVALID_ARGUMENT`; `NO_VIRTUAL_RANGE`; PageTableError as `mapRegion`
   */
  static create(
    space: MappingSpace,
    phys: MemoryRegion<PhysAddr>,
    options: MapGuardOptions = {},
  ): MappingGuard {
    requireSpace(space);
    requireOptions('options', options, OPTIONS);
    const { writable = true, shared = false } = options;
    requireBoolean('writable', writable);
    requireBoolean('shared', shared);
    const memory = regionArgument('the region', phys, Phys);
    const pageSize = pageSizeOf(memory, options.pageSize);
    const range = pageSize === PageSize.Huge ? space.huge : space.small;
    const region = range.allocate(memory.pageCount(pageSize));
    const preset = writable ? PtePreset.Data : PtePreset.ReadOnly;
    const flags = (space.isGlobal ? preset : preset & ~PteFlags.Global) as EntryFlags<0>;
    try {
      space.mapper.mapRegion(region, memory.start, flags, { pageSize, shared });
    } catch (error) {
      range.free(region);
      throw error;
    }
    const guard = new MappingGuard(space, memory, region, pageSize);
    space.uses?.add(memory);
    try {
      space.trace?.({ type: 'map', region, phys: memory });
    } catch (error) {
      guard[Symbol.dispose]();
      throw error;
    }
    return guard;
  }

  /** The virtual addresses. @throws MmError `GUARD_RELEASED` */
  get region(): MemoryRegion<VirtAddr> {
    this.#requireMapped();
    return this.#region;
  }

  /**
   * Reads bytes once: a copy, which does not change when the memory does.
   *
   * @param offset - from the start of the region
   * @throws MmError `INVALID_ARGUMENT`, `GUARD_RELEASED`; SnpFault as `Vcpu.read`
   */
  read(offset: number, length: number): Uint8Array {
    return this.#space.vcpu().read(this.#at(offset, length), length);
  }

  /** Writes bytes, all or none. @throws MmError `INVALID_ARGUMENT`, `GUARD_RELEASED`; SnpFault as `Vcpu.write` */
  write(offset: number, bytes: Uint8Array): void {
    if (!isBytes(bytes)) refuseArgument('the bytes', bytes, 'pass a Uint8Array');
    this.#space.vcpu().write(this.#at(offset, bytes.length), bytes);
  }

  /** Keeps the mapping for ever, and returns its addresses. @throws MmError `GUARD_RELEASED` */
  leak(): MemoryRegion<VirtAddr> {
    this.#requireMapped();
    this.#state = 'leaked';
    return this.#region;
  }

  /** Whether {@link leak} or the release has ended it. */
  get isReleased(): boolean {
    return this.#state !== 'mapped';
  }

  /**
   * Unmaps, flushes, and gives the addresses back. Does nothing the second time, and after {@link leak}. If the flush fails twice,
   * the addresses stay taken: call it again.
   *
   * @throws PageTableError as `unmapRegion`; the errors of the flush
   */
  [Symbol.dispose](): void {
    const { mapper, small, huge, uses, trace } = this.#space;
    if (this.#state === 'mapped') {
      mapper.unmapRegion(this.#region);
      this.#state = 'unmapped';
    }
    let failure: { readonly error: unknown } | undefined;
    if (this.#state === 'unmapped') {
      failure = this.#flush();
      this.#state = 'flushed';
      uses?.remove(this.phys);
    }
    if (this.#state !== 'flushed') return;
    (this.pageSize === PageSize.Huge ? huge : small).free(this.#region);
    this.#state = 'released';
    if (failure !== undefined) throw failure.error;
    trace?.({ type: 'unmap', region: this.#region, phys: this.phys });
  }

  /**
   * Flushes. An error of a trace comes after a flush, or in the middle of one: so it is made a second time, and returned. If that
   * fails too, the addresses stay taken.
   */
  #flush(): { readonly error: unknown } | undefined {
    try {
      this.#space.flush(this.#region, this.pageSize);
      return undefined;
    } catch (error) {
      this.#space.flush(this.#region, this.pageSize);
      return { error };
    }
  }

  #at(offset: number, length: number): VirtAddr {
    this.#requireMapped();
    const size = Number(this.#region.size);
    requireInteger('the offset', offset, 0, size);
    requireInteger('the length', length, 0, size - offset);
    return (this.#region.start + BigInt(offset)) as VirtAddr;
  }

  #requireMapped(): void {
    if (this.#state !== 'mapped') throw new MmError('GUARD_RELEASED', { region: String(this.#region) });
  }
}

/** @throws MmError `INVALID_ARGUMENT` unless each part of a space has its type */
function requireSpace(space: MappingSpace): void {
  const expected = 'pass an object with mapper, small, huge, isGlobal, vcpu and flush';
  const parts = readArgument('the space', space, expected, () => {
    const { mapper, small, huge, isGlobal, vcpu, flush, uses, trace } = space;
    return { mapper, small, huge, isGlobal, vcpu, flush, uses, trace };
  });
  const { mapper, small, huge, isGlobal, vcpu, flush, uses, trace } = parts;
  requireMethods('mapper', mapper, ['mapRegion', 'unmapRegion']);
  requireInstance('small', small, 'VirtualRange');
  requireInstance('huge', huge, 'VirtualRange');
  requireBoolean('isGlobal', isGlobal);
  requireFunction('vcpu', vcpu);
  requireFunction('flush', flush);
  if (uses !== undefined) requireInstance('uses', uses, 'PageUses');
  requireOptionalFunction('trace', trace);
}

function pageSizeOf({ start, size, isEmpty }: MemoryRegion<PhysAddr>, asked: PageSize | undefined): PageSize {
  const huge = BigInt(PAGE_SIZE_2M);
  const isHuge = start % huge === 0n && size % huge === 0n;
  const pageSize = asked === undefined ? (isHuge ? PageSize.Huge : PageSize.Regular) : asked;
  requireOneOf('the page size', pageSize, [PageSize.Regular, PageSize.Huge]);
  const unit = BigInt(pageSize);
  if (isEmpty || start % unit !== 0n || size % unit !== 0n)
    refuseArgument('the region', start, `pass whole pages of ${pageSize} bytes, at least one`);
  return pageSize;
}
