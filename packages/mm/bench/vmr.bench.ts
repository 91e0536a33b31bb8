/** The growth of insert, remove and page faults of a `Vmr` with the number of its mappings. */
import { PAGE_SIZE, physAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { mappings, Vmr } from '@svsm/mm';
import { createPhysMemory, PageFaultCode } from '@svsm/pagetable';

const ROUNDS = 2_000;
const memory = createPhysMemory({ size: 1 << 24 });
let next = 0;
const frames = { allocateFrame: () => physAddr(PAGE_SIZE * next++), freeFrame: () => {} };

console.log(`Node ${process.versions.node}; all gaps but the last are one page too small`);
for (const count of [10, 100, 1_000, 10_000, 100_000]) {
  next = 0;
  const vmr = new Vmr(virtRegion(virtAddr(0), 2n ** 39n), { memory, frames });
  for (let i = 0; i < count; i += 1) {
    vmr.insert(mappings.reserved(PAGE_SIZE), { at: virtAddr(i * 2 * PAGE_SIZE) });
  }
  const device = mappings.physical(physRegion(physAddr(0x1000), 2 * PAGE_SIZE));
  const time = (run: () => void): string => {
    const start = performance.now();
    for (let i = 0; i < ROUNDS; i += 1) run();
    return `${(((performance.now() - start) * 1e3) / ROUNDS).toFixed(1).padStart(6)} us`;
  };
  const inserting = time(() => vmr.remove(vmr.insert(device).start));
  const { start } = vmr.insert(device);
  const faulting = time(() => vmr.handlePageFault(start, PageFaultCode.Present));
  console.log(
    `${String(count).padStart(8)} mappings: insert and remove ${inserting}, a page fault ${faulting}`,
  );
}
