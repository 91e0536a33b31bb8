/**
 * Guests of 1 GiB, 64 GiB and 1 TiB: the time and the memory of a launch. Then 64 GiB that an SVSM validates for its guest, in
 * pages of 2 MiB, and the memory of each page that is written.
 */
import { PAGE_SIZE, PAGE_SIZE_1G, PAGE_SIZE_2M, PageSize, physAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import {
  type Guest,
  type LaunchOptions,
  NestedTlb,
  permanentMap,
  pvalidateBySvsm,
  SnpMachine,
  SvsmState,
} from '@svsm/sev-snp';

const BASE = 0xffff_8000_0000_0000n;
const MIB = 2 ** 20;
const GUEST = 64 * PAGE_SIZE_1G;

/** The bytes of everything that is reachable. */
function used(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Launches a guest on a machine of its own. Prints the time of the first launch, of the best of the next ones, and the memory. */
function launch(name: string, options: LaunchOptions): Guest {
  const start = (): Guest => new SnpMachine({ memorySize: 2 ** 41 }).hypervisor.launch(options);
  const time = (): number => {
    const started = performance.now();
    start();
    return performance.now() - started;
  };
  const first = time();
  const best = Math.min(...Array.from({ length: 9 }, time));
  const before = used();
  const guests = Array.from({ length: 20 }, start);
  const kib = (used() - before) / guests.length / 1024;
  console.log(
    `${name.padEnd(34)} ${first.toFixed(2).padStart(7)} ms, warm ${best.toFixed(2).padStart(6)} ms, ${kib.toFixed(0).padStart(4)} KiB`,
  );
  return guests[0] as Guest;
}

const whole = (size: number, validated: boolean): LaunchOptions => ({
  memory: [{ region: physRegion(physAddr(0), size), validated }],
});
launch('1 GiB, validated', whole(PAGE_SIZE_1G, true));
launch('64 GiB, validated', whole(GUEST, true));
launch('1 TiB, validated', whole(2 ** 40, true));
launch('1 TiB, validated, pages of 4 KiB', { ...whole(2 ** 40, true), pageSize: PAGE_SIZE });
launch('1 TiB, unaccepted', whole(2 ** 40, false));

const guest = launch('64 GiB, of an SVSM', whole(GUEST, true));
const OWN = 256 * MIB;
const START = 512 * MIB;
const gvaOf = (gpa: bigint) => virtAddr(BASE + gpa);

/** A processor with page tables from a frame on, which map all memory. */
function processor(vmpl: 0 | 2, from: number) {
  const tlb = new Tlb();
  const vcpu = guest.createVcpu({ vmpl, tlb, nestedTlb: new NestedTlb() });
  let frame = from;
  const allocateFrame = () => {
    frame += PAGE_SIZE;
    return physAddr(frame);
  };
  const frames = { allocateFrame, freeFrame: () => {} };
  const table = PageTable.create({ memory: vcpu.memory, frames, config: guest.paging, tlb });
  table.mapRegion(virtRegion(gvaOf(0n), GUEST), physAddr(0), PtePreset.Data);
  // The tables map 1 GiB at once, and an SVSM maps pages of 2 MiB.
  for (let gpa = 0n; gpa < GUEST; gpa += BigInt(PAGE_SIZE_1G)) table.split2m(gvaOf(gpa));
  vcpu.loadCr3(table.cr3);
  return vcpu;
}

const svsmCpu = processor(0, PAGE_SIZE_2M);
for (const gpa of physRegion(physAddr(OWN), GUEST - OWN).iterPages(PageSize.Huge)) {
  for (const vmpl of [1, 2]) svsmCpu.rmpadjust(gvaOf(gpa), PageSize.Huge, { vmpl, permissions: 0xf });
}
const osCpu = processor(2, OWN + PAGE_SIZE_2M);
const state = new SvsmState({ memory: guest.memory, own: [physRegion(physAddr(0), OWN)] });
const svsm = state.on(svsmCpu, permanentMap(gvaOf));
const area = { gva: gvaOf(BigInt(OWN)), gpa: physAddr(OWN) };
svsm.register(osCpu, area.gpa);
guest.onEnter(0, (caller) => {
  svsm.enter(caller);
});

const pages = [...physRegion(physAddr(START), GUEST - START).iterPages(PageSize.Huge)];
const change = (validate: boolean): number => {
  const started = performance.now();
  for (let at = 0; at < pages.length; at += 250) {
    const entries = pages.slice(at, at + 250).map((gpa) => ({
      gpa,
      size: 1,
      validate,
      ignoreUnchanged: false,
      reserved: 0,
    }));
    pvalidateBySvsm(osCpu, area, entries);
  }
  return performance.now() - started;
};
change(false);
const before = used();
const time = change(true);
console.log(
  `63.5 GiB validated by an SVSM: ${time.toFixed(0)} ms, ${((1000 * time) / pages.length).toFixed(1)} µs for 2 MiB; ` +
    `${((used() - before) / MIB).toFixed(1)} MiB, ${((used() - before) / pages.length).toFixed(0)} bytes for 2 MiB`,
);

const touched = 10_000;
const empty = used();
for (let k = 0; k < touched; k += 1)
  osCpu.write(gvaOf(BigInt(START + k * 1501 * PAGE_SIZE)), Uint8Array.of(1));
console.log(`a page that is written: ${((used() - empty) / touched).toFixed(0)} bytes`);
