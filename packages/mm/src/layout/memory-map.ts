import { PAGE_SIZE, Phys, type PhysAddr, showInConsoles } from '@svsm/address';
import { MemoryRegion, RegionMap } from '@svsm/memory-region';
import {
  readArgument,
  refuseArgument,
  regionArgument,
  requireInteger,
  requireIterable,
  requireOneOf,
} from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';

/** The purpose of guest-physical memory. */
export type MemoryKind = 'svsm' | 'guest' | 'vmsa' | 'caa' | 'firmware' | 'hole';

/** An entry of a memory map. A `RegionMap` yields such entries. */
export type MemoryMapEntry = readonly [MemoryRegion<PhysAddr>, MemoryKind];

/** A processor of the guest: its VMSA and its calling area, which the guest may not touch. */
export interface RegisteredVmsa {
  readonly vmsa: PhysAddr;
  readonly caa: PhysAddr;
  readonly apicId: number;
}

const KINDS: readonly MemoryKind[] = ['svsm', 'guest', 'vmsa', 'caa', 'firmware', 'hole'];

/**
 * The guest-physical memory as the launch describes it, without the SVSM's own memory, and the pages of it that processors of
 * the guest use. The description comes from the hypervisor: it says what the guest may use, not what is validated.
 *
 * Adjacent entries of one kind are joined, so a region that spans two of them is one region (D18 of COCONUT-SVSM's `memory.rs`).
 * Queries are O(log entries).
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { physRegion } from '@svsm/memory-region';
 * import { MemoryMap } from '@svsm/mm';
 *
 * const own = physRegion(physAddr(0x80_0000), 0x80_0000);
 * const map = new MemoryMap([[physRegion(physAddr(0), 0x200_0000), 'guest']], own);
 * console.log(map.kindOf(physAddr(0x90_0000))); // => svsm
 * console.log(map.isGuest(physRegion(physAddr(0x7f_f000), 0x1000))); // => true
 * console.log(map.isGuest(physRegion(physAddr(0x7f_f000), 0x2000))); // => false
 * ```
 */
export class MemoryMap {
  static {
    showInConsoles(this, 'MemoryMap', (map) => ({ own: map.own, entries: [...map], vmsas: map.vmsas }));
  }

  /** The SVSM's own memory. */
  readonly own: MemoryRegion<PhysAddr>;
  readonly #kinds: RegionMap<PhysAddr, MemoryKind> = new RegionMap<PhysAddr, MemoryKind>(Phys);
  readonly #vmsas: Map<PhysAddr, RegisteredVmsa> = new Map();
  /** The pages of registered VMSAs and calling areas. */
  readonly #used: RegionMap<PhysAddr, 'vmsa' | 'caa'> = new RegionMap<PhysAddr, 'vmsa' | 'caa'>(Phys);

  /**
   * O(n log n) for n entries.
   *
   * @param entries - regions of whole 4 KiB pages that do not overlap, in any order, such as a `RegionMap`
   * @param own - the SVSM's own memory. It is taken out of every entry that it overlaps
   * @throws MmError `INVALID_ARGUMENT` for a value of another type; `INVALID_MEMORY_MAP` if entries overlap, or a region is
   *   empty or does not have whole pages
   */
  constructor(entries: Iterable<MemoryMapEntry>, own: MemoryRegion<PhysAddr>) {
    requireIterable('the memory map', entries);
    this.own = pagesOf(own, "the SVSM's own memory");
    const given = new RegionMap<PhysAddr, MemoryKind>(Phys);
    for (const entry of entries) {
      const [region, kind] = readArgument('an entry of the memory map', entry, 'pass [region, kind]', () => [
        pagesOf(entry[0], 'a region'),
        entry[1],
      ]);
      requireOneOf('the kind of memory', kind, KINDS);
      const [found] = given.overlapping(region);
      if (found !== undefined) throw invalid(region, `overlaps ${found[0]}`);
      given.set(region, kind);
    }
    for (const [region, kind] of given.coalesced((a, b) => a === b))
      for (const rest of region.subtract(this.own)) this.#kinds.set(rest, kind);
    this.#kinds.set(this.own, 'svsm');
  }

  /**
   * The purpose of the memory at `gpa`; `undefined` if the map does not name it, for any value of 64 bits. A page of a registered
   * VMSA is `vmsa`, a page with a registered calling area `caa`.
   *
   * @throws MmError `INVALID_ARGUMENT` if `gpa` is not a bigint
   */
  kindOf(gpa: bigint): MemoryKind | undefined {
    if (typeof gpa !== 'bigint') refuseArgument('the address', gpa, 'pass a bigint');
    if (!Phys.isAddress(gpa)) return undefined;
    return this.#used.get(gpa) ?? this.#kinds.get(gpa);
  }

