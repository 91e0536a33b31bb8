import type { VirtAddr } from '@svsm/address';
import {
  refuseArgument,
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
import { ControlBit, type ControlRegisters, START_REGISTERS } from './vcpu-registers.ts';

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

/**
 * The registers of a new processor: those that are given, and the others at their start. CR4.LA57 follows the page tables.
 *
 * @throws SnpError `INVALID_ARGUMENT` if one does not exist, or is not a bigint of 64 bits
 */
export function startRegisters(guest: GuestContext, given: Partial<ControlRegisters> = {}): ControlRegisters {
  const la57 = guest.paging.levels === 5 ? ControlBit.Cr4La57 : 0n;
  return { ...START_REGISTERS, cr4: START_REGISTERS.cr4 | la57, ...givenRegisters(given) };
}

function givenRegisters(registers: Partial<ControlRegisters>): Partial<ControlRegisters> {
  requireOptions('registers', registers, CONTROL_REGISTERS);
  const given = CONTROL_REGISTERS.map((name) => [name, registers[name]] as const);
  const defined = given.filter(([, value]) => value !== undefined);
  for (const [name, value] of defined) requireUint64(name, value);
  return Object.fromEntries(defined);
}

/** Requires the operands of an exchange of 8 bytes. @throws SnpError `INVALID_ARGUMENT` */
export function requireQword(gva: VirtAddr, expected: bigint, value: bigint): void {
  requireUint64('the expected value', expected);
  requireUint64('the value', value);
  if (typeof gva === 'bigint' && gva % 8n === 0n) return;
  refuseArgument('the address', gva, 'pass a multiple of 8');
}
