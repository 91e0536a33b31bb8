/** The constants of the package against literals that are typed out from their sources. */
import { MemoryRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { BOOT_STEPS } from '../../src/formats/boot-step.ts';
import { guestFormats } from '../../src/guest/guest-format.ts';
import { requireWindow } from '../../src/guest/guest-window.ts';
import { addressSpaceLayout, COCONUT_LAYOUT } from '../../src/layout/address-space-layout.ts';

type Value = number | bigint | readonly [start: bigint, end: bigint];

/** The layout of 4 levels: a value, or the bounds of a region, and the constant of COCONUT-SVSM. */
const LAYOUT: readonly (readonly [path: string, value: Value, source: string])[] = [
  ['levels', 4, 'the default; 5 with CR4.LA57'],
  ['slots.shared', 511, 'PGTABLE_LVL3_IDX_SHARED'],
  ['slots.perCpu', 510, 'PGTABLE_LVL3_IDX_PERCPU'],
  ['slots.perTask', 508, 'PGTABLE_LVL3_IDX_PERTASK'],
  ['slots.selfMap', 493, 'PGTABLE_LVL3_IDX_PTE_SELFMAP'],
  ['image', [0xffff_ff80_0000_0000n, 0xffff_ff80_4000_0000n], 'SVSM_GLOBAL_BASE; at most one GiB of PDEs'],
  [
    'heap',
    [0xffff_ff80_4000_0000n, 0xffff_ffbf_c000_0000n],
    'up to the GiB of SVSM_HYPERCALL_CODE_PAGE, 0xffff_ffbf_ffff_f000',
  ],
  [
    'globalMappings.small',
    [0xffff_ffc0_0000_0000n, 0xffff_ffc0_0020_0000n],
    'SVSM_GLOBAL_MAPPING_BASE, its first 2 MiB',
  ],
  ['globalMappings.huge', [0xffff_ffc0_0020_0000n, 0xffff_ffc0_4000_0000n], 'up to SVSM_GLOBAL_MAPPING_END'],
  ['perCpu.self', 0xffff_ff00_0000_0000n, 'SVSM_PERCPU_BASE'],
  ['perCpu.caa', 0xffff_ff00_0000_2000n, 'SVSM_PERCPU_CAA_BASE'],
  ['perCpu.vmsa', 0xffff_ff00_0000_4000n, 'SVSM_PERCPU_VMSA_BASE'],
  [
    'perCpu.stacks',
    [0xffff_ff00_0020_0000n, 0xffff_ff00_0026_0000n],
    'SVSM_PERCPU_STACKS_BASE, 6 places of STACK_TOTAL_SIZE 0x10000',
  ],
  [
    'perCpu.temp4k',
    [0xffff_ff00_4000_0000n, 0xffff_ff00_4020_0000n],
    'SVSM_PERCPU_TEMP_BASE_4K, SVSM_PERCPU_TEMP_END_4K',
  ],
  [
    'perCpu.temp2m',
    [0xffff_ff00_4020_0000n, 0xffff_ff00_8000_0000n],
    'SVSM_PERCPU_TEMP_BASE_2M, SVSM_PERCPU_TEMP_END_2M',
  ],
  ['perTask', [0xffff_fe00_0000_0000n, 0xffff_fe80_0000_0000n], 'SVSM_PERTASK_BASE, SVSM_PERTASK_END'],
  ['user', [0n, 0x8000_0000_0000n], 'USER_MEM_START, USER_MEM_END'],
];

/** Each leaf of a layout: a region is its bounds. */
function leavesOf(value: unknown, path = ''): (readonly [path: string, value: Value])[] {
  if (value instanceof MemoryRegion) return [[path, [value.start, value.end]]];
  if (typeof value !== 'object') return [[path, value as Value]];
  return Object.entries(value as object).flatMap(([name, part]) =>
    leavesOf(part, path === '' ? name : `${path}.${name}`),
  );
}

describe('COCONUT_LAYOUT has the constants of kernel/src/mm/address_space.rs', () => {
  const found = new Map(leavesOf(COCONUT_LAYOUT));

  test.each(LAYOUT)('%s', (path, value) => expect(found.get(path)).toEqual(value));

  test('every leaf has a literal', () => {
    expect([...found.keys()].sort()).toEqual(LAYOUT.map(([path]) => path).sort());
  });
});

test('with 5 levels, a slot has 256 TiB, and the parts keep their offsets', () => {
  const found = new Map(leavesOf(addressSpaceLayout({ levels: 5 })));
  expect(found.get('image')).toEqual([0xffff_0000_0000_0000n, 0xffff_0000_4000_0000n]);
  expect(found.get('globalMappings.small')).toEqual([0xffff_0040_0000_0000n, 0xffff_0040_0020_0000n]);
  expect(found.get('perCpu.temp4k')).toEqual([0xfffe_0000_4000_0000n, 0xfffe_0000_4020_0000n]);
  expect(found.get('perTask')).toEqual([0xfffc_0000_0000_0000n, 0xfffd_0000_0000_0000n]);
  expect(found.get('user')).toEqual([0n, 0x100_0000_0000_0000n]);
});

test('the boot has the steps of kernel/src/svsm.rs, and those that come before and between them', () => {
  expect(BOOT_STEPS).toEqual([
    'features', // the demand for hypervisor features: not in COCONUT-SVSM
    'paging', // paging_init
    'memory-map', // init_memory_map, which comes later there
    'kernel-mapping', // init_kernel_mapping_info
    'heap', // the PVALIDATE of the heap that is not allocated
    'root-memory', // root_mem_init
    'validity-record', // init_valid_bitmap
    'global-ranges', // init_global_ranges
    'cpus', // set-up of the processors
    'read-only', // make_ro_after_init
    'early-memory', // invalidate_early_boot_memory
  ]);
});

test('the formats of integers have the sizes that their names say', () => {
  const { u8, u16, u32, u64 } = guestFormats;
  expect([u8.size, u16.size, u32.size, u64.size]).toEqual([1, 2, 4, 8]);
});

test('a window has 32 pages of 4 KiB and 128 of 2 MiB: as many as a call has entries', () => {
  expect(requireWindow({})).toEqual({ small: 32, huge: 128 });
});
