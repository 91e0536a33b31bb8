import {
  type AddressKind,
  alignDown,
  alignmentBytes,
  type Bytes,
  formatAddress,
  PAGE_SIZE,
  showInConsoles,
  type VirtAddr,
} from '@svsm/address';
import { MemoryRegion, RegionMap } from '@svsm/memory-region';
import {
  type CpuState,
  cpuState,
  type PageTable,
  type PageTablePart,
  type PageTablePartOptions,
  PteFlags,
} from '@svsm/pagetable';
import {
  pagingArgument,
  readArgument,
  refuseArgument,
  requireBoolean,
  requireInstance,
  requireInteger,
  requireIterable,
  requireMethods,
  requireOptions,
  virtRegionArgument,
} from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';
import { placeOf, setPlace } from './place.ts';
import type { FrameRun, VirtualMapping } from './virtual-mapping.ts';
import { faultOf, isAllowed } from './vmr-fault.ts';
import { type VmrCpu, VmrFlushes } from './vmr-flushes.ts';
import { VmrParts } from './vmr-parts.ts';

/** Options of a `Vmr`. */
export interface VmrOptions extends PageTablePartOptions {
  /** Flags of every page: `PteFlags.User`, or `PteFlags.Global` for a kernel. Neither if not given. */
  readonly flags?: number;
  /**
   * Parts that exist already. They stay the caller's, who attaches them to page tables. The `Vmr` makes a part for each other
   * root entry when it needs it.
   */
  readonly parts?: readonly PageTablePart[];
}

/** Where a mapping is inserted. */
export interface InsertOptions {
  /** Exactly here: a multiple of 4096. */
  readonly at?: VirtAddr;
  /** The first gap from here on, or if there is none, the first gap of all. */
  readonly hint?: VirtAddr;
  /** Bytes, a power of two, at least 4096: the place is a multiple of it. That of the mapping if not given. */
  readonly alignment?: Bytes;
}

const OPTIONS: readonly (keyof VmrOptions)[] = [
  'memory',
  'frames',
  'config',
  'freeEmptyTables',
  'flags',
  'parts',
];
const INSERT_OPTIONS: readonly (keyof InsertOptions)[] = ['at', 'hint', 'alignment'];

/** The content of a place. A retired one is not a mapping any more, but a TLB may still hold its addresses. */
interface Slot {
  readonly mapping: VirtualMapping;
  isRetired: boolean;
}

/**
 * A virtual memory region: mappings at addresses of a region, in the page tables of all processors to which it is attached.
 *
 * Every operation is all or nothing. If a flush fails, it throws `FLUSH_FAILED`: the change is in the page tables, and nothing
 * that an old translation reaches is freed or handed out until a later operation has repeated the flush. Callbacks may not
 * call the `Vmr` that calls them, which throws `BUSY`.
 *
 * n is the number of mappings.
 */
export class Vmr implements Disposable {
  static {
    showInConsoles(this, 'Vmr', (vmr) => ({
      region: vmr.region,
      mappings: Array.from(vmr, ([place]) => place),
    }));
  }

  /** The addresses. */
  readonly region: MemoryRegion<VirtAddr>;
  readonly #kind: AddressKind<VirtAddr>;
  readonly #flags: number;
  readonly #slots: RegionMap<VirtAddr, Slot>;
  readonly #parts: VmrParts;
  readonly #flushes: VmrFlushes = new VmrFlushes();
  #isBusy = false;

  /**
   * @param region - the region: whole pages, at least one
   * @throws MmError `INVALID_ARGUMENT` for another region, other flags, or options that do not exist
   */
  constructor(region: MemoryRegion<VirtAddr>, options: VmrOptions) {
    const range = virtRegionArgument('the region', region);
    requireOptions('options', options, OPTIONS);
    const { flags = 0, parts = [], ...tables } = options;
    requireMethods('memory', tables.memory, ['words', 'wordOffset']);
    if (tables.frames !== undefined) requireMethods('frames', tables.frames, ['allocateFrame', 'freeFrame']);
    if (tables.config !== undefined) pagingArgument(tables.config);
    if (tables.freeEmptyTables !== undefined) requireBoolean('freeEmptyTables', tables.freeEmptyTables);
    requireIterable('parts', parts);
    const own = [...parts];
    for (const part of own) requireInstance('a part', part, 'PageTablePart');
    requireInteger('the flags', flags, 0);
    const isWhole = (range.start | range.size) % BigInt(PAGE_SIZE) === 0n;
    if (!isWhole || range.isEmpty)
      refuseArgument('the region', range.toString(), 'pass whole pages, at least one');
    if ((flags & ~(PteFlags.User | PteFlags.Global)) !== 0)
      refuseArgument('the flags', flags, 'pass User or Global');
    this.region = range;
    this.#kind = range.kind;
    this.#flags = flags;
    this.#slots = new RegionMap(range.kind);
    this.#parts = new VmrParts(range.kind, tables, own);
  }

