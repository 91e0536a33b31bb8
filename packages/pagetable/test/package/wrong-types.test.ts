/** The smallest input of each kind of mistake that was accepted in silence, or threw an error without a code. */
import { physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import {
  accessTarget,
  applyTlbControl,
  cacheControl,
  cpuState,
  createPhysMemory,
  decodeEntry,
  decodeMtrrs,
  isPageTableError,
  leafBits,
  maskAddress,
  memoryTypesOf,
  mtrrType,
  PageTable,
  type PageTableError,
  PageTablePart,
  pagingConfig,
  pagingConfigFromRegisters,
  processorFeatures,
  processorMode,
  readPhys,
  readPhys64,
  setCr0,
  Tlb,
  writePhys,
  writePhys64,
} from '../../src/index.ts';
import { FramePool } from '../support/frame-pool.ts';

const untyped = (value: unknown): never => value as never;
const at = (address: number): VirtAddr => virtAddr(address);

function world() {
  const memory = createPhysMemory({ size: 0x8000 });
  const frames = new FramePool(0, 8);
  const tlb = new Tlb();
  const table = PageTable.create({ memory, frames, tlb });
  table.map4k(at(0x1000), physAddr(0x1000), 3);
  return { memory, frames, tlb, table };
}

type World = ReturnType<typeof world>;

const REVOKED: object = (() => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
})();
const UNREADABLE = {
  get shared(): boolean {
    throw new Error('not readable');
  },
};

const page = { flags: 3, size: 0x1000, paddr: physAddr(0x1000) } as const;
const mtrrs = decodeMtrrs({ defType: 0x806n });
const state = { cr0: 0x10n, cr3: 0n, cr4: 0n, efer: 0n, csL: false };

