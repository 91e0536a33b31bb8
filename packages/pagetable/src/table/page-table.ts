import { type PhysAddr, pageNumber, showInConsoles } from '@svsm/address';
import type { VirtPage } from '@svsm/memory-region';
import { type PageTableOptions, TABLE_OPTIONS } from '../edit/page-table-options.ts';
import type { CpuState } from '../entry/cpu-state.ts';
import { invalidArgument } from '../entry/invalid-argument.ts';
import { isArray } from '../entry/invalid-state.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { type SelfMap, selfMap } from '../entry/self-map.ts';
import { frameAddress, frameHigh, frameLow } from '../entry/words.ts';
import type { TableFrames } from '../memory/table-frames.ts';
import { type AccessKind, type AccessResult, AccessWalk } from '../walk/access.ts';
import type { AccessOptions } from '../walk/access-options.ts';
import { type RootEntry, readRootEntry, storeEntry } from '../walk/table-space.ts';
import { PageMapper } from './page-mapper.ts';
import { linkGuards } from './shared-subtree.ts';
import { ownerOf, TableOwner } from './table-owner.ts';

/**
 * A page table of x86-64: 4 or 5 levels, pages of 4 KiB, 2 MiB and 1 GiB, with or without memory encryption.
 *
 * The tables lie in physical memory, bit for bit as a processor reads them. The object itself holds only the address of the
 * root, the parts that are attached, and a cursor that remembers the last walk.
 */
export class PageTable extends PageMapper {
  static {
    showInConsoles(this, 'PageTable', ({ root, cr3, config, selfMap }) => ({
      root,
      cr3,
      config,
      selfMap: selfMap && { index: selfMap.index, region: selfMap.region },
    }));
  }

  /** The physical address of the root, the top table. */
  readonly root: PhysAddr;
  /** The self-map, with the virtual addresses of tables and entries; `undefined` if the options name none. */
  readonly selfMap: SelfMap | undefined;
  readonly #owner: TableOwner;
  readonly #options: PageTableOptions;
  readonly #access: AccessWalk;

  private constructor(root: PhysAddr, options: PageTableOptions, frames: TableFrames) {
    const owner = new TableOwner(root, options, frames);
    super(owner);
    this.root = root;
    this.#owner = owner;
    this.#options = options;
    this.selfMap = options.selfMap === undefined ? undefined : selfMap(options.selfMap, owner.space.levels);
    this.#access = new AccessWalk(owner.space, owner.config);
  }

  /**
   * Makes a page table with nothing mapped. It takes one frame for the root, and clears it.
   *
   * With `selfMap`, it writes the entry that leads back to the root: present, writable, accessed, dirty, and without execution.
   *
   * @throws PageTableError `INVALID_ARGUMENT`, `INVALID_CONFIG`; `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`, `INVALID_FRAME`,
   *   `READ_ONLY`, `INVALID_SELF_MAP`
   * @example
   * ```ts
   * import { physAddr, virtAddr } from '@svsm/address';
   * import { createPhysMemory, PageTable, PtePreset, pagingConfig } from '@svsm/pagetable';
   *
   * const memory = createPhysMemory({ size: 0x10_0000 });
   * let next = 0; // frames for tables, one after another
   * const frames = { allocateFrame: () => physAddr(0x1000 * next++), freeFrame: () => {} };
   *
   * const table = PageTable.create({ memory, frames, config: pagingConfig({ cBit: 51 }) });
   * table.map4k(virtAddr(0x1000), physAddr(0x8000_0000), PtePreset.Data);
   * console.log(table.countTables(), table.cr3.toString(16)); // => 4 8000000000000
   * ```
   */
  static create(options: PageTableOptions): PageTable {
    TABLE_OPTIONS.require(options);
    if (options.selfMap !== undefined) selfMap(options.selfMap);
    const frames = TableOwner.framesFor(options);
    // `this`: a class that names itself is renamed by the bundler.
    return withNewRoot(options, frames, (root) => new this(root, options, frames));
  }

