import { Phys, type PhysAddr, showInConsoles } from '@svsm/address';
import { type MemoryRegion, RegionMap } from '@svsm/memory-region';

/**
 * The physical pages that mappings for a time use, with the number of mappings of each. Their owner must not free them, nor
 * change their visibility.
 */
export class PageUses {
  static {
    showInConsoles(this, 'PageUses', (uses) => ({ counts: [...uses.#counts] }));
  }

  readonly #counts: RegionMap<PhysAddr, number> = new RegionMap(Phys);

  /** Notes one more use of all pages of a region. O(parts · log n). */
  add(region: MemoryRegion<PhysAddr>): void {
    this.#change(region, 1);
  }

  /** Notes one use less of all pages of a region that {@link add} has noted. O(parts · log n). */
  remove(region: MemoryRegion<PhysAddr>): void {
    this.#change(region, -1);
  }

  /** The first address of a region that is in use, or `undefined`. O(log n). */
  firstIn(region: MemoryRegion<PhysAddr>): PhysAddr | undefined {
    for (const [part] of this.#counts.overlapping(region))
      return part.start > region.start ? part.start : region.start;
    return undefined;
  }

  #change(region: MemoryRegion<PhysAddr>, by: 1 | -1): void {
    const parts: (readonly [MemoryRegion<PhysAddr>, number])[] = [];
    for (const [part, count] of this.#counts.overlapping(region))
      parts.push([part.intersect(region) as MemoryRegion<PhysAddr>, count + by]);
    for (const gap of this.#counts.gaps(region)) parts.push([gap, by]);
    for (const [part, count] of parts) {
      this.#counts.overlay(part, count);
      if (count <= 0) this.#counts.delete(part);
    }
  }
}
