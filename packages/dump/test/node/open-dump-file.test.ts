/** Properties of all formats, and features of single formats that the fixtures do not have. */
import { spawn, spawnSync } from 'node:child_process';
import { rmSync, truncateSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { type PhysAddr, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { Dump } from '../../src/formats/dump.ts';
import { isDumpError } from '../../src/source/dump-error.ts';
import { describeDump } from '../../src/view/inventory.ts';
import { listLeaves } from '../../src/view/listing.ts';
import type { ViewOptions } from '../../src/view/view.ts';
import { coreFile, framesFile, sparseFile, tableOf } from '../support/core-file.ts';
import { open, temporary, view } from '../support/support.ts';

/** Four tables from 0x1000 on. They map 0x40_0000 to a writable page at 0x9000; entry 1 of the PD maps a large page. */
const TABLES = [
  tableOf({ 0: 0x2067n }),
  tableOf({ 0: 0x3067n }),
  tableOf({ 1: 0x8000_0000_0020_00e7n, 2: 0x4067n }),
  tableOf({ 0: 0x9063n }),
] as const;
const MEMORY = Buffer.concat(TABLES);
const MAPPED = ['200000 200000 200000', '400000 9000 1000'];
const IMAGE = Buffer.concat([Buffer.alloc(0x1000), MEMORY]);

function listed(dump: Dump, options: Partial<ViewOptions> = {}): string[] {
  const records = listLeaves(view(dump, options), { within: undefined, all: false });
  return [...records].flatMap((record) =>
    record.type === 'leaf'
      ? [[record.start, record.paddr, record.pageSize].map((n) => n.toString(16)).join(' ')]
      : [],
  );
}

const core = coreFile({
  segments: [{ paddr: 0x1000n, bytes: MEMORY }],
  cpus: [{ cr3: 0x1000n, cr4: 0xa0n }],
});
const frames = framesFile(
  { cr3: '0x1000', levels: 4 },
  TABLES.map((bytes, i) => [BigInt(0x1000 * (i + 1)), bytes]),
);

test.each<[string, Buffer, Partial<ViewOptions>]>([
  ['a core', core, {}],
  ['a compressed core', gzipSync(core), {}],
  ['a sparse core', sparseFile(core.length, [[0, core]]), {}],
  ['a compressed sparse core', gzipSync(sparseFile(core.length, [[0, core]])), {}],
  ['frames', frames, {}],
  ['compressed frames', gzipSync(frames), {}],
  ['sparse frames', sparseFile(frames.length, [[0, frames]]), {}],
  ['a raw image', IMAGE, { cr3: 0x1000n }],
  ['a compressed raw image', gzipSync(IMAGE), { cr3: 0x1000n }],
])('%s is recognized and opened', async (_, bytes, options) => {
  expect(listed(await open(temporary('dump', bytes), options), options)).toEqual(MAPPED);
});

describe('a core', () => {
  test('may have its number of program headers in a section header, and list memory repeatedly', async () => {
    const segments = [
      { paddr: 0x1000n, bytes: MEMORY },
      ...Array.from({ length: 200 }, (_, i) => ({
        paddr: 0x1000n + BigInt(i % 4) * 0x1000n,
        size: 0x1000,
        vaddr: BigInt(i) << 30n,
      })),
    ];
    const first = 192 + 56 * 202 + 460;
    const placed = segments.map((one) => ({ ...one, offset: BigInt(first) + one.paddr - 0x1000n }));
    const bytes = coreFile({ segments: placed, cpus: [{ cr3: 0x1000n }], extended: true });
    expect(listed(await open(temporary('many', bytes)))).toEqual(MAPPED);
  });

  test('may list memory that it does not have', async () => {
    const device = { paddr: 0xfe00_0000n, vaddr: 0xffff_c900_0000_0000n, offset: 2n ** 64n - 1n };
    const bytes = coreFile({
      segments: [device, { paddr: 0x1000n, bytes: MEMORY }],
      cpus: [{ cr3: 0x1000n }],
    });
    const dump = await open(temporary('device', bytes));
    expect(listed(dump)).toEqual(MAPPED);
    expect(dump.offsetOf(physAddr(0xfe00_0000))).toBeUndefined();
    expect(dump.offsetOf(physAddr(0x1234))).toBe(192 + 3 * 56 + 460 + 0x234);
  });

  test('may have pages that lie in two segments', async () => {
    const segments = [
      { paddr: 0x1000n, bytes: MEMORY.subarray(0, 0x1800) },
      { paddr: 0x2800n, bytes: Buffer.concat([MEMORY.subarray(0x1800)]) },
    ];
    const bytes = coreFile({ segments, cpus: [{ cr3: 0x1000n }] });
    expect(listed(await open(temporary('halves', bytes)))).toEqual(MAPPED);
  });

  test('has a processor for each QEMU note, each with its own CR3', async () => {
    const cpus = [
      { cr3: 0x3000n },
      { cr3: 0x1000n, cr4: 0xa0n, rip: 0x1234n },
      { cr3: 0x1000n, cr4: 0x10a0n },
    ];
    const dump = await open(
      temporary('cpus', coreFile({ segments: [{ paddr: 0x1000n, bytes: MEMORY }], cpus })),
    );
    expect(listed(dump, { cpu: 1 })).toEqual(MAPPED);
    expect(view(dump, { cpu: 2 }).config.levels).toBe(5);
    expect(view(dump, { cpu: 2, levels: 4 }).config.levels).toBe(4);
    expect(view(dump, { cpu: 2, cr4: 0xa0n }).config.levels).toBe(4);
    expect(listed(dump, { cpu: 0, cr3: 0x1000n })).toEqual(MAPPED);
    const shown = [...describeDump(dump)];
    expect(shown[2]).toMatchObject({ type: 'cpu', cpu: 1, registers: { cr3: 0x1000n, rip: 0x1234n } });
    expect(shown.at(-2)).toEqual({
      type: 'memory',
      start: 0x1000n,
      end: 0x5000n,
      size: 0x4000n,
      fileOffset: 192 + 2 * 56 + 3 * 460,
      isZero: false,
    });
  });
});

describe('a raw image', () => {
  test('may have memory at any address', async () => {
    const path = temporary('ram', Buffer.concat([MEMORY.subarray(0x2000), MEMORY.subarray(0, 0x2000)]));
    const ram = [
      { paddr: 0x3000, size: 0x2000, offset: 0, name: 'a' },
      { paddr: 0x1000, size: 0x2000, offset: 0x2000, name: 'b' },
    ];
    expect(listed(await open(path, { raw: true, ram }), { cr3: 0x1000n })).toEqual(MAPPED);
    await expect(open(path, { raw: true, ram: [{ ...ram[0]!, offset: 0x3000 }] })).rejects.toThrow(
      /--ram 3000-5000@3000 ends at byte 20480, beyond the end of the file at 16384/,
    );
  });

  test('may begin like another format', async () => {
    const bytes = Buffer.from(IMAGE);
    bytes.write('PTFRAME1', 'latin1');
    expect(listed(await open(temporary('like', bytes), { raw: true }), { cr3: 0x1000n })).toEqual(MAPPED);
  });
});

describe('the processor', () => {
  test('is described by the header of frames, unless options override it', async () => {
    const header = { cr3: '0x1018', cr4: '0x10a0', efer: '0x500', maxphyaddr: 46, cpu: { pdpe1gb: false } };
    const dump = await open(temporary('told', framesFile(header, [[0x1000n, TABLES[0]]])));
    expect(view(dump).config).toMatchObject({
      levels: 5,
      physicalBits: 46,
      noExecute: false,
      globalPages: true,
      giantPages: false,
      vendor: 'intel',
    });
    expect(view(dump, { cr4: 0x20n, physicalBits: 52, vendor: 'amd' }).config).toMatchObject({
      levels: 4,
      physicalBits: 52,
      globalPages: false,
      vendor: 'amd',
    });
    expect(view(dump).table.root).toBe(0x1000n as PhysAddr);
  });

  test('has NX if EFER is unknown, and no C-bit in its root', async () => {
    const dump = await open(
      temporary(
        'cbit',
        coreFile({ segments: [{ paddr: 0x1000n, bytes: MEMORY }], cpus: [{ cr3: 0x8_0000_0000_1000n }] }),
      ),
    );
    const opened = view(dump, { encryption: { mode: 'c-bit', bit: 51 } });
    expect([opened.config.noExecute, opened.table.root]).toEqual([true, 0x1000n]);
    expect(view(dump, { noNx: true, cr3: 0x1000n }).config.noExecute).toBe(false);
  });
});

test('a file that becomes shorter while it is read is named in the error', async () => {
  const path = temporary('shrinking', core);
  const dump = await open(path);
  truncateSync(path, 500);
  let thrown: unknown;
  try {
    dump.readFrame(1, new Uint8Array(4096));
  } catch (error) {
    thrown = error;
  }
  expect(isDumpError(thrown, 'TRUNCATED_FILE') && thrown.details.file).toBe(path);
  expect(String(thrown)).toContain(`${path}: it ends at byte`);
  dump.source.close();
});

test('a named pipe is read to its end', async () => {
  const path = temporary('fifo', new Uint8Array(0));
  rmSync(path);
  expect(spawnSync('mkfifo', [path]).status).toBe(0);
  const child = spawn('sh', ['-c', 'cat "$0" > "$1"', temporary('content', core), path]);
  expect(listed(await open(path))).toEqual(MAPPED);
  child.kill();
});
