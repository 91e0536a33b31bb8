/**
 * Bad input for every operation: page tables in any state, in memory of any kind, and arguments that are sound, near an edge,
 * or of another type. A page table has sound pages of each size, a corrupted entry, an entry that leads outside memory, an
 * entry that leads back to the root, and with vTOM a page that is always shared. Callbacks may throw, and call back.
 */
import { PageSize, type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import type { ERRORS_OF } from '../../src/entry/error-codes.ts';
import * as pagetable from '../../src/index.ts';
import { FramePool } from './frame-pool.ts';

export type Operation = keyof typeof ERRORS_OF;
export type Random = (below: number) => number;

const { createPhysMemory, PageTable, PageTablePart, pagingConfig, PteFlags, selfMap, Tlb } = pagetable;
const { readPhys, readPhys8, readPhys16, readPhys32, readPhys64 } = pagetable;
const { writePhys, writePhys8, writePhys16, writePhys32, writePhys64 } = pagetable;
type Memory = pagetable.PhysMemory;

/** Page tables take frames from 0 on, allocators from 24 on, and the allocators of parts from 36 on. */
const FRAMES = 48;
const BYTES = FRAMES * 0x1000;
/** The root entry at which a part is attached, the one that leads back to the root, and the one with PS set. */
const PART = 5;
const SELF = 300;
const LARGE = 6;
const ROOT_ENTRY = 2n ** 39n;

const CONFIGS = [
  pagingConfig({ cBit: 51, physicalBits: 46 }),
  pagingConfig({ encryption: { mode: 'vtom', bit: 40 }, physicalBits: 48, giantPages: false }),
  pagingConfig({ physicalBits: 46, noExecute: false }),
];

/** The bytes of a sound and of a corrupted page table for each configuration. */
const IMAGES = CONFIGS.map((config) => [false, true].map((isCorrupted) => imageOf(config, isCorrupted)));

function imageOf(config: pagetable.PagingConfig, isCorrupted: boolean): Uint8Array {
  const memory = createPhysMemory({ size: BYTES });
  const table = PageTable.create({ memory, config, frames: new FramePool(0, 24) });
  const at = (vaddr: number): VirtAddr => BigInt(vaddr) as VirtAddr;
  const shared = config.encryption !== undefined;
  for (const vaddr of [0x1000, 0x3000, 0x4000]) table.map4k(at(vaddr), physAddr(vaddr), 3);
  table.map4k(at(0x2000), physAddr(0x2000), 3, { shared });
  table.map2m(at(0x20_0000), physAddr(0x20_0000), 3, { shared });
  table.map2m(at(0xa0_0000), physAddr(0xa0_0000), 3);
  if (config.giantPages) table.map1g(at(0x4000_0000), physAddr(0x4000_0000), 3, { shared });
  // 512 small pages that can be one large page.
  const parts = { start: at(0x60_0000), end: 0x80_0000n };
  table.mapRegion(parts, physAddr(0x60_0000), 3, { pageSize: PageSize.Regular });
  const set = (vaddr: number, level: number, bits: bigint): void => {
    const { table: first, index } = table.walk(at(vaddr)).path.find((step) => step.level === level)!;
    const paddr = (first + 8n * BigInt(index)) as PhysAddr;
    writePhys64(memory, paddr, readPhys64(memory, paddr) | bits);
  };
  // With vTOM, an address above its bit.
  if (config.encryption?.mode === 'vtom') {
    set(0x3000, 0, 1n << 42n);
    set(0xa0_0000, 1, 1n << 42n);
  }
  if (isCorrupted) {
    set(0x4000, 0, 1n << BigInt(config.physicalBits));
    set(0x20_0000, 1, 0x2000n);
    set(0x80_0000, 1, 0x700_0027n);
    writePhys64(memory, physAddr(8 * SELF), table.cr3 | 0x27n);
    writePhys64(memory, physAddr(8 * LARGE), 0x83n);
  }
  return readPhys(memory, physAddr(0), BYTES);
}

/** The objects that calls share: a page table, sometimes with a part, and a page table of another memory. */
export class World {
  readonly config: pagetable.PagingConfig;
  readonly memory: Memory;
  readonly table: pagetable.PageTable;
  readonly part: pagetable.PageTablePart | undefined;
  readonly other: pagetable.PageTable;
  readonly options: pagetable.PageTableOptions & { readonly config: pagetable.PagingConfig };
  readonly tlb: pagetable.Tlb = new Tlb();
  /** Called by memory of one kind at each access. */
  #onAccess: (() => void) | undefined;

  constructor(random: Random) {
    const index = random(CONFIGS.length);
    this.config = CONFIGS[index]!;
    const buffer = pick(random, IMAGES[index]!).slice().buffer as ArrayBuffer;
    const kind = random(7);
    this.memory = memoryOf(kind, buffer, () => this.#onAccess?.());
    const tlb = random(3) === 0 ? { needsFlush: fail } : this.tlb;
    this.options = {
      memory: this.memory,
      config: this.config,
      ...framesOf(random),
      freeEmptyTables: random(2) === 0,
      tlb,
      ...(random(4) === 0 ? { selfMap: pick(random, [SELF, SELF, SELF, 1, 512]) } : {}),
    };
    this.table = withoutError(() => PageTable.open(physAddr(0), this.options)) ?? this.#plain();
    this.other = PageTable.create({
      memory: createPhysMemory({ size: 0x1000 }),
      config: this.config,
      frames: new FramePool(0, 1),
    });
    this.part = random(2) === 0 ? this.#attach(random) : undefined;
    if (random(12) === 0) withoutError(() => this.table.destroy());
    // All memory is gone.
    if (kind === 1 && random(4) === 0) buffer.transfer();
  }

  /** Makes a call, at times from a callback of the page table or part. */
  run(random: Random, call: () => unknown): unknown {
    if (random(4) > 0) return call();
    let outcome: (() => unknown) | undefined;
    this.#onAccess = () => {
      this.#onAccess = undefined;
      try {
        const result = call();
        outcome = () => result;
      } catch (error) {
        outcome = () => {
          throw error;
        };
      }
    };
    withoutError(() => this.mapper(random).lookup(this.part === undefined ? (0n as VirtAddr) : partStart));
    this.#onAccess = undefined;
    return outcome === undefined ? call() : outcome();
  }

  /** The page table, or the part. */
  mapper(random: Random): pagetable.PageMapper {
    return this.part !== undefined && random(3) === 0 ? this.part : this.table;
  }

  #plain(): pagetable.PageTable {
    return PageTable.open(physAddr(0), { memory: this.memory, config: this.config });
  }

  #attach(random: Random): pagetable.PageTablePart | undefined {
    const { memory, config, freeEmptyTables = false } = this.options;
    const pool = random(2) === 0 ? new FramePool(36, 1 + random(6)) : new FramePool(36, 12);
    const own = random(3) === 0 ? { allocateFrame: () => pool.allocateFrame(), freeFrame: fail } : pool;
    return withoutError(() => {
      const part = PageTablePart.create(PART, { memory, config, freeEmptyTables, frames: own });
      if (random(8) > 0) part.attach(this.table);
      if (random(3) > 0) part.map4k(partStart, physAddr(0x1000), 7);
      if (random(12) === 0) part.destroy();
      return part;
    });
  }
}

