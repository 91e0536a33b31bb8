import { PAGE_SIZE, type PhysAddr, type VirtAddr, virtAddrTruncate } from '@svsm/address';
import { type PhysMemory, readPhys } from '@svsm/pagetable';

const PRESENT = 1n;
const LARGE = 0x80n;
const PAT_LARGE = 0x1000n;

/**
 * Every translation below `root` in units of 4 KiB, with its entry. A large page counts as the small pages that it consists of.
 * The function reads the tables entry by entry and shares no code with `PageTable`, so it can check one.
 */
export function leaves(memory: PhysMemory, root: PhysAddr, addressMask: bigint): Map<VirtAddr, bigint> {
  const found = new Map<VirtAddr, bigint>();
  const visit = (table: bigint, level: number, base: bigint): void => {
    const entries = new DataView(readPhys(memory, table as PhysAddr, PAGE_SIZE).buffer);
    for (let i = 0; i < 512; i += 1) {
      const entry = entries.getBigUint64(8 * i, true);
      const vaddr = base + (BigInt(i) << BigInt(12 + 9 * level));
      if ((entry & PRESENT) === 0n) continue;
      if (level === 0) found.set(virtAddrTruncate(vaddr), entry);
      else if (level > 2 || (entry & LARGE) === 0n) visit(entry & addressMask, level - 1, vaddr);
      else addParts(found, vaddr, entry, 512 ** level);
    }
  };
  visit(root, 3, 0n);
  return found;
}

function addParts(found: Map<VirtAddr, bigint>, vaddr: bigint, entry: bigint, parts: number): void {
  const pat = (entry & PAT_LARGE) === 0n ? 0n : LARGE;
  const first = (entry & ~(LARGE | PAT_LARGE)) | pat;
  for (let i = 0; i < parts; i += 1) {
    const offset = BigInt(i * PAGE_SIZE);
    found.set(virtAddrTruncate(vaddr + offset), first + offset);
  }
}
