/** The name of a region of virtual memory of Linux on x86-64. */
export type RegionName =
  | 'user'
  | 'ldt'
  | 'direct-map'
  | 'vmalloc'
  | 'vmemmap'
  | 'kasan'
  | 'cpu-entry'
  | 'espfix'
  | 'efi'
  | 'text'
  | 'modules'
  | 'fixmap'
  | 'vsyscall';

/** All names, by address. */
export const REGION_NAMES: readonly RegionName[] = [
  'user',
  'ldt',
  'direct-map',
  'vmalloc',
  'vmemmap',
  'kasan',
  'cpu-entry',
  'espfix',
  'efi',
  'text',
  'modules',
  'fixmap',
  'vsyscall',
];

/** A region, and how its place is known. */
export interface LayoutRegion {
  readonly name: RegionName;
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  /**
   * `'documented'`: it is always there, or its place was not randomized. `'vmcoreinfo'`: the kernel notes it. `'headers'`: the file's
   * program headers show it. `'tables'`: it follows from the mappings.
   */
  readonly basis: 'documented' | 'vmcoreinfo' | 'headers' | 'tables';
}

/** All values of `basis`. */
export const BASES: readonly LayoutRegion['basis'][] = ['documented', 'vmcoreinfo', 'headers', 'tables'];

/** The bases that a kernel may choose at random (CONFIG_RANDOMIZE_MEMORY). */
export interface RandomBases {
  readonly directMap: bigint;
  readonly vmalloc: bigint;
  readonly vmemmap: bigint;
}

const TIB = 1n << 40n;
const PIB = 1n << 50n;
/** The start of the kernel's text mapping (`__START_KERNEL_map`). */
export const TEXT_MAP = 0xffff_ffff_8000_0000n;
/** The end of the regions that are randomized (`vaddr_end` of arch/x86/mm/kaslr.c). */
export const RANDOM_END = 0xffff_fe00_0000_0000n;
export const MODULES_END = 0xffff_ffff_ff00_0000n;
const FIXMAP_END = 0xffff_ffff_ff60_0000n;
const VSYSCALL_END = 0xffff_ffff_ff60_1000n;
/** The bytes of virtual memory for the text of a kernel that can be randomized: KERNEL_IMAGE_SIZE. */
export const LARGE_IMAGE = 0x4000_0000n;
/** The same for another kernel. */
export const SMALL_IMAGE = 0x2000_0000n;

/** The bases that Linux has without randomization: Documentation/arch/x86/x86_64/mm.rst. */
export const DOCUMENTED: Readonly<Record<4 | 5, RandomBases>> = {
  4: { directMap: 0xffff_8880_0000_0000n, vmalloc: 0xffff_c900_0000_0000n, vmemmap: 0xffff_ea00_0000_0000n },
  5: { directMap: 0xff11_0000_0000_0000n, vmalloc: 0xffa0_0000_0000_0000n, vmemmap: 0xffd4_0000_0000_0000n },
};
/** The first address of the kernel's half. */
export const KERNEL_START: Readonly<Record<4 | 5, bigint>> = {
  4: 0xffff_8000_0000_0000n,
  5: 0xff00_0000_0000_0000n,
};
const SIZES: Readonly<Record<4 | 5, RandomBases>> = {
  4: { directMap: 64n * TIB, vmalloc: 32n * TIB, vmemmap: TIB },
  5: { directMap: 32n * PIB, vmalloc: (25n * PIB) / 2n, vmemmap: PIB / 2n },
};
const LDT: Readonly<Record<4 | 5, readonly [bigint, bigint]>> = {
  4: [0xffff_8800_0000_0000n, 0xffff_8880_0000_0000n],
  5: [0xff10_0000_0000_0000n, 0xff11_0000_0000_0000n],
};
const KASAN: Readonly<Record<4 | 5, bigint>> = { 4: 0xffff_ec00_0000_0000n, 5: 0xffdf_0000_0000_0000n };
const KASAN_END = 0xffff_fc00_0000_0000n;

/**
 * The regions of Linux, ascending and disjoint (Documentation/arch/x86/x86_64/mm.rst). A region that is randomized ends where the next one
 * begins, if that is earlier than its size allows.
 */
export function layoutOf(
  levels: 4 | 5,
  bases: RandomBases,
  imageSize: bigint,
  basis: {
    readonly random: LayoutRegion['basis'];
    readonly directMap: LayoutRegion['basis'];
    readonly image: LayoutRegion['basis'];
  },
): LayoutRegion[] {
  const sizes = SIZES[levels];
  const isMoved = bases.vmemmap !== DOCUMENTED[levels].vmemmap;
  const before = (end: bigint, next: bigint): bigint => (end < next ? end : next);
  const userEnd = 1n << (levels === 4 ? 47n : 56n);
  const fixed = (name: RegionName, start: bigint, end: bigint): LayoutRegion => ({
    name,
    start,
    end,
    basis: 'documented',
  });
  const textEnd = TEXT_MAP + imageSize;
  return [
    fixed('user', 0n, userEnd),
    ...(bases.directMap > LDT[levels][0]
      ? [fixed('ldt', LDT[levels][0], before(LDT[levels][1], bases.directMap))]
      : []),
    {
      name: 'direct-map',
      start: bases.directMap,
      end: before(bases.directMap + sizes.directMap, bases.vmalloc),
      basis: basis.directMap,
    },
    {
      name: 'vmalloc',
      start: bases.vmalloc,
      end: before(bases.vmalloc + sizes.vmalloc, bases.vmemmap),
      basis: basis.random,
    },
    {
      name: 'vmemmap',
      start: bases.vmemmap,
      end: before(bases.vmemmap + sizes.vmemmap, RANDOM_END),
      basis: basis.random,
    },
    // KASAN turns the randomization off.
    ...(isMoved ? [] : [fixed('kasan', KASAN[levels], KASAN_END)]),
    fixed('cpu-entry', RANDOM_END, 0xffff_fe80_0000_0000n),
    fixed('espfix', 0xffff_ff00_0000_0000n, 0xffff_ff80_0000_0000n),
    fixed('efi', 0xffff_ffef_0000_0000n, 0xffff_ffff_0000_0000n),
    { name: 'text', start: TEXT_MAP, end: textEnd, basis: basis.image },
    { name: 'modules', start: textEnd, end: MODULES_END, basis: basis.image },
    fixed('fixmap', MODULES_END, FIXMAP_END),
    fixed('vsyscall', FIXMAP_END, VSYSCALL_END),
  ];
}

/** The name of the region that has an address. */
export function regionNameAt(regions: readonly LayoutRegion[], vaddr: bigint): RegionName | null {
  return regions.find(({ start, end }) => vaddr >= start && vaddr < end)?.name ?? null;
}