  /**
   * Opens the page table whose root is at `root`, in a dump or of another owner. It does not read tables yet.
   *
   * @param root - bits 51:12 of CR3, without the encryption bit
   * @throws PageTableError `INVALID_ARGUMENT`, `INVALID_CONFIG`; `INVALID_FRAME` if no table can be at `root`; `NO_FRAME_ALLOCATOR`
   *   if `freeEmptyTables` is set without `frames`; `INVALID_SELF_MAP` if the entry that `selfMap` names does not lead to the root
   * @example
   * ```ts
   * import { physAddr, virtAddr } from '@svsm/address';
   * import { createPhysMemory, PageTable } from '@svsm/pagetable';
   *
   * // A dump of two frames: the root at 0x1000, whose entry 0 leads to a PDPT with a 1 GiB page.
   * const frames = new Map([[1, 0x2027], [2, 0x83]]);
   * const memory = createPhysMemory({
   *   readFrame: (frame, bytes) => {
   *     const entry = frames.get(frame);
   *     if (entry === undefined) return false;
   *     new DataView(bytes.buffer).setUint32(0, entry, true);
   *     return true;
   *   },
   * });
   * const table = PageTable.open(physAddr(0x1000), { memory });
   * console.log(table.translate(virtAddr(0x1234))); // => 4660n
   * ```
   */
  static open(root: PhysAddr, options: PageTableOptions): PageTable {
    TABLE_OPTIONS.require(options);
    if (options.selfMap !== undefined) selfMap(options.selfMap);
    const table = new this(root, options, TableOwner.framesFor(options));
    if (options.selfMap !== undefined) requireSelfMap(table.#owner, options.selfMap);
    return table;
  }

  /** The value of CR3 for this page table: the root, with the C-bit set by convention if there is one. */
  get cr3(): bigint {
    return this.root | (BigInt(this.#owner.space.format.privateHi >>> 0) << 32n);
  }

  /**
   * Performs the access of a processor to one byte: a translation, a page fault with its error code, or #GP if the address
   * is not canonical. Sets accessed and dirty bits, unless `update` is `false`. A corrupted entry is a page fault here, as on
   * a processor. O(levels).
   *
   * @param cpu - `cpuState()` if not given
   * @throws PageTableError `INVALID_ARGUMENT`, `INVALID_CPU_STATE`; `BUS_ERROR` if a table is outside memory; `INVALID_ACCESS`;
   *   `NON_CANONICAL` if `vaddr` is not a bigint of 64 bits; `READ_ONLY` if bits cannot be set; `DESTROYED`; `BUSY`;
   *   `CALLBACK_FAILED` if `fill` throws
   * @example
   * ```ts
   * import { physAddr, virtAddr } from '@svsm/address';
   * import { cpuState, createPhysMemory, PageFaultCode, PageTable, PteFlags } from '@svsm/pagetable';
   *
   * const memory = createPhysMemory({ size: 0x10_0000 });
   * let next = 0;
   * const frames = { allocateFrame: () => physAddr(0x1000 * next++), freeFrame: () => {} };
   * const table = PageTable.create({ memory, frames });
   * table.map4k(virtAddr(0x1000), physAddr(0x8000_0000), PteFlags.User); // not writable
   *
   * const user = cpuState({ cpl: 3 });
   * const read = table.access(virtAddr(0x1008), 'read', user);
   * console.log(read.type, read.type === 'translation' && read.page.size); // => translation 4096
   * const write = table.access(virtAddr(0x1008), 'write', user);
   * console.log(write.type === 'page-fault' && (write.errorCode & PageFaultCode.Write) !== 0); // => true
   * ```
   */
  access(vaddr: VirtPage, kind: AccessKind, cpu?: CpuState, options?: AccessOptions): AccessResult {
    this.#owner.requireReady();
    return this.#access.run(vaddr, kind, cpu, options);
  }

  /**
   * Makes a page table that shares the subtrees below some root entries with this one: a page mapped there in one of them is
   * mapped in both. The page tables can be destroyed in any order: the last one frees those tables. A part that is
   * attached at such an entry is attached to the new page table too. It takes one frame for the root.
   *
   * @param entries - indexes of root entries that lead to tables, 0 to 511; COCONUT-SVSM shares 511
   * @throws PageTableError `INVALID_ARGUMENT`; `INVALID_ROOT_ENTRY`, `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`, `INVALID_FRAME`, `READ_ONLY`,
   *   `BUS_ERROR`, `DESTROYED`, `BUSY`
   */
  cloneShared(entries: readonly number[]): PageTable {
    const { guard, space } = this.#owner;
    this.#owner.requireReady();
    if (!isArray(entries))
      throw invalidArgument('entries', entries, 'pass an array of indexes of root entries');
    const shared = entries.map((index) => readRootEntry(space, index));
    for (const { index, low, high } of shared) {
      if (space.format.frame(low, high, space.top) !== space.root) continue;
      throw new PageTableError('INVALID_ROOT_ENTRY', { index, problem: 'it leads back to the root' });
    }
    const frames = TableOwner.framesFor(this.#options);
    // A callback that runs while the new page table is made may not use this one.
    frames.guard.others = [guard, ...guard.others];
    const Class = this.constructor as typeof PageTable;
    const clone = withNewRoot(this.#options, frames, (root) => new Class(root, this.#options, frames));
    try {
      for (const entry of shared) this.#shareWith(clone, entry);
    } catch (error) {
      clone.#owner.retire();
      frames.abandon([pageNumber(clone.root)]);
      throw error;
    }
    linkGuards(clone.#owner);
    return clone;
  }

  #shareWith(clone: PageTable, { index, low, high }: RootEntry): void {
    const slot = this.#owner.slot(index);
    if (slot === undefined) {
      storeEntry(this.#owner.space.memory, pageNumber(clone.root), index, low, high);
      this.#owner.share(index).join(clone.#owner);
    } else if (clone.#owner.slot(index) === undefined) slot.join(clone);
  }

  /**
   * Gives all tables back, the root included. Parts are detached and keep their tables; clones keep those that they share. Every
   * later use throws `DESTROYED`. Mapped pages are not touched, and no flush is reported: no processor may use the page table any
   * more. O(tables × 512).
   *
   * @throws PageTableError `NO_FRAME_ALLOCATOR`, `DESTROYED`, `BUSY`; `CALLBACK_FAILED`, and it is destroyed all the same;
   *   `BUS_ERROR` if a table is outside memory: then nothing has been given back
   */
  destroy(): void {
    const { guard, space } = this.#owner;
    this.#owner.requireReady();
    space.frames.giveBack(this.#owner.ownTables());
    this.#owner.retire();
    guard.settle('destroy');
  }
}

/** Takes a frame for the root of a page table, and makes the page table. */
function withNewRoot(
  { selfMap: index }: PageTableOptions,
  frames: TableFrames,
  make: (root: PhysAddr) => PageTable,
): PageTable {
  const [root] = frames.take(1);
  return frames.linked([root as number], () => {
    const table = make(frameAddress(root as number));
    if (index !== undefined) storeSelfMap(ownerOf(table) as TableOwner, index);
    return table;
  });
}

/** Writes the root entry of the self-map, as COCONUT-SVSM does (`kernel/src/mm/pagetable.rs`). */
function storeSelfMap({ space }: TableOwner, index: number): void {
  const { memory, root, format } = space;
  const flags = PteFlags.Present | PteFlags.Writable | PteFlags.Accessed | PteFlags.Dirty;
  const noExecute = PteFlags.NoExecute & ~format.reservedHi;
  storeEntry(memory, root, index, frameLow(root) | flags, frameHigh(root) | format.privateHi | noExecute);
}

/** @throws PageTableError `INVALID_SELF_MAP` unless the root entry `index` leads to the root */
function requireSelfMap({ space }: TableOwner, index: number): void {
  const { memory, root, format, top } = space;
  const words = memory.words(root, false);
  const at = memory.wordOffset(root) + 2 * index;
  if ((words[at]! & PteFlags.Present) !== 0 && format.frame(words[at]!, words[at + 1]!, top) === root) return;
  const problem = 'the root entry does not lead back to the root';
  throw new PageTableError('INVALID_SELF_MAP', { value: index, problem });
}
