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
import { type Check, optional, requireFields, requireOptions } from '../formats/options.ts';
import { Vmpl } from '../formats/vmpl.ts';
import { requireGuest } from './context-checks.ts';
import { NestedTlb } from './nested-tlb.ts';
import type { GuestContext } from './platform.ts';
import { type DataAccessOptions, VCPU_OPTIONS, type VcpuOptions } from './vcpu-options.ts';
import { ControlBit, type ControlRegisters, givenRegisters, START_REGISTERS } from './vcpu-registers.ts';

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

/**
 * The registers of a new processor: those that are given, and the others at their start. CR4.LA57 follows the page tables.
 *
 * @throws SnpError `INVALID_ARGUMENT` if one does not exist, or is not a bigint of 64 bits
 */
export function startRegisters(guest: GuestContext, given?: Partial<ControlRegisters>): ControlRegisters {
  const la57 = guest.paging.levels === 5 ? ControlBit.Cr4La57 : 0n;
  return { ...START_REGISTERS, cr4: START_REGISTERS.cr4 | la57, ...givenRegisters(given) };
}

/** Requires the operands of an exchange of 8 bytes. @throws SnpError `INVALID_ARGUMENT` */
export function requireQword(gva: VirtAddr, expected: bigint, value: bigint): void {
  requireUint64('the expected value', expected);
  requireUint64('the value', value);
  if (typeof gva === 'bigint' && gva % 8n === 0n) return;
  refuseArgument('the address', gva, 'pass a multiple of 8 as a bigint');
}

/** The options of an access. Whether it can be one to a shadow stack, `@svsm/pagetable` decides. */
const ACCESS: Readonly<Record<keyof DataAccessOptions, Check>> = {
  implicit: /* @__PURE__ */ optional(requireBoolean),
  shadowStack: () => {},
};

/** Requires options of an access. @throws SnpError `INVALID_ARGUMENT` */
export function requireAccess(options: DataAccessOptions): void {
  requireFields('options', options, ACCESS);
}
