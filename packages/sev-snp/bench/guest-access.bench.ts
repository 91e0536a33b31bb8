/**
 * A guest reads 8 bytes at 4096 addresses in 2 MiB pages: with warm TLBs, and with both walks for each read. The baseline
 * is a page table with a TLB and nothing below: look up, read.
 */
import {
  PAGE_SIZE,
  PAGE_SIZE_2M,
  PageSize,
  type PhysAddr,
  physAddr,
  type VirtAddr,
  virtAddr,
} from '@svsm/address';
import { createPhysMemory, PageTable, PtePreset, pagingConfig, readPhys, Tlb } from '@svsm/pagetable';
import { type Guest, NestedTlb, SnpMachine, type Vcpu } from '@svsm/sev-snp';

const BASE = 0xffff_8000_0000_0000n;
const MEMORY = 16 * PAGE_SIZE_2M;
const ADDRESSES = Array.from({ length: 4096 }, (_, i) =>
  virtAddr(BASE + BigInt(4 * PAGE_SIZE_2M + ((i * 0x1_2358) % (8 * PAGE_SIZE_2M)) - ((i * 0x1_2358) % 8))),
);

function framesFrom(start: number): { allocateFrame(): PhysAddr; freeFrame(): void } {
  let frame = start;
  return {
    allocateFrame: () => {
      frame += PAGE_SIZE;
      return physAddr(frame);
    },
    freeFrame: () => {},
  };
}

/** A page table, with nothing below: with a TLB, or with a translation for each read. */
function bare(withTlb: boolean): (gva: VirtAddr) => number {
  const memory = createPhysMemory({ size: MEMORY });
  const tlb = new Tlb();
  const table = PageTable.create({
    memory,
    frames: framesFrom(PAGE_SIZE_2M),
    config: pagingConfig({ cBit: 51 }),
    tlb,
  });
  for (let gpa = 0; gpa < MEMORY; gpa += PAGE_SIZE_2M)
    table.map2m(virtAddr(BASE + BigInt(gpa)), physAddr(gpa), PtePreset.Data);
  if (!withTlb) return (gva) => readPhys(memory, table.translate(gva)!, 8)[0]!;
  return (gva) => {
    let page = tlb.lookup(gva)?.page;
    if (page === undefined) {
      page = table.walk(gva).page;
      if (page === undefined) throw new Error('not mapped');
      tlb.insert(gva, page);
    }
    const paddr = (page.frame + (gva & BigInt(page.size - 1))) as PhysAddr;
    return readPhys(memory, paddr, 8)[0]!;
  };
}

/** A guest that maps its memory, with TLBs or with a walk for each access. */
function launched(withTlbs: boolean): { guest: Guest; vcpu: Vcpu } {
  const machine = new SnpMachine({ memorySize: 2 * MEMORY });
  const guest = machine.hypervisor.launch({ size: MEMORY });
  const tlb = new Tlb();
  const vcpu = guest.createVcpu(withTlbs ? { tlb, nestedTlb: new NestedTlb() } : {});
  const table = PageTable.create({
    memory: vcpu.memory,
    frames: framesFrom(PAGE_SIZE_2M),
    config: guest.paging,
    tlb,
  });
  for (const gpa of guest.memory.iterPages(PageSize.Huge)) {
    table.map2m(virtAddr(BASE + gpa), gpa, PtePreset.Data);
  }
  vcpu.loadCr3(table.cr3);
  return { guest, vcpu };
}

function reader(withTlbs: boolean): (gva: VirtAddr) => number {
  const { vcpu } = launched(withTlbs);
  return (gva) => vcpu.read(gva, 8)[0]!;
}

function nested(): (gva: VirtAddr) => number {
  const { guest } = launched(false);
  return (gva) => (guest.nested.lookup(physAddr(gva - BASE)) === undefined ? 1 : 0);
}

function timed(read: (gva: VirtAddr) => number, rounds: number): number {
  const started = performance.now();
  let sum = 0;
  for (let round = 0; round < rounds; round += 1) for (const gva of ADDRESSES) sum += read(gva);
  if (sum !== 0) throw new Error('a read of zeroed memory returned another value');
  return ((performance.now() - started) * 1e6) / (rounds * ADDRESSES.length);
}

const subjects = [
  { name: 'a page table and its TLB, a read of 8 bytes', read: bare(true), rounds: 20 },
  { name: 'a page table alone, `translate` and a read of 8 bytes', read: bare(false), rounds: 20 },
  { name: "a guest's read, both walks in a warm TLB, RMP checked", read: reader(true), rounds: 20 },
  { name: "a guest's read without a TLB: both walks, RMP checked", read: reader(false), rounds: 2 },
  { name: 'a nested translation: the walk alone', read: nested(), rounds: 10 },
];
const times = subjects.map((): number[] => []);
for (let i = 0; i < 18; i += 1) {
  for (const [j, { read, rounds }] of subjects.entries()) {
    const time = timed(read, rounds);
    // The first rounds warm up.
    if (i >= 3) times[j]!.push(time);
  }
}
const [baseline] = times.map((all) => Math.min(...all));
for (const [j, { name }] of subjects.entries()) {
  const least = Math.min(...times[j]!);
  console.log(
    `${name.padEnd(54)} ${least.toFixed(0).padStart(6)} ns ${(least / baseline!).toFixed(2).padStart(6)} ×`,
  );
}
