/** Page tables with pages of each size, a part, a clone and a self-map, and one operation of each kind on them. */
import { PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { type PagingConfig, pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import type { FrameAllocator } from '../../src/memory/frame-allocator.ts';
import type { PhysMemory } from '../../src/memory/phys-memory.ts';
import type { PageMapper } from '../../src/table/page-mapper.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { Tlb } from '../../src/walk/tlb.ts';
import type { TlbListener } from '../../src/walk/tlb-listener.ts';
import { FaultyMemory } from './faulty-memory.ts';
import { FramePool } from './frame-pool.ts';

export const PART = 511;
const CONFIG: PagingConfig = pagingConfig({ cBit: 51, physicalBits: 44 });
const LOW = 0x4000_0000n;
const KERNEL = 0xffff_ff80_0000_0000n;
const at = (address: bigint): VirtAddr => virtAddr(address);

/** Callbacks that a test puts around those of the world. */
export interface Wrapping {
  frames?(frames: FrameAllocator): FrameAllocator;
  listener?(listener: TlbListener): TlbListener;
  /** The epoch of memory: without one, nothing is remembered. */
  readonly hasEpoch?: boolean;
}

/** A page table with a TLB and a self-map, a clone of it with another TLB, and a part that is attached to both. */
export class FaultWorld {
  readonly plain: PhysMemory = createPhysMemory({ size: 0x10_0000 });
  readonly memory: FaultyMemory;
  readonly pool: FramePool = new FramePool(1, 200);
  readonly tlbs: readonly [Tlb, Tlb] = [new Tlb(), new Tlb()];
  readonly options: {
    readonly memory: PhysMemory;
    readonly frames: FrameAllocator;
    readonly config: PagingConfig;
    readonly freeEmptyTables: boolean;
  };
  readonly table: PageTable;
  readonly other: PageTable;
  readonly part: PageTablePart;
  /** The page tables and parts that live. */
  readonly living: Set<PageTable | PageTablePart>;

  constructor(freeEmptyTables: boolean, { frames, listener, hasEpoch = true }: Wrapping = {}) {
    this.memory = new FaultyMemory(this.plain, hasEpoch);
    const wrapped = (tlb: Tlb): TlbListener => listener?.(tlb) ?? tlb;
    this.options = {
      memory: this.memory,
      frames: frames?.(this.pool) ?? this.pool,
      config: CONFIG,
      freeEmptyTables,
    };
    this.table = PageTable.create({ ...this.options, tlb: wrapped(this.tlbs[0]), selfMap: 493 });
    this.other = PageTable.create({ ...this.options, tlb: wrapped(this.tlbs[1]) });
    this.part = PageTablePart.create(PART, this.options);
    this.part.attach(this.table);
    this.living = new Set([this.table, this.other, this.part]);
    for (const [mapper, base] of [
      [this.table, LOW],
      [this.part, KERNEL],
    ] as const) {
      mapper.map4k(at(base + 0x5000n), physAddr(0x5000), PteFlags.Writable);
      mapper.mapRegion(virtRegion(at(base + 0x20_0000n), 0x60_0000), physAddr(0x1_0000_0000), 2);
      mapper.map1g(at(base + 0x4000_0000n), physAddr(0x40_0000_0000), PteFlags.Writable);
      // 2 MiB of small pages, and 1 GiB of which only one large page is split, that can be collapsed.
      const small = virtRegion(at(base + 0xa0_0000n), PageSize.Huge);
      mapper.mapRegion(small, physAddr(0x2_0000_0000), 2, { pageSize: PageSize.Regular });
      mapper.map1g(at(base + 0x8000_0000n), physAddr(0x80_0000_0000), PteFlags.Writable);
      mapper.split4k(at(base + 0x8020_0000n));
    }
    this.fill();
  }

  /** Addresses in all that an operation can change. */
  get addresses(): VirtAddr[] {
    const offsets = [0x5000n, 0x20_0000n, 0x20_3000n, 0x40_0000n, 0x60_1000n, 0xa0_0000n, 0xa0_1000n];
    const far = [0x4000_0000n, 0x4020_1000n, 0x8000_0000n, 0x8020_0000n, 0x8020_1000n, 0xc000_0000n];
    const pages = [LOW, KERNEL].flatMap((base) => [...offsets, ...far].map((offset) => at(base + offset)));
    const { selfMap } = this.table;
    return [
      ...pages,
      ...pages.flatMap((page) => [0, 1, 2, 3].map((level) => selfMap!.entryAddress(page, level))),
    ];
  }

  /** Fills the TLBs, as processors do that use all addresses. */
  fill(): void {
    for (const [i, table] of [this.table, this.other].entries()) {
      if (!this.living.has(table)) continue;
      for (const vaddr of this.addresses) {
        const page = table.lookup(vaddr);
        if (page !== undefined) this.tlbs[i]!.insert(vaddr, page);
      }
    }
  }

  /** The entries of TLBs that are wrong and not stale. */
  forgotten(): string[] {
    const wrong: string[] = [];
    for (const [i, table] of [this.table, this.other].entries()) {
      if (!this.living.has(table)) continue;
      for (const vaddr of this.addresses) {
        const held = this.tlbs[i]!.lookup(vaddr);
        if (held === undefined || held.isStale) continue;
        const page = table.lookup(vaddr);
        const offset = vaddr & BigInt(held.page.size - 1);
        const isRight =
          page !== undefined &&
          page.paddr === held.page.frame + offset &&
          page.shared === held.page.shared &&
          page.writable === held.page.writable;
        if (!isRight) wrong.push(`${i} ${vaddr.toString(16)}`);
      }
    }
    return wrong;
  }

  /** The number of tables that are reached: those that some page table or part owns. */
  countTables(): number {
    return [...this.living].reduce((sum, one) => sum + one.countTables(), 0);
  }

  /** All that is mapped, with its flags, as `table` lists it that has read nothing before. */
  listing(): string {
    const roots = [...this.living].filter((one) => one instanceof PageTable).map(({ root }) => root);
    return roots.map((root) => listOf(this.plain, root)).join('\n');
  }
}

function listOf(memory: PhysMemory, root: PhysAddr): string {
  const leaves = PageTable.open(root, { memory, config: CONFIG }).leaves();
  return [
    ...leaves.map(({ vaddr, frame, size, shared, flags }) => [vaddr, frame, size, shared, flags].join()),
  ].join(' ');
}

/** An operation of a world. It returns a page table or part that it has made. */
export type Scenario = (world: FaultWorld) => unknown;

const both = (name: string, run: (mapper: PageMapper, base: bigint) => unknown): [string, Scenario][] => [
  [`${name} of a page table`, ({ table }) => run(table, LOW)],
  [`${name} in a part, of a page table`, ({ table }) => run(table, KERNEL)],
];
const F = PteFlags.Writable;

export const SCENARIOS: readonly (readonly [string, Scenario])[] = [
  ...both('map4k', (m, base) => m.map4k(at(base + 0xc000_0000n), physAddr(0x1000), F)),
  ...both('map4k with remap', (m, base) =>
    m.map4k(at(base + 0x4000_1000n), physAddr(0x1000), F, { remap: true }),
  ),
  ...both('map1g', (m, base) => m.map1g(at(base + 0x4_0000_0000n), physAddr(0), F)),
  ...both('mapRegion', (m, base) =>
    m.mapRegion(virtRegion(at(base + 0xbfff_f000n + 0x1000n), 0x40_3000), physAddr(0x1000), F),
  ),
  ...both('mapRegion with remap', (m, base) =>
    m.mapRegion(virtRegion(at(base + 0x20_1000n), 0x60_0000), physAddr(0x1000), F, { remap: true }),
  ),
  ...both('unmap4k', (m, base) => m.unmap4k(at(base + 0x5000n))),
  ...both('unmap1g', (m, base) => m.unmap1g(at(base + 0x4000_0000n))),
  ...both('unmapRegion that splits', (m, base) =>
    m.unmapRegion(virtRegion(at(base + 0x20_1000n), 0x40_0000)),
  ),
  ...both('unmapRegion that splits twice', (m, base) =>
    m.unmapRegion(virtRegion(at(base + 0x4020_1000n), 0x1000)),
  ),
  ...both('unmapRegion that empties tables', (m, base) =>
    m.unmapRegion(virtRegion(at(base), 0xc0_0000), { allowHoles: true }),
  ),
  ...both('protect4k', (m, base) => m.protect4k(at(base + 0x40_0000n), { clear: F })),
  ...both('protectRegion', (m, base) =>
    m.protectRegion(virtRegion(at(base + 0x20_1000n), 0x40_0000), { clear: F }),
  ),
  ...both('setShared4k', (m, base) => m.setShared4k(at(base + 0x5000n))),
  ...both('setShared4k that splits', (m, base) => m.setShared4k(at(base + 0x4000_5000n))),
  ...both('setSharedRegion', (m, base) => m.setSharedRegion(virtRegion(at(base + 0x20_1000n), 0x40_0000))),
  ...both('split4k', (m, base) => m.split4k(at(base + 0x4000_5000n))),
  ...both('split2m', (m, base) => m.split2m(at(base + 0x4000_5000n))),
  ...both('collapse', (m, base) => m.collapse(at(base + 0xa0_3000n))),
  ...both('collapse of two tables', (m, base) => m.collapse(at(base + 0x8020_3000n))),
  ['access', ({ table }) => table.access(at(LOW + 0x5000n), 'write')],
  [
    'access that faults',
    ({ table }) => table.access(at(LOW + 0x9000n), 'read', undefined, { accessedOnFault: true }),
  ],
  ['create', ({ options }) => PageTable.create(options)],
  ['create with a self-map', ({ options }) => PageTable.create({ ...options, selfMap: 300 })],
  ['PageTablePart.create', ({ options }) => PageTablePart.create(3, options)],
  ['cloneShared', ({ table }) => table.cloneShared([0, PART])],
  ['attach', ({ part, other }) => part.attach(other)],
  ['detach', ({ part, table }) => part.detach(table)],
  [
    'destroy',
    (world) => {
      world.table.destroy();
      world.living.delete(world.table);
    },
  ],
  ['countTables', ({ table }) => table.countTables()],
  ['mappings', ({ table }) => [...table.mappings()]],
];
