import { type PhysAddr, pageNumber, type VirtAddr } from '@svsm/address';
import type { PageTableOptions } from '../edit/page-table-options.ts';
import type { CpuState } from '../entry/cpu-state.ts';
import { frameAddress } from '../entry/words.ts';
import type { TableFrames } from '../memory/table-frames.ts';
import { type AccessKind, type AccessOptions, type AccessResult, AccessWalk } from '../walk/access.ts';
import { tablesOf } from '../walk/table-census.ts';
import { readRootEntry, storeEntry } from '../walk/table-space.ts';
import { PageMapper } from './page-mapper.ts';
import { TableOwner } from './table-owner.ts';

/**
 * A page table of x86-64: 4 or 5 levels, pages of 4 KiB, 2 MiB and 1 GiB, with or without memory encryption.
 *
 * It holds no state but where its root is, and which parts are attached: all of it lies in the physical memory, bit for bit
 * as a processor reads it.
 */
export class PageTable extends PageMapper {
  /** The physical address of its top-level table. */
  readonly root: PhysAddr;
  readonly #owner: TableOwner;
  readonly #options: PageTableOptions;
  readonly #access: AccessWalk;

  private constructor(root: PhysAddr, options: PageTableOptions, frames: TableFrames) {
    const owner = new TableOwner(root, options, frames, options.tlb);
    super(owner);
    this.root = root;
    this.#owner = owner;
    this.#options = options;
    const { memory, format } = owner.space;
    this.#access = new AccessWalk(memory, format, pageNumber(root), owner.config);
  }

  /**
   * A new page table with nothing mapped. Takes one frame, which it clears.
   *
   * @throws PageTableError `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`, `INVALID_FRAME`
   */
  static create(options: PageTableOptions): PageTable {
    const frames = TableOwner.framesFor(options);
    const [root] = frames.take(1);
    // `this`: a class that names itself is renamed by the bundler.
    return new this(frameAddress(root as number), options, frames);
  }

  /**
   * The page table whose root lies at `root`: that of a dump, or of another owner. Reads nothing yet.
   *
   * @param root - bits 51:12 of CR3, without the encryption bit
   * @throws PageTableError `INVALID_FRAME` if `root` cannot be a table
   */
  static open(root: PhysAddr, options: PageTableOptions): PageTable {
    return new this(root, options, TableOwner.framesFor(options));
  }

  /** CR3 for this table: the root, with the C-bit by convention. */
  get cr3(): bigint {
    return this.root | (BigInt(this.#owner.space.format.privateHi >>> 0) << 32n);
  }

  /**
   * What the processor's memory management unit does with an access to one byte: a translation, a page fault with its
   * error code, or #GP for an address that is not canonical. Sets accessed and dirty bits, unless told to look only.
   *
   * Corrupted entries are page faults here, as they are to a processor. O(levels).
   *
   * @param cpu - `cpuState()` if not given
   * @throws PageTableError `BUS_ERROR` if a table lies outside memory; `INVALID_ACCESS`; `NON_CANONICAL` for what is no
   *   address of 64 bits at all
   */
  access(vaddr: VirtAddr, kind: AccessKind, cpu?: CpuState, options?: AccessOptions): AccessResult {
    this.#owner.cursor.requireAlive();
    return this.#access.run(vaddr, kind, cpu, options);
  }

  /**
   * A new page table that shares what lies below some entries of this root: what is mapped there in one is mapped in both.
   * It neither frees nor destroys those tables, and must be destroyed before this one. A part that is attached there is
   * attached to the new one too. Takes one frame.
   *
   * @param entries - indexes of entries of the root that lead to tables; COCONUT-SVSM shares 511
   * @throws PageTableError `INVALID_ROOT_ENTRY`, `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`
   */
  cloneShared(entries: readonly number[]): PageTable {
    const { cursor, space, kept } = this.#owner;
    cursor.requireAlive();
    const shared = entries.map((index) => readRootEntry(space, index));
    const clone = (this.constructor as typeof PageTable).create(this.#options);
    for (const { index, low, high } of shared) {
      const slot = this.#owner.slot(index);
      if (slot !== undefined) {
        if (clone.#owner.slot(index) === undefined) slot.join(clone);
        continue;
      }
      // Empty or not, the table stays as long as this page table: the clone leads to it.
      kept.add(index);
      clone.#owner.kept.add(index);
      clone.#owner.foreign.add(index);
      storeEntry(space.memory, pageNumber(clone.root), index, low, high);
    }
    return clone;
  }

  /**
   * Gives all tables back, the root included, but for those of parts, which are detached; every later use is an error. What
   * was mapped is not touched, and nothing is flushed: no processor may be using it any more. O(tables × 512).
   *
   * @throws PageTableError `NO_FRAME_ALLOCATOR`; `BUS_ERROR` if a table lies outside memory, and nothing is given back then
   */
  destroy(): void {
    const { cursor, space } = this.#owner;
    cursor.requireAlive();
    space.frames.giveBack(tablesOf(space));
    this.#owner.retire();
  }
}
