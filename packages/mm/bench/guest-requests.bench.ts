/**
 * A guest at VMPL2 validates 64 GiB in pages of 2 MiB: the hypervisor makes them private, and the SVSM validates them. The baseline
 * is a bare PVALIDATE of the same pages at VMPL0, through a permanent map. The first round is that of a process that has just begun.
 */
import { PAGE_SIZE, PAGE_SIZE_1G, PAGE_SIZE_2M, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { Svsm } from '@svsm/mm';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import {
  type CallingArea,
  Ghcb,
  NestedTlb,
  PageOperation,
  pscEntriesOf,
  pvalidateBySvsm,
  requestPageStates,
  SnpMachine,
  svsmValidator,
  Vmpl,
} from '@svsm/sev-snp';

const own = physRegion(physAddr(0), 64 << 20);
const image = physRegion(physAddr(64 << 20), PAGE_SIZE_2M);
const all = physRegion(physAddr(0), 64 * PAGE_SIZE_1G);
const rest = physRegion(physAddr(image.end), all.end - image.end);
const pages = rest.pageCount(PAGE_SIZE_2M);

function launch(vmpl: Vmpl) {
  const { hypervisor } = new SnpMachine({ memorySize: 66 * PAGE_SIZE_1G });
  const guest = hypervisor.launch({
    memory: [own, image, rest].map((region) => ({ region, validated: region !== rest })),
  });
  const vcpu = guest.createVcpu({ vmpl, tlb: new Tlb(), nestedTlb: new NestedTlb() });
  let next: bigint = image.start;
  const take = (): PhysAddr => {
    next += BigInt(PAGE_SIZE);
    return physAddr(next);
  };
  const openTable = (): PageTable => {
    const frames = { allocateFrame: take, freeFrame: () => {} };
    const table = PageTable.create({ memory: vcpu.memory, frames, config: guest.paging });
    table.map2m(virtAddr(image.start), image.start, PtePreset.Data);
    vcpu.loadCr3(table.cr3);
    return table;
  };
  return { guest, vcpu, take, openTable };
}

/** Microseconds a page: to make it private, and to validate it. */
type Times = readonly [priv: number, validate: number];

function time(run: () => void): number {
  const started = performance.now();
  run();
  return ((performance.now() - started) * 1000) / pages;
}

function bySvsm(): Times {
  const { guest, vcpu, take, openTable } = launch(Vmpl.Vmpl2);
  const svsm = Svsm.boot({ guest, memory: [[all, 'guest']], own, validated: [own, image] });
  svsm.launchFirmware([image], Vmpl.Vmpl2);
  const table = openTable();
  const gpa = take();
  const area: CallingArea = { gva: virtAddr(gpa), gpa };
  svsm.service.register(vcpu, gpa);
  const ghcb = Ghcb.create(vcpu, table, virtAddr(take()), { validator: svsmValidator(area) });
  const entries = Array.from(rest.iterPages(PAGE_SIZE_2M), (page) => {
    return { gpa: page, size: 1, validate: true, ignoreUnchanged: false, reserved: 0 };
  });
  return [
    time(() => requestPageStates(ghcb, pscEntriesOf(rest, PageOperation.Private))),
    time(() => pvalidateBySvsm(vcpu, area, entries)),
  ];
}

function bare(): Times {
  const { vcpu, take, openTable } = launch(Vmpl.Vmpl0);
  const table = openTable();
  table.mapRegion(virtRegion(virtAddr(rest.start), rest.size), rest.start, PtePreset.Data);
  const ghcb = Ghcb.create(vcpu, table, virtAddr(take()));
  return [
    time(() => requestPageStates(ghcb, pscEntriesOf(rest, PageOperation.Private))),
    time(() => {
      for (const gpa of rest.iterPages(PAGE_SIZE_2M)) vcpu.pvalidate(virtAddr(gpa), PAGE_SIZE_2M, true);
    }),
  ];
}

/** The times of rounds. */
function timesOf(run: () => Times): Times[] {
  return Array.from({ length: 6 }, run);
}

/** The least of both times. */
function least(rounds: readonly Times[]): Times {
  return [Math.min(...rounds.map(([priv]) => priv)), Math.min(...rounds.map(([, validate]) => validate))];
}

function report(what: string, [priv, validate]: Times, baseline: number): void {
  const ms = (us: number): string => ((us * pages) / 1000).toFixed(0).padStart(5);
  console.log(
    `  ${what}: page states ${priv.toFixed(1).padStart(5)} us a page, ${ms(priv)} ms; ` +
      `validation ${validate.toFixed(1).padStart(5)} us a page, ${ms(validate)} ms, ${(validate / baseline).toFixed(1)} times a bare PVALIDATE`,
  );
}

const rounds = timesOf(bySvsm);
const [, baseline] = least(timesOf(bare));
console.log(
  `Node ${process.versions.node}; ${pages} pages of 2 MiB; PVALIDATE at VMPL0 ${baseline.toFixed(1)} us a page`,
);
report('through the SVSM, first round', rounds[0]!, baseline);
report('through the SVSM, least of 6 ', least(rounds), baseline);
