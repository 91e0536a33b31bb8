import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type VirtAddr, virtAddr } from '@svsm/address';
import { getOrder, type MemoryInfo } from '@svsm/buddy-alloc';
import {
  isSnpFault,
  type MachineEvent,
  makePageShared,
  type PageState,
  pageStateOf,
  type RmpEntry,
  releasePage,
} from '@svsm/sev-snp';
import { bootWorld, largePageOf, pagesFrom, systemAddress, type World } from './world.ts';

/** A page with its page-table entry and its RMP entry. */
export interface PageView {
  readonly vaddr: VirtAddr;
  /** All 64 bits of the entry that maps it, and the size of the page that the entry maps. */
  readonly entry: bigint;
  readonly pageSize: PageSize;
  readonly cBit: boolean;
  readonly rmp: Pick<RmpEntry, 'assigned' | 'validated' | 'asid' | 'gpa' | 'pageSize'> & {
    readonly state: PageState;
  };
}

/** The pages and free blocks of the allocator. */
export type HeapView = Pick<MemoryInfo, 'totalPages' | 'freePages' | 'freeBlocks'>;

/** One loop: the pages that it allocated, and those around them before and after. */
export interface LoopReport {
  readonly code: string;
  readonly pages: readonly VirtAddr[];
  readonly before: readonly PageView[];
  readonly after: readonly PageView[];
  readonly heap: HeapView;
  /** The events of the machine for the first page, in order. */
  readonly steps: readonly string[];
  /** The number of pages, of the 512 in the same 2 MiB, that 4 KiB entries map, and of those that are shared. */
  readonly small: number;
  readonly shared: number;
}

/** The result of an access to memory. */
export interface Attempt {
  readonly who: string;
  readonly what: string;
  readonly result: string;
}

/** The report on both loops. */
export interface StoryReport {
  readonly guestSize: number;
  readonly cBit: number;
  readonly heap: HeapView;
  readonly loops: readonly LoopReport[];
  readonly attempts: readonly Attempt[];
}

/** Boots the world, runs both loops, and accesses the pages from both sides. */
export function tellStory(): StoryReport {
  const world = bootWorld();
  const heap = heapView(world);
  // A page that stays private, right before the pages that become shared.
  const secretPage = world.heap.allocatePage();
  const loops = [byHand(world), byIterator(world)];
  return {
    guestSize: Number(world.guest.memory.size),
    cBit: world.machine.cBit,
    heap,
    loops,
    attempts: tryAccesses(world, secretPage, loops[0]!),
  };
}

/** Loop 1 of the mailing list: address by address, with each step spelled out. */
function byHand(world: World): LoopReport {
  const { svsm } = world;
  const { vcpu, pageTable } = svsm.thisCpu();
  const { validated } = svsm;
  const code = 'for (let page = p; page < p + 4n * PAGE_SIZE; page += PAGE_SIZE)';
  return observe(world, code, () => {
    const p = world.heap.allocatePages(getOrder(4 * PAGE_SIZE)).start;
    return { start: p, share: () => shareFrom(p) };
  });

  function shareFrom(p: VirtAddr): void {
    for (let page = p; page < p + BigInt(4 * PAGE_SIZE); page = virtAddr(page + BigInt(PAGE_SIZE))) {
      pageTable.split4k(page); // first the step that can run out of memory
      releasePage(vcpu, pageTable, page, { validated }); // PVALIDATE rescinds the page, then the page state change
      pageTable.setShared4k(page);
      vcpu.invlpg(page);
    }
  }
}

/** Loop 2: with `MemoryRegion<VirtAddr>`. */
function byIterator(world: World): LoopReport {
  const { svsm } = world;
  const { vcpu, pageTable } = svsm.thisCpu();
  const { validated } = svsm;
  const code = 'for (const page of pages.iterPages(PageSize.Regular))';
  return observe(world, code, () => {
    const pages = world.heap.allocatePages(getOrder(4 * PAGE_SIZE));
    return {
      start: pages.start,
      share: () => {
        for (const page of pages.iterPages(PageSize.Regular))
          makePageShared(vcpu, pageTable, page, { validated });
      },
    };
  });
}

function observe(
  world: World,
  code: string,
  allocate: () => { start: VirtAddr; share: () => void },
): LoopReport {
  const { start, share } = allocate();
  const heap = heapView(world);
  const around = pagesFrom(virtAddr(start - BigInt(PAGE_SIZE)), 6);
  const before = around.map((page) => view(world, page));
  const firstEvent = world.events.length;
  share();
  const block = pagesFrom(largePageOf(start), PAGE_SIZE_2M / PAGE_SIZE).map((page) =>
    world.svsm.thisCpu().pageTable.lookup(page),
  );
  return {
    code,
    pages: pagesFrom(start, 4),
    before,
    after: around.map((page) => view(world, page)),
    heap,
    steps: stepsOfOnePage(world.events.slice(firstEvent)),
    small: block.filter((page) => page?.size === PageSize.Regular).length,
    shared: block.filter((page) => page?.shared === true).length,
  };
}

