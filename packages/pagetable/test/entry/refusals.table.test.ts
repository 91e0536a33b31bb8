import { PageSize, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { cacheControl } from '../../src/entry/cache-control.ts';
import { combineGuestAndHostTypes, combineMemoryTypes } from '../../src/entry/combined-type.ts';
import { setCr0, setCr3, setCr4, writeEfer } from '../../src/entry/control-registers.ts';
import { controlState, currentPcid, pagingMode, processorMode } from '../../src/entry/control-state.ts';
import { cpuState } from '../../src/entry/cpu-state.ts';
import { memoryTypesOf, nestedMemoryTypesOf, tableMemoryTypesOf } from '../../src/entry/effective-type.ts';
import { maskAddress } from '../../src/entry/masked-address.ts';
import { decodeMtrrs, encodeVariableMtrr } from '../../src/entry/mtrr.ts';
import { accessTarget, mtrrType } from '../../src/entry/mtrr-type.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { decodePat, encodePat, patIndex, tablePatIndex } from '../../src/entry/pat.ts';
import { processorFeatures } from '../../src/entry/processor-features.ts';
import { selfMap } from '../../src/entry/self-map.ts';

const wrong = 'x' as never;
const page = physAddr(0);
const amd = pagingConfig();
const intel = pagingConfig({ vendor: 'intel', physicalBits: 36 });
const ZEROS = Array.from({ length: 11 }, () => 0n);
const pair = { base: 0n, mask: 0x800n };
const mtrrs = decodeMtrrs({ defType: 0x806n }, amd);
const control = cacheControl({ mtrrs });
const unpaged = cacheControl({ mtrrs, cr0: 0x11n });
const onIntel = cacheControl({ mtrrs: decodeMtrrs({ defType: 0x806n }, intel) });
const typed = { flags: 1, size: PageSize.Regular, paddr: page };
const cpu = processorFeatures({ vendor: 'intel' });
const reset = controlState();
const long = controlState({ cr0: 0x8000_0011n, cr4: 0x20n, efer: 0x500n, csL: true });

const ROWS: readonly (readonly [message: string, call: () => unknown])[] = [
  // mtrr
  [
    'levels cannot be undefined: pass 4 or 5 [INVALID_CONFIG]',
    () => decodeMtrrs({ defType: 0n }, {} as never),
  ],
  [
    'registers cannot be undefined: pass an object with the fields cap, defType, fixed, variable, syscfg, topMem, topMem2 [INVALID_CPU_STATE]',
    () => decodeMtrrs(undefined as never),
  ],
  [
    'deftype cannot be 0x0: pass only fields that exist: cap, defType, fixed, variable, syscfg, topMem, topMem2 [INVALID_CPU_STATE]',
    () => decodeMtrrs({ deftype: 0n } as never),
  ],
  [
    'variable cannot be "x": pass an array of at most 255 pairs [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, variable: wrong }),
  ],
  [
    'variable cannot be a value of type object: pass an array of at most 255 pairs [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, cap: 0x5ffn, variable: new Array(256).fill(pair) }),
  ],
  [
    'variable cannot be 2: the processor has 1 pairs [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, cap: 0x501n, variable: [pair, pair] }),
  ],
  [
    'cap cannot be 0x10000000000000000: pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, cap: 1n << 64n }),
  ],
  [
    'defType cannot be the number 1 (as a bigint: 1n): pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 1 as never }),
  ],
  [
    'defType cannot be 0x1000: all bits but 11, 10 and 7:0 must be 0 [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0x1000n }),
  ],
  [
    'defType cannot be 0x2: each type must be 0, 1, 4, 5 or 6 [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 2n }),
  ],
  [
    'defType cannot be 0x1: the processor does not support WC [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 1n, cap: 0x100n }),
  ],
  [
    'fixed cannot be undefined: pass the 11 fixed-range registers, which are enabled [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0xc00n }),
  ],
  [
    'fixed cannot be undefined: pass the 11 fixed-range registers, which are enabled [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, syscfg: 0x4_0000n }),
  ],
  [
    'fixed cannot be a value of type object: pass an array of 11 registers [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, fixed: [...ZEROS, 0n] }),
  ],
  [
    'fixed cannot be "x": pass an array of 11 registers [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, fixed: wrong }),
  ],
  [
    'IA32_MTRR_FIX16K_80000 cannot be the number 1 (as a bigint: 1n): pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, fixed: [0n, 1 as never, ...ZEROS.slice(2)] }),
  ],
  [
    'IA32_MTRR_FIX4K_F8000 cannot be 0x700: each type must be 0, 1, 4, 5 or 6 [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, fixed: [...ZEROS.slice(1), 0x0700n] }),
  ],
  [
    'variable cannot be undefined: pass an object with the fields base, mask [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, variable: [pair, undefined as never] }),
  ],
  [
    'variable[1].mask cannot be the number 1 (as a bigint: 1n): pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, variable: [pair, { base: 0n, mask: 1 as never }] }),
  ],
  [
    'variable[1].base cannot be the number 1 (as a bigint: 1n): pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, variable: [pair, { base: 1 as never, mask: 0n }] }),
  ],
  [
    'variable[1].mask cannot be 0x801: reserved bits must be 0 [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, variable: [pair, { base: 0n, mask: 0x801n }] }),
  ],
  [
    'variable[1].base cannot be 0x100: reserved bits must be 0 [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, variable: [pair, { base: 0x100n, mask: 0x800n }] }),
  ],
  [
    'variable[1].base cannot be 0x2002: each type must be 0, 1, 4, 5 or 6 [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, variable: [pair, { base: 0x2002n, mask: 0x800n }] }),
  ],
  [
    'syscfg cannot be 0x0: the register exists on AMD processors alone [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, syscfg: 0n }, intel),
  ],
  [
    'topMem cannot be undefined: pass the register, which SYSCFG enables [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, syscfg: 0x10_0000n }),
  ],
  [
    'topMem2 cannot be undefined: pass the register, which SYSCFG enables [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, syscfg: 0x20_0000n }),
  ],
  [
    'topMem2 cannot be -0x1: pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => decodeMtrrs({ defType: 0n, topMem2: -1n }),
  ],
  [
    'size cannot be 12288: pass a power of two, 4096 or more, within the physical width [INVALID_CPU_STATE]',
    () => encodeVariableMtrr(page, 0x3000, 'WB'),
  ],
  [
    'levels cannot be undefined: pass 4 or 5 [INVALID_CONFIG]',
    () => encodeVariableMtrr(page, 0x1000, 'WB', {} as never),
  ],
  [
    'start cannot be 0x1000: pass a physical address that is a multiple of the size [INVALID_CPU_STATE]',
    () => encodeVariableMtrr(physAddr(0x1000), 0x2000, 'WB'),
  ],
  [
    'type cannot be "UC-": pass UC, WC, WT, WP or WB [INVALID_CPU_STATE]',
    () => encodeVariableMtrr(page, 0x1000, 'UC-' as never),
  ],
  // mtrr-type
  [
    'mtrrs cannot be a value of type object: pass what decodeMtrrs returns [INVALID_CPU_STATE]',
    () => mtrrType({ ...mtrrs }, page),
  ],
  [
    '1 is not a page size of this page table: pass PageSize.Regular, Huge or Giant [INVALID_PAGE_SIZE]',
    () => mtrrType(mtrrs, page, 1 as never),
  ],
  [
    '"x" is not a physical address of this page table: valid addresses are 0x0 to 0x000fffffffffffff [OUTSIDE_PHYSICAL_RANGE]',
    () => mtrrType(mtrrs, wrong),
  ],
  [
    'mtrrs cannot be a value of type object: pass what decodeMtrrs returns [INVALID_CPU_STATE]',
    () => accessTarget({ ...mtrrs }, page),
  ],
  [
    'vendor cannot be "intel": access targets exist on AMD processors alone [INVALID_CPU_STATE]',
    () => accessTarget(decodeMtrrs({ defType: 0n }, intel), page),
  ],
  // combined-type
  [
    "vendor cannot be \"x\": pass 'amd' or 'intel' [INVALID_CPU_STATE]",
    () => combineMemoryTypes('WB', 'WB', wrong),
  ],
  [
    'mtrr cannot be "UC-": pass UC, WC, WT, WP or WB [INVALID_CPU_STATE]',
    () => combineMemoryTypes('WB', 'UC-' as never, 'amd'),
  ],
  [
    'pat cannot be "WC+": WC+ exists on AMD processors alone [INVALID_CPU_STATE]',
    () => combineMemoryTypes('WC+', 'WB', 'intel'),
  ],
  [
    'pat cannot be "CD": pass UC, WC, WT, WP, WB or UC- [INVALID_CPU_STATE]',
    () => combineMemoryTypes('CD' as never, 'WB', 'amd'),
  ],
  [
    'guest cannot be "x": pass UC, WC, WT, WP, WB or UC- [INVALID_CPU_STATE]',
    () => combineGuestAndHostTypes(wrong, 'WB'),
  ],
  [
    'host cannot be "x": pass UC, WC, WT, WP, WB or UC- [INVALID_CPU_STATE]',
    () => combineGuestAndHostTypes('WB', wrong),
  ],
  // effective-type
  [
    'control cannot be a value of type object: pass what cacheControl returns [INVALID_CPU_STATE]',
    () => memoryTypesOf(typed, { ...control }),
  ],
  [
    'page cannot be undefined: pass an object with the fields flags, size, paddr [INVALID_ARGUMENT]',
    () => memoryTypesOf(undefined as never, control),
  ],
  [
    '1 is not a page size of this page table: pass PageSize.Regular, Huge or Giant [INVALID_PAGE_SIZE]',
    () => memoryTypesOf({ ...typed, size: 1 as never }, control),
  ],
  [
    '0.5 cannot be used for an entry: pass flags of 32 bits [INVALID_ENTRY]',
    () => memoryTypesOf({ ...typed, flags: 0.5 }, control),
  ],
  [
    'control cannot be a value of type object: pass what cacheControl returns [INVALID_CPU_STATE]',
    () => tableMemoryTypesOf(0, page, { ...control }),
  ],
  [
    'paging cannot be false: set PG: without paging, tables are not read [INVALID_CPU_STATE]',
    () => tableMemoryTypesOf(0, page, unpaged),
  ],
  [
    'control cannot be a value of type object: pass what cacheControl returns [INVALID_CPU_STATE]',
    () => nestedMemoryTypesOf(typed, typed, {}, { ...control }),
  ],
  [
    'vendor cannot be "intel": pass the MTRRs of an \'amd\' processor [INVALID_CPU_STATE]',
    () => nestedMemoryTypesOf(typed, typed, {}, onIntel),
  ],
  [
    'paging cannot be false: set PG: nested paging needs paging in the host [INVALID_CPU_STATE]',
    () => nestedMemoryTypesOf(typed, typed, {}, unpaged),
  ],
  [
    'page cannot be undefined: pass an object with the fields flags, size [INVALID_ARGUMENT]',
    () => nestedMemoryTypesOf(undefined as never, typed, {}, control),
  ],
  [
    'page cannot be undefined: pass an object with the fields flags, size, paddr [INVALID_ARGUMENT]',
    () => nestedMemoryTypesOf(typed, undefined as never, {}, control),
  ],
  [
    'guestControl cannot be undefined: pass an object with the fields pat, cr0, snp [INVALID_CPU_STATE]',
    () => nestedMemoryTypesOf(typed, typed, undefined as never, control),
  ],
  [
    'cr cannot be 0x0: pass only fields that exist: pat, cr0, snp [INVALID_CPU_STATE]',
    () => nestedMemoryTypesOf(typed, typed, { cr: 0n } as never, control),
  ],
  [
    'snp cannot be "x": pass true or false [INVALID_CPU_STATE]',
    () => nestedMemoryTypesOf(typed, typed, { snp: wrong }, control),
  ],
  [
    'cr0 cannot be the number 1 (as a bigint: 1n): pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => nestedMemoryTypesOf(typed, typed, { cr0: 1 as never }, control),
  ],
  [
    'pat cannot be 0x2: byte 0 must be 0, 1, 4, 5, 6 or 7 [INVALID_CPU_STATE]',
    () => nestedMemoryTypesOf(typed, typed, { pat: 2n }, control),
  ],
  // pat
  [
    'pat cannot be 0x10000000000000000: pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => decodePat(1n << 64n),
  ],
  ['pat cannot be 0x200: byte 1 must be 0, 1, 4, 5, 6 or 7 [INVALID_CPU_STATE]', () => decodePat(0x0200n)],
  [
    'types cannot be a value of type object: pass eight memory types [INVALID_CPU_STATE]',
    () => encodePat(['WB'] as never),
  ],
  [
    'types[5] cannot be "CD": pass UC, WC, WT, WP, WB or UC- [INVALID_CPU_STATE]',
    () => encodePat(['WB', 'WB', 'WB', 'WB', 'WB', 'CD', 'WB', 'WB'] as never),
  ],
  [
    '3 cannot be used for an entry: pages are at levels 0, 1 and 2 [INVALID_ENTRY]',
    () => patIndex(0, 3 as never),
  ],
  [
    '4294967296 cannot be used for an entry: pass flags of 32 bits [INVALID_ENTRY]',
    () => patIndex(2 ** 32, 0),
  ],
  ['0.5 cannot be used for an entry: pass flags of 32 bits [INVALID_ENTRY]', () => tablePatIndex(0.5)],
  // control registers
  [
    'cr5 cannot be 0x0: pass only fields that exist: cr0, cr3, cr4, efer, csL [INVALID_CPU_STATE]',
    () => controlState({ cr5: 0n } as never),
  ],
  [
    'cr0 cannot be the number 1 (as a bigint: 1n): pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => controlState({ cr0: 1 as never }),
  ],
  [
    'state cannot be undefined: pass an object with the fields cr0, cr3, cr4, efer, csL [INVALID_CPU_STATE]',
    () => processorMode(undefined as never),
  ],
  [
    'state.cr3 cannot be -0x1: pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => pagingMode({ ...reset, cr3: -1n }),
  ],
  [
    'state.csL cannot be 1: pass true or false [INVALID_CPU_STATE]',
    () => currentPcid({ ...reset, csL: 1 as never }),
  ],
  [
    'cr0 cannot be 0x100000000: pass a bigint of 32 bits: outside 64-bit mode, MOV has 32 [INVALID_CPU_STATE]',
    () => setCr0(reset, 1n << 32n, cpu),
  ],
  [
    'cr0 cannot be 0x10000000000000000: pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => setCr0(long, 1n << 64n, cpu),
  ],
  [
    'readPdpte cannot be "x": pass a function that reads a PDPTE [INVALID_CPU_STATE]',
    () => setCr0(reset, 0n, cpu, wrong),
  ],
  [
    'vendor cannot be undefined: pass ProcessorFeatures [INVALID_CONFIG]',
    () => setCr0(reset, 0n, {} as never),
  ],
  [
    'state.cr3 cannot be 0x1000000000000000: clear bit 63 and bits 60:52 [INVALID_CPU_STATE]',
    () => setCr3({ ...reset, cr3: 1n << 60n }, 0n, cpu),
  ],
  [
    'readPdpte cannot be undefined: pass a function that reads a PDPTE: PAE paging loads four [INVALID_CPU_STATE]',
    () => setCr3({ ...reset, cr0: 0x8000_0011n, cr4: 0x20n }, 0n, cpu),
  ],
  [
    'PDPTE 0 cannot be the number 1 (as a bigint: 1n): return a bigint of 64 bits from `readPdpte` [INVALID_CPU_STATE]',
    () => setCr3({ ...reset, cr0: 0x8000_0011n, cr4: 0x20n }, 0n, cpu, () => 1 as never),
  ],
  [
    'state.efer cannot be 0x10000000000: clear the bits that `cpu` does not have [INVALID_CPU_STATE]',
    () => setCr4({ ...reset, efer: 1n << 40n }, 0n, cpu),
  ],
  [
    'efer cannot be the number 1 (as a bigint: 1n): pass a bigint of 64 bits [INVALID_CPU_STATE]',
    () => writeEfer(reset, 1 as never, cpu),
  ],
  // others
  [
    'levels cannot be 3: pass 4 or 5 [INVALID_CONFIG]',
    () => maskAddress(0n as never, cpuState(), 3 as never),
  ],
  [
    '-0x1 is not a canonical virtual address of 48 bits, as a page table of 4 levels needs [NON_CANONICAL]',
    () => maskAddress(-1n as never, cpuState(), 4),
  ],
  [
    'cpl cannot be undefined: pass 0, 1, 2 or 3 [INVALID_CPU_STATE]',
    () => maskAddress(0n as never, {} as never, 4),
  ],
  ['512 cannot be used with a self-map: pass an index from 0 to 511 [INVALID_SELF_MAP]', () => selfMap(512)],
  ['0.5 cannot be used with a self-map: pass an index from 0 to 511 [INVALID_SELF_MAP]', () => selfMap(0.5)],
  ['3 cannot be used with a self-map: pass 4 or 5 levels [INVALID_SELF_MAP]', () => selfMap(0, 3 as never)],
  [
    '4 cannot be used with a self-map: levels are 0 to 3 [INVALID_SELF_MAP]',
    () => selfMap(0).entryAddress(0n as never, 4),
  ],
  [
    '-1 cannot be used with a self-map: levels are 0 to 4 [INVALID_SELF_MAP]',
    () => selfMap(0, 5).entryAddress(0n as never, -1),
  ],
  [
    '0x0000800000000000 is not a canonical virtual address of 48 bits, as a page table of 4 levels needs [NON_CANONICAL]',
    () => selfMap(0).tableAddress((1n << 47n) as never),
  ],
];

function messageOf(call: () => unknown): string {
  try {
    call();
    return 'no error';
  } catch (error) {
    return isPageTableError(error) ? error.message : `another error: ${error}`;
  }
}

test.each(ROWS)('%s', (message, call) => {
  expect(messageOf(call)).toBe(message);
});
