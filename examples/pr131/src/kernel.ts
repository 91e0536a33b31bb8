import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import {
  PAGE_SIZE,
  PageSize,
  type PhysAddr,
  parsePhysAddr,
  physAddr,
  tryVirtAddr,
  type VirtAddr,
} from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { physRegion, virtRegion } from '@svsm/memory-region';
import {
  createPhysMemory,
  type FrameAllocator,
  PageTable,
  type PhysMemory,
  pagingConfig,
  readPhys64,
  writePhys,
  writePhys64,
} from '@svsm/pagetable';
import { type FramesFile, readFramesFile } from './frames-file.ts';
import { leaves } from './leaves.ts';

/** The result of sharing four pages of a real kernel's direct map. */
export interface KernelReport {
  readonly kernel: string;
  readonly cr3: bigint;
  readonly tables: number;
  /** The number of translations that were compared with the emulator's, and of those that agreed. */
  readonly checked: number;
  readonly agreed: number;
  /** The 2 MiB page that holds the four pages, its entry before, and the entry after, which points to a page table. */
  readonly largePage: VirtAddr;
  readonly leafBefore: bigint;
  readonly tableAfter: bigint;
  readonly shared: readonly { readonly vaddr: VirtAddr; readonly before: bigint; readonly after: bigint }[];
  /** The number of translations in units of 4 KiB, and of those, without the four pages, that are unchanged bit for bit. */
  readonly translations: number;
  readonly unchanged: number;
}

/** The C-bit of the first EPYC. The kernel in the fixture ran without encryption, so the bit is set in its tables first. */
const C_BIT = 1n << 47n;
const CONFIG = { physicalBits: 40, vendor: 'intel' } as const;
const PRESENT = 1n;

/**
 * Opens the page tables in `framesPath` from their CR3, compares translations with those of the emulator in `answersPath`, if
 * that is given, and shares four pages of the kernel's direct map.
 *
 * @throws UnreadableFile
 */
export function shareInKernel(framesPath: string, answersPath?: string): KernelReport {
  const file = readFramesFile(framesPath);
  const { memory, frames } = load(file);
  const cr3 = parsePhysAddr(file.header.cr3);
  const root = physAddr(cr3 & ~0xfffn);

  const plain = PageTable.open(root, { memory, config: pagingConfig(CONFIG) });
  const answers = answersPath === undefined ? [] : readAnswers(answersPath);
  const agreed = answers.filter(([vaddr, paddr]) => translate(plain, vaddr) === paddr);

  encryptTables(memory, file);
  const table = PageTable.open(root, { memory, frames, config: pagingConfig({ ...CONFIG, cBit: 47 }) });
  const before = translations(memory, root);
  const largePage = directMapPage(table, before.keys());
  const leafBefore = entryAt(table, largePage, 1);

  const pages = virtRegion((largePage + BigInt(16 * PAGE_SIZE)) as VirtAddr, 4 * PAGE_SIZE);
  for (const page of pages.iterPages(PageSize.Regular)) table.setShared4k(page);

  const after = translations(memory, root);
  const others = [...before].filter(([vaddr]) => !pages.contains(vaddr));
  return {
    kernel: file.header.kernel,
    cr3,
    tables: file.frames.length,
    checked: answers.length,
    agreed: agreed.length,
    largePage,
    leafBefore,
    tableAfter: entryAt(table, largePage, 1),
    shared: Array.from(pages.iterPages(PageSize.Regular), (vaddr) => ({
      vaddr,
      before: before.get(vaddr) ?? 0n,
      after: after.get(vaddr) ?? 0n,
    })),
    translations: after.size,
    unchanged: others.filter(([vaddr, entry]) => after.get(vaddr) === entry).length,
  };
}

/**
 * Makes a memory with the tables at their addresses and 64 KiB above the kernel's RAM for new tables. It has nothing else, so a
 * walk that leaves the tables is a bus error.
 */
function load({ header, frames }: FramesFile): { memory: PhysMemory; frames: FrameAllocator } {
  const bank = physRegion(physAddr(header.memory), 16 * PAGE_SIZE);
  const memory = createPhysMemory({
    regions: [...frames.map(({ paddr }) => physRegion(paddr, PAGE_SIZE)), bank],
  });
  for (const { paddr, bytes } of frames) writePhys(memory, paddr, bytes);
  const allocator = new PageAllocator(bank);
  return {
    memory,
    frames: {
      allocateFrame: () => allocator.allocatePage(),
      freeFrame: (frame) => allocator.freePage(frame),
    },
  };
}

/** Sets the C-bit in every present entry, as in the tables of a kernel that was launched encrypted. */
function encryptTables(memory: PhysMemory, { frames }: FramesFile): void {
  for (const { paddr } of frames) {
    for (let offset = 0; offset < PAGE_SIZE; offset += 8) {
      const at = (paddr + BigInt(offset)) as PhysAddr;
      const entry = readPhys64(memory, at);
      if ((entry & PRESENT) !== 0n) writePhys64(memory, at, entry | C_BIT);
    }
  }
}

function translations(memory: PhysMemory, root: PhysAddr): Map<VirtAddr, bigint> {
  return leaves(memory, root, 0xff_ffff_f000n);
}

/** Returns `null`, as the emulator does, if an address is not mapped or not canonical. */
function translate(table: PageTable, value: bigint): bigint | null {
  const vaddr = tryVirtAddr(value);
  return (vaddr && table.translate(vaddr)) ?? null;
}

/** The first 2 MiB page of data in the upper half, which belongs to the kernel's direct map. */
function directMapPage(table: PageTable, vaddrs: Iterable<VirtAddr>): VirtAddr {
  for (const vaddr of vaddrs) {
    if (vaddr >> 63n === 0n) continue;
    const page = table.lookup(vaddr);
    if (page?.size === PageSize.Huge && page.writable && !page.executable) return vaddr;
  }
  throw new Error('the kernel maps no data with 2 MiB pages');
}

function entryAt(table: PageTable, vaddr: VirtAddr, level: number): bigint {
  return table.walk(vaddr).path.find((step) => step.level === level)?.entry.raw ?? 0n;
}

function readAnswers(path: string): (readonly [bigint, bigint | null])[] {
  const pairs = JSON.parse(gunzipSync(readFileSync(path)).toString()) as [string, string | null][];
  return pairs.map(([vaddr, paddr]) => [BigInt(vaddr), paddr === null ? null : BigInt(paddr)]);
}
