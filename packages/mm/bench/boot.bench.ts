/**
 * The boot of an SVSM with four processors in guests of 1 GiB to 1 TiB: its time and its memory. Nothing grows with memory of the
 * guest that is not touched. The limits are those of the README: 50 ms and 4 MiB.
 */
import { PAGE_SIZE_1G, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { Svsm } from '@svsm/mm';
import { type Guest, SnpMachine } from '@svsm/sev-snp';

const MIB = 2 ** 20;
const own = physRegion(physAddr(512 * MIB), 64 * MIB);

/** The bytes of everything that is reachable. */
function used(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function launch(size: number, validated: boolean): Guest {
  const memory = physRegion(physAddr(0), size);
  const rest = memory.subtract(own).map((region) => ({ region, validated }));
  const { hypervisor } = new SnpMachine({ memorySize: 2 ** 41 });
  return hypervisor.launch({ memory: [...rest, { region: own, validated: true }] });
}

function boot(guest: Guest, size: number, cpus: number): Svsm {
  return Svsm.boot({ guest, memory: [[physRegion(physAddr(0), size), 'guest']], own, cpus });
}

console.log(`Node ${process.versions.node}; an SVSM with 64 MiB of its own`);
for (const [name, size, validated, cpus] of [
  ['1 GiB, 4 processors', PAGE_SIZE_1G, true, 4],
  ['64 GiB, 4 processors', 64 * PAGE_SIZE_1G, true, 4],
  ['1 TiB, 4 processors', 2 ** 40, true, 4],
  ['1 TiB, unaccepted, 4 processors', 2 ** 40, false, 4],
  ['1 TiB, 64 processors', 2 ** 40, true, 64],
] as const) {
  const times = Array.from({ length: 8 }, () => {
    const guest = launch(size, validated);
    const started = performance.now();
    boot(guest, size, cpus);
    return performance.now() - started;
  });
  const guests = Array.from({ length: 10 }, () => launch(size, validated));
  const before = used();
  const booted = guests.map((guest) => boot(guest, size, cpus));
  const kib = (used() - before) / booted.length / 1024;
  const first = (times[0] as number).toFixed(1);
  console.log(
    `${name.padEnd(34)} first ${first.padStart(6)} ms, then ${Math.min(...times)
      .toFixed(1)
      .padStart(6)} ms, ${kib.toFixed(0).padStart(6)} KiB`,
  );
}
