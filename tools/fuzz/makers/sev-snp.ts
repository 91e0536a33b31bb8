/** Valid values of the types of `@svsm/sev-snp`: a machine with a guest of 8 MiB, an SVSM in it, and a second processor. */
import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { PageTable, PtePreset, pagingConfig, Tlb } from '@svsm/pagetable';
import {
  DEFAULT_ASSUMPTIONS,
  Firmware,
  Ghcb,
  GhcbPage,
  type Guest,
  type GuestPageAccess,
  GuestRegions,
  HostileHypervisor,
  HYPERVISOR_ENTRY,
  LaunchDigest,
  type MachineEvent,
  NestedTlb,
  permanentMap,
  SnpMachine,
  type SvsmCore,
  SvsmState,
  SysPhys,
  sysPhysAddr,
  ValidatedPages,
  type Vcpu,
} from '@svsm/sev-snp';
import type { Makers, State, World } from '../world.ts';
import { makers as pagetable } from './pagetable.ts';

const MIB = 1 << 20;
const BASE = 0xffff_8000_0000_0000n;
const gvaOf = (gpa: number) => virtAddr(BASE + BigInt(gpa));

class Scene {
  readonly events: MachineEvent[] = [];
  readonly machine: SnpMachine;
  readonly guest: Guest;
  readonly tlb = new Tlb();
  readonly vcpu: Vcpu;
  readonly table: PageTable;

  constructor() {
    this.machine = new SnpMachine({
      memorySize: 24 * MIB,
      trace: (event) => this.events.push(event),
      hypervisor: (machine) => new HostileHypervisor(machine),
    });
    this.guest = this.machine.hypervisor.launch({ size: 8 * MIB });
    this.vcpu = this.guest.createVcpu({ tlb: this.tlb, nestedTlb: new NestedTlb() });
    this.table = this.#map(this.vcpu);
  }

  #map(vcpu: Vcpu): PageTable {
    let frame = MIB;
    const allocateFrame = (): PhysAddr => {
      frame += PAGE_SIZE;
      return physAddr(frame);
    };
    const { memory } = vcpu;
    const config = this.guest.paging;
    const table = PageTable.create({
      memory,
      config,
      frames: { allocateFrame, freeFrame: () => {} },
      tlb: this.tlb,
    });
    for (const gpa of this.guest.memory.iterPages(PageSize.Huge)) {
      table.map2m(gvaOf(Number(gpa)), gpa, PtePreset.Data & ~0x8000_0000);
    }
    vcpu.loadCr3(table.cr3);
    return table;
  }
}

function scene(world: World): Scene {
  return world.get('a scene');
}

const page = (): Uint8Array => new Uint8Array(PAGE_SIZE);

