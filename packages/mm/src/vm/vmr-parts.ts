import type { AddressKind, VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { type PageTable, PageTablePart, type PageTablePartOptions } from '@svsm/pagetable';
import type { FrameRun } from './virtual-mapping.ts';

/**
 * The page tables below a `Vmr`: one part for each root entry, made when a page in it is first mapped. A region that crosses
 * from one part to the next is cut there.
 */
export class VmrParts {
  readonly #kind: AddressKind<VirtAddr>;
  readonly #options: PageTablePartOptions;
  /** Parts by the start of their addresses. */
  readonly #parts: Map<bigint, PageTablePart> = new Map();
  readonly #own: Set<PageTablePart> = new Set();

  constructor(
    kind: AddressKind<VirtAddr>,
    options: PageTablePartOptions,
    given: readonly PageTablePart[] = [],
  ) {
    this.#kind = kind;
    this.#options = options;
    for (const part of given) this.#parts.set(part.region.start, part);
  }

  /** The part for an address, if it exists. */
  at(address: bigint): PageTablePart | undefined {
    return this.#parts.get(address & -this.#span);
  }

  /** The parts that were made here. */
  get own(): readonly PageTablePart[] {
    return [...this.#own];
  }

  /**
   * Maps frames at `base`. If it fails, the pages that are mapped already stay.
   *
   * @param remap - whether they take the place of what is mapped there
   */
  map(base: bigint, run: FrameRun, flags: number, remap: boolean): void {
    const start = base + run.offset;
    for (const region of this.#pieces(start, start + run.size)) {
      const paddr = (run.paddr + (region.start - start)) as FrameRun['paddr'];
      const options = { remap, ...(run.shared === true && { shared: true }) };
      this.#parts.get(region.start & -this.#span)!.mapRegion(region, paddr, flags, options);
    }
  }

  /** Unmaps what is mapped in a region. */
  unmap(region: MemoryRegion<VirtAddr>): void {
    for (const piece of this.#pieces(region.start, region.end)) {
      this.at(piece.start)?.unmapRegion(piece, { allowHoles: true });
    }
  }

  /** The pages that are mapped in a region. */
  *leaves(region: MemoryRegion<VirtAddr>): Generator<MemoryRegion<VirtAddr>, undefined, undefined> {
    for (const piece of this.#pieces(region.start, region.end)) {
      for (const { vaddr, size } of this.at(piece.start)?.leaves({ within: piece }) ?? []) {
        yield MemoryRegion.unchecked(this.#kind, vaddr, BigInt(size));
      }
    }
  }

  /** Clears flags of what is mapped in a region. */
  clearFlags(region: MemoryRegion<VirtAddr>, flags: number): void {
    for (const page of [...this.leaves(region)]) this.at(page.start)!.protectRegion(page, { clear: flags });
  }

  /** Makes the parts of a region that do not exist yet. All or nothing. Returns the parts that it has made. */
  make(region: MemoryRegion<VirtAddr>): readonly PageTablePart[] {
    const made: PageTablePart[] = [];
    try {
      for (const { start } of this.#pieces(region.start, region.end)) {
        if (this.at(start) !== undefined) continue;
        const part = PageTablePart.create(this.#indexOf(start), this.#options);
        this.#parts.set(part.region.start, part);
        this.#own.add(part);
        made.push(part);
      }
      return made;
    } catch (error) {
      this.destroy(made);
      throw error;
    }
  }

  /** Gives back parts that were made here and are attached to no page table. */
  destroy(parts: readonly PageTablePart[] = this.own): void {
    for (const part of parts) {
      this.#parts.delete(part.region.start);
      this.#own.delete(part);
      part.destroy();
    }
  }

  /** Attaches parts to page tables. If it fails, those that it has attached are detached again: they have to be flushed. */
  attach(parts: readonly PageTablePart[], tables: readonly PageTable[]): void {
    const attached: [PageTablePart, PageTable][] = [];
    try {
      for (const part of parts) {
        for (const table of tables) {
          part.attach(table);
          attached.push([part, table]);
        }
      }
    } catch (error) {
      for (const [part, table] of attached.reverse()) part.detach(table);
      throw error;
    }
  }

  get #span(): bigint {
    return this.#options.config?.levels === 5 ? 1n << 48n : 1n << 39n;
  }

  #indexOf(address: bigint): number {
    return Number((address / this.#span) & 511n);
  }

  /** A region, cut where one part ends. */
  *#pieces(start: bigint, end: bigint): Generator<MemoryRegion<VirtAddr>, undefined, undefined> {
    for (let at = start; at < end; ) {
      const next = (at & -this.#span) + this.#span;
      const to = next < end ? next : end;
      yield MemoryRegion.unchecked(this.#kind, at as VirtAddr, to - at);
      at = to;
    }
  }
}
