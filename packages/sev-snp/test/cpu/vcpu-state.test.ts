import fc from 'fast-check';
import { expect, test } from 'vitest';
import { INIT_REGISTERS, START_REGISTERS } from '../../src/cpu/vcpu-registers.ts';
import { createVmsa, saveState, stateOfVmsa } from '../../src/cpu/vcpu-state.ts';
import { EFER_SVME, readVmsa } from '../../src/formats/vmsa.ts';
import { codeOf } from '../support/world.ts';

// P11, R32
test('a new VMSA can be run: SNP active, SVME set, 64-bit mode, power-up PAT', () => {
  const image = createVmsa();
  expect(readVmsa(image, 'efer') & EFER_SVME).toBe(EFER_SVME);
  expect(readVmsa(image, 'sevFeatures')).toBe(1n);
  expect(readVmsa(image, 'pat')).toBe(0x0007_0406_0007_0406n);
  expect(stateOfVmsa(image, 0n).control).toEqual(START_REGISTERS);
  expect(readVmsa(createVmsa({ vmpl: 2, rip: 5n, rsp: 6n }), 'rsp')).toBe(6n);
  expect(codeOf(() => createVmsa({ vmpl: 256 }))).toBe('INVALID_MESSAGE');
});

test('a new VMSA has CS.L if its registers are those of long mode, unless told otherwise', () => {
  const long = (options: Parameters<typeof createVmsa>[0]) => stateOfVmsa(createVmsa(options), 0n).csL;
  expect([long({}), long({ control: INIT_REGISTERS }), long({ csL: false })]).toEqual([true, false, false]);
  expect(readVmsa(createVmsa(), 'csAttributes')).toBe(0x29bn);
});

// R34, R35
test('the state that is loaded is the state that was saved', () => {
  const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  const registers = fc.record({ rax: u64, rcx: u64, rdx: u64, r8: u64, r9: u64 });
  const control = fc.record({
    cr0: u64,
    cr3: u64,
    cr4: u64,
    efer: u64,
    rflags: u64,
    pkru: fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }),
    pkrs: u64,
  });
  fc.assert(
    fc.property(registers, control, u64, fc.integer({ min: 0, max: 7 }), (registers, control, cr2, bits) => {
      const image = createVmsa({ sevFeatures: 0x103n, virtualTom: 0x20_0000n });
      const mode = { cpl: bits & 3, csL: bits > 3 };
      const state = { registers, control, cr2, ...mode, virtualTom: 0x20_0000n, vmplSss: true };
      saveState(image, state, { exitCode: -1n, exitInfo1: 2n, exitInfo2: 3n });
      expect(stateOfVmsa(image, control.pkrs)).toEqual(state);
      expect(readVmsa(image, 'exitCode')).toBe(2n ** 64n - 1n);
      expect([readVmsa(image, 'exitInfo1'), readVmsa(image, 'exitInfo2')]).toEqual([2n, 3n]);
    }),
  );
});
