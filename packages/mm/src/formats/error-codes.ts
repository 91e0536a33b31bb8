/**
 * The codes of `MmError` that each operation can throw. A class stands for its constructor. Operations without a row throw
 * none.
 */
export const ERRORS_OF = {
  // Layout.
  addressSpaceLayout: ['INVALID_ARGUMENT', 'INVALID_LAYOUT'],
  slotRegion: ['INVALID_ARGUMENT'],
  MemoryMap: ['INVALID_ARGUMENT', 'INVALID_MEMORY_MAP'],
  'MemoryMap.registerVmsa': ['INVALID_ARGUMENT', 'OVERLAPS_MAPPING', 'NOT_GUEST_MEMORY'],
  'MemoryMap.unregisterVmsa': ['NOT_A_MAPPING'],
  DirectMap: ['INVALID_ARGUMENT'],
  'DirectMap.toPhys': ['INVALID_ARGUMENT', 'NOT_DIRECT_MAPPED'],
  'DirectMap.toVirt': ['INVALID_ARGUMENT', 'NOT_DIRECT_MAPPED'],
  'DirectMap.physOf': ['INVALID_ARGUMENT', 'NOT_DIRECT_MAPPED'],
  'DirectMap.virtOf': ['INVALID_ARGUMENT', 'NOT_DIRECT_MAPPED'],

  // Processors.
  VirtualRange: ['INVALID_ARGUMENT'],
  'VirtualRange.allocate': ['INVALID_ARGUMENT', 'NO_VIRTUAL_RANGE'],
  'VirtualRange.free': ['INVALID_ARGUMENT', 'NOT_A_MAPPING'],
  'MappingGuard.create': ['INVALID_ARGUMENT', 'NO_VIRTUAL_RANGE'],
  'MappingGuard.region': ['GUARD_RELEASED'],
  'MappingGuard.read': ['INVALID_ARGUMENT', 'GUARD_RELEASED'],
  'MappingGuard.write': ['INVALID_ARGUMENT', 'GUARD_RELEASED'],
  'MappingGuard.leak': ['GUARD_RELEASED'],
  PerCpu: ['INVALID_ARGUMENT'],
  'PerCpu.map': ['INVALID_ARGUMENT', 'NO_VIRTUAL_RANGE'],
  ShootDown: ['INVALID_ARGUMENT'],
  Processors: ['INVALID_ARGUMENT'],
  'Processors.add': ['ALREADY_STARTED'],
  'Processors.remove': ['NO_SUCH_CPU'],
  'Processors.get': ['NO_SUCH_CPU'],
  'Processors.thisCpu': ['NO_CURRENT_CPU'],
  'Processors.on': ['INVALID_ARGUMENT', 'NO_SUCH_CPU'],

  // Boot.
  demandFeatures: ['MISSING_FEATURE'],
  pagingOf: ['INVALID_ARGUMENT'],
  directMapOf: ['INVALID_ARGUMENT'],
  rescindRegion: ['PAGES_LOST'],
  'Svsm.boot': [
    'INVALID_ARGUMENT',
    'INVALID_LAYOUT',
    'INVALID_MEMORY_MAP',
    'OUTSIDE_LAYOUT',
    'MISSING_FEATURE',
    'BOOT_FAILED',
    'ALREADY_BOOTED',
  ],
  'Svsm.startCpu': ['INVALID_ARGUMENT', 'ALREADY_STARTED', 'NOT_BOOTED'],
  'Svsm.thisCpu': ['NOT_BOOTED'],
  'Svsm.on': ['INVALID_ARGUMENT', 'NO_SUCH_CPU', 'NOT_BOOTED'],
  'Svsm.virtToPhys': ['NOT_A_MAPPING', 'NOT_BOOTED'],
  'Svsm.physToVirt': ['INVALID_ARGUMENT', 'NOT_DIRECT_MAPPED'],
  'Svsm.mapGlobal': ['INVALID_ARGUMENT', 'NO_VIRTUAL_RANGE', 'NOT_BOOTED'],
} as const;