export const makers: Makers = {
  types: {
    ...pagetable.types,
    'a scene': {
      make: () => new Scene(),
      state: ({ events, vcpu, guest }: Scene): State => [
        String(events.length),
        String(guest.tlbGeneration),
        String(vcpu.cr3),
        String(vcpu.cpl),
      ],
    },
    'the spa of a page': {
      make: (world) => {
        const { guest } = scene(world);
        return guest.nested.lookup(physAddr(0x5000))?.spa;
      },
    },
    'a free page': { make: (world) => scene(world).machine.hypervisor.allocatePage() },
    SysPhysAddr: { make: (world) => world.get('a free page') },
    PhysAddr: { make: () => physAddr(0x5000) },
    VirtAddr: { make: () => gvaOf(0x5000) },
    Address: { make: () => physAddr(0x5000) },
    MemoryRegion: { make: () => physRegion(physAddr(0), 8 * MIB) },
    AddressKind: { make: () => SysPhys },
    SnpMachine: { make: (world) => scene(world).machine },
    SnpPlatform: { make: (world) => scene(world).machine },
    FirmwarePlatform: { make: (world) => scene(world).machine },
    HostInstructions: { make: (world) => scene(world).machine.hypervisor },
    GuestInstructions: { make: (world) => scene(world).vcpu },
    GuestCpu: { make: (world) => scene(world).vcpu },
    GuestContext: { make: (world) => scene(world).guest, isCallers: true },
    VcpuContext: { make: (world) => scene(world).vcpu, isCallers: true },
    ExitHandler: { make: (world) => scene(world).machine.hypervisor, isCallers: true },
    TranslationCache: {
      make: () => new Tlb(),
      isCallers: true,
    },
    PageBytes: {
      make: () => {
        const bytes = page();
        return {
          read: (offset: number, length: number) => bytes.slice(offset, offset + length),
          write: (offset: number, from: Uint8Array) => bytes.set(from, offset),
        };
      },
      isCallers: true,
    },
    DigestSource: {
      make: () => ({
        digest: (_: string, data: Uint8Array) => crypto.subtle.digest('SHA-384', data.slice()),
      }),
      isCallers: true,
    },
    Sha384: { make: () => () => new Uint8Array(48) },
    PhysMemory: pagetable.types['PhysMemory'] as Makers['types'][string],
    Hypervisor: { make: (world) => scene(world).machine.hypervisor },
    HostileHypervisor: { make: (world) => scene(world).machine.hypervisor },
    Guest: { make: (world) => scene(world).guest },
    Vcpu: { make: (world) => scene(world).vcpu },
    PageTable: { make: (world) => scene(world).table },
    NestedTable: { make: (world) => scene(world).guest.nested },
    NestedTlb: { make: () => new NestedTlb(), state: ({ size }: NestedTlb) => [String(size)] },
    Rmp: { make: (world) => scene(world).machine.rmp },
    EncryptedMemory: { make: (world) => scene(world).machine.memory },
    Firmware: { make: (world) => new Firmware(scene(world).machine, 100) },
    Ghcb: {
      make: (world) => {
        const { vcpu, table } = scene(world);
        return Ghcb.create(vcpu, table, gvaOf(0x7000));
      },
    },
    GhcbPage: {
      make: (world) => GhcbPage.over(world.get('a GHCB')),
    },
    'a GHCB': { make: page, state: (bytes: Uint8Array) => [bytes.slice()] },
    LaunchDigest: { make: () => new LaunchDigest(() => new Uint8Array(48)) },
    GuestRegions: {
      make: () =>
        new GuestRegions([physRegion(physAddr(0), 8 * MIB), physRegion(physAddr(16 * MIB), 0x4000)]),
      state: (memory: GuestRegions) => [String(memory)],
    },
    ValidatedPages: {
      make: () => new ValidatedPages(physRegion(physAddr(0), 8 * MIB), [physRegion(physAddr(0), 0x4000)]),
      state: (validated: ValidatedPages) => [[...validated].join()],
    },
    SvsmState: {
      make: () =>
        new SvsmState({
          memory: physRegion(physAddr(0), 8 * MIB),
          own: [physRegion(physAddr(0), 2 * MIB)],
        }),
      state: ({ validated, vcpus }: SvsmState) => [[...validated].join(), String(vcpus.length)],
    },
    GuestPageAccess: { make: () => permanentMap((gpa) => gvaOf(Number(gpa))), isCallers: true },
    SvsmProtocol: {
      make: () => ({ versions: { min: 1, max: 1 }, call: () => ({ result: 0 }) }),
      isCallers: true,
    },
    SvsmCore: {
      make: (world) => {
        const { vcpu, guest } = scene(world);
        const state = new SvsmState({ memory: guest.memory, own: [physRegion(physAddr(0), 2 * MIB)] });
        const core = state.on(vcpu, world.get('GuestPageAccess') as GuestPageAccess);
        core.register(world.get('a guest processor'), physAddr(4 * MIB));
        return core;
      },
    },
    SvsmMemory: { make: (world) => world.get<SvsmCore>('SvsmCore').memory },
    'a guest processor': { make: (world) => scene(world).guest.createVcpu({ vmpl: 2, tlb: new Tlb() }) },
    Uint8Array: { make: page, state: (bytes: Uint8Array) => [bytes.slice()] },
    Uint32Array: { make: () => new Uint32Array(1024), state: (words: Uint32Array) => [words.join()] },
    ReadonlyMap: { make: () => new Map() },
    RmpEntry: { make: () => HYPERVISOR_ENTRY },
    Assumptions: { make: () => DEFAULT_ASSUMPTIONS },
    RunnableVmsa: {
      make: (world) => {
        const { guest } = scene(world);
        const spa = guest.nested.lookup(physAddr(0x6000))?.spa;
        return { spa, gpa: physAddr(0x6000), vmcb: world.get('a free page') };
      },
    },
    CallingArea: { make: () => ({ gva: gvaOf(4 * MIB), gpa: physAddr(4 * MIB) }) },
    PagingConfig: { make: () => pagingConfig({ physicalBits: 48 }) },
  },
  values: {
    ...pagetable.values,
    text: () => '0x1000',
    alignment: () => PAGE_SIZE,
    bytes: (world) => world.get('Uint8Array'),
    pageSize: () => PAGE_SIZE,
    size: () => PAGE_SIZE,
    gpa: () => physAddr(0x5000),
    gva: () => gvaOf(0x5000),
    vmpl: () => 1,
    variablesSize: () => 0x8_4000,
    cpuSignature: () => 0x800f12,
    asid: () => 1,
    key: () => 0,
    length: () => 8,
    offset: () => 0,
    start: () => 0,
    operation: () => 2,
    register: () => 'pkru',
    'Vcpu.load(value)': () => 0n,
    'Vcpu.loadCr3(value)': (world) => scene(world).table.cr3,
    'sysPhysAddr(value)': () => 0x1000n,
    'sysPhysRegion(start)': () => sysPhysAddr(0x1000),
    'decodePscEntry(bytes)': () => new Uint8Array(8),
    'decodePscHeader(bytes)': () => new Uint8Array(8),
    'decodeSvsmListEntry(bytes)': () => new Uint8Array(8),
    'decodeSvsmListHeader(bytes)': () => new Uint8Array(8),
    'decodeRmpState(bytes)': () => new Uint8Array(16),
    'decodeSwapRecord(bytes)': () => new Uint8Array(64),
    'rmpInstructionOf(bytes)': () => Uint8Array.of(0xf3, 0x0f, 0x01, 0xff),
    'new SnpMachine(options)': () => ({ memorySize: 4 * MIB }),
    'Hypervisor.launch(options)': () => ({ size: 2 * MIB }),
    'HostileHypervisor.launch(options)': () => ({ size: 2 * MIB }),
    from: () => new Uint8Array(48),
    digest: () => new Uint8Array(48),
    contents: () => new Uint8Array(48),
    vmpcks: () => Array.from({ length: 4 }, () => new Uint8Array(32)),
    vmsaTweakBitmap: () => new Uint8Array(64),
    'new EncryptedMemory(size)': () => MIB,
    'makeRegionShared(region)': () => ({ start: gvaOf(0), end: gvaOf(0) + 0x4000n }),
    'new Rmp(covered)': (world) => scene(world).machine.rmp.covered,
    'new Guest(options)': (world) => {
      const { guest } = scene(world);
      const { context, nested, memory } = guest as unknown as {
        context: unknown;
        nested: unknown;
        memory: unknown;
      };
      return { context, nested, memory };
    },
  },
};
