/**
 * Shares memory with the hypervisor and takes it back: 64 MiB of a heap that is mapped by 2 MiB, as one region and page by page,
 * with the exits, the flushes and the walks of each way. Then cases in which a region gains nothing: one page, and every other
 * page. The way of COCONUT-SVSM is one page at a time, by the GHCB MSR protocol: `makePageShared` of sev-snp.
 */
import { PAGE_SIZE, PAGE_SIZE_2M, physAddr, type VirtAddr } from '@svsm/address';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import { Svsm } from '@svsm/mm';
import { type MappedPage, Tlb } from '@svsm/pagetable';
import { makePagePrivate, makePageShared, NestedTlb, SnpMachine } from '@svsm/sev-snp';

const MIB = 2 ** 20;
const counts = { exits: 0, pvalidates: 0, walks: 0 };

/** Each walk ends with a translation that is filled in. */
class CountingTlb extends Tlb {
  override insert(vaddr: VirtAddr, page: MappedPage): void {
    counts.walks += 1;
    super.insert(vaddr, page);
  }
}

/** An SVSM with two processors and a heap of `mib` MiB, and a block of it. */
function boot(bytes: number): { readonly svsm: Svsm; readonly block: MemoryRegion<VirtAddr> } {
  const { hypervisor } = new SnpMachine({
    memorySize: 512 * MIB,
    trace: ({ type }) => {
      if (type === 'vmgexit') counts.exits += 1;
      if (type === 'pvalidate') counts.pvalidates += 1;
    },
  });
  const guest = hypervisor.launch({ size: 256 * MIB });
  const svsm = Svsm.boot({
    guest,
    memory: [[physRegion(physAddr(0), 256 * MIB), 'guest']],
    own: physRegion(physAddr(64 * MIB), 128 * MIB),
    cpus: 2,
    createVcpu: () => guest.createVcpu({ vmpl: 0, tlb: new CountingTlb(), nestedTlb: new NestedTlb() }),
  });
  return { svsm, block: svsm.pages.allocateRun(bytes / PAGE_SIZE, PAGE_SIZE_2M) };
}

interface Way {
  readonly name: string;
  readonly share: (svsm: Svsm, block: MemoryRegion<VirtAddr>) => void;
  readonly take: (svsm: Svsm, block: MemoryRegion<VirtAddr>) => void;
}

/** One page at a time, of every `stride` pages. */
function pages(block: MemoryRegion<VirtAddr>, stride: number): VirtAddr[] {
  return [...block.iterPages(PAGE_SIZE)].filter((_, k) => k % stride === 0);
}

const optionsOf = (svsm: Svsm) => ({
  validated: svsm.validated,
  flush: (region: MemoryRegion<VirtAddr>) => svsm.processors.shootDown.broadcast(region),
  clear: true,
});

/** By COCONUT-SVSM's steps. */
const byPage = (stride: number): Way => ({
  name: 'page by page, MSR protocol',
  share: (svsm, block) => {
    const { vcpu, pageTable } = svsm.thisCpu();
    for (const page of pages(block, stride)) makePageShared(vcpu, pageTable, page, optionsOf(svsm));
  },
  take: (svsm, block) => {
    const { vcpu, pageTable } = svsm.thisCpu();
    for (const page of pages(block, stride)) makePagePrivate(vcpu, pageTable, page, optionsOf(svsm));
  },
});

/** By regions of one page. */
const byRegionOfPage = (stride: number): Way => ({
  name: 'makeShared of each page',
  share: ({ visibility }, block) => {
    for (const page of pages(block, stride)) visibility.makeShared(virtRegion(page, PAGE_SIZE));
  },
  take: ({ visibility }, block) => {
    for (const page of pages(block, stride)) visibility.makePrivate(virtRegion(page, PAGE_SIZE));
  },
});

const byRegion: Way = {
  name: 'makeShared of the region',
  share: ({ visibility }, block) => visibility.makeShared(block),
  take: ({ visibility }, block) => visibility.makePrivate(block),
};

/** Runs a change, and counts. Returns microseconds a page. */
function measure(
  svsm: Svsm,
  count: number,
  change: () => void,
): { readonly us: number; readonly text: string } {
  const before = { ...counts, ...svsm.processors.shootDown.counts };
  const started = performance.now();
  change();
  const us = ((performance.now() - started) * 1000) / count;
  const now = { ...counts, ...svsm.processors.shootDown.counts };
  const of = (name: keyof typeof now): string => `${now[name] - before[name]} ${name}`;
  return {
    us,
    text: [of('exits'), of('pvalidates'), of('walks'), of('broadcast'), of('instructions')].join(', '),
  };
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] as number;

/** Compares ways, each on a heap of its own: the median of `rounds`. The first round of each is for the compiler. */
function compare(title: string, bytes: number, count: number, rounds: number, ways: readonly Way[]): void {
  console.log(title);
  const results = ways.map(({ name, share, take }) => {
    const shares: number[] = [];
    const takes: number[] = [];
    let texts = ['', ''];
    for (let round = 0; round <= rounds; round += 1) {
      const { svsm, block } = boot(bytes);
      const there = measure(svsm, count, () => share(svsm, block));
      const back = measure(svsm, count, () => take(svsm, block));
      texts = [there.text, back.text];
      if (round === 0) continue;
      shares.push(there.us);
      takes.push(back.us);
    }
    return { name, share: median(shares), take: median(takes), texts };
  });
  const base = results[0]!;
  for (const { name, share, take, texts } of results) {
    const line = (what: string, us: number, of: number, text: string): string =>
      `  ${name.padEnd(28)}${what.padEnd(8)}${us.toFixed(3).padStart(9)} us a page, ${(of / us).toFixed(2).padStart(8)} times as fast; ${text}`;
    console.log(line('share', share, base.share, texts[0]!));
    console.log(line('back', take, base.take, texts[1]!));
  }
}

console.log(`Node ${process.versions.node}; two processors; "instructions" are INVLPG and INVLPGB`);
const all = 64 * MIB;
compare('64 MiB, mapped by 2 MiB', all, all / PAGE_SIZE, 3, [byPage(1), byRegionOfPage(1), byRegion]);
compare('one page', PAGE_SIZE, 1, 25, [byPage(1), byRegion]);
compare('every other page of 4 MiB', 4 * MIB, (4 * MIB) / PAGE_SIZE / 2, 5, [byPage(2), byRegionOfPage(2)]);
