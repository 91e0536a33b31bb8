/** The regions of two real kernels with random bases are those that their own variables name. */
import { describe, expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { type RegionName, regionNameAt } from '../../src/view/linux-layout.ts';
import { listLeaves } from '../../src/view/listing.ts';
import { linuxRegions, listRegions } from '../../src/view/regions.ts';
import { openView } from '../../src/view/view.ts';
import { coreFile, tableOf } from '../support/core-file.ts';
import { kernelCore } from '../support/kernel-core.ts';
import { fixture, open, runHere, temporary } from '../support/support.ts';

const at = (regions: ReturnType<typeof linuxRegions>, name: RegionName) =>
  regions.find((region) => region.name === name);

describe('the regions of a kernel with random bases', () => {
  // Read from page_offset_base, vmalloc_base, vmemmap_base and _text of the complete dumps, by their kallsyms.
  test.each([
    [
      'kaslr-4.sparse.gz',
      0xffff_8c97_8000_0000n,
      0xffff_d414_c000_0000n,
      0xffff_f87d_8000_0000n,
      0xffff_ffff_b020_0000n,
    ],
    [
      'kaslr-5.sparse.gz',
      0xff20_8209_0000_0000n,
      0xff65_4589_4000_0000n,
      0xffeb_a77e_c000_0000n,
      0xffff_ffff_8fe0_0000n,
    ],
  ])('%s are where its variables say', async (name, directMap, vmalloc, vmemmap, text) => {
    const dump = await open(fixture(name));
    const regions = linuxRegions(openView(dump));
    expect(at(regions, 'direct-map')?.start).toBe(directMap);
    expect(at(regions, 'vmalloc')?.start).toBe(vmalloc);
    expect(at(regions, 'vmemmap')?.start).toBe(vmemmap);
    expect(dump.kernel?.textStart).toBe(text);
    expect((dump.kernel?.kernelOffset ?? 0n) + 0xffff_ffff_8100_0000n).toBe(text);
    const kernel = openView(dump, { cr3: dump.kernel!.cr3 });
    const records = [...listRegions(kernel)].filter((record) => record.type === 'region');
    const total = [...listLeaves(kernel)].reduce(
      (sum, leaf) => sum + (leaf.type === 'leaf' ? BigInt(leaf.pageSize) : 0n),
      0n,
    );
    expect(records.reduce((sum, { mapped }) => sum + mapped, 0n)).toBe(total);
    expect(records.find((record) => record.name === 'text')).toMatchObject({ textStart: text });
    dump.source.close();
  });

  test('are disjoint and ascending, with any bases', async () => {
    for (const name of ['kaslr-4.sparse.gz', 'kaslr-5.sparse.gz', 'case-a.frames.gz']) {
      const dump = await open(fixture(name));
      const regions = linuxRegions(openView(dump, { cr3: dump.kernel?.cr3 }));
      for (const [i, { start, end }] of regions.entries()) {
        expect(start).toBeLessThan(end);
        expect(start).toBeGreaterThanOrEqual(regions[i - 1]?.end ?? 0n);
      }
      dump.source.close();
    }
  });

  test('name each mapping, and select those of one', async () => {
    const file = fixture('kaslr-5.sparse.gz');
    const all = await runHere(['leaves', file, '--regions', '--json']);
    const names = all.stdout
      .split('\n')
      .flatMap((line) => (line.includes('"type":"leaf"') ? [JSON.parse(line).region] : []));
    const some = await runHere(['leaves', file, '--region', 'modules', '--json']);
    expect(some.stdout.split('\n').filter((line) => line.includes('"type":"leaf"'))).toHaveLength(
      names.filter((one) => one === 'modules').length,
    );
    expect(new Set(names)).toEqual(
      new Set(
        [
          'user',
          'direct-map',
          'vmalloc',
          'vmemmap',
          'cpu-entry',
          'text',
          'modules',
          'fixmap',
          'espfix',
        ].filter((one) => names.includes(one)),
      ),
    );
    const { stdout } = await runHere(['runs', file, '--regions', '--region', 'text']);
    expect(stdout).toMatch(/^# start .* memory \| region$/m);
    expect(stdout).toMatch(/^0xffffffff8fe00000 .* -r-x {3}- {7}\| text/m);
  });
});

describe('the regions of a kernel without random bases', () => {
  /** Tables at 0x1000, of a direct map and of text or modules. */
  function tables(text: bigint, entry: bigint): Buffer {
    const [pdpt, pd] = [Number((text >> 30n) & 511n), Number((text >> 21n) & 511n)];
    const content = [
      tableOf({ 273: 0x2067n, 511: 0x3067n }),
      tableOf({ 0: 0x83n + 0x60n }),
      tableOf({ 510: 0x4067n, [pdpt]: 0x4067n }),
      tableOf({ 0: 0xe1n, [pd]: entry }),
      tableOf({ 0: 0x6061n }),
    ];
    return coreFile({
      segments: [{ paddr: 0x1000n, bytes: Buffer.concat(content) }],
      cpus: [{ cr3: 0x1000n }],
    });
  }
  const view = (bytes: Buffer) => openView(openDump(bytesSource(bytes)));

  test('are those of the documentation', () => {
    const regions = linuxRegions(view(tables(0xffff_ffff_8020_0000n, 0x5067n)));
    expect(regionNameAt(regions, 0xffff_8880_0000_0000n)).toBe('direct-map');
    expect(regionNameAt(regions, 0xffff_c900_0000_0000n)).toBe('vmalloc');
    expect(regionNameAt(regions, 0xffff_ea00_0000_0000n)).toBe('vmemmap');
    expect(regionNameAt(regions, 0xffff_ffff_c039_c000n)).toBe('modules');
    expect(regionNameAt(regions, 0xffff_ffff_8200_0000n)).toBe('text');
    expect(regionNameAt(regions, 0xffff_ffff_ff5f_c000n)).toBe('fixmap');
    expect(regionNameAt(regions, 0x40_0000n)).toBe('user');
    expect(regionNameAt(regions, 0xffff_8000_0000_0000n)).toBeNull();
  });

  test('have modules after 512 MiB of text only if small pages are there, and none after 1 GiB', () => {
    const isModule = (bytes: Buffer) => regionNameAt(linuxRegions(view(bytes)), 0xffff_ffff_a000_0000n);
    expect(isModule(tables(0xffff_ffff_a000_0000n, 0x5067n))).toBe('modules');
    expect(isModule(tables(0xffff_ffff_a000_0000n, 0x20_00e1n))).toBe('text');
    expect(isModule(tables(0xffff_ffff_8020_0000n, 0x5067n))).toBe('text');
  });

  test('are not named if it is not Linux', () => {
    const bytes = coreFile({
      segments: [{ paddr: 0x1000n, bytes: tableOf({ 0: 0x1067n }) }],
      cpus: [{ cr3: 0x1000n }],
    });
    expect(() => linuxRegions(view(bytes))).toThrow(/svsm-dump roots finds/);
    expect(() => linuxRegions(view(bytes))).toThrow(/no text and direct map of a Linux kernel/);
  });
});

test('the user half of a page table has no names', async () => {
  const dump = await open(fixture('la57.frames.gz'));
  expect(() => linuxRegions(openView(dump))).toThrow('NOT_LINUX');
  dump.source.close();
});

describe('segments by the direct map', () => {
  const INFO = 'SYMBOL(swapper_pg_dir)=ffffffff81002000\nNUMBER(phys_base)=0\n';
  const NONE = 2 ** 64;
  const table = tableOf({ 0: 0x100_2067n });

  /** `/proc/kcore` of an old kernel: no segment has a physical address. */
  function kcore(base: bigint): Buffer {
    const bytes = kernelCore(
      [
        { paddr: 0, vaddr: 0xffff_ffff_8100_0000n, bytes: Buffer.alloc(0x1000, 1) },
        { paddr: 0, vaddr: base + 0x1000n, bytes: Buffer.alloc(0x1000, 2) },
        { paddr: 0, vaddr: base + 0x100_2000n, bytes: table },
        { paddr: 0, vaddr: 0xffff_c900_0000_0000n, bytes: Buffer.alloc(0x1000, 3) },
      ],
      INFO,
    );
    for (let i = 1; i <= 4; i += 1) bytes.writeBigUInt64LE(BigInt(NONE) - 1n, 64 + 56 * i + 24);
    return bytes;
  }

  test.each([0xffff_8880_0000_0000n, 0xffff_8801_4000_0000n])(
    'at 0x%x are placed by their virtual addresses',
    (base) => {
      const dump = openDump(bytesSource(kcore(base)));
      expect(Array.from(dump.memory ?? [], ({ start, end }) => [start, end])).toEqual([
        [0x1000n, 0x2000n],
        [0x100_2000n, 0x100_3000n],
      ]);
      expect(dump.kind).toContain(`physical addresses by the direct map at 0x${base.toString(16)}`);
      expect(dump.kernel?.directMap).toBe(base);
      expect(openView(dump).table.root).toBe(0x100_2000n);
    },
  );

  test('show its place also if they have physical addresses', () => {
    const bytes = kernelCore([{ paddr: 0x100_2000, vaddr: 0xffff_9234_8100_2000n, bytes: table }], INFO);
    expect(openDump(bytesSource(bytes)).kernel?.directMap).toBe(0xffff_9234_8000_0000n);
  });

  test('are listed by the command', async () => {
    const { stdout } = await runHere(['info', temporary('kcore', kcore(0xffff_8880_0000_0000n))]);
    expect(stdout).toContain('memory 0x0000000000001000 0x0000000000002000');
  });
});