  /** Whether all of `region` is memory that the guest may use: in the map, and not a page of a VMSA or of a calling area. @throws MmError `INVALID_ARGUMENT` */
  isGuest(region: MemoryRegion<PhysAddr>): boolean {
    const pages = regionArgument('the region', region, Phys);
    const [entry, ...others] = this.#kinds.overlapping(pages);
    if (entry === undefined || others.length > 0 || entry[1] !== 'guest') return false;
    return entry[0].containsRegion(pages) && this.#used.overlapping(pages).next().done === true;
  }

  /**
   * Registers a processor of the guest. From then on the guest may not use the pages of its VMSA and its calling area.
   *
   * @param vmsa - a multiple of 4096
   * @param caa - the address of the 8 bytes of the calling area
   * @throws MmError `INVALID_ARGUMENT`; `NOT_GUEST_MEMORY` if a page is not the guest's; `OVERLAPS_MAPPING` if a page is that of
   *   another VMSA or calling area. Nothing is registered then
   */
  registerVmsa(vmsa: PhysAddr, caa: PhysAddr, apicId: number): void {
    requireInteger('the APIC ID', apicId, 0, 0xffff_ffff);
    const pages = [pageAt(vmsa, 0xfffn, 'the VMSA'), pageAt(caa, 0x7n, 'the calling area')] as const;
    for (const page of pages) {
      const [found] = this.#used.overlapping(page);
      if (found !== undefined)
        throw new MmError('OVERLAPS_MAPPING', { region: String(page), found: `a page in use, ${found[0]}` });
      if (!this.isGuest(page)) throw new MmError('NOT_GUEST_MEMORY', { gpa: page.start, size: page.size });
    }
    const [own, area] = pages;
    if (own.equals(area))
      throw new MmError('OVERLAPS_MAPPING', { region: String(area), found: `its VMSA, ${own}` });
    this.#used.set(own, 'vmsa');
    this.#used.set(area, 'caa');
    this.#vmsas.set(vmsa, Object.freeze({ vmsa, caa, apicId }));
  }

  /** Gives the pages of a VMSA and its calling area back to the guest. @throws MmError `INVALID_ARGUMENT`, `NOT_A_MAPPING` */
  unregisterVmsa(vmsa: PhysAddr): void {
    if (typeof vmsa !== 'bigint') refuseArgument('the VMSA', vmsa, 'pass a physical address');
    const found = this.#vmsas.get(vmsa);
    if (found === undefined) throw new MmError('NOT_A_MAPPING', { vaddr: vmsa });
    this.#used.delete(pageAt(found.vmsa, 0xfffn, 'the VMSA'));
    this.#used.delete(pageAt(found.caa, 0x7n, 'the calling area'));
    this.#vmsas.delete(vmsa);
  }

  /** The registered processors of the guest. */
  get vmsas(): readonly RegisteredVmsa[] {
    return [...this.#vmsas.values()];
  }

  /** The regions of one kind, ascending, as the map has them. @throws MmError `INVALID_ARGUMENT` */
  regionsOf(kind: MemoryKind): Generator<MemoryRegion<PhysAddr>, undefined, undefined> {
    requireOneOf('the kind of memory', kind, KINDS);
    return this.#regionsOf(kind);
  }

  *#regionsOf(kind: MemoryKind): Generator<MemoryRegion<PhysAddr>, undefined, undefined> {
    for (const [region, found] of this.#kinds) if (found === kind) yield region;
  }

  /** The entries, ascending, adjacent ones of one kind joined, with the SVSM's own memory as `svsm`. */
  [Symbol.iterator](): Generator<MemoryMapEntry, undefined, undefined> {
    return this.#kinds[Symbol.iterator]();
  }
}

/** A region, if it has whole pages. */
function pagesOf(value: MemoryRegion<PhysAddr>, what: string): MemoryRegion<PhysAddr> {
  const region = regionArgument(what, value, Phys);
  const page = BigInt(PAGE_SIZE);
  if (region.isEmpty) throw invalid(region, 'is empty');
  if (region.start % page !== 0n || region.size % page !== 0n)
    throw invalid(region, 'is not made of whole 4 KiB pages');
  return region;
}

/** The page of an address that is a multiple of `mask` + 1. */
function pageAt(address: PhysAddr, mask: bigint, what: string): MemoryRegion<PhysAddr> {
  const isFit = Phys.isAddress(address) && (address & mask) === 0n;
  if (!isFit) refuseArgument(what, address, `pass a physical address, a multiple of ${mask + 1n}`);
  return new MemoryRegion(Phys, (address & ~0xfffn) as PhysAddr, PAGE_SIZE);
}

function invalid(region: MemoryRegion<PhysAddr>, problem: string): MmError<'INVALID_MEMORY_MAP'> {
  return new MmError('INVALID_MEMORY_MAP', { region: String(region), problem });
}
