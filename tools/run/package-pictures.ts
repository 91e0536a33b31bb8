/**
 * The pictures of packages' READMEs. Everything in them that is a number comes from the packages. `node tools/run/package-pictures.ts`,
 * after a build, writes them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import {
  formatAddress,
  PAGE_SIZE,
  PAGE_SIZE_2M,
  PageSize,
  Phys,
  type PhysAddr,
  pageOffset,
  pageTableIndex,
  physAddr,
  type VirtAddr,
  virtAddr,
} from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { bytesSource, linuxRegions, listRuns, openDump, openView } from '@svsm/dump';
import { type MemoryRegion, physRegion, RegionMap, virtRegion } from '@svsm/memory-region';
import { COCONUT_LAYOUT, renderLayout, Svsm } from '@svsm/mm';
import { createPhysMemory, PageTable, PtePreset, pagingConfig } from '@svsm/pagetable';
import { isSnpFault, makePageShared, pageStateOf, SnpMachine } from '@svsm/sev-snp';
import { COLOURS, type Colour, DARK, LIGHT, legend, MARGIN, rect, svg, text, WIDTH } from './drawing.ts';
import { ROOT } from './turbo.ts';

const LEVELS = ['PT', 'PD', 'PDPT', 'PML4'] as const;
const VADDR = virtAddr(0xffff_8000_4020_3004n);

/** Each picture as SVG, by the name of its package. */
export const PICTURES: Readonly<Record<string, () => string>> = {
  address: bitsOfAnAddress,
  'buddy-alloc': blocksOfAnAllocator,
  dump: rightsInTwoKernels,
  'memory-region': gapsAndPages,
  mm: addressSpaceAfterBoot,
  pagetable: walkOfAnAddress,
  'sev-snp': readsAndWritesOfPages,
};

/** The file of a picture. */
export function pictureFile(name: string): string {
  return join(ROOT, `docs/pictures/${name}.svg`);
}

/** The fields of a virtual address, as a page table of 4 levels divides it. */
function bitsOfAnAddress(): string {
  const fields = [
    { bits: '63:48', name: 'as bit 47', value: '', width: 130 },
    ...[3, 2, 1, 0].map((level) => ({
      bits: `${12 + 9 * level + 8}:${12 + 9 * level}`,
      name: `index in ${LEVELS[level]}`,
      value: String(pageTableIndex(VADDR, level)),
      width: 138,
    })),
    { bits: '11:0', name: 'in the page', value: `0x${pageOffset(VADDR).toString(16)}`, width: 146 },
  ];
  let x = MARGIN;
  const drawn = fields.flatMap(({ bits, name, value, width }, i) => {
    const colour = i === 0 ? COLOURS.free : i === fields.length - 1 ? COLOURS.encrypted : COLOURS.allocated;
    const ink = colour === COLOURS.allocated ? LIGHT : DARK;
    const middle = x + (width - 2) / 2;
    const box = [
      rect(x, 62, width - 2, 52, colour),
      text(middle, 54, bits, { anchor: 'middle' }),
      text(middle, 84, name, { anchor: 'middle', ink }),
      text(middle, 104, value, { anchor: 'middle', ink, weight: 'bold' }),
    ];
    x += width;
    return box;
  });
  return svg('The fields of a virtual address', 132, [
    text(MARGIN, 28, formatAddress(VADDR), { weight: 'bold' }),
    ...drawn,
  ]);
}

/** The blocks of 64 pages, before and after the two blocks of 4 pages are freed. */
function blocksOfAnAllocator(): string {
  const pages = new PageAllocator(physRegion(physAddr(0x10_0000), 64 * PAGE_SIZE));
  const [first, , second] = [2, 1, 2, 3, 0].map((order) => pages.allocatePages(order));
  const before = strip(pages, 'five blocks are allocated', 28);
  pages.freePages(first!);
  pages.freePages(second!);
  const after = strip(pages, 'two blocks of order 2 are freed: free neighbours merge', 106);
  return svg('The blocks of a buddy allocator', 206, [
    ...before,
    ...after,
    ...legend(178, { free: COLOURS.free, allocated: COLOURS.allocated }),
    text(MARGIN + 210, 188, 'The number is the order: a block has 2^order pages.'),
  ]);
}

