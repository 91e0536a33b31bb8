import { expect, test } from 'vitest';
import { BOOT_STEPS } from '../../src/formats/boot-step.ts';
import { isMmError, MmError } from '../../src/formats/mm-error.ts';

test('isMmError narrows by the code', () => {
  const error: unknown = new MmError('NOT_A_MAPPING', { vaddr: 0x1000n });
  expect([isMmError(error), isMmError(error, 'NOT_A_MAPPING'), isMmError(error, 'NOT_BOOTED')]).toEqual([
    true,
    true,
    false,
  ]);
  expect(isMmError(new Error('NOT_A_MAPPING'))).toBe(false);
  expect(String(error)).toContain('0x0000000000001000');
});

test('a failed step is named, and whether the boot was undone', () => {
  for (const step of BOOT_STEPS) {
    expect(new MmError('BOOT_FAILED', { step, undone: true }).message).toContain(`step ${step} of the boot`);
    expect(new MmError('BOOT_FAILED', { step, undone: false }).message).toContain('could not be undone');
  }
});