function view(world: World, vaddr: VirtAddr): PageView {
  const { path, page } = world.svsm.thisCpu().pageTable.walk(vaddr);
  const entry = path.at(-1)?.entry;
  const rmp = world.machine.rmp.entry(systemAddress(world, vaddr));
  if (entry === undefined || page === undefined || rmp === undefined)
    throw new Error('the heap is mapped, and the RMP covers it');
  const { assigned, validated, asid, gpa, pageSize } = rmp;
  const rmpView = { assigned, validated, asid, gpa, pageSize, state: pageStateOf(rmp) };
  return { vaddr, entry: entry.raw, pageSize: page.size, cBit: !page.shared, rmp: rmpView };
}

function heapView({ heap }: World): HeapView {
  const { totalPages, freePages, freeBlocks } = heap.memoryInfo();
  return { totalPages, freePages, freeBlocks };
}

/** The events of one page: those up to the first flush, inclusive. */
function stepsOfOnePage(events: readonly MachineEvent[]): string[] {
  const end = events.findIndex(({ type }) => type === 'flush');
  return events.slice(0, end + 1).map(describe);
}

function describe(event: MachineEvent): string {
  switch (event.type) {
    case 'pvalidate':
      return `guest       PVALIDATE ${event.validate ? 'validates' : 'rescinds'} the page: code ${event.result}, CF ${event.unchanged ? 1 : 0}`;
    case 'npf':
      return `processor   #VMEXIT(NPF), EXITINFO1 0x${event.exitInfo1.toString(16)}: the RMP entry covers 2 MiB`;
    case 'psmash':
      return `hypervisor  PSMASH splits it into 512 of 4 KiB: code ${event.result}; the guest retries`;
    case 'vmgexit':
      return `guest       VMGEXIT, GHCB MSR 0x${event.request.toString(16)}: page state change`;
    case 'vmrun':
      return `hypervisor  VMRUN, GHCB MSR 0x${event.response.toString(16)}: done`;
    case 'rmpupdate':
      return `hypervisor  RMPUPDATE, assigned ${event.state.assigned ? 1 : 0}: code ${event.result}`;
    case 'flush':
      return 'guest       clears the C-bit of the page-table entry, INVLPG';
    default:
      return event.type;
  }
}

/** Reads and writes of guest and hypervisor, in a shared page and in a private one. */
function tryAccesses(world: World, secretPage: VirtAddr, { pages }: LoopReport): Attempt[] {
  const { machine, guest, svsm } = world;
  const { vcpu } = svsm.thisCpu();
  const { hypervisor } = machine;
  const spaOf = (page: VirtAddr) => systemAddress(world, page);
  const sharedPage = pages[0]!;
  const attempts: Attempt[] = [];
  const attempt = (who: string, what: string, action: () => string): void => {
    let result: string;
    try {
      result = action();
    } catch (error) {
      if (!isSnpFault(error)) throw error;
      result = error.message;
    }
    attempts.push({ who, what, result });
  };

  vcpu.write(sharedPage, text('hello, hypervisor'));
  vcpu.write(secretPage, text('a secret of the guest'));
  attempt('guest', 'reads the shared page', () => shown(vcpu.read(sharedPage, 17)));
  attempt('hypervisor', 'reads the shared page', () => shown(hypervisor.read(spaOf(sharedPage), 17)));
  attempt('hypervisor', 'writes the shared page', () => {
    hypervisor.write(spaOf(sharedPage), text('hello, guest     '));
    return 'done';
  });
  attempt('guest', 'reads the shared page', () => shown(vcpu.read(sharedPage, 17)));
  attempt('guest', 'reads the private page', () => shown(vcpu.read(secretPage, 21)));
  attempt('hypervisor', 'reads the private page', () => shown(hypervisor.read(spaOf(secretPage), 21)));
  attempt('hypervisor', 'writes the private page', () => {
    hypervisor.write(spaOf(secretPage), text('overwritten'));
    return 'done';
  });
  attempt('guest', 'reads the private page', () => shown(vcpu.read(secretPage, 21)));

  // A hypervisor can take a page and give it back. It cannot validate it again.
  const stolen = world.heap.allocatePages(getOrder(PAGE_SIZE_2M)).start;
  const spa = spaOf(stolen);
  const gpa = svsm.virtToPhys(stolen);
  attempt('hypervisor', 'takes a private page and gives it back', () => {
    const huge = { pageSize: PageSize.Huge } as const;
    hypervisor.rmpupdate(spa, { assigned: false, ...huge });
    hypervisor.rmpupdate(spa, { assigned: true, gpa, asid: guest.asid, ...huge });
    return `its state is now ${pageStateOf(machine.rmp.entry(spa))}`;
  });
  attempt('guest', 'reads that page', () => shown(vcpu.read(stolen, 16)));
  return attempts;
}

const text = (message: string): Uint8Array => new TextEncoder().encode(message);

/** Bytes as text if all are printable, else the first twelve in hex. */
function shown(bytes: Uint8Array): string {
  const printable = bytes.every((byte) => byte >= 0x20 && byte < 0x7f);
  if (printable) return `"${new TextDecoder().decode(bytes).trimEnd()}"`;
  return `${Array.from(bytes.subarray(0, 12), (byte) => byte.toString(16).padStart(2, '0')).join(' ')} …`;
}