function strip(pages: PageAllocator<PhysAddr>, title: string, y: number): string[] {
  const step = (WIDTH - 2 * MARGIN) / 64;
  let x = MARGIN;
  const blocks = [...pages.blocks()].flatMap(({ order, state, region }) => {
    const width = region.pageCount() * step;
    const colour = state === 'free' ? COLOURS.free : COLOURS.allocated;
    const ink = state === 'free' ? DARK : LIGHT;
    const label = text(x + width / 2, y + 33, String(order), { anchor: 'middle', ink });
    const drawn = [rect(x, y + 10, width - 2, 36, colour), label];
    x += width;
    return drawn;
  });
  return [text(MARGIN, y, `${title}: ${pages.memoryInfo().freePages} of 64 pages are free`), ...blocks];
}

/** The entries of a walk to a page that is shared, in a table whose other pages are private. */
function walkOfAnAddress(): string {
  let frame = 0;
  const frames = { allocateFrame: () => physAddr(PAGE_SIZE * frame++), freeFrame: () => {} };
  const memory = createPhysMemory({ size: 0x10_0000 });
  const table = PageTable.create({ memory, frames, config: pagingConfig({ cBit: 51 }) });
  const heap = virtRegion(virtAddr(VADDR & ~0x1f_ffffn), PAGE_SIZE_2M);
  table.map2m(heap.start, physAddr(0x4000_0000), PtePreset.Data);
  table.setShared4k(virtAddr(VADDR & ~0xfffn));
  const { path, page } = table.walk(VADDR);
  const rows = path.flatMap(({ level, table, index, entry }, i) => {
    const y = 66 + i * 40;
    const colour = entry.shared ? COLOURS.shared : COLOURS.encrypted;
    return [
      rect(MARGIN, y - 21, WIDTH - 2 * MARGIN, 32, colour),
      text(MARGIN + 12, y, `${LEVELS[level]} at ${formatAddress(table)}`),
      text(MARGIN + 290, y, `entry ${index}`),
      text(MARGIN + 390, y, formatAddress(entry.raw), { weight: 'bold' }),
      text(MARGIN + 600, y, entry.shared ? 'C-bit clear: shared' : 'C-bit set: encrypted'),
    ];
  });
  return svg('A walk through a page table with a C-bit', 232, [
    text(MARGIN, 28, `walk(${formatAddress(VADDR)}), C-bit 51`, { weight: 'bold' }),
    ...rows,
    text(MARGIN, 218, `→ ${formatAddress(page!.paddr)}`, { weight: 'bold' }),
  ]);
}

