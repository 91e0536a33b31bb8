import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';

const GIB = 2 ** 30;
/** The place of memory in the file. */
const MEMORY = 4096;

/**
 * Writes an ELF core of 4 GiB of memory, most of it a hole of the file. Its last page is the root at CR3 0xfffff000; it maps all
 * memory at virtual address 0, by pages of 1 GiB.
 */
export function writeLargeCore(path: string): void {
  const header = Buffer.alloc(64 + 2 * 56);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  header.writeUInt16LE(4, 16);
  header.writeUInt16LE(62, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(2, 56);
  // Notes without content, and one segment of memory.
  header.writeUInt32LE(4, 64);
  const load = 64 + 56;
  header.writeUInt32LE(1, load);
  header.writeBigUInt64LE(BigInt(MEMORY), load + 8);
  header.writeBigUInt64LE(BigInt(4 * GIB), load + 32);
  header.writeBigUInt64LE(BigInt(4 * GIB), load + 40);
  const root = BigUint64Array.of(0xffff_e063n);
  const directory = BigUint64Array.from({ length: 4 }, (_, i) => BigInt(i * GIB) | 0xe3n);
  const file = openSync(path, 'w');
  try {
    ftruncateSync(file, MEMORY + 4 * GIB);
    writeSync(file, header, 0, header.length, 0);
    writeSync(file, Buffer.from(root.buffer), 0, 8, MEMORY + 0xffff_f000);
    writeSync(file, Buffer.from(directory.buffer), 0, 32, MEMORY + 0xffff_e000);
  } finally {
    closeSync(file);
  }
}
