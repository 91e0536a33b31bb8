/**
 * Writes an ELF core of 6 GiB, or another size, with scattered 4 KiB pages. Everything except the page tables is a hole:
 * `npx node bench/large-core.ts FILE [PAGES] [GIB]`. Measure svsm-dump on it with `/usr/bin/time -v`; the README has figures.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import process from 'node:process';
import { coreFile } from '../test/support/core-file.ts';

const [path, count = '1500000', gibibytes = '6'] = process.argv.slice(2);
if (path === undefined) throw new Error('pass the name of the file to write');
const pages = Number(count);
const MEMORY = Number(gibibytes) * 2 ** 30;
const ROOT = 0x1_0000;
const tables = Math.ceil(pages / 512);
const directories = Math.ceil(tables / 512);
const pointers = Math.ceil(directories / 512);

const headers = coreFile({
  segments: [{ paddr: 0n, size: MEMORY }],
  cpus: [{ cr3: BigInt(ROOT), cr4: 0xa0n }],
});
const fd = openSync(path, 'w');
writeSync(fd, headers);
ftruncateSync(fd, headers.length + MEMORY);

/** The tables, level by level from the root. Each is 64 KiB after the one before, so that no two share a block of the disk. */
let next = ROOT;
const place = (): number => {
  next += 0x1_0000;
  return next - 0x1_0000;
};
const root = place();
const levels = [pointers, directories, tables].map((size) => Array.from({ length: size }, place));
const write = (table: number, entries: readonly number[], flags: bigint): void => {
  const bytes = Buffer.alloc(4096);
  for (const [i, entry] of entries.entries()) bytes.writeBigUInt64LE(BigInt(entry) | flags, 8 * i);
  writeSync(fd, bytes, 0, 4096, headers.length + table);
};
for (const [above, below] of [
  [[root], levels[0]],
  [levels[0], levels[1]],
  [levels[1], levels[2]],
] as [number[], number[]][]) {
  for (const [i, table] of above.entries()) write(table, below.slice(i * 512, (i + 1) * 512), 0x67n);
}
for (const [i, table] of levels[2]!.entries()) {
  const first = i * 512;
  const size = Math.min(512, pages - first);
  // An odd factor scatters the frames, so that neighbours do not join to a run.
  const frames = Array.from(
    { length: size },
    (_, k) => (((first + k) * 0x9e37_79b1) % (MEMORY / 4096)) * 4096,
  );
  write(table, frames, 0x8000_0000_0000_0067n);
}
closeSync(fd);
