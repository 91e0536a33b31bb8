import {
  CONTROL_FAULTS,
  type ControlFault,
  setCr0,
  setCr3,
  type TlbFlush,
  writeEfer,
} from '../../src/entry/control-registers.ts';
import { type ControlState, controlState } from '../../src/entry/control-state.ts';
import { pagingConfigFromRegisters } from '../../src/entry/paging-config.ts';
import { processorFeatures } from '../../src/entry/processor-features.ts';
import { type PhysMemory, readPhys64 } from '../../src/memory/phys-memory.ts';

declare const memory: PhysMemory;
const cpu = processorFeatures();
const state = controlState();

// Both outcomes have the registers; the rest follows from the type.
{
  const result = setCr0(state, 1n, cpu);
  result.state satisfies ControlState;
  if (result.type === 'written') {
    result.flush satisfies TlbFlush | undefined;
    result.pdptes satisfies readonly bigint[] | undefined;
    // @ts-expect-error a write that goes ahead does not have a reason
    result.reason;
  } else {
    result.reason satisfies ControlFault;
    CONTROL_FAULTS[result.reason] satisfies string;
    // @ts-expect-error a fault drops nothing
    result.flush;
  }
}

// Values are bigints, and states are not changed.
{
  // @ts-expect-error a number is not a register
  setCr3(state, 0x1000, cpu);
  // @ts-expect-error a state is read-only
  state.cr3 = 0n;
  // @ts-expect-error WRMSR does not read PDPTEs
  writeEfer(state, 0n, cpu, () => 0n);
}

// Readers of memory and paging configurations fit.
{
  setCr3(state, 0n, cpu, (paddr) => readPhys64(memory, paddr));
  pagingConfigFromRegisters(state, cpu);
}