  /** The number of mappings. */
  get size(): number {
    return [...this].length;
  }

  /**
   * Inserts a mapping, and maps the frames that it has. Returns its place. O(log n), and O(frames).
   *
   * @throws MmError `INVALID_ARGUMENT`; `MAPPING_IN_USE` if it is inserted already; with `at`, `OUTSIDE_LAYOUT` if it leaves the
   *   region, `OVERLAPS_MAPPING`; else `NO_VIRTUAL_RANGE` if no gap has room; `FLUSH_FAILED`, `BUSY`; PageTableError as
   *   `PageTable.mapRegion`; what the mapping throws. Nothing is inserted then
   */
  insert(mapping: VirtualMapping, options: InsertOptions = {}): MemoryRegion<VirtAddr> {
    requireMethods('the mapping', mapping, ['frames']);
    if (mapping.fault !== undefined) requireMethods('the mapping', mapping, ['frames', 'fault']);
    requireOptions('options', options, INSERT_OPTIONS);
    return this.#exclusively(() => {
      if (placeOf(mapping) !== undefined) throw new MmError('MAPPING_IN_USE', { size: mapping.size });
      const place = this.#placeFor(mapping, options);
      const slot = { mapping, isRetired: false };
      this.#slots.set(place, slot);
      let made: readonly PageTablePart[] = [];
      try {
        made = this.#parts.make(place);
        const frames = mapping.frames();
        requireIterable('the frames of the mapping', frames);
        for (const run of frames) this.#mapRun(place, run, mapping, false);
        // What is mapped in new parts appears in the page tables at the end.
        this.#parts.attach(made, this.#tables);
      } catch (error) {
        slot.isRetired = true;
        this.#parts.unmap(place);
        this.#flushAfter(error, made.length === 0 ? place : this.#reach(made), () => {
          this.#parts.destroy(made);
          this.#slots.delete(place);
        });
      }
      setPlace(mapping, { writeProtect: () => this.#writeProtect(place) });
      return place;
    });
  }

  /**
   * Removes the mapping that starts at `start`: unmaps it, flushes, and returns it. Its addresses are free then. O(log n), and
   * O(pages).
   *
   * @throws MmError `NOT_A_MAPPING` if none starts there; `FLUSH_FAILED`: then it is still inserted; `BUSY`
   */
  remove(start: VirtAddr): VirtualMapping {
    return this.#exclusively(() => {
      const [place, slot] = this.#slotAt(start) ?? [];
      if (place?.start !== start || slot === undefined) throw new MmError('NOT_A_MAPPING', { vaddr: start });
      const { mapping } = slot;
      this.#parts.unmap(place);
      try {
        this.#flushes.run(place, () => {});
      } catch (error) {
        this.#restore(place, mapping);
        throw error;
      }
      this.#slots.delete(place);
      setPlace(mapping, undefined);
      return mapping;
    });
  }

  /**
   * Makes the mappings appear in the page table of a processor, those of now and later ones.
   *
   * @throws MmError `INVALID_ARGUMENT`, `ALREADY_ATTACHED`, `FLUSH_FAILED`, `BUSY`; PageTableError as `PageTablePart.attach`
   */
  attach(cpu: VmrCpu): void {
    requireMethods('the processor', cpu, ['flush']);
    requireInstance('the page table of the processor', cpu.pageTable, 'PageTable');
    this.#exclusively(() => {
      const { cpus } = this.#flushes;
      if (cpus.has(cpu)) throw new MmError('ALREADY_ATTACHED', { region: String(this.region) });
      try {
        this.#parts.attach(this.#parts.own, [cpu.pageTable]);
      } catch (error) {
        this.#flushAfter(error, this.#reach(this.#parts.own), () => {}, [cpu]);
      }
      cpus.add(cpu);
    });
  }

  /**
   * Takes the mappings from the page table of a processor, and flushes there.
   *
   * @throws MmError `NOT_ATTACHED`, `FLUSH_FAILED`, `BUSY`; PageTableError as `PageTablePart.detach`
   */
  detach(cpu: VmrCpu): void {
    this.#exclusively(() => {
      const { cpus } = this.#flushes;
      if (!cpus.delete(cpu)) throw new MmError('NOT_ATTACHED', { region: String(this.region) });
      for (const part of this.#parts.own) part.detach(cpu.pageTable);
      this.#flushes.run(this.#reach(this.#parts.own), () => {}, [cpu]);
    });
  }

  /**
   * Handles a page fault in the region. `true`: the instruction can run again, since the page is there now, or another
   * processor has resolved the fault. `false`: no mapping allows the access; it is an error of the software. O(log n).
   *
   * @param vaddr - CR2
   * @param errorCode - the error code of the fault: 32 bits of `PageFaultCode`, signed or not
   * @param state - the state of the processor, for SMAP. Without it, a fault that only SMAP explains is taken for resolved
   * @throws MmError `INVALID_ARGUMENT`, `FLUSH_FAILED`, `BUSY`; what the mapping throws, as an allocator without memory; PageTableError as
   *   `PageTable.mapRegion`, `INVALID_CPU_STATE`. Nothing has changed then
   */
  handlePageFault(vaddr: VirtAddr, errorCode: number, state?: CpuState): boolean {
    if (typeof vaddr !== 'bigint') refuseArgument('the address', vaddr, 'pass a bigint');
    requireInteger('the error code', errorCode, -0x8000_0000, 0xffff_ffff);
    const cpu = state === undefined ? undefined : cpuState(state);
    return this.#exclusively(() => {
      const [place, slot] = (this.#kind.isAddress(vaddr) ? this.#slotAt(vaddr) : undefined) ?? [];
      const fault = faultOf(errorCode, this.#flags);
      if (place === undefined || slot === undefined || fault === undefined) return false;
      const page = alignDown(vaddr, PAGE_SIZE);
      const present = this.#parts.at(page)?.lookup(page);
      if (present !== undefined && isAllowed(present, fault, cpu)) return true;
      const resolution = slot.mapping.fault?.(page - place.start, fault);
      if (resolution === undefined) return false;
      try {
        this.#mapRun(place, resolution.run, slot.mapping);
      } catch (error) {
        resolution.undo?.();
        throw error;
      }
      const done = (): void => resolution.done?.();
      if (present === undefined) done();
      else this.#flushes.run(regionOfRun(place, resolution.run), done);
      const now = this.#parts.at(page)?.lookup(page);
      return now !== undefined && isAllowed(now, fault, cpu);
    });
  }

  /** The mapping whose place holds `address`, and its place; `undefined` if there is none. O(log n). */
  entryAt(address: VirtAddr): readonly [place: MemoryRegion<VirtAddr>, mapping: VirtualMapping] | undefined {
    const [place, slot] = this.#slotAt(address) ?? [];
    return place === undefined || slot === undefined ? undefined : [place, slot.mapping];
  }

  /** The places and their mappings, ascending. */
  *[Symbol.iterator](): Generator<readonly [MemoryRegion<VirtAddr>, VirtualMapping], undefined, undefined> {
    for (const [place, { mapping, isRetired }] of this.#slots) if (!isRetired) yield [place, mapping];
  }

  /**
   * Removes all mappings, detaches all processors, and gives back the tables. The mappings stay the caller's. If it throws, it
   * can be called again.
   *
   * @throws as {@link remove} and {@link detach}
   */
  [Symbol.dispose](): void {
    for (const [place] of this) this.remove(place.start);
    for (const cpu of [...this.#flushes.cpus]) this.detach(cpu);
    this.#exclusively(() => this.#parts.destroy());
  }

  #placeFor(mapping: VirtualMapping, options: InsertOptions): MemoryRegion<VirtAddr> {
    const { size } = mapping;
    const { at, hint, alignment = mapping.alignment ?? PAGE_SIZE } = options;
    if (typeof size !== 'bigint' || size <= 0n || size % BigInt(PAGE_SIZE) !== 0n)
      refuseArgument('the size of the mapping', size, 'pass whole pages, at least one');
    if (at !== undefined) return this.#placeAt(at, size);
    const multiple = alignmentBytes(alignment);
    const least = multiple < PAGE_SIZE ? BigInt(PAGE_SIZE) : multiple;
    const from = hint !== undefined && this.region.contains(hint) ? hint : this.region.start;
    const above = MemoryRegion.fromAddresses(this.#kind, from, this.region.end);
    const found = this.#slots.findGap(above, size, least) ?? this.#slots.findGap(this.region, size, least);
    if (found !== undefined) return found;
    const pages = Number(size / BigInt(PAGE_SIZE));
    throw new MmError('NO_VIRTUAL_RANGE', { pages, alignment: Number(least), range: String(this.region) });
  }

  #placeAt(at: VirtAddr, size: bigint): MemoryRegion<VirtAddr> {
    if (typeof at !== 'bigint' || at % BigInt(PAGE_SIZE) !== 0n)
      refuseArgument('the address', at, 'pass a multiple of 4096 as a bigint');
    const place = this.#kind.isAddress(at) ? MemoryRegion.tryNew(this.#kind, at, size) : undefined;
    if (place === undefined || !this.region.containsRegion(place))
      throw new MmError('OUTSIDE_LAYOUT', { region: textOf(at, size), part: String(this.region) });
    const [existing] = this.#slots.overlapping(place);
    if (existing !== undefined)
      throw new MmError('OVERLAPS_MAPPING', { region: String(place), found: String(existing[0]) });
    return place;
  }

  #slotAt(address: VirtAddr): readonly [MemoryRegion<VirtAddr>, Slot] | undefined {
    const entry = this.#slots.entryAt(address);
    return entry === undefined || entry[1].isRetired ? undefined : entry;
  }

  /** The addresses whose translations a page table loses with parts. */
  #reach(parts: readonly PageTablePart[]): MemoryRegion<VirtAddr> {
    return parts.reduce((region, part) => region.hull(part.region), this.region);
  }

  get #tables(): readonly PageTable[] {
    return Array.from(this.#flushes.cpus, ({ pageTable }) => pageTable);
  }

  #mapRun(place: MemoryRegion<VirtAddr>, run: FrameRun, mapping: VirtualMapping, remap = true): void {
    const expected = 'return an object with offset, paddr, size and flags';
    const { offset, size } = readArgument('the frames of the mapping', run, expected, () => {
      const bounds: Pick<FrameRun, 'offset' | 'size'> = { offset: run.offset, size: run.size };
      return bounds;
    });
    const isInside = offset >= 0n && size > 0n && offset + size <= mapping.size;
    if (!isInside)
      refuseArgument('the frames of the mapping', `${offset} + ${size}`, 'return frames inside it');
    this.#parts.map(place.start, run, (run.flags | this.#flags) >>> 0, remap);
  }

  /** Maps the frames again after a flush has failed. Those that cannot be mapped come with faults. */
  #restore(place: MemoryRegion<VirtAddr>, mapping: VirtualMapping): void {
    try {
      for (const run of mapping.frames()) this.#mapRun(place, run, mapping);
    } catch {
      // The error of the flush is thrown.
    }
  }

  #writeProtect(place: MemoryRegion<VirtAddr>): void {
    this.#exclusively(() => {
      this.#parts.clearFlags(place, PteFlags.Writable | PteFlags.Dirty);
      this.#flushes.run(place, () => {});
    });
  }

  /** Flushes after an operation has failed, and throws its error. If the flush fails too, it is owed. */
  #flushAfter(
    error: unknown,
    region: MemoryRegion<VirtAddr>,
    done: () => void,
    cpus?: Iterable<VmrCpu>,
  ): never {
    try {
      this.#flushes.run(region, done, cpus);
    } catch {
      // It is repeated before the next operation.
    }
    throw error;
  }

  /** Runs an operation alone, after the flushes that are owed. */
  #exclusively<T>(action: () => T): T {
    if (this.#isBusy) throw new MmError('BUSY', { region: String(this.region) });
    this.#isBusy = true;
    try {
      this.#flushes.settle();
      return action();
    } finally {
      this.#isBusy = false;
    }
  }
}

/** The bounds of addresses that may not be a region. */
function textOf(start: bigint, size: bigint): string {
  return `[${formatAddress(start)}-${formatAddress(start + size)})`;
}

function regionOfRun(
  { kind, start }: MemoryRegion<VirtAddr>,
  { offset, size }: FrameRun,
): MemoryRegion<VirtAddr> {
  return new MemoryRegion(kind, kind.address(start + offset), size);
}
