import { PageSize, physAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { prepareTables } from '../../src/boot/global-ranges.ts';
import { bootWorld, mib } from '../support/world.ts';

test.each([
  ['4 KiB', PageSize.Regular, 0x7fe0_0000n, 0x40_0000n],
  ['2 MiB', PageSize.Huge, 0x3fe0_0000n, 0x8000_0000n],
] as const)(
  'pages of %s need no frame afterwards, wherever they lie in the region',
  (_, pageSize, start, size) => {
    let next = 0;
    const frames = { allocateFrame: () => physAddr(0x1000 * next++), freeFrame: () => {} };
    const table = PageTable.create({ memory: createPhysMemory({ size: 0x10_0000 }), frames });
    const region = virtRegion(virtAddr(start), size);
    prepareTables(table, region, pageSize);
    expect([...table.mappings()]).toEqual([]);
    const tables = next;
    table.mapRegion(region, physAddr(0x8000_0000), 0, { pageSize });
    expect(next).toBe(tables);
  },
);

test('a global mapping is flushed on all processors when it ends', () => {
  const { svsm, stale } = bootWorld({ cpus: 3 });
  const starts = [mib(32, 2), mib(34, 2)].map((region) => {
    using guard = svsm.mapGlobal(region);
    for (const cpu of svsm.cpus) svsm.on(cpu, () => guard.write(cpu.apicId, Uint8Array.of(cpu.apicId + 1)));
    expect([...guard.read(0, 3)]).toEqual([1, 2, 3]);
    return guard.region.start;
  });
  expect(starts[0]).toBe(starts[1]);
  expect(stale).toEqual([]);
});