/** A map of 64 pages with a gap that it finds, and a region that is cut into the fewest pages. */
function gapsAndPages(): string {
  const page = (index: number): PhysAddr => physAddr(0x10_0000 + index * PAGE_SIZE);
  const whole = physRegion(page(0), 64 * PAGE_SIZE);
  const map = new RegionMap<PhysAddr, string>(Phys, [
    [physRegion(page(2), 12 * PAGE_SIZE), 'image'],
    [physRegion(page(20), 8 * PAGE_SIZE), 'stacks'],
    [physRegion(page(30), 14 * PAGE_SIZE), 'tables'],
  ]);
  const gap = map.findGap(whole, 16 * PAGE_SIZE, 16 * PAGE_SIZE)!;
  const step = (WIDTH - 2 * MARGIN) / whole.pageCount();
  const block = (region: typeof whole, label: string, colour: Colour): string[] => {
    const x = MARGIN + (Number(region.start - whole.start) / PAGE_SIZE) * step;
    const width = region.pageCount() * step;
    const ink = colour === 'allocated' ? LIGHT : DARK;
    return [
      rect(x, 38, width - 2, 36, COLOURS[colour]),
      text(x + width / 2, 61, label, { anchor: 'middle', ink }),
    ];
  };
  const cut = physRegion(physAddr(0x3fdf_f000), 0x4060_2000);
  const runs = [...cut.pageRuns()];
  const width = (WIDTH - 2 * MARGIN) / runs.length;
  return svg('The gaps in a map of regions, and the pages of a region', 220, [
    text(MARGIN, 28, `${map.size} regions in ${whole}: findGap finds 16 pages, aligned to 16 pages`),
    ...[...map.gaps(whole)].flatMap((region) => block(region, '', 'free')),
    ...[...map].flatMap(([region, name]) => block(region, name, 'allocated')),
    ...block(gap, 'found', 'encrypted'),
    text(MARGIN, 110, `the fewest pages of ${cut}, by pageRuns(); not to scale`),
    ...runs.flatMap(({ start, pageSize, count }, i) => [
      rect(MARGIN + i * width, 120, width - 2, 48, COLOURS.free),
      text(MARGIN + (i + 0.5) * width, 141, `${count} × ${sizeText(pageSize)}`, {
        anchor: 'middle',
        weight: 'bold',
      }),
      text(MARGIN + (i + 0.5) * width, 159, formatAddress(start), { anchor: 'middle' }),
    ]),
    ...legend(192, { region: COLOURS.allocated, gap: COLOURS.free, found: COLOURS.encrypted }),
  ]);
}

/** Three pages of a guest: before one of them is shared, after it, and after the guest has written it again. */
function readsAndWritesOfPages(): string {
  const { hypervisor, rmp } = new SnpMachine({ memorySize: 32 << 20 });
  const guest = hypervisor.launch({ size: 4 << 20 });
  const vcpu = guest.createVcpu();
  let frame = 256;
  const frames = { allocateFrame: () => physAddr(PAGE_SIZE * frame++), freeFrame() {} };
  const table = PageTable.create({ memory: vcpu.memory, frames, config: guest.paging });
  for (const gpa of guest.memory.iterPages(PageSize.Huge)) table.map2m(virtAddr(gpa), gpa, PtePreset.Data);
  vcpu.loadCr3(table.cr3);
  const pages = virtRegion(virtAddr(0x20_2000), 3 * PAGE_SIZE);
  const [, page = pages.start] = pages.iterPages(PageSize.Regular);
  const cells = (y: number, row: readonly string[]): string[] =>
    row.map((cell, i) => text(MARGIN + [12, 90, 230, 310, 470, 630][i]!, y, cell));
  const stage = (title: string, y: number): string[] => [
    text(MARGIN, y, title, { weight: 'bold' }),
    ...[...pages.iterPages(PageSize.Regular)].flatMap((gva, i) => {
      const { spa } = vcpu.translate(gva);
      const entry = rmp.entry(spa)!;
      const state = pageStateOf(entry);
      const line = y + 29 + i * 30;
      return [
        rect(
          MARGIN,
          line - 19,
          WIDTH - 2 * MARGIN,
          27,
          state === 'HYPERVISOR' ? COLOURS.shared : COLOURS.encrypted,
        ),
        ...cells(line, [
          shortHex(gva),
          state,
          sizeText(entry.pageSize),
          bytesText(vcpu.read(gva, 6)),
          bytesText(hypervisor.read(spa, 6)),
          hostWrites(() => hypervisor.write(spa, hypervisor.read(spa, 6))),
        ]),
      ];
    }),
  ];
  for (const gva of pages.iterPages(PageSize.Regular)) vcpu.write(gva, ascii('secret'));
  const before = stage('before', 60);
  makePageShared(vcpu, table, page);
  const after = stage(
    `after makePageShared(${shortHex(page)}): to the guest, too, the old bytes are ciphertext now`,
    182,
  );
  vcpu.write(page, ascii('public'));
  return svg('RMP states of three pages, and what guest and host read', 412, [
    ...cells(28, ['page', 'RMP state', 'page size', 'guest reads', 'host reads', 'host writes']),
    ...before,
    ...after,
    ...stage(`after the guest writes to ${shortHex(page)}`, 304),
  ]);
}