const partStart = (BigInt(PART) * ROOT_ENTRY) as VirtAddr;

function memoryOf(kind: number, buffer: ArrayBuffer, onAccess: () => void): Memory {
  const bytes = new Uint8Array(buffer);
  if (kind === 0) {
    return createPhysMemory({
      readFrame: (frame, into) => {
        if (frame >= FRAMES) return false;
        into.set(bytes.subarray(frame * 0x1000, (frame + 1) * 0x1000));
        return true;
      },
    });
  }
  if (kind === 1) return createPhysMemory({ buffer });
  const memory = createPhysMemory({ size: BYTES });
  writePhys(memory, physAddr(0), bytes);
  if (kind !== 6) return memory;
  return {
    epoch: Number.NaN,
    words: (frame, write) => {
      onAccess();
      return memory.words(frame, write);
    },
    wordOffset: (frame) => memory.wordOffset(frame),
  };
}

function fail(): never {
  throw new Error('the callback fails');
}

/** No allocator, one with frames, one that runs out, or one that returns frames that cannot be tables. */
function framesOf(random: Random): { frames?: pagetable.FrameAllocator } {
  const kind = random(6);
  if (kind === 0) return {};
  if (kind === 1) return { frames: freely(() => [physAddr(0x8), physAddr(0x7000_0000)][random(2)]!) };
  const pool = new FramePool(24, 12);
  if (kind === 2) pool.left = random(2);
  // Tables that the pool has not given can be freed too.
  return { frames: freely(() => pool.allocateFrame(), random(4) === 0 ? fail : undefined) };
}

