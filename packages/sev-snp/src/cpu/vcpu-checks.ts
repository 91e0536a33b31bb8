import {
  requireBoolean,
  requireFunction,
  requireInstance,
  requireMethods,
  requireOneOf,
  requireUint64,
} from '../formats/arguments.ts';
import { requireOptions } from '../formats/options.ts';
import { Vmpl } from '../formats/vmpl.ts';
import { requireGuest } from './context-checks.ts';
import { NestedTlb } from './nested-tlb.ts';
import type { GuestContext } from './platform.ts';
import { VCPU_OPTIONS, type VcpuOptions } from './vcpu-options.ts';
import { type ControlRegisters, START_REGISTERS } from './vcpu-registers.ts';

/** Requires a guest, and options that a processor can have. @throws SnpError `INVALID_ARGUMENT` */
export function requireVcpuOptions(guest: GuestContext, options: VcpuOptions): void {
  requireGuest(guest);
  requireOptions('options', options, VCPU_OPTIONS);
  const { vmpl, tlb, nestedTlb, csL, vmplSss, onPageFault } = options;
  if (vmpl !== undefined) requireOneOf('VMPL', vmpl, Object.values(Vmpl));
  if (tlb !== undefined) requireMethods('tlb', tlb, ['flushPage', 'flushAll']);
  if (nestedTlb !== undefined) requireInstance('nestedTlb', nestedTlb, NestedTlb, 'a NestedTlb');
  if (csL !== undefined) requireBoolean('csL', csL);
  if (vmplSss !== undefined) requireBoolean('vmplSss', vmplSss);
  if (onPageFault !== undefined) requireFunction('onPageFault', onPageFault);
}

const CONTROL_REGISTERS = Object.keys(START_REGISTERS) as (keyof ControlRegisters)[];

/** The registers that are given. @throws SnpError `INVALID_ARGUMENT` if one does not exist, or is not a bigint of 64 bits */
export function givenRegisters(registers: Partial<ControlRegisters> = {}): Partial<ControlRegisters> {
  requireOptions('registers', registers, CONTROL_REGISTERS);
  const given = CONTROL_REGISTERS.map((name) => [name, registers[name]] as const);
  const defined = given.filter(([, value]) => value !== undefined);
  for (const [name, value] of defined) requireUint64(name, value);
  return Object.fromEntries(defined);
}
