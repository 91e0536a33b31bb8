import { expectTypeOf, test } from 'vitest';
import type {
  BootErrorCode,
  DirectMapErrorCode,
  GuardErrorCode,
  LayoutErrorCode,
  MemoryMapErrorCode,
  MmErrorCode,
  ProcessorsErrorCode,
  VirtualRangeErrorCode,
} from '../../src/formats/index.ts';

test('each type has exactly the codes of its operations', () => {
  expectTypeOf<LayoutErrorCode>().toEqualTypeOf<'INVALID_ARGUMENT' | 'INVALID_LAYOUT'>();
  expectTypeOf<DirectMapErrorCode>().toEqualTypeOf<'INVALID_ARGUMENT' | 'NOT_DIRECT_MAPPED'>();
  expectTypeOf<MemoryMapErrorCode>().toEqualTypeOf<
    'INVALID_ARGUMENT' | 'INVALID_MEMORY_MAP' | 'OVERLAPS_MAPPING' | 'NOT_A_MAPPING' | 'NOT_GUEST_MEMORY'
  >();
  expectTypeOf<VirtualRangeErrorCode>().toEqualTypeOf<
    'INVALID_ARGUMENT' | 'NO_VIRTUAL_RANGE' | 'NOT_A_MAPPING'
  >();
  expectTypeOf<GuardErrorCode>().toEqualTypeOf<'INVALID_ARGUMENT' | 'NO_VIRTUAL_RANGE' | 'GUARD_RELEASED'>();
  expectTypeOf<ProcessorsErrorCode>().toEqualTypeOf<
    'INVALID_ARGUMENT' | 'INVALID_LAYOUT' | 'NO_CURRENT_CPU' | 'NO_SUCH_CPU' | 'ALREADY_STARTED'
  >();
  expectTypeOf<BootErrorCode>().toExtend<MmErrorCode>();
  expectTypeOf<'BOOT_FAILED' | 'MISSING_FEATURE' | 'ALREADY_BOOTED'>().toExtend<BootErrorCode>();
});