function freely(allocateFrame: () => PhysAddr, freeFrame: () => void = () => {}): pagetable.FrameAllocator {
  return { allocateFrame, freeFrame };
}

function withoutError<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (pagetable.isPageTableError(error)) return undefined;
    throw error;
  }
}

const pick = <T>(random: Random, values: readonly T[]): T => values[random(values.length)]!;

/** Uses a TLB; now and then while its `onStaleUse` runs. */
function onTlb(random: Random, use: (tlb: pagetable.Tlb) => unknown): unknown {
  if (random(4) > 0) return use(new Tlb());
  const tlb: pagetable.Tlb = new Tlb({ onStaleUse: () => use(tlb) });
  tlb.insert(0n as never, PAGE as never);
  tlb.needsFlush(0n as never, 4096);
  return tlb.lookup(0n as never);
}

/** Values of every type that no operation takes, and integers at edges. */
const HOSTILE: readonly unknown[] = [
  ...[undefined, null, true, 'x', 0.5, Number.NaN, -1, 2 ** 32, 2 ** 53, Symbol('x'), {}, [], () => {}],
  ...[-1n, 1n, 2n ** 47n, 2n ** 52n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 64n, 2n ** 80n],
];

const self = selfMap(SELF).entryAddress;
const ADDRESSES: readonly bigint[] = [
  ...[
    0x1000n,
    0x2000n,
    0x3000n,
    0x4000n,
    0x5000n,
    0x20_0000n,
    0x20_1000n,
    0x40_0000n,
    0x4000_0000n,
    0x8000_0000n,
  ],
  ...[0x4001_2000n, 0x60_0000n, 0x60_0000n, 0x60_1000n, 0x80_0000n, 0x80_1000n, 0xa0_0000n, 0xa0_1000n],
  ...[
    partStart,
    partStart + 0x1000n,
    partStart - 0x1000n,
    partStart + ROOT_ENTRY - 0x1000n,
    partStart - 0x20_0000n,
  ],
  ...[0, 1, 2, 3].map((level) => self(0x1000n as VirtAddr, level) & ~0xfffn),
  // Through the root twice: a 1 GiB page of the PDPT as one of 2 MiB, and a corrupted entry of the root as one of 1 GiB.
  ...[0xffff_9600_0020_0000n, 0xffff_9600_0000_0000n + BigInt(LARGE) * 2n ** 30n],
  ...[0x7fff_ffff_f000n, 0xffff_8000_0000_0000n, 0xffff_ffff_ffff_f000n, BigInt(LARGE) * ROOT_ENTRY],
];

/** A virtual address: mostly a sound one, at times misaligned, at times anything. */
function vaddr(random: Random): VirtAddr {
  if (random(16) === 0) return pick(random, HOSTILE) as VirtAddr;
  const address = pick(random, ADDRESSES);
  return (random(8) === 0 ? address + 8n : address) as VirtAddr;
}

