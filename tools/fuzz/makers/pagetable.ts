/** Valid values of the types of `@svsm/pagetable`. */
import { type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import {
  cacheControl,
  controlState,
  cpuState,
  createPhysMemory,
  decodeMtrrs,
  decodePat,
  type FrameAllocator,
  type MappedPage,
  PAT_RESET,
  PageTable,
  PageTablePart,
  PHYS_MEMORY_RULES,
  type PhysMemory,
  PtePreset,
  pagingConfig,
  processorFeatures,
  readPhys,
  selfMap,
  Tlb,
} from '@svsm/pagetable';
import type { Makers, World } from '../world.ts';
import { makers as buddy } from './buddy-alloc.ts';

const FRAMES = 64;
const MAPPED = virtAddr(0x4000_1000);
const UNMAPPED = virtAddr(0x4000_5000);
const HUGE = virtAddr(0x8000_0000);

function tableOf(world: World): PageTable {
  return world.get('PageTable');
}

/** Frames that are handed out in turn. */
class Frames implements FrameAllocator {
  readonly free: PhysAddr[] = Array.from({ length: FRAMES - 8 }, (_, i) =>
    physAddr((FRAMES - 1 - i) * 0x1000),
  );

  allocateFrame(): PhysAddr {
    const frame = this.free.pop();
    if (frame === undefined) throw new Error('no frame left');
    return frame;
  }

  freeFrame(frame: PhysAddr): void {
    this.free.push(frame);
  }
}

export const makers: Makers = {
  types: {
    ...buddy.types,
    PhysAddr: { make: () => physAddr(0x3000) },
    VirtAddr: { make: () => MAPPED },
    EntryFlags: { make: () => PtePreset.Data },
    MemoryRegion: { make: () => virtRegion(virtAddr(0x5000_0000), 0x4000) },
    VirtBounds: { make: () => ({ start: virtAddr(0x5000_0000), end: 0x5000_4000n }) },
    SharedArrayBuffer: { make: () => new SharedArrayBuffer(0x4000) },
    PhysMemory: {
      make: () => createPhysMemory({ size: FRAMES * 0x1000 }),
      state: (memory: PhysMemory) => [readPhys(memory, physAddr(0), FRAMES * 0x1000)],
      methods: ['words', 'wordOffset'],
      isCallers: true,
    },
    FrameAllocator: {
      make: () => new Frames(),
      state: ({ free }: Frames) => [free.join()],
      methods: ['allocateFrame', 'freeFrame'],
      isCallers: true,
    },
    TlbListener: { make: (world) => world.get('Tlb'), methods: ['needsFlush'], isCallers: true },
    Tlb: {
      make: () => {
        const tlb = new Tlb();
        const page: MappedPage = {
          size: 0x1000,
          frame: physAddr(0x3000),
          paddr: physAddr(0x3000),
          shared: false,
          flags: PtePreset.Data,
          writable: true,
          user: false,
          executable: false,
          shadowStack: false,
        };
        tlb.insert(MAPPED, page);
        tlb.needsFlush(MAPPED, 0x1000, 'unmap4k');
        tlb.insert(UNMAPPED, page);
        return tlb;
      },
      state: (tlb: Tlb) => [
        tlb.pending.join(),
        String(tlb.pcid),
        String(tlb.pcids),
        ...[MAPPED, UNMAPPED].map((vaddr) => String(tlb.lookup(vaddr)?.isStale)),
      ],
    },
    PageTable: {
      make: (world) => {
        const table = PageTable.create({
          memory: world.get('PhysMemory'),
          frames: world.get('FrameAllocator'),
          config: world.get('PagingConfig'),
          tlb: world.get('Tlb'),
        });
        table.map4k(MAPPED, physAddr(0x3000), PtePreset.Data);
        table.map2m(HUGE, physAddr(0x20_0000), PtePreset.Data);
        table.mapRegion(
          { start: virtAddr(0x6000_0000), end: 0x6000_4000n },
          physAddr(0x4000),
          PtePreset.Data,
        );
        return table;
      },
    },
    PageTablePart: {
      make: (world) => {
        const part = PageTablePart.create(300, {
          memory: world.get('PhysMemory'),
          frames: world.get('FrameAllocator'),
          config: world.get('PagingConfig'),
        });
        part.map4k(partAddress(0x1000n), physAddr(0x3000), PtePreset.Data);
        part.map2m(partAddress(0x4000_0000n), physAddr(0x20_0000), PtePreset.Data);
        return part;
      },
      state: (part: PageTablePart) => [String(part.tables.length)],
    },
    PagingConfig: { make: () => pagingConfig({ cBit: 51 }) },
    MemoryEncryption: { make: () => ({ mode: 'c-bit', bit: 51 }) },
    CpuState: { make: () => cpuState() },
    ControlState: { make: () => controlState() },
    ProcessorFeatures: { make: () => processorFeatures() },
    Mtrrs: { make: () => decodeMtrrs({ defType: 0x806n }) },
    CacheControl: { make: (world) => cacheControl({ mtrrs: world.get('Mtrrs') }) },
    Pat: { make: () => decodePat(PAT_RESET) },
    MappedPage: { make: (world) => tableOf(world).lookup(MAPPED) },
    TypedPage: { make: (world) => tableOf(world).lookup(MAPPED) },
    SelfMap: { make: () => selfMap(493) },
    PhysMemoryRule: { make: () => PHYS_MEMORY_RULES[0] },
    PhysMemorySubject: {
      make: (world) => ({
        memory: world.get('PhysMemory'),
        start: physAddr(0),
        outside: physAddr(FRAMES * 0x1000),
        writable: true,
      }),
    },
    ReadFrame: { make: () => (_: number, bytes: Uint8Array) => bytes.fill(1) !== undefined },
    ReadPdpte: { make: () => () => 0n },
    Uint8Array: { make: () => new Uint8Array(16), state: (bytes: Uint8Array) => [bytes.slice()] },
  },
  values: {
    'PageTable.map4k(vaddr)': () => UNMAPPED,
    'PageTable.map2m(vaddr)': () => virtAddr(0x9000_0000),
    'PageTable.map2m(paddr)': () => physAddr(0x20_0000),
    'PageTable.map1g(vaddr)': () => virtAddr(0x1_0000_0000),
    'PageTable.map1g(paddr)': () => physAddr(0x4000_0000),
    'PageTable.unmap2m(vaddr)': () => HUGE,
    'PageTable.split4k(vaddr)': () => HUGE,
    'PageTable.protectRegion(region)': mappedRegion,
    'PageTable.unmapRegion(region)': mappedRegion,
    'PageTable.setSharedRegion(region)': mappedRegion,
    'PageTable.setEncryptedRegion(region)': mappedRegion,
    'PageTable.protect4k(change)': () => ({ clear: 2 }),
    'PageTable.protectRegion(change)': () => ({ clear: 2 }),
    'PageTablePart.map4k(vaddr)': () => partAddress(0x5000n),
    'PageTablePart.map2m(vaddr)': () => partAddress(0x5000_0000n),
    'PageTablePart.map2m(paddr)': () => physAddr(0x20_0000),
    'PageTablePart.map1g(vaddr)': () => partAddress(0x1_0000_0000n),
    'PageTablePart.map1g(paddr)': () => physAddr(0x4000_0000),
    'PageTablePart.unmap2m(vaddr)': () => partAddress(0x4000_0000n),
    'PageTablePart.split4k(vaddr)': () => partAddress(0x4000_0000n),
    'PageTablePart.protect4k(change)': () => ({ clear: 2 }),
    'PageTablePart.protectRegion(change)': () => ({ clear: 2 }),
    ...Object.fromEntries(
      [
        'unmap4k',
        'setShared4k',
        'setEncrypted4k',
        'protect4k',
        'translate',
        'lookup',
        'walk',
        'collapse',
      ].map((method) => [`PageTablePart.${method}(vaddr)`, () => partAddress(0x1000n)]),
    ),
    ...Object.fromEntries(
      ['mapRegion', 'protectRegion', 'unmapRegion', 'setSharedRegion', 'setEncryptedRegion'].map((method) => [
        `PageTablePart.${method}(region)`,
        () => ({
          start: partAddress(method === 'mapRegion' ? 0x8000n : 0x1000n),
          end: partAddress(0x2000n) + (method === 'mapRegion' ? 0x8000n : 0n),
        }),
      ]),
    ),
    root: (world) => tableOf(world).root,
    'PageTablePart.create(index)': () => 300,
    'PageTable.cloneShared(entries)': () => [511],
    selfMap: () => 493,
    level: () => 1,
    length: () => 16,
    entry: () => 0x3063n,
    flags: () => 0x63,
    bytes: () => 0x1000,
    'writePhys(bytes)': (world) => world.get('Uint8Array'),
    size: () => 0x1000,
    msr: () => PAT_RESET,
    'invpcid(type)': () => 1,
    'pagingConfigFromRegisters(registers)': () => ({ cr4: 0x20n }),
    'selfMap(index)': () => 493,
    'decodeMtrrs(registers)': () => ({ defType: 0x806n }),
    cpl: () => 0,
    'Tlb.flushRange(options)': () => ({ start: MAPPED, pages: 1 }),
    'encodeVariableMtrr(start)': () => physAddr(0x10_0000),
    'encodeVariableMtrr(size)': () => 0x10_0000,
  },
};

function partAddress(offset: bigint): VirtAddr {
  return virtAddr(0xffff_0000_0000_0000n + (300n << 39n) + offset);
}

function mappedRegion(): object {
  return { start: virtAddr(0x6000_0000), end: 0x6000_4000n };
}
