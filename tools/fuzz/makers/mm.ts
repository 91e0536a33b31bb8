/** Valid values of the types of `@svsm/mm`: an SVSM of 4 MiB in a guest of 16 MiB, with a second processor at VMPL2. */
import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import type { PageAllocator } from '@svsm/buddy-alloc';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import {
  addressSpaceLayout,
  COCONUT_LAYOUT,
  type FileLike,
  GuestPtr,
  GuestService,
  GuestVisibility,
  GuestWindow,
  guestFormats,
  type MappingGuard,
  MemoryMap,
  mappings,
  type PageStore,
  PageUses,
  type PerCpu,
  Processors,
  pageStore,
  SharedBox,
  ShootDown,
  Svsm,
  VirtualRange,
  Vmr,
} from '@svsm/mm';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import { type Guest, HostileHypervisor, SnpMachine, svsmValidator, type Vcpu } from '@svsm/sev-snp';
import type { Makers, State, World } from '../world.ts';
import { makers as snp } from './sev-snp.ts';

const MIB = 1 << 20;
const MEMORY = physRegion(physAddr(0), 16 * MIB);
const OWN = physRegion(physAddr(4 * MIB), 4 * MIB);
/** The guest's processor has its tables and its calling area here. */
const GUEST = 8 * MIB;

/** A booted SVSM with a guest above it. */
class Scene {
  readonly guest: Guest;
  readonly tlb = new Tlb();
  readonly svsm: Svsm;
  /** Two allocated pages of the heap. */
  readonly block: MemoryRegion<VirtAddr>;
  readonly caller: Vcpu;
  readonly table: PageTable;
  readonly area = { gva: virtAddr(GUEST + 0x10_0000), gpa: physAddr(GUEST + 0x10_0000) };

  constructor() {
    const { hypervisor } = new SnpMachine({
      memorySize: 48 * MIB,
      hypervisor: (machine) => new HostileHypervisor(machine),
    });
    this.guest = hypervisor.launch({ size: 16 * MIB });
    this.svsm = Svsm.boot({ guest: this.guest, memory: [[MEMORY, 'guest']], own: OWN });
    this.svsm.launchFirmware([physRegion(physAddr(GUEST), 8 * MIB)], 2);
    this.block = this.svsm.pages.allocatePages(1);
    this.caller = this.guest.createVcpu({ vmpl: 2, tlb: new Tlb() });
    this.table = this.#map(this.caller);
    this.svsm.service.register(this.caller, this.area.gpa);
  }

  #map(vcpu: Vcpu): PageTable {
    let frame = GUEST;
    const allocateFrame = (): PhysAddr => {
      frame += PAGE_SIZE;
      return physAddr(frame);
    };
    const frames = { allocateFrame, freeFrame: () => {} };
    const table = PageTable.create({ memory: vcpu.memory, frames, config: this.guest.paging });
    for (let gpa = GUEST; gpa < 16 * MIB; gpa += PageSize.Huge)
      table.map2m(virtAddr(gpa), physAddr(gpa), PtePreset.Data);
    vcpu.loadCr3(table.cr3);
    return table;
  }
}

const scene = (world: World): Scene => world.get('a scene');
const svsmOf = (world: World): Svsm => scene(world).svsm;
const cpuOf = (world: World): PerCpu => svsmOf(world).thisCpu();

/** Everything of an SVSM that an error must leave as it was. */
function stateOf({ svsm, guest, caller }: Scene): State {
  const { pages, kernel, cpus, visibility, validated, memoryMap, processors } = svsm;
  return [
    JSON.stringify(pages.memoryInfo()),
    [...kernel.leaves()].length.toString(),
    cpus
      .map(({ apicId, temp4k, temp2m }) => [apicId, temp4k.allocations, temp2m.allocations].join())
      .join(';'),
    String(visibility.lost),
    visibility.sharedIn(svsm.directMap.virt).join(),
    [...validated].join(),
    memoryMap.vmsas.length.toString(),
    String(processors.thisCpu().apicId),
    String(svsm.state.vcpus.length),
    String(guest.tlbGeneration),
    String(caller.registers.rax),
  ];
}

const store = (world: World): PageStore => {
  const { pages, directMap } = svsmOf(world);
  const { vcpu } = cpuOf(world);
  return pageStore(pages as PageAllocator<VirtAddr>, {
    toPhys: (page) => directMap.toPhys(page),
    fromPhys: (frame) => directMap.toVirt(frame),
    clear: (page) => vcpu.clear(page, PAGE_SIZE),
    copy: (from, to) => vcpu.write(to, vcpu.read(from, PAGE_SIZE)),
  });
};