/** As {@link vaddr}, but often one that is a multiple of 1 GiB, mapped or not. */
function giant(random: Random): VirtAddr {
  return random(3) === 0 ? vaddr(random) : (pick(random, [0x4000_0000n, 0xffff_8000_0000_0000n]) as VirtAddr);
}

function paddr(random: Random): PhysAddr {
  if (random(10) === 0) return pick(random, HOSTILE) as PhysAddr;
  return pick(random, [
    0x1000n,
    0x20_0000n,
    0x4000_0000n,
    0x1008n,
    2n ** 46n,
    2n ** 40n - 0x1000n,
  ]) as PhysAddr;
}

/** A value, at times one of any type. */
function mostly<T>(random: Random, value: T): T {
  return random(24) === 0 ? (pick(random, HOSTILE) as T) : value;
}

function region(random: Random): pagetable.VirtBounds {
  const kind = random(32);
  if (kind === 0) return pick(random, HOSTILE) as pagetable.VirtBounds;
  if (kind < 3) return { start: vaddr(random), end: pick(random, HOSTILE) as bigint };
  const start = vaddr(random);
  const pages = pick(random, [0n, 1n, 1n, 2n, 512n, 513n, 0x4_0000n]);
  return { start, end: (typeof start === 'bigint' ? start : 0n) + pages * 0x1000n };
}

function flags(random: Random): number {
  if (random(10) === 0) return pick(random, HOSTILE) as number;
  return pick(random, [3, 7, 1, 0x183, PteFlags.Pat, PteFlags.PatLarge, 0x2000, PteFlags.NoExecute]);
}

const SIZES = [PageSize.Regular, PageSize.Huge, PageSize.Giant, undefined, 5] as readonly PageSize[];

function mapOptions(random: Random): pagetable.MapRegionOptions {
  if (random(24) === 0) return pick(random, HOSTILE) as pagetable.MapRegionOptions;
  const pageSize = pick(random, SIZES);
  return {
    shared: random(4) === 0,
    remap: random(2) === 0,
    ...(pageSize === undefined ? {} : { pageSize }),
  };
}

function pageOptions(random: Random): pagetable.MapOptions {
  return mostly(random, { shared: random(4) === 0, remap: random(2) === 0 });
}

function change(random: Random): pagetable.FlagChange {
  if (random(24) === 0) return pick(random, HOSTILE) as pagetable.FlagChange;
  return { set: random(2) === 0 ? flags(random) : 0x200, clear: random(3) === 0 ? flags(random) : 2 };
}

function listing(random: Random): pagetable.ListingOptions {
  if (random(24) === 0) return pick(random, HOSTILE) as pagetable.ListingOptions;
  return {
    ...(random(3) > 0 ? { within: region(random) } : {}),
    ...(random(3) === 0 ? { onFault: () => {} } : {}),
  };
}

const any = (random: Random): never => pick(random, HOSTILE) as never;
const some = (random: Random, values: readonly unknown[]): never =>
  pick(random, random(6) === 0 ? HOSTILE : values) as never;
const registers = (random: Random): never =>
  some(random, [0, 0n, 1n << 22n, 1n << 24n, 0x8005_0033n, 0xffff_ffffn]);

type Call = (random: Random, world: World) => unknown;

const levelOf = (random: Random): never => some(random, [0, 1, 2, 3, 4, 5]);
const PAGE: pagetable.MappedPage = {
  ...{ size: PageSize.Regular, frame: physAddr(0x1000), paddr: physAddr(0x1000), shared: false, flags: 3 },
  ...{ writable: true, user: false, executable: true, shadowStack: false },
};
const CONTROL = pagetable.controlState();
const FEATURES = pagetable.processorFeatures();
const MTRRS = pagetable.decodeMtrrs({ defType: 0x806n });
const INTEL_MTRRS = pagetable.decodeMtrrs({ defType: 0x806n }, pagingConfig({ vendor: 'intel' }));
const mtrrs = (random: Random): pagetable.Mtrrs => pick(random, [MTRRS, MTRRS, INTEL_MTRRS]);
const control = (random: Random): pagetable.CacheControl =>
  pagetable.cacheControl({ mtrrs: mtrrs(random), cr0: pick(random, [0x8000_0000n, 0n]) });

