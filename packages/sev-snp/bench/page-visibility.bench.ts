/**
 * A guest makes single pages of 4 KiB shared, and takes them back, while its TLB holds 64 to 65,536 other pages. The baseline of
 * each row is the same without a TLB.
 *
 * A figure is the mean over all calls of the rounds after the first, with their garbage collections. The bytes are those that the heap
 * grows by in a call, as the median over runs of 64 calls: most of these have no collection.
 */
import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import { makePagePrivate, makePageShared, SnpMachine, type Vcpu } from '@svsm/sev-snp';

const BASE = 0xffff_8000_0000_0000n;
const HELD = [0, 64, 512, 4096, 65_536];
const PAGES = 512;
const RUN = 64;
const ROUNDS = 4;
/** The first page that is shared, after the frames of tables. */
const FIRST = 8 * PAGE_SIZE_2M;

/** A guest that has mapped its memory by 4 KiB pages, and whose TLB holds `held` pages behind those that are shared. */
function boot(held: number): { vcpu: Vcpu; table: PageTable; pages: readonly VirtAddr[] } {
  const size = FIRST + PAGE_SIZE_2M + Math.max(1, Math.ceil(held / 512)) * PAGE_SIZE_2M;
  const { hypervisor } = new SnpMachine({ memorySize: 4 * size });
  const guest = hypervisor.launch({ size, pageSize: PageSize.Regular });
  const tlb = held === 0 ? undefined : new Tlb();
  const vcpu = guest.createVcpu(tlb === undefined ? {} : { tlb });
  let frame = PAGE_SIZE;
  const frames = {
    allocateFrame: () => {
      frame += PAGE_SIZE;
      return physAddr(frame);
    },
    freeFrame: () => {},
  };
  const options = { memory: vcpu.memory, frames, config: guest.paging };
  const table = PageTable.create(tlb === undefined ? options : { ...options, tlb });
  for (const gpa of guest.memory.iterPages(PageSize.Regular)) {
    table.map4k(virtAddr(BASE + gpa), gpa, PtePreset.Data);
  }
  vcpu.loadCr3(table.cr3);
  const at = (page: number): VirtAddr => virtAddr(BASE + BigInt(FIRST + page * PAGE_SIZE));
  for (let i = 0; i < held; i += 1) vcpu.read(at(PAGES + i), 1);
  if (tlb?.lookup(at(PAGES)) === undefined && held > 0)
    throw new Error('the TLB does not hold what was read');
  return { vcpu, table, pages: Array.from({ length: PAGES }, (_, i) => at(i)) };
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b) / values.length;
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

const STEPS = { makePageShared, makePagePrivate };
const guests = HELD.map((held) => ({ held, ...boot(held) }));
const taken = guests.map(() => ({
  makePageShared: [] as number[],
  makePagePrivate: [] as number[],
}));
const grown = guests.map(() => ({
  makePageShared: [] as number[],
  makePagePrivate: [] as number[],
}));
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [i, { vcpu, table, pages }] of guests.entries()) {
    for (const name of ['makePageShared', 'makePagePrivate'] as const) {
      for (let first = 0; first < PAGES; first += RUN) {
        const before = process.memoryUsage().heapUsed;
        const start = performance.now();
        for (const page of pages.slice(first, first + RUN)) STEPS[name](vcpu, table, page);
        const time = performance.now() - start;
        if (round === 0) continue;
        taken[i]![name].push((time * 1e3) / RUN);
        grown[i]![name].push((process.memoryUsage().heapUsed - before) / RUN);
      }
    }
  }
}

console.log(`${PAGES} pages of 4 KiB, one call each; Node ${process.versions.node}`);
for (const name of ['makePageShared', 'makePagePrivate'] as const) {
  for (const [i, { held }] of guests.entries()) {
    const time = mean(taken[i]![name]);
    const ratio = time / mean(taken[0]![name]);
    const label = `${name}, ${held === 0 ? 'no TLB (baseline)' : `a TLB of ${held} pages`}`;
    const bytes = Math.max(0, median(grown[i]![name]));
    console.log(
      `  ${label.padEnd(38)} ${time.toFixed(1).padStart(7)} µs  ${ratio.toFixed(2).padStart(5)} ×  ${bytes.toFixed(0).padStart(6)} bytes`,
    );
  }
}