const CASES: Readonly<Record<string, readonly [code: string, call: (world: World) => unknown]>> = {
  'a number as the change of a page': [
    'INVALID_ARGUMENT',
    ({ table }) => table.protect4k(at(0x1000), untyped(4)),
  ],
  'a misspelt option of a mapping': [
    'INVALID_ARGUMENT',
    ({ table }) => table.map4k(at(0x2000), physAddr(0x2000), 3, untyped({ share: true })),
  ],
  'a number for an option that is true or false': [
    'INVALID_ARGUMENT',
    ({ table }) => table.map4k(at(0x2000), physAddr(0x2000), 3, untyped({ remap: 1 })),
  ],
  'an option that cannot be read': [
    'INVALID_ARGUMENT',
    ({ table }) => table.map4k(at(0x2000), physAddr(0x2000), 3, untyped(UNREADABLE)),
  ],
  'options that are a revoked proxy': [
    'INVALID_ARGUMENT',
    ({ table }) => [...table.mappings(untyped(REVOKED))],
  ],
  'a bigint for flags': [
    'INVALID_FLAGS',
    ({ table }) => table.map4k(at(0x2000), physAddr(0x2000), untyped(3n)),
  ],
  'Infinity for flags': [
    'INVALID_FLAGS',
    ({ table }) => table.map4k(at(0x2000), physAddr(0x2000), Number.POSITIVE_INFINITY),
  ],
  'a region of physical addresses': [
    'INVALID_ARGUMENT',
    ({ table }) => table.setSharedRegion(untyped(physRegion(physAddr(0x1000), 0x1000))),
  ],
  'no region': ['INVALID_ARGUMENT', ({ table }) => table.setSharedRegion(untyped(undefined))],
  'a number as the end of a region': [
    'INVALID_ARGUMENT',
    ({ table }) => table.unmapRegion(untyped({ start: 0x1000n, end: 0x2000 })),
  ],
  'a state of a processor without a field': [
    'INVALID_CPU_STATE',
    ({ table }) => table.access(at(0x1000), 'read', untyped({ ...cpuState(), wp: undefined })),
  ],
  'a misspelt option of an access': [
    'INVALID_ARGUMENT',
    ({ table }) => table.access(at(0x1000), 'read', cpuState(), untyped({ udpate: false })),
  ],
  'no options of a page table': ['INVALID_ARGUMENT', () => PageTable.create(untyped(undefined))],
  'frames without a method': [
    'INVALID_ARGUMENT',
    ({ memory }) => PageTable.open(physAddr(0), untyped({ memory, frames: { allocateFrame: () => 0n } })),
  ],
  'a listener without a method': [
    'INVALID_ARGUMENT',
    ({ memory }) => PageTable.open(physAddr(0), untyped({ memory, tlb: {} })),
  ],
  'a configuration with a misspelt field': [
    'INVALID_CONFIG',
    ({ memory, frames }) =>
      PageTablePart.create(3, untyped({ memory, frames, config: { levels: 4, physBits: 46 } })),
  ],
  'a misspelt option of a configuration': ['INVALID_CONFIG', () => pagingConfig(untyped({ physBits: 46 }))],
  'a number for the levels that registers decide': [
    'INVALID_CONFIG',
    () => pagingConfigFromRegisters({ cr4: 0x20n }, untyped({ levels: 3 })),
  ],
  'no configuration of an entry': ['INVALID_CONFIG', () => decodeEntry(1n, 0, untyped(undefined))],
  'a bigint for the flags of an entry': ['INVALID_FLAGS', () => leafBits(untyped(3n), 0)],
  'features of a processor that are missing': ['INVALID_CONFIG', () => setCr0(state, 0x10n, untyped({}))],
  'a reader of PDPTEs that is not a function': [
    'INVALID_CPU_STATE',
    () => setCr0(state, 0x10n, processorFeatures(), untyped(5)),
  ],
  'a state without registers': ['INVALID_CPU_STATE', () => processorMode(untyped({}))],
  'six levels': ['INVALID_CONFIG', () => maskAddress(at(0x1000), cpuState(), untyped(6))],
  'MTRRs that were not decoded': ['INVALID_CPU_STATE', () => mtrrType({ ...mtrrs }, physAddr(0))],
  'MTRRs that are a number': ['INVALID_CPU_STATE', () => accessTarget(untyped(5), physAddr(0))],
  'a cache control that was not made': [
    'INVALID_CPU_STATE',
    () => memoryTypesOf(page, { ...cacheControl({ mtrrs }) }),
  ],
  'a page of a memory type that is null': [
    'INVALID_ARGUMENT',
    () => memoryTypesOf(untyped(null), cacheControl({ mtrrs })),
  ],
  'a buffer that is an array': ['INVALID_MEMORY', () => createPhysMemory(untyped({ buffer: [] }))],
  'a misspelt option of memory': [
    'INVALID_MEMORY',
    () => createPhysMemory(untyped({ size: 0x1000, strat: physAddr(0) })),
  ],
  'memory without methods': ['INVALID_ARGUMENT', () => readPhys64(untyped({}), physAddr(0))],
  'Infinity for a length': [
    'INVALID_ARGUMENT',
    ({ memory }) => readPhys(memory, physAddr(0), Number.POSITIVE_INFINITY),
  ],
  'NaN for bytes': ['INVALID_ARGUMENT', ({ memory }) => writePhys(memory, physAddr(0), untyped(Number.NaN))],
  'a number for 64 bits': ['INVALID_ARGUMENT', ({ memory }) => writePhys64(memory, physAddr(0), untyped(1))],
  'memory that returns no words': [
    'RULE_BROKEN',
    ({ memory }) =>
      readPhys(untyped({ words: () => undefined, wordOffset: memory.wordOffset }), physAddr(0), 8),
  ],
  'memory whose frame lies outside its words': [
    'RULE_BROKEN',
    ({ memory }) =>
      readPhys64(untyped({ words: () => memory.words(0, false), wordOffset: () => 2 ** 32 }), physAddr(0)),
  ],
  'memory of a page table that returns no offset': [
    'RULE_BROKEN',
    ({ memory }) => {
      const words = memory.words.bind(memory);
      const lying = { epoch: Number.NaN, words, wordOffset: () => Number.NaN };
      PageTable.open(physAddr(0), { memory: lying }).lookup(at(0x1000));
    },
  ],
  'a misspelt option of a TLB': ['INVALID_FLUSH', () => new Tlb(untyped({ pcid: false }))],
  'a page of a TLB without a size': [
    'INVALID_ARGUMENT',
    ({ tlb, table }) => tlb.insert(at(0x1000), untyped({ ...table.lookup(at(0x1000)), size: undefined })),
  ],
  'a number as a range to flush': ['INVALID_FLUSH', ({ tlb }) => tlb.flushRange(untyped(0x40_0000))],
  'a number for a setting of a TLB': ['INVALID_FLUSH', ({ tlb }) => tlb.setSmep(untyped(1))],
  'an object that is not a TLB': ['INVALID_FLUSH', () => applyTlbControl(untyped({}), 1)],
};

describe('a wrong type is refused by name, and nothing changes', () => {
  test.each(Object.entries(CASES))('%s', (_, [code, call]) => {
    const made = world();
    const before = stateOf(made);
    const error = errorOf(() => call(made));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/^[\x20-\x7e]+$/);
    expect(stateOf(made)).toEqual(before);
  });
});

test('a name with control characters reaches a message escaped', () => {
  const { message } = errorOf(() => pagingConfig(untyped({ '\u001b[31m': 1 })));
  expect(message).toContain('\\u001b[31m cannot be 1');
});

test('objects of the package pass, and so do objects that have more fields', () => {
  const { table } = world();
  const registers = { ...state, cr4: 0x20n };
  expect(pagingConfigFromRegisters(registers, processorFeatures()).levels).toBe(4);
  expect(table.access(at(0x1000), 'read', { ...cpuState() }, {}).type).toBe('translation');
});

function errorOf(call: () => unknown): PageTableError {
  try {
    call();
  } catch (error) {
    if (isPageTableError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

function stateOf({ memory, frames, tlb, table }: World): unknown[] {
  return [
    String(readPhys(memory, physAddr(0), 0x8000)),
    frames.left,
    tlb.pending.join(),
    [...table.leaves()].length,
  ];
}