/** Whether the host can write to a page: the code of the fault if it cannot. */
function hostWrites(write: () => void): string {
  try {
    write();
    return 'yes';
  } catch (fault) {
    if (!isSnpFault(fault)) throw fault;
    return `no: ${fault.code}`;
  }
}

function ascii(letters: string): Uint8Array {
  return new TextEncoder().encode(letters);
}

/** Letters as letters, all else as hexadecimal bytes. */
function bytesText(bytes: Uint8Array): string {
  const letters = new TextDecoder().decode(bytes);
  return /^[a-z]+$/.test(letters)
    ? `“${letters}”`
    : [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

function shortHex(address: bigint): string {
  return `0x${address.toString(16)}`;
}

/** The layout of COCONUT-SVSM, and what a boot has mapped in each part on processor 0, while that processor maps a page of the guest. */
function addressSpaceAfterBoot(): string {
  const { hypervisor } = new SnpMachine({ memorySize: 128 << 20 });
  const memory = physRegion(physAddr(0), 64 << 20);
  const guest = hypervisor.launch({ memory: [{ region: memory, validated: true }] });
  const own = physRegion(physAddr(16 << 20), 16 << 20);
  using svsm = Svsm.boot({ guest, memory: [[memory, 'guest']], own, cpus: 2 });
  using _guard = svsm.thisCpu().map(physRegion(physAddr(0x5000), PAGE_SIZE));
  const lines = [...renderLayout(COCONUT_LAYOUT).matchAll(/^(0x\w+) +(\d+) (\w+) {2}( *)(.+)$/gm)];
  const rows = lines.flatMap(([, start, count, unit, indent, name], i) => {
    const y = 66 + i * 27;
    const isPart = indent !== '';
    const region = virtRegion(virtAddr(BigInt(start!)), BigInt(count!) << BigInt(10 * UNITS.indexOf(unit!)));
    const sums = isPart ? mappedIn(svsm.thisCpu().pageTable, region) : new Map<string, bigint>();
    const mapped = [...sums].map(([rights, size]) => `${rights} ${sizeText(size)}`).join(', ');
    const colour = isPart ? (mapped === '' ? COLOURS.free : COLOURS.encrypted) : COLOURS.allocated;
    const ink = isPart ? DARK : LIGHT;
    const left = MARGIN + (isPart ? 24 : 0);
    return [
      rect(left, y - 18, WIDTH - MARGIN - left, 25, colour),
      text(left + 12, y, name!, { ink, weight: isPart ? 'normal' : 'bold' }),
      text(300, y, start!, { ink }),
      text(470, y, `${count} ${unit}`, { ink }),
      text(570, y, mapped, { ink }),
    ];
  });
  return svg('The address space of an SVSM', 66 + 27 * lines.length + 24, [
    text(MARGIN + 12, 32, 'COCONUT_LAYOUT', { weight: 'bold' }),
    text(300, 32, 'from'),
    text(470, 32, 'size'),
    text(570, 32, 'mapped after boot and a map()'),
    ...rows,
    ...legend(66 + 27 * lines.length, {
      slots: COLOURS.allocated,
      mapped: COLOURS.encrypted,
      'nothing mapped': COLOURS.free,
    }),
  ]);
}

/** The bytes that are mapped in a region, by their rights. */
function mappedIn(table: PageTable, within: MemoryRegion<VirtAddr>): Map<string, bigint> {
  const sums = new Map<string, bigint>();
  for (const { region, writable, executable, shared } of table.mappings({ within })) {
    const rights = `r${writable ? 'w' : '-'}${executable ? 'x' : '-'}${shared ? ' shared' : ''}`;
    sums.set(rights, (sums.get(rights) ?? 0n) + region.size);
  }
  return sums;
}

const RIGHTS = {
  'r--': COLOURS.free,
  'r-x': COLOURS.allocated,
  'rw-': COLOURS.encrypted,
  rwx: COLOURS.shared,
} as const;
type Rights = keyof typeof RIGHTS;
const RIGHTS_IN_ORDER = Object.keys(RIGHTS) as Rights[];

/** The regions of two Linux kernels, with and without NX: the part of each that has the same rights. */
function rightsInTwoKernels(): string {
  const kernels = ['case-a', 'case-f'].map(rightsByRegion);
  const names = [...kernels[0]!.regions.keys()].filter((name) =>
    kernels.some(({ regions }) => regions.get(name)!.size > 0),
  );
  const bar = 262;
  const columns = kernels.flatMap(({ title, regions }, column) => {
    const left = 130 + column * (bar + 100);
    const rows = names.flatMap((name, i) => {
      const mapped = regions.get(name)!;
      const sums = RIGHTS_IN_ORDER.filter((rights) => mapped.has(rights)).map(
        (rights) => [rights, mapped.get(rights)!] as const,
      );
      const total = sums.reduce((sum, [, size]) => sum + size, 0n);
      let x = left;
      return [
        ...sums.map(([rights, size]) => {
          // Two pixels at least: few pages can matter most.
          const width = 2 + (Number(size) / Number(total)) * (bar - 2 * sums.length);
          const drawn = rect(x, 44 + i * 26, width, 20, RIGHTS[rights]);
          x += width;
          return drawn;
        }),
        text(left + bar + 6, 59 + i * 26, total === 0n ? '' : sizeText(total)),
      ];
    });
    return [text(left, 28, title, { weight: 'bold' }), ...rows];
  });
  const bottom = 44 + names.length * 26;
  return svg('The rights of mappings in two Linux kernels', bottom + 36, [
    ...names.map((name, i) => text(MARGIN, 59 + i * 26, name)),
    ...columns,
    ...legend(bottom + 12, RIGHTS),
    text(MARGIN + 400, bottom + 22, 'A bar is all that is mapped in a region.'),
  ]);
}

/** The bytes that a fixture's page table maps, by region of the Linux kernel and by rights. */
function rightsByRegion(fixture: string): { title: string; regions: Map<string, Map<Rights, bigint>> } {
  const file = join(ROOT, `packages/dump/test/fixtures/${fixture}.frames.gz`);
  const view = openView(openDump(bytesSource(new Uint8Array(gunzipSync(readFileSync(file))))), { cpu: 0 });
  let title = '';
  const regions = new Map<string, Map<Rights, bigint>>();
  for (const { name, start, end } of linuxRegions(view)) {
    const sums = new Map<Rights, bigint>();
    for (const record of listRuns(view, { within: { start: virtAddr(start), end } })) {
      if (record.type === 'dump') title = `${fixture}: a kernel ${record.noExecute ? 'with' : 'without'} NX`;
      if (record.type !== 'run') continue;
      const rights: Rights = `r${record.writable ? 'w' : '-'}${record.executable ? 'x' : '-'}`;
      sums.set(rights, (sums.get(rights) ?? 0n) + record.size);
    }
    regions.set(name, sums);
  }
  return { title, regions };
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A size in the largest unit of which it is a whole number. */
function sizeText(size: number | bigint): string {
  let rest = BigInt(size);
  let unit = 0;
  for (; rest % 1024n === 0n && unit < UNITS.length - 1; unit += 1) rest /= 1024n;
  return `${rest} ${UNITS[unit]}`;
}

if (import.meta.main)
  for (const [name, draw] of Object.entries(PICTURES)) writeFileSync(pictureFile(name), draw());