/** The options of a page table, at times with a configuration of any type, at times any value. */
function tableOptions(random: Random, { options }: World, frames: object = {}): pagetable.PageTableOptions {
  return mostly(random, { ...options, ...frames, config: mostly(random, options.config) });
}

/** One call of each operation. */
export const CALLS: Readonly<Record<Operation, Call>> = {
  'PageMapper.map4k': (r, w) => w.mapper(r).map4k(vaddr(r), paddr(r), flags(r), pageOptions(r)),
  'PageMapper.map2m': (r, w) => w.mapper(r).map2m(vaddr(r), paddr(r), flags(r), pageOptions(r)),
  'PageMapper.map1g': (r, w) =>
    w
      .mapper(r)
      .map1g(
        giant(r),
        r(2) === 0 ? physAddr(0x4000_0000) : paddr(r),
        r(2) === 0 ? 3 : flags(r),
        pageOptions(r),
      ),
  'PageMapper.mapRegion': (r, w) => w.mapper(r).mapRegion(region(r), paddr(r), flags(r), mapOptions(r)),
  'PageMapper.unmap4k': (r, w) => w.mapper(r).unmap4k(vaddr(r)),
  'PageMapper.unmap2m': (r, w) => w.mapper(r).unmap2m(vaddr(r)),
  'PageMapper.unmap1g': (r, w) => w.mapper(r).unmap1g(vaddr(r)),
  'PageMapper.unmapRegion': (r, w) =>
    w.mapper(r).unmapRegion(region(r), mostly(r, { allowHoles: r(2) === 0 })),
  'PageMapper.protect4k': (r, w) => w.mapper(r).protect4k(vaddr(r), change(r)),
  'PageMapper.protectRegion': (r, w) => w.mapper(r).protectRegion(region(r), change(r)),
  'PageMapper.setShared4k': (r, w) => w.mapper(r).setShared4k(vaddr(r)),
  'PageMapper.setEncrypted4k': (r, w) => w.mapper(r).setEncrypted4k(vaddr(r)),
  'PageMapper.setSharedRegion': (r, w) => w.mapper(r).setSharedRegion(region(r)),
  'PageMapper.setEncryptedRegion': (r, w) => w.mapper(r).setEncryptedRegion(region(r)),
  'PageMapper.split4k': (r, w) => w.mapper(r).split4k(vaddr(r)),
  'PageMapper.split2m': (r, w) => w.mapper(r).split2m(vaddr(r)),
  'PageMapper.collapse': (r, w) => w.mapper(r).collapse(vaddr(r), pick(r, SIZES) as PageSize),
  'PageMapper.translate': (r, w) => w.mapper(r).translate(vaddr(r)),
  'PageMapper.frameAt': (r, w) => w.mapper(r).frameAt(vaddr(r)),
  'PageMapper.lookup': (r, w) => w.mapper(r).lookup(vaddr(r)),
  'PageMapper.walk': (r, w) => w.mapper(r).walk(vaddr(r)),
  'PageMapper.mappings': (r, w) => [...w.mapper(r).mappings(listing(r)).take(700)],
  'PageMapper.leaves': (r, w) => [...w.mapper(r).leaves(listing(r)).take(700)],
  'PageMapper.countTables': (r, w) => w.mapper(r).countTables(),
  'PageTable.access': (r, w) =>
    w.table.access(
      vaddr(r),
      some(r, ['read', 'write', 'fetch']),
      mostly(r, undefined),
      mostly(r, { update: r(3) > 0, fill: r(3) === 0 ? { insert: fail } : w.tlb }),
    ),
  maskAddress: (r) => pagetable.maskAddress(vaddr(r), some(r, [pagetable.cpuState()]), some(r, [4, 5])),
  allowsAccess: (r) =>
    pagetable.allowsAccess(mostly(r, PAGE), some(r, ['read']), some(r, [pagetable.cpuState()])),
  'PageTable.create': (r, w) => PageTable.create(tableOptions(r, w)),
  'PageTable.open': (r, w) => PageTable.open(paddr(r), tableOptions(r, w, framesOf(r))),
  'PageTable.cloneShared': (r, w) => w.table.cloneShared(mostly(r, [some(r, [0, 5, 7, 300, 511])])),
  'PageTable.destroy': (_, w) => w.table.destroy(),
  'PageTablePart.create': (r, w) => PageTablePart.create(some(r, [5, 7, 511]), tableOptions(r, w)),
  'PageTablePart.attach': (r, w) => w.part?.attach(pick(r, [w.table, w.other, w.part as never])),
  'PageTablePart.detach': (r, w) => w.part?.detach(pick(r, [w.table, w.table, w.other])),
  'PageTablePart.destroy': (r, w) => {
    if (r(2) === 0) withoutError(() => w.part?.detach(w.table));
    // A table of the part is moved out of memory.
    if (r(3) === 0 && w.part !== undefined) {
      withoutError(() => writePhys64(w.memory, w.part!.root, 0x7000_0027n));
    }
    return w.part?.destroy();
  },
  selfMap: (r) => selfMap(some(r, [0, 493, 511, 512])),
  'SelfMap.entryAddress': (r) => self(vaddr(r), levelOf(r)),
  'SelfMap.tableAddress': (r) => selfMap(SELF).tableAddress(vaddr(r), levelOf(r)),

  decodeEntry: (r) =>
    pagetable.decodeEntry(some(r, [0n, 1n, 0x83n]), levelOf(r), mostly(r, pick(r, CONFIGS))),
  encodeEntry: (r) => {
    const fields = { address: paddr(r), flags: flags(r), shared: r(3) === 0, leaf: r(2) === 0 };
    return pagetable.encodeEntry(fields, levelOf(r), mostly(r, pick(r, CONFIGS)));
  },
  reservedBits: (r) =>
    pagetable.reservedBits(some(r, [0n, 1n, 0x83n]), levelOf(r), mostly(r, pick(r, CONFIGS))),
  nameEntry: (r) => pagetable.nameEntry(some(r, [0n, 1n, 0x83n]), levelOf(r), mostly(r, pick(r, CONFIGS))),
  leafFlags: (r) => pagetable.leafFlags(levelOf(r), { pat: any(r), writable: true }),
  tableFlags: (r) => pagetable.tableFlags({ [pick(r, ['writable', 'dirty', 'softwareLow'])]: any(r) }),
  leafBits: (r) => pagetable.leafBits(flags(r), levelOf(r)),
  tableBits: (r) => pagetable.tableBits(flags(r)),

  pagingConfig: (r) =>
    pagingConfig({ levels: some(r, [4, 5]), physicalBits: some(r, [46, 52]), cBit: some(r, [51]) }),
  pagingConfigFromRegisters: (r) =>
    pagetable.pagingConfigFromRegisters({ cr4: registers(r), efer: registers(r) }, { cBit: some(r, [51]) }),
  processorFeatures: (r) =>
    pagetable.processorFeatures({
      vendor: some(r, ['amd']),
      physicalBits: some(r, [46]),
      cr4Mask: registers(r),
    }),
  cpuState: (r) => pagetable.cpuState({ cpl: some(r, [0, 3]), wp: some(r, [true]), pkru: some(r, [0]) }),
  cpuStateFromRegisters: (r) =>
    pagetable.cpuStateFromRegisters({
      cr0: registers(r),
      cr4: registers(r),
      cpl: some(r, [0]),
      pkru: registers(r),
    }),
  controlState: (r) => pagetable.controlState({ cr0: registers(r), cr4: registers(r) }),
  setCr0: (r) => pagetable.setCr0(some(r, [CONTROL]), registers(r), some(r, [FEATURES]), any(r)),
  setCr3: (r) => pagetable.setCr3(some(r, [CONTROL]), registers(r), some(r, [FEATURES]), any(r)),
  setCr4: (r) => pagetable.setCr4(some(r, [CONTROL]), registers(r), some(r, [FEATURES]), any(r)),
  writeEfer: (r) => pagetable.writeEfer(some(r, [CONTROL]), registers(r), some(r, [FEATURES])),
  processorMode: (r) => pagetable.processorMode(some(r, [CONTROL])),
  pagingMode: (r) => pagetable.pagingMode(some(r, [CONTROL])),
  currentPcid: (r) => pagetable.currentPcid(some(r, [CONTROL])),

  decodePat: (r) => pagetable.decodePat(some(r, [pagetable.PAT_RESET, 2n])),
  encodePat: (r) => pagetable.encodePat(some(r, [pagetable.decodePat(pagetable.PAT_RESET), ['UC']])),
  patIndex: (r) => pagetable.patIndex(flags(r), levelOf(r)),
  tablePatIndex: (r) => pagetable.tablePatIndex(flags(r)),
  decodeMtrrs: (r) =>
    pagetable.decodeMtrrs(
      { defType: registers(r), cap: registers(r), variable: some(r, [[]]) },
      mostly(r, pick(r, CONFIGS)),
    ),
  encodeVariableMtrr: (r) =>
    pagetable.encodeVariableMtrr(paddr(r), some(r, [0x1000n]), some(r, ['WB']), mostly(r, pick(r, CONFIGS))),
  mtrrType: (r) => pagetable.mtrrType(mostly(r, mtrrs(r)), paddr(r), pick(r, SIZES)),
  accessTarget: (r) => pagetable.accessTarget(mtrrs(r), paddr(r)),
  combineMemoryTypes: (r) =>
    pagetable.combineMemoryTypes(some(r, ['WB', 'UC-']), some(r, ['WB']), some(r, ['amd'])),
  combineGuestAndHostTypes: (r) => pagetable.combineGuestAndHostTypes(some(r, ['WB']), some(r, ['WB'])),
  cacheControl: (r) => pagetable.cacheControl({ mtrrs: mtrrs(r), cr0: registers(r), pat: some(r, [0n, 2n]) }),
  memoryTypesOf: (r) =>
    pagetable.memoryTypesOf(
      mostly(r, { paddr: paddr(r), size: pick(r, SIZES), flags: flags(r) }),
      mostly(r, control(r)),
    ),
  tableMemoryTypesOf: (r) => pagetable.tableMemoryTypesOf(flags(r), paddr(r), control(r)),
  nestedMemoryTypesOf: (r) => {
    const page = (): never => ({ paddr: paddr(r), size: pick(r, SIZES), flags: flags(r) }) as never;
    return pagetable.nestedMemoryTypesOf(mostly(r, page()), page(), { cr0: registers(r) }, control(r));
  },

  createPhysMemory: (r) =>
    pick(r, [
      () => createPhysMemory({ size: some(r, [0, 0x1000, 0x1001, 2 ** 52]), start: paddr(r) }),
      () => createPhysMemory({ buffer: new ArrayBuffer(pick(r, [0, 0x1000, 0x800])) }),
      () => createPhysMemory({ readFrame: () => false, cachedFrames: some(r, [1, 0]) }),
    ])(),
  'PhysMemory.words': (r, w) => w.memory.words(some(r, [0, 5, FRAMES - 1, FRAMES, 2 ** 40]), r(2) === 0),
  readPhys: (r, w) => readPhys(mostly(r, w.memory), paddr(r), some(r, [0, 8, 0x2000, BYTES])),
  readPhys8: (r, w) => readPhys8(mostly(r, w.memory), paddr(r)),
  readPhys16: (r, w) => readPhys16(mostly(r, w.memory), paddr(r)),
  readPhys32: (r, w) => readPhys32(mostly(r, w.memory), paddr(r)),
  readPhys64: (r, w) => readPhys64(mostly(r, w.memory), paddr(r)),
  writePhys: (r, w) => writePhys(w.memory, paddr(r), mostly(r, new Uint8Array(pick(r, [0, 8, 0x2000])))),
  writePhys8: (r, w) => writePhys8(mostly(r, w.memory), paddr(r), some(r, [0, 1, 2 ** 8])),
  writePhys16: (r, w) => writePhys16(mostly(r, w.memory), paddr(r), some(r, [0, 1, 2 ** 16])),
  writePhys32: (r, w) => writePhys32(mostly(r, w.memory), paddr(r), some(r, [0, 1, 2 ** 32])),
  writePhys64: (r, w) => writePhys64(mostly(r, w.memory), paddr(r), some(r, [0n, 1n])),
  'PhysMemoryRule.check': (r) => {
    const memory = createPhysMemory({ size: 0x4000 });
    const words = (): Uint32Array => new Uint32Array(4096);
    const subject = { memory: { ...memory, epoch: 0, words, wordOffset: () => 0 }, start: physAddr(0x1000) };
    const rule = pick(r, pagetable.PHYS_MEMORY_RULES);
    return rule.check(mostly(r, { ...subject, outside: physAddr(0x4000), writable: r(2) === 0 }));
  },

  'Tlb.constructor': (r) => new Tlb({ fullFlushThreshold: some(r, [0, 5]) }),
  'Tlb.lookup': (r) => onTlb(r, (tlb) => tlb.lookup(vaddr(r))),
  'Tlb.insert': (r) => onTlb(r, (tlb) => tlb.insert(vaddr(r), mostly(r, PAGE))),
  'Tlb.needsFlush': (r) => new Tlb().needsFlush(vaddr(r), some(r, [0, 0x1000, 8])),
  'Tlb.forPcid': (r) => new Tlb().forPcid(some(r, [0, 4095, 4096])),
  'Tlb.flushPage': (r) => onTlb(r, (tlb) => tlb.flushPage(vaddr(r))),
  'Tlb.flushPageOf': (r) => onTlb(r, (tlb) => tlb.flushPageOf(some(r, [0, 4096]), vaddr(r))),
  'Tlb.flushNonGlobal': (r) => onTlb(r, (tlb) => tlb.flushNonGlobal(some(r, [0, 4096]))),
  'Tlb.flushRange': (r) =>
    onTlb(r, (tlb) => tlb.flushRange({ start: vaddr(r), pages: some(r, [0, 1, 9]), pcid: some(r, [1]) })),
  'Tlb.flushPending': (r) => onTlb(r, (tlb) => tlb.flushPending()),
  'Tlb.flushAll': (r) => onTlb(r, (tlb) => tlb.flushAll()),
  'Tlb.loadCr3': (r) => onTlb(r, (tlb) => tlb.loadCr3({ pcid: some(r, [0, 5]), keep: r(2) === 0 })),
  'Tlb.setGlobalPages': (r) => onTlb(r, (tlb) => tlb.setGlobalPages(any(r))),
  'Tlb.setSmep': (r) => onTlb(r, (tlb) => tlb.setSmep(any(r))),
  'Tlb.setPcids': (r) => onTlb(r, (tlb) => tlb.setPcids(any(r))),
  invpcid: (r) =>
    onTlb(r, (tlb) =>
      pagetable.invpcid(tlb, some(r, [0, 1, 2, 3]), { pcid: some(r, [0, 5]), vaddr: vaddr(r) }),
    ),
  invlpgb: (r) =>
    onTlb(r, (tlb) => pagetable.invlpgb(tlb, { rax: registers(r), ecx: some(r, [0]), edx: some(r, [0]) })),
  applyTlbControl: (r) => onTlb(r, (tlb) => pagetable.applyTlbControl(tlb, some(r, [0, 1, 3, 7]))),
  isPageTableError: (r) => pagetable.isPageTableError(any(r), any(r)),
};
