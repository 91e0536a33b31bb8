/**
 * A read of a guest's, with its translation in a warm TLB: the guest's own and the nested walk are answered by it, the
 * RMP is asked. The baseline is a page table alone with the same kind of TLB: look up, judge, read. Eight bytes each, all
 * of one 2 MiB page after the other.
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
import { NestedTlb, SnpMachine } from '@svsm/sev-snp';

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

/** A page table and a TLB, without anything below. */
function bare(): (gva: VirtAddr) => number {
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

function guest(): (gva: VirtAddr) => number {
  const machine = new SnpMachine({ memorySize: 2 * MEMORY });
  const it = machine.hypervisor.launch({ size: MEMORY });
  const tlb = new Tlb();
  const vcpu = it.createVcpu({ tlb, nestedTlb: new NestedTlb() });
  const table = PageTable.create({
    memory: vcpu.memory,
    frames: framesFrom(PAGE_SIZE_2M),
    config: it.paging,
    tlb,
  });
  for (const gpa of it.memory.iterPages(PageSize.Huge))
    table.map2m(virtAddr(BASE + gpa), gpa, PtePreset.Data);
  vcpu.loadCr3(table.cr3);
  return (gva) => vcpu.read(gva, 8)[0]!;
}

function timed(read: (gva: VirtAddr) => number, rounds: number): number {
  const started = performance.now();
  let sum = 0;
  for (let round = 0; round < rounds; round += 1) for (const gva of ADDRESSES) sum += read(gva);
  if (sum !== 0) throw new Error('memory is zero');
  return ((performance.now() - started) * 1e6) / (rounds * ADDRESSES.length);
}

const subjects = { bare: bare(), guest: guest() };
const times = { bare: [] as number[], guest: [] as number[] };
timed(subjects.bare, 20);
timed(subjects.guest, 20);
for (let i = 0; i < 15; i += 1) {
  times.bare.push(timed(subjects.bare, 20));
  times.guest.push(timed(subjects.guest, 20));
}
const best = (values: number[]): number => Math.min(...values);
const [a, b] = [best(times.bare), best(times.guest)];
console.log(`a page table and its TLB, a read of 8 bytes: ${a.toFixed(0)} ns (baseline)`);
console.log(
  `a guest's read, both walks in a warm TLB, RMP asked: ${b.toFixed(0)} ns, ${(b / a).toFixed(2)} times that`,
);