export const makers: Makers = {
  types: {
    ...snp.types,
    'a scene': { make: () => new Scene(), state: stateOf },
    Svsm: { make: svsmOf },
    InvariantSubject: { make: svsmOf, isCallers: true },
    Guest: { make: (world) => scene(world).guest },
    Vcpu: { make: (world) => cpuOf(world).vcpu },
    PerCpu: { make: cpuOf },
    PageTable: { make: (world) => cpuOf(world).pageTable },
    PageTablePart: { make: (world) => svsmOf(world).kernel },
    PageMapper: { make: (world) => cpuOf(world).part, isCallers: true },
    Tlb: { make: (world) => cpuOf(world).tlb },
    Ghcb: { make: (world) => cpuOf(world).ghcb },
    PagingConfig: { make: (world) => svsmOf(world).paging },
    PhysMemory: { make: (world) => cpuOf(world).vcpu.memory, isCallers: true },
    FrameAllocator: {
      make: (world) => svsmOf(world).directMap.framesOf(svsmOf(world).pages),
      isCallers: true,
    },
    PhysAddr: { make: () => physAddr(12 * MIB) },
    VirtAddr: { make: (world) => scene(world).block.start },
    MemoryRegion: { make: (world) => scene(world).block },
    AddressSpaceLayout: { make: () => COCONUT_LAYOUT },
    LayoutChanges: { make: () => ({}) },
    DirectMap: { make: (world) => svsmOf(world).directMap },
    MemoryMap: {
      make: () => {
        const map = new MemoryMap([[MEMORY, 'guest']], OWN);
        map.registerVmsa(physAddr(12 * MIB), physAddr(13 * MIB), 1);
        return map;
      },
      state: (map: MemoryMap) => [[...map].join(), JSON.stringify(map.vmsas.map(({ apicId }) => apicId))],
    },
    VirtualRange: {
      make: () => {
        const range = new VirtualRange(COCONUT_LAYOUT.perCpu.temp4k);
        range.allocate(1);
        return range;
      },
      state: ({ allocations }: VirtualRange) => [String(allocations)],
    },
    MappingSpace: {
      make: (world) => ({
        mapper: cpuOf(world).part,
        small: cpuOf(world).temp4k,
        huge: cpuOf(world).temp2m,
        isGlobal: false,
        vcpu: () => cpuOf(world).vcpu,
        flush: () => {},
      }),
    },
    MappingGuard: {
      make: (world) => cpuOf(world).map(physRegion(physAddr(12 * MIB), PAGE_SIZE)),
      state: ({ isReleased }: MappingGuard) => [String(isReleased)],
    },
    PageUses: {
      make: () => {
        const uses = new PageUses();
        uses.add(physRegion(physAddr(12 * MIB), PAGE_SIZE));
        return uses;
      },
      state: (uses: PageUses) => [String(uses.firstIn(MEMORY))],
    },
    Processors: {
      make: (world) => {
        const processors = new Processors();
        processors.add(cpuOf(world));
        return processors;
      },
      state: ({ list }: Processors) => [String(list.length)],
    },
    ShootDown: {
      make: (world) => {
        const shootDown = new ShootDown();
        shootDown.add(cpuOf(world));
        return shootDown;
      },
      state: ({ counts }: ShootDown) => [JSON.stringify(counts)],
    },
    FlushTarget: { make: cpuOf, isCallers: true },
    VisibilityCpu: { make: cpuOf, isCallers: true },
    VisibilityOwner: { make: svsmOf, isCallers: true },
    PageVisibility: { make: (world) => svsmOf(world).visibility },
    GuestVisibility: {
      make: (world) => {
        const { caller, table, area } = scene(world);
        return new GuestVisibility(caller, table, world.get('a GHCB of the guest'), area);
      },
    },
    'a GHCB of the guest': {
      make: (world) => {
        const { caller, table, area } = scene(world);
        return Object.assign(cpuOf(world).ghcb, { caller, table, area, validator: svsmValidator(area) });
      },
    },
    CallingArea: { make: (world) => scene(world).area },
    SharedBox: {
      make: (world) => SharedBox.create(svsmOf(world), 100),
      state: ({ isReleased }: SharedBox) => [String(isReleased)],
    },
    GuestMemory: { make: (world) => svsmOf(world).guestMemory, methods: ['read', 'write'], isCallers: true },
    SvsmMemory: { make: (world) => svsmOf(world).guestMemory },
    SvsmState: { make: (world) => svsmOf(world).state },
    ValidatedPages: { make: (world) => svsmOf(world).validated },
    GuestFormat: { make: () => guestFormats.u32, methods: ['decode', 'encode'], isCallers: true },
    GuestPtr: {
      make: (world) => new GuestPtr(svsmOf(world).guestMemory, BigInt(12 * MIB), guestFormats.u32),
    },
    GuestService: {
      make: (world) => {
        const service = new GuestService(svsmOf(world).state, svsmOf(world).processors);
        // The first call takes addresses for the window.
        service.on();
        return service;
      },
    },
    GuestWindow: { make: (world) => new GuestWindow(cpuOf(world)) },
    ServingCpu: { make: (world) => svsmOf(world).service.on() },
    SvsmRegisters: { make: () => ({ rax: 1n, rcx: BigInt(12 * MIB), rdx: 0n, r8: 0n, r9: 0n }) },
    PageAllocator: { make: (world) => svsmOf(world).pages },
    PageStore: {
      make: store,
      methods: ['allocate', 'copy', 'reference', 'release'],
      isCallers: true,
    },
    PageContents: {
      make: () => ({
        toPhys: () => physAddr(0),
        fromPhys: () => virtAddr(0),
        clear: () => {},
        copy: () => {},
      }),
      methods: ['toPhys', 'fromPhys', 'clear', 'copy'],
      isCallers: true,
    },
    FileLike: {
      make: (world): FileLike => {
        const frame = world.get<PageStore>('PageStore').allocate();
        return { size: BigInt(PAGE_SIZE), page: () => frame };
      },
      methods: ['page'],
      isCallers: true,
    },
    KernelStack: { make: (world) => mappings.kernelStack(world.get('PageStore')) },
    PagedMapping: { make: (world) => mappings.allocated(world.get('PageStore'), PAGE_SIZE) },
    VirtualMapping: {
      make: () => mappings.physical(physRegion(physAddr(12 * MIB), PAGE_SIZE)),
      methods: ['frames', 'fault?'],
      isCallers: true,
    },
    Resolution: { make: () => ({}), isCallers: true },
    FaultAccess: { make: () => ({ kind: 'read', shadowStack: false }), isCallers: true },
    VmrCpu: { make: cpuOf, methods: ['flush'], isCallers: true },
    Vmr: {
      make: (world) => {
        const tables = {
          memory: cpuOf(world).vcpu.memory,
          frames: svsmOf(world).directMap.framesOf(svsmOf(world).pages),
          config: svsmOf(world).paging,
        };
        const vmr = new Vmr(virtRegion(virtAddr(0x40_0000), 1 << 30), tables);
        vmr.insert(mappings.physical(physRegion(physAddr(13 * MIB), PAGE_SIZE)), { at: virtAddr(0x40_0000) });
        return vmr;
      },
      state: (vmr: Vmr) => [[...vmr].map(([region]) => String(region)).join()],
    },
    ErrorOptions: { make: () => ({}) },
  },
  values: {
    ...snp.values,
    vmpl: () => 2,
    apicId: () => 5,
    cpu: cpuOf,
    run: () => () => 1,
    region: (world) => scene(world).block,
    regions: () => [physRegion(physAddr(12 * MIB), PAGE_SIZE)],
    gpa: () => BigInt(12 * MIB),
    start: () => virtAddr(0x40_0000),
    vaddr: (world) => scene(world).block.start,
    paddr: (world) => svsmOf(world).directMap.toPhys(scene(world).block.start),
    caller: (world) => scene(world).caller,
    caa: () => physAddr(13 * MIB),
    vmsa: () => physAddr(12 * MIB),
    block: (world) => scene(world).block,
    count: () => 1,
    index: () => 1,
    'VirtualRange.allocate(pages)': () => 1,
    offset: () => 0,
    length: () => 4,
    size: () => PAGE_SIZE,
    levels: () => 4,
    slot: () => 511,
    kind: () => 'guest',
    bytes: () => Uint8Array.of(1, 2, 3, 4),
    value: () => 1,
    required: () => 1n,
    fields: () => ({ a: guestFormats.u8 }),
    layout: () => addressSpaceLayout({}),
    heap: () => OWN,
    errorCode: () => 0,
    address: () => virtAddr(0x40_0000),
    'new DirectMap(virt)': () => virtRegion(virtAddr(0xffff_ff80_4000_0000n), 0x10_0000),
    'new DirectMap(phys)': () => physRegion(physAddr(0x20_0000), 0x10_0000),
    'DirectMap.virtOf(value)': (world) => svsmOf(world).directMap.physOf(scene(world).block),
    'DirectMap.physOf(value)': (world) => scene(world).block,
    'DirectMap.framesOf(pages)': (world) => svsmOf(world).pages,
    'pageStore(pages)': (world) => svsmOf(world).pages,
    'new MemoryMap(entries)': () => [[MEMORY, 'guest']],
    'new MemoryMap(own)': () => OWN,
    'MemoryMap.isGuest(region)': () => physRegion(physAddr(13 * MIB), PAGE_SIZE),
    'MemoryMap.registerVmsa(vmsa)': () => physAddr(14 * MIB),
    'MemoryMap.registerVmsa(caa)': () => physAddr(15 * MIB),
    'VirtualRange.free(region)': (world) => world.get<VirtualRange>('VirtualRange').allocate(1),
    'new VirtualRange(region)': () => COCONUT_LAYOUT.perCpu.temp4k,
    'MappingGuard.create(phys)': () => physRegion(physAddr(12 * MIB), PAGE_SIZE),
    'PerCpu.map(region)': () => physRegion(physAddr(12 * MIB), PAGE_SIZE),
    'Svsm.mapGlobal(region)': () => physRegion(physAddr(12 * MIB), PAGE_SIZE),
    'Svsm.launchFirmware(regions)': () => [physRegion(physAddr(12 * MIB), PAGE_SIZE)],
    'Svsm.on(cpu)': () => 0,
    'Processors.on(cpu)': () => 0,
    'Processors.get(apicId)': () => 0,
    'Processors.remove(apicId)': () => 0,
    'Processors.add(cpu)': (world) => svsmOf(world).startCpu(7),
    'PageUses.add(region)': () => physRegion(physAddr(13 * MIB), PAGE_SIZE),
    'PageUses.remove(region)': () => physRegion(physAddr(12 * MIB), PAGE_SIZE),
    'PageUses.firstIn(region)': () => physRegion(physAddr(12 * MIB), PAGE_SIZE),
    'PageVisibility.makePrivate(region)': (world) => svsmOf(world).visibility.allocateShared(1),
    'GuestVisibility.makeShared(region)': () => virtRegion(virtAddr(12 * MIB), 0),
    'GuestVisibility.makePrivate(region)': () => virtRegion(virtAddr(12 * MIB), 0),
    'new GuestVisibility(vcpu)': (world) => scene(world).caller,
    'new GuestVisibility(pageTable)': (world) => scene(world).table,
    'new Vmr(given)': () => virtRegion(virtAddr(0x40_0000), 1 << 30),
    'new Vmr(options)': (world) => ({
      memory: cpuOf(world).vcpu.memory,
      frames: svsmOf(world).directMap.framesOf(svsmOf(world).pages),
      config: svsmOf(world).paging,
    }),
    'Vmr.detach(cpu)': (world) => {
      world.get<Vmr>('Vmr').attach(cpuOf(world));
      return cpuOf(world);
    },
    'KernelStack.frameAt(offset)': () => 0n,
    'KernelStack.fault(offset)': () => 0n,
    'PagedMapping.frameAt(offset)': () => 0n,
    'PagedMapping.fault(offset)': () => 0n,
    'VirtualMapping.frameAt(offset)': () => 0n,
    'VirtualMapping.fault(offset)': () => 0n,
    'mappings.physical(region)': () => physRegion(physAddr(12 * MIB), PAGE_SIZE),
    'GuestWindow.access(size)': () => PAGE_SIZE,
    'GuestWindow.access(use)': () => () => {},
    'GuestWindow.access(gpa)': () => physAddr(12 * MIB),
    'Svsm.boot(options)': () => {
      const { hypervisor } = new SnpMachine({ memorySize: 40 * MIB });
      return { guest: hypervisor.launch({ size: 16 * MIB }), memory: [[MEMORY, 'guest']], own: OWN };
    },
    'invalidateEarlyMemory(record)': (world) => svsmOf(world).validated,
    'launchFirmware(record)': (world) => svsmOf(world).validated,
    'launchFirmware(memory)': (world) => svsmOf(world).guestMemory,
  },
};
