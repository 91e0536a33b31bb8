import { type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import type { PagingConfig } from '../../src/entry/paging-config.ts';
import type { FrameAllocator } from '../../src/memory/frame-allocator.ts';
import { type PhysMemory, readPhys, readPhys64 } from '../../src/memory/phys-memory.ts';

/** A pool of frames that records the frames in use, and can be made to run out. */
export class FramePool implements FrameAllocator {
  readonly inUse: Set<PhysAddr> = new Set();
  /** The number of frames that it still hands out. */
  left: number;
  readonly #free: PhysAddr[];

  constructor(firstFrame: number, count: number) {
    this.#free = Array.from({ length: count }, (_, i) => physAddr((firstFrame + i) * 0x1000)).reverse();
    this.left = count;
  }

  allocateFrame(): PhysAddr {
    const frame = this.left > 0 ? this.#free.pop() : undefined;
    if (frame === undefined) throw new Error('the pool is empty');
    this.left -= 1;
    this.inUse.add(frame);
    return frame;
  }

  freeFrame(frame: PhysAddr): void {
    if (!this.inUse.delete(frame)) throw new Error(`${frame} is not in use`);
    this.left += 1;
    this.#free.push(frame);
  }
}

/** The bytes of every frame in use. An operation that fails must not change them. */
export function snapshot(memory: PhysMemory, pool: FramePool): Map<PhysAddr, string> {
  return new Map(
    [...pool.inUse].map((frame) => [frame, Buffer.from(readPhys(memory, frame, 0x1000)).toString('latin1')]),
  );
}

/** The page that {@link slowWalk} finds. */
export interface SlowPage {
  readonly paddr: bigint;
  readonly size: bigint;
  /** All 64 bits of the leaf. */
  readonly leaf: bigint;
  readonly writable: boolean;
  readonly user: boolean;
  readonly executable: boolean;
}

/** A walk in bigints, written to be read. It shares no code with the package. */
export function slowWalk(
  memory: PhysMemory,
  root: PhysAddr,
  config: PagingConfig,
  vaddr: VirtAddr,
): SlowPage | undefined {
  const encryptionBit = config.encryption === undefined ? 0n : 1n << BigInt(config.encryption.bit);
  let table: bigint = root;
  let writable = true;
  let user = true;
  let executable = true;
  for (let level = config.levels - 1; ; level -= 1) {
    const shift = 12n + 9n * BigInt(level);
    const entry = readPhys64(memory, (table + 8n * ((vaddr >> shift) & 0x1ffn)) as PhysAddr);
    if ((entry & 1n) === 0n) return undefined;
    writable &&= (entry & 2n) !== 0n;
    user &&= (entry & 4n) !== 0n;
    executable &&= (entry & (1n << 63n)) === 0n;
    const address = entry & 0xf_ffff_ffff_f000n & ~encryptionBit;
    if (level === 0 || (level <= 2 && (entry & 0x80n) !== 0n)) {
      const size = 1n << shift;
      return {
        paddr: (address & -size) + (vaddr & (size - 1n)),
        size,
        leaf: entry,
        writable,
        user,
        executable,
      };
    }
    table = address;
  }
}

/** The number of tables that are reachable from `root`, the root included. */
export function countTables(memory: PhysMemory, root: PhysAddr, config: PagingConfig): number {
  const encryptionBit = config.encryption === undefined ? 0n : 1n << BigInt(config.encryption.bit);
  const count = (table: bigint, level: number): number => {
    let tables = 1;
    for (let i = 0; level > 0 && i < 512; i += 1) {
      const entry = readPhys64(memory, (table + BigInt(8 * i)) as PhysAddr);
      const isTable = (entry & 1n) !== 0n && (level > 2 || (entry & 0x80n) === 0n);
      if (isTable) tables += count(entry & 0xf_ffff_ffff_f000n & ~encryptionBit, level - 1);
    }
    return tables;
  };
  return count(root, config.levels - 1);
}
