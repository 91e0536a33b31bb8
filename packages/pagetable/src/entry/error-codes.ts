import type { PageTableErrorCode } from './page-table-error.ts';

/**
 * The codes of `PageTableError` that each operation can throw. `PageTable` and `PageTablePart` have the operations of
 * `PageMapper`; the former never throws `OUTSIDE_PART`, the latter never throws `PART_BOUNDARY`. A `PhysMemory` of your own
 * can throw anything through the operations that use it.
 */
// biome-ignore format: a row for each operation
export const ERRORS_OF = {
  // Page tables and parts: mapping.
  'PageMapper.map4k': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED',
    'OUTSIDE_PHYSICAL_RANGE', 'INVALID_FLAGS', 'NO_ENCRYPTION', 'ALREADY_MAPPED', 'OUT_OF_MEMORY',
    'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'READ_ONLY', 'ALIASED_TABLE', 'INVALID_SELF_MAP', 'BUSY',
    'CALLBACK_FAILED',
  ],
  'PageMapper.map2m': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED',
    'OUTSIDE_PHYSICAL_RANGE', 'INVALID_FLAGS', 'NO_ENCRYPTION', 'ALREADY_MAPPED', 'OUT_OF_MEMORY',
    'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'READ_ONLY', 'ALIASED_TABLE', 'INVALID_SELF_MAP', 'BUSY',
    'CALLBACK_FAILED',
  ],
  'PageMapper.map1g': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED',
    'OUTSIDE_PHYSICAL_RANGE', 'INVALID_FLAGS', 'NO_ENCRYPTION', 'ALREADY_MAPPED', 'OUT_OF_MEMORY',
    'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'READ_ONLY', 'ALIASED_TABLE', 'INVALID_SELF_MAP', 'BUSY',
    'CALLBACK_FAILED',
  ],
  'PageMapper.mapRegion': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED',
    'OUTSIDE_PHYSICAL_RANGE', 'INVALID_FLAGS', 'NO_ENCRYPTION', 'ALREADY_MAPPED', 'OUT_OF_MEMORY',
    'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'READ_ONLY', 'ALIASED_TABLE', 'INVALID_PAGE_SIZE', 'PART_BOUNDARY',
    'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.unmap4k': [
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED', 'NOT_MAPPED',
    'READ_ONLY', 'PAGE_SIZE_MISMATCH', 'ALIASED_TABLE', 'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.unmap2m': [
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED', 'NOT_MAPPED',
    'READ_ONLY', 'PAGE_SIZE_MISMATCH', 'ALIASED_TABLE', 'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.unmap1g': [
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED', 'NOT_MAPPED',
    'READ_ONLY', 'PAGE_SIZE_MISMATCH', 'ALIASED_TABLE', 'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.unmapRegion': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED', 'NOT_MAPPED',
    'READ_ONLY', 'ALIASED_TABLE', 'PART_BOUNDARY', 'OUT_OF_MEMORY', 'NO_FRAME_ALLOCATOR', 'INVALID_FRAME',
    'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],

  // Page tables and parts: changing.
  'PageMapper.protect4k': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED', 'NOT_MAPPED',
    'READ_ONLY', 'ALIASED_TABLE', 'INVALID_FLAGS', 'OUT_OF_MEMORY', 'NO_FRAME_ALLOCATOR', 'INVALID_FRAME',
    'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.protectRegion': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED', 'NOT_MAPPED',
    'READ_ONLY', 'ALIASED_TABLE', 'INVALID_FLAGS', 'PART_BOUNDARY', 'OUT_OF_MEMORY', 'NO_FRAME_ALLOCATOR',
    'INVALID_FRAME', 'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.setShared4k': [
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED', 'NOT_MAPPED',
    'READ_ONLY', 'NO_ENCRYPTION', 'OUTSIDE_PHYSICAL_RANGE', 'OUT_OF_MEMORY', 'NO_FRAME_ALLOCATOR', 'INVALID_FRAME',
    'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.setEncrypted4k': [
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED', 'NOT_MAPPED',
    'READ_ONLY', 'NO_ENCRYPTION', 'OUTSIDE_PHYSICAL_RANGE', 'OUT_OF_MEMORY', 'NO_FRAME_ALLOCATOR', 'INVALID_FRAME',
    'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.setSharedRegion': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED', 'NOT_MAPPED',
    'READ_ONLY', 'ALIASED_TABLE', 'NO_ENCRYPTION', 'OUTSIDE_PHYSICAL_RANGE', 'PART_BOUNDARY', 'OUT_OF_MEMORY',
    'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.setEncryptedRegion': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'MISALIGNED', 'NOT_MAPPED',
    'READ_ONLY', 'ALIASED_TABLE', 'NO_ENCRYPTION', 'OUTSIDE_PHYSICAL_RANGE', 'PART_BOUNDARY', 'OUT_OF_MEMORY',
    'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.split4k': [
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'NOT_MAPPED', 'READ_ONLY',
    'OUT_OF_MEMORY', 'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.split2m': [
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'NOT_MAPPED', 'READ_ONLY',
    'OUT_OF_MEMORY', 'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],
  'PageMapper.collapse': [
    'NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'NOT_MAPPED', 'READ_ONLY',
    'NO_FRAME_ALLOCATOR', 'INVALID_PAGE_SIZE', 'INVALID_SELF_MAP', 'BUSY', 'CALLBACK_FAILED',
  ],

  // Page tables and parts: looking.
  'PageMapper.translate': ['NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'BUSY'],
  'PageMapper.frameAt': ['NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'BUSY'],
  'PageMapper.lookup': ['NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'BUSY'],
  'PageMapper.walk': ['NON_CANONICAL', 'OUTSIDE_PART', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'BUSY'],
  'PageMapper.mappings': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'MISALIGNED', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'BUSY',
  ],
  'PageMapper.leaves': [
    'INVALID_ARGUMENT',
    'NON_CANONICAL', 'OUTSIDE_PART', 'MISALIGNED', 'RESERVED_BITS', 'BUS_ERROR', 'DESTROYED', 'BUSY',
  ],
  'PageMapper.countTables': ['BUS_ERROR', 'DESTROYED', 'BUSY'],
  'PageTable.access': [
    'INVALID_ARGUMENT', 'INVALID_CPU_STATE',
    'NON_CANONICAL', 'INVALID_ACCESS', 'BUS_ERROR', 'READ_ONLY', 'DESTROYED', 'BUSY', 'CALLBACK_FAILED',
  ],
  maskAddress: ['INVALID_CPU_STATE', 'INVALID_CONFIG', 'NON_CANONICAL'],
  allowsAccess: ['INVALID_ARGUMENT', 'INVALID_ACCESS', 'INVALID_CPU_STATE'],

  // Making and destroying page tables and parts.
  'PageTable.create': ['INVALID_ARGUMENT', 'INVALID_CONFIG', 'OUT_OF_MEMORY', 'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'READ_ONLY', 'INVALID_SELF_MAP'],
  'PageTable.open': ['INVALID_ARGUMENT', 'INVALID_CONFIG', 'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'INVALID_SELF_MAP'],
  'PageTable.cloneShared': [
    'INVALID_ARGUMENT',
    'OUT_OF_MEMORY', 'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'READ_ONLY', 'INVALID_ROOT_ENTRY', 'BUS_ERROR',
    'DESTROYED', 'BUSY',
  ],
  'PageTable.destroy': ['NO_FRAME_ALLOCATOR', 'BUS_ERROR', 'DESTROYED', 'BUSY', 'CALLBACK_FAILED'],
  'PageTablePart.create': ['INVALID_ARGUMENT', 'INVALID_CONFIG', 'INVALID_ROOT_ENTRY', 'OUT_OF_MEMORY', 'NO_FRAME_ALLOCATOR', 'INVALID_FRAME', 'READ_ONLY'],
  'PageTablePart.attach': ['PART_MISMATCH', 'ALREADY_MAPPED', 'BUS_ERROR', 'DESTROYED', 'BUSY'],
  'PageTablePart.detach': ['PART_NOT_ATTACHED', 'BUS_ERROR', 'BUSY', 'CALLBACK_FAILED'],
  'PageTablePart.destroy': ['PART_IN_USE', 'BUS_ERROR', 'DESTROYED', 'BUSY', 'CALLBACK_FAILED'],
  selfMap: ['INVALID_SELF_MAP'],
  'SelfMap.entryAddress': ['NON_CANONICAL', 'INVALID_SELF_MAP'],
  'SelfMap.tableAddress': ['NON_CANONICAL', 'INVALID_SELF_MAP'],

  // Entries.
  decodeEntry: ['INVALID_CONFIG', 'INVALID_ENTRY'],
  encodeEntry: ['INVALID_CONFIG', 'INVALID_ENTRY', 'INVALID_FLAGS', 'OUTSIDE_PHYSICAL_RANGE', 'MISALIGNED', 'NO_ENCRYPTION'],
  reservedBits: ['INVALID_CONFIG', 'INVALID_ENTRY'],
  nameEntry: ['INVALID_CONFIG', 'INVALID_ENTRY'],
  leafFlags: ['INVALID_FLAGS', 'INVALID_ENTRY'],
  tableFlags: ['INVALID_FLAGS'],
  leafBits: ['INVALID_FLAGS', 'INVALID_ENTRY'],
  tableBits: ['INVALID_FLAGS'],

  // Configuration and state of a processor.
  pagingConfig: ['INVALID_CONFIG'],
  pagingConfigFromRegisters: ['INVALID_CONFIG'],
  processorFeatures: ['INVALID_CONFIG'],
  cpuState: ['INVALID_CPU_STATE'],
  cpuStateFromRegisters: ['INVALID_CPU_STATE'],
  controlState: ['INVALID_CPU_STATE'],
  setCr0: ['INVALID_CPU_STATE', 'INVALID_CONFIG'],
  setCr3: ['INVALID_CPU_STATE', 'INVALID_CONFIG'],
  setCr4: ['INVALID_CPU_STATE', 'INVALID_CONFIG'],
  writeEfer: ['INVALID_CPU_STATE', 'INVALID_CONFIG'],
  processorMode: ['INVALID_CPU_STATE'],
  pagingMode: ['INVALID_CPU_STATE'],
  currentPcid: ['INVALID_CPU_STATE'],

  // Memory types.
  decodePat: ['INVALID_CPU_STATE'],
  encodePat: ['INVALID_CPU_STATE'],
  patIndex: ['INVALID_ENTRY'],
  tablePatIndex: ['INVALID_ENTRY'],
  decodeMtrrs: ['INVALID_CONFIG', 'INVALID_CPU_STATE'],
  encodeVariableMtrr: ['INVALID_CONFIG', 'INVALID_CPU_STATE'],
  mtrrType: ['INVALID_CPU_STATE', 'OUTSIDE_PHYSICAL_RANGE', 'INVALID_PAGE_SIZE'],
  accessTarget: ['OUTSIDE_PHYSICAL_RANGE', 'INVALID_CPU_STATE'],
  combineMemoryTypes: ['INVALID_CPU_STATE'],
  combineGuestAndHostTypes: ['INVALID_CPU_STATE'],
  cacheControl: ['INVALID_CPU_STATE'],
  memoryTypesOf: ['INVALID_ARGUMENT', 'INVALID_CPU_STATE', 'INVALID_ENTRY', 'INVALID_PAGE_SIZE', 'OUTSIDE_PHYSICAL_RANGE'],
  tableMemoryTypesOf: ['INVALID_ENTRY', 'OUTSIDE_PHYSICAL_RANGE', 'INVALID_CPU_STATE'],
  nestedMemoryTypesOf: ['INVALID_ARGUMENT', 'INVALID_ENTRY', 'INVALID_PAGE_SIZE', 'OUTSIDE_PHYSICAL_RANGE', 'INVALID_CPU_STATE'],

  // Physical memory.
  createPhysMemory: ['INVALID_MEMORY'],
  'PhysMemory.words': ['BUS_ERROR', 'READ_ONLY'],
  readPhys: ['INVALID_ARGUMENT', 'BUS_ERROR'],
  readPhys8: ['INVALID_ARGUMENT', 'BUS_ERROR'],
  readPhys16: ['INVALID_ARGUMENT', 'BUS_ERROR'],
  readPhys32: ['INVALID_ARGUMENT', 'BUS_ERROR'],
  readPhys64: ['INVALID_ARGUMENT', 'BUS_ERROR'],
  writePhys: ['INVALID_ARGUMENT', 'BUS_ERROR', 'READ_ONLY'],
  writePhys8: ['INVALID_ARGUMENT', 'BUS_ERROR', 'READ_ONLY'],
  writePhys16: ['INVALID_ARGUMENT', 'BUS_ERROR', 'READ_ONLY'],
  writePhys32: ['INVALID_ARGUMENT', 'BUS_ERROR', 'READ_ONLY'],
  writePhys64: ['INVALID_ARGUMENT', 'BUS_ERROR', 'READ_ONLY'],
  'PhysMemoryRule.check': ['INVALID_ARGUMENT', 'RULE_BROKEN'],

  // TLBs.
  'Tlb.constructor': ['INVALID_FLUSH'],
  'Tlb.lookup': ['NON_CANONICAL', 'BUSY'],
  'Tlb.insert': ['INVALID_ARGUMENT', 'NON_CANONICAL', 'BUSY'],
  'Tlb.needsFlush': ['INVALID_FLUSH', 'NON_CANONICAL'],
  'Tlb.forPcid': ['INVALID_FLUSH'],
  'Tlb.flushPage': ['NON_CANONICAL', 'BUSY'],
  'Tlb.flushPageOf': ['INVALID_FLUSH', 'NON_CANONICAL', 'BUSY'],
  'Tlb.flushNonGlobal': ['INVALID_FLUSH', 'BUSY'],
  'Tlb.flushRange': ['INVALID_FLUSH', 'BUSY'],
  'Tlb.flushPending': ['BUSY'],
  'Tlb.flushAll': ['BUSY'],
  'Tlb.loadCr3': ['INVALID_FLUSH', 'BUSY'],
  'Tlb.setGlobalPages': ['INVALID_FLUSH', 'BUSY'],
  'Tlb.setSmep': ['INVALID_FLUSH', 'BUSY'],
  'Tlb.setPcids': ['INVALID_FLUSH', 'BUSY'],
  invpcid: ['INVALID_FLUSH', 'BUSY'],
  invlpgb: ['INVALID_FLUSH', 'BUSY'],
  applyTlbControl: ['INVALID_FLUSH', 'BUSY'],

  isPageTableError: [],
} as const;

/** `Table`, of which every code must be one of this package. */
type Checked<Table extends Readonly<Record<string, readonly PageTableErrorCode[]>>> = Table;
type CodeOf<Operation extends keyof typeof ERRORS_OF> = Checked<typeof ERRORS_OF>[Operation][number];

/** The codes that mapping throws: `map4k`, `map2m`, `map1g`, `mapRegion`. */
export type MapErrorCode = CodeOf<
  'PageMapper.map4k' | 'PageMapper.map2m' | 'PageMapper.map1g' | 'PageMapper.mapRegion'
>;

/** The codes that unmapping throws: `unmap4k`, `unmap2m`, `unmap1g`, `unmapRegion`. */
export type UnmapErrorCode = CodeOf<
  'PageMapper.unmap4k' | 'PageMapper.unmap2m' | 'PageMapper.unmap1g' | 'PageMapper.unmapRegion'
>;

/** The codes that changing flags throws: `protect4k`, `protectRegion`. */
export type ProtectErrorCode = CodeOf<'PageMapper.protect4k' | 'PageMapper.protectRegion'>;

/** The codes that changing visibility throws: `setShared4k`, `setEncrypted4k`, `setSharedRegion`, `setEncryptedRegion`. */
export type SetSharedErrorCode = CodeOf<
  | 'PageMapper.setShared4k'
  | 'PageMapper.setEncrypted4k'
  | 'PageMapper.setSharedRegion'
  | 'PageMapper.setEncryptedRegion'
>;

/** The codes that splitting throws: `split4k`, `split2m`. */
export type SplitErrorCode = CodeOf<'PageMapper.split4k' | 'PageMapper.split2m'>;

/** The codes that `collapse` throws. */
export type CollapseErrorCode = CodeOf<'PageMapper.collapse'>;

/** The codes that looking at one address throws: `translate`, `frameAt`, `lookup`, `walk`. */
export type LookupErrorCode = CodeOf<
  'PageMapper.translate' | 'PageMapper.frameAt' | 'PageMapper.lookup' | 'PageMapper.walk'
>;

/** The codes that listings throw: `mappings`, `leaves`. */
export type ListingErrorCode = CodeOf<'PageMapper.mappings' | 'PageMapper.leaves'>;

/** The codes that accesses throw: `access`, `maskAddress`. Page faults and #GP are results, not errors. */
export type AccessErrorCode = CodeOf<'PageTable.access' | 'maskAddress'>;

/** The codes that making a page table throws: `create`, `open`, `cloneShared`. */
export type CreateTableErrorCode = CodeOf<'PageTable.create' | 'PageTable.open' | 'PageTable.cloneShared'>;

/** The codes that going through all tables throws: `countTables`, `PageTable.destroy`. */
export type DestroyTableErrorCode = CodeOf<'PageMapper.countTables' | 'PageTable.destroy'>;

/** The codes that making, attaching, detaching and destroying a `PageTablePart` throws. */
export type PartErrorCode = CodeOf<
  'PageTablePart.create' | 'PageTablePart.attach' | 'PageTablePart.detach' | 'PageTablePart.destroy'
>;

/** The codes that the addresses of a self-map throw: `selfMap`, `entryAddress`, `tableAddress`. */
export type SelfMapErrorCode = CodeOf<'selfMap' | 'SelfMap.entryAddress' | 'SelfMap.tableAddress'>;

/** The codes that single entries throw: `decodeEntry`, `encodeEntry`, `reservedBits`, `nameEntry`, `leafFlags` and the like. */
export type EntryErrorCode = CodeOf<
  'decodeEntry' | 'encodeEntry' | 'reservedBits' | 'nameEntry' | 'leafFlags' | 'tableFlags' | 'leafBits'
>;

/** The code that the configuration of a processor throws: `pagingConfig`, `processorFeatures` and the like. */
export type ConfigErrorCode = CodeOf<'pagingConfig' | 'pagingConfigFromRegisters' | 'processorFeatures'>;

/** The codes that the state of a processor throws: `cpuState`, `controlState`, `setCr0`, `writeEfer` and the like. */
export type CpuStateErrorCode = CodeOf<
  'cpuState' | 'cpuStateFromRegisters' | 'controlState' | 'setCr0' | 'setCr3' | 'setCr4' | 'writeEfer'
>;

/** The codes that memory types throw: PAT, MTRRs, and their combination. */
export type MemoryTypeErrorCode = CodeOf<
  | 'decodePat'
  | 'encodePat'
  | 'patIndex'
  | 'tablePatIndex'
  | 'decodeMtrrs'
  | 'encodeVariableMtrr'
  | 'mtrrType'
  | 'accessTarget'
  | 'combineMemoryTypes'
  | 'combineGuestAndHostTypes'
  | 'cacheControl'
  | 'memoryTypesOf'
  | 'tableMemoryTypesOf'
  | 'nestedMemoryTypesOf'
>;

/** The codes that physical memory throws: `createPhysMemory`, `words`, `readPhys`, `writePhys` and the like. */
export type PhysMemoryErrorCode = CodeOf<
  | 'createPhysMemory'
  | 'PhysMemory.words'
  | 'readPhys'
  | 'readPhys8'
  | 'readPhys16'
  | 'readPhys32'
  | 'readPhys64'
  | 'writePhys'
  | 'writePhys8'
  | 'writePhys16'
  | 'writePhys32'
  | 'writePhys64'
>;

/** The codes that a `Tlb`, `invpcid` and `invlpgb` throw. */
export type FlushErrorCode = CodeOf<
  | 'Tlb.constructor'
  | 'Tlb.lookup'
  | 'Tlb.insert'
  | 'Tlb.needsFlush'
  | 'Tlb.forPcid'
  | 'Tlb.flushPage'
  | 'Tlb.flushPageOf'
  | 'Tlb.flushNonGlobal'
  | 'Tlb.flushRange'
  | 'Tlb.loadCr3'
  | 'invpcid'
  | 'invlpgb'
>;
