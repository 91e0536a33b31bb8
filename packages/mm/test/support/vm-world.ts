/** A machine for `Vmr`s: memory, an allocator, and processors with page tables and TLBs, of which anything can fail. */
import { PAGE_SIZE, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import {
  type AccessKind,
  allowsAccess,
  type CpuState,
  cpuState,
  createPhysMemory,
  PageTable,
  type PageTableOptions,
  type PhysMemory,
  PteFlags,
  pagingConfig,
  readPhys,
  Tlb,
  writePhys,
} from '@svsm/pagetable';
import {
  type FileLike,
  type PageStore,
  pageStore,
  Vmr,
  type VmrCpu,
  type VmrOptions,
} from '../../src/vm/index.ts';
import { forbidStale } from './forbid-stale.ts';

const MEMORY = 0x40_0000;
export const USER: MemoryRegion<VirtAddr> = virtRegion(virtAddr(0), 2n ** 47n);
export const page = (number: number | bigint): VirtAddr => virtAddr(BigInt(number) * BigInt(PAGE_SIZE));

/** The failure that a world injects. */
export class Injected extends Error {}

/** A processor: a page table, a TLB that keeps stale translations, and accesses as hardware makes them. */
export class WorldCpu implements VmrCpu {
  readonly tlb: Tlb;
  readonly pageTable: PageTable;
  readonly #world: VmWorld;
  flushes = 0;

  constructor(world: VmWorld) {
    this.#world = world;
    this.tlb = new Tlb({
      levels: world.tables.config!.levels,
      onStaleUse: ({ staleBy }, vaddr) => {
        if (!world.isLooking) world.stale.push(`${vaddr.toString(16)} since ${staleBy}`);
      },
    });
    this.pageTable = PageTable.create({ ...world.tables, tlb: this.tlb });
  }

  flush(region: MemoryRegion<VirtAddr>): void {
    this.#world.step('flush');
    this.flushes += 1;
    const { start, size } = region;
    if (size / 4096n > 1024n) this.tlb.flushAll();
    else this.tlb.flushRange({ start, pages: Number(size / 4096n), includeGlobal: true });
  }

  /**
   * An access: by the TLB, else by a walk, and by `vmr` after a page fault. The physical address, or the error code of the fault
   * that nobody has resolved.
   */
  access(vmr: Vmr, vaddr: VirtAddr, kind: AccessKind, cpl: 0 | 3 = 3): PhysAddr | number {
    const state = cpuState({ cpl, ac: cpl === 0 });
    for (let attempt = 0; attempt < 4; attempt += 1) {
      const answer = this.try(vaddr, kind, state);
      if (typeof answer === 'bigint') return answer;
      if (!vmr.handlePageFault(vaddr, answer, state)) return answer;
    }
    throw new Error(`the fault at 0x${vaddr.toString(16)} is never resolved`);
  }

  /** One attempt of an access: the physical address, or the error code of its fault. */
  try(vaddr: VirtAddr, kind: AccessKind, state: CpuState): PhysAddr | number {
    const held = this.tlb.lookup(vaddr)?.page;
    if (held !== undefined && allowsAccess(held, kind, state)) {
      return (held.frame + (vaddr & BigInt(held.size - 1))) as PhysAddr;
    }
    // A processor walks again before it raises a fault, and drops the entry.
    this.tlb.flushPage(vaddr);
    const result = this.pageTable.access(vaddr, kind, state, { fill: this.tlb });
    if (result.type === 'general-protection') throw new Error('#GP');
    return result.type === 'translation' ? result.paddr : result.errorCode;
  }
}

/** Memory, an allocator, and processors. */
export class VmWorld {
  readonly memory: PhysMemory = createPhysMemory({ size: MEMORY });
  /** Frames of tables, and pages of mappings. */
  readonly pages: PageAllocator<PhysAddr>;
  readonly tables: Omit<PageTableOptions, 'tlb' | 'selfMap'>;
  readonly store: PageStore;
  readonly cpus: readonly WorldCpu[];
  readonly stale: string[] = [];
  /** Whether the test looks at a TLB itself. */
  isLooking = false;
  /** The kinds of the steps so far, since {@link arm}. */
  steps: string[] = [];
  #failAt = -1;

  constructor(cpus = 2, options: { readonly levels?: 4 | 5 } = {}) {
    forbidStale(this.stale);
    this.pages = new PageAllocator(physRegion(physAddr(0), MEMORY));
    this.tables = {
      memory: this.memory,
      config: pagingConfig({ ...options, cBit: 51 }),
      freeEmptyTables: true,
      frames: {
        allocateFrame: () => {
          this.step('frame');
          return this.pages.allocatePage();
        },
        freeFrame: (frame) => this.pages.freePage(frame),
      },
    };
    const store = pageStore(this.pages, {
      toPhys: (frame) => frame,
      fromPhys: (frame) => frame,
      clear: (frame) => {
        this.step('clear');
        writePhys(this.memory, frame, new Uint8Array(PAGE_SIZE));
      },
      copy: (from, to) => {
        this.step('copy');
        writePhys(this.memory, to, readPhys(this.memory, from, PAGE_SIZE));
      },
    });
    this.store = {
      ...store,
      reference: (frame) => {
        this.step('reference');
        return store.reference(frame);
      },
    };
    this.cpus = Array.from({ length: cpus }, () => new WorldCpu(this));
  }

  vmr(region: MemoryRegion<VirtAddr> = USER, options: Partial<VmrOptions> = { flags: PteFlags.User }): Vmr {
    return new Vmr(region, { ...this.tables, ...options });
  }

  /** The number of free pages. */
  get free(): number {
    return this.pages.memoryInfo().freePages;
  }

  /** Lets the step with this number fail, counted from now on. None if it is negative. */
  arm(failAt: number): void {
    this.steps = [];
    this.#failAt = failAt;
  }

  step(kind: string): void {
    const isLast = this.steps.push(kind) === this.#failAt + 1;
    if (isLast) throw new Injected(kind);
  }

  /** The first byte of a frame. */
  byte(at: PhysAddr): number {
    return readPhys(this.memory, at, 1)[0]!;
  }

  setByte(at: PhysAddr, value: number): void {
    writePhys(this.memory, at, Uint8Array.of(value));
  }

  /** A file of pages, each with a byte at its start. */
  file(bytes: readonly number[]): FileLike & { readonly frames: readonly PhysAddr[]; close(): void } {
    const frames = bytes.map((byte) => {
      const frame = this.store.allocate();
      this.setByte(frame, byte);
      return frame;
    });
    return {
      frames,
      size: BigInt(frames.length * PAGE_SIZE),
      page: (index) => frames[index]!,
      close: () => {
        for (const frame of frames) this.store.release(frame);
      },
    };
  }

  /** The frames that a TLB can still reach, of these pages. */
  *reachable(pages: Iterable<VirtAddr>): Generator<PhysAddr, undefined, undefined> {
    this.isLooking = true;
    try {
      for (const vaddr of pages)
        for (const { tlb } of this.cpus) {
          const held = tlb.lookup(vaddr)?.page;
          if (held !== undefined) yield (held.frame + (vaddr & BigInt(held.size - 1) & ~0xfffn)) as PhysAddr;
        }
    } finally {
      this.isLooking = false;
    }
  }
}
