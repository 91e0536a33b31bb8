import { PAGE_SIZE, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { pagingConfigFromRegisters } from '../../src/entry/paging-config.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, writePhys } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { fixtureBytes } from './fixtures.ts';

interface Header {
  readonly cr3: string;
  readonly cr4: string;
  readonly efer: string;
  readonly maxphyaddr: number;
}

/** The page tables of a booted kernel, in a memory that has only their frames. */
export function openKernelTables(name: string): { memory: PhysMemory; table: PageTable; frames: number } {
  const file = fixtureBytes(`${name}.frames.gz`);
  const headerEnd = 16 + file.readUInt32LE(8);
  const count = file.readUInt32LE(12);
  const header = JSON.parse(file.toString('utf8', 16, headerEnd)) as Header;
  const frames = Array.from({ length: count }, (_, i) => {
    const at = headerEnd + i * (8 + PAGE_SIZE);
    return { paddr: physAddr(file.readBigUInt64LE(at)), bytes: file.subarray(at + 8, at + 8 + PAGE_SIZE) };
  });
  const memory = createPhysMemory({ regions: frames.map(({ paddr }) => physRegion(paddr, PAGE_SIZE)) });
  for (const { paddr, bytes } of frames) writePhys(memory, paddr, bytes);
  const config = pagingConfigFromRegisters(
    { cr4: BigInt(header.cr4), efer: BigInt(header.efer) },
    { physicalBits: header.maxphyaddr, vendor: 'intel' },
  );
  const root = physAddr(BigInt(header.cr3) & 0xf_ffff_ffff_f000n);
  return { memory, table: PageTable.open(root, { memory, config }), frames: count };
}
