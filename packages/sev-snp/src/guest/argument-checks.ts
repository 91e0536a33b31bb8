import { Phys, type PhysAddr, Virt57, type VirtAddr } from '@svsm/address';
import type { PageTable } from '@svsm/pagetable';
import { isVcpu } from '../cpu/is-vcpu.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import {
  readArgument,
  refuseArgument,
  requireBoolean,
  requireFunction,
  requireInstance,
  requireMethods,
  requireObject,
  requireUint64,
} from '../formats/arguments.ts';
import { requireOptions } from '../formats/options.ts';
import type { SvsmRegisters } from '../formats/svsm-protocol.ts';
import { ValidatedPages } from './validated-pages.ts';

/*
 * Checks of the arguments that functions of this room have in common. They come before the first step, so that a wrong one
 * changes nothing.
 */

/** The names of `SvsmRegisters`. */
const SVSM_REGISTERS: readonly (keyof SvsmRegisters)[] = ['rax', 'rcx', 'rdx', 'r8', 'r9'];

/** Requires a processor. @throws SnpError `INVALID_ARGUMENT` */
export function requireProcessor(vcpu: Vcpu): void {
  if (!isVcpu(vcpu)) refuseArgument('the processor', vcpu, 'pass a Vcpu');
}

/** Requires a processor, its page table, and `VisibilityOptions`. @throws SnpError `INVALID_ARGUMENT` */
export function requireChange(vcpu: Vcpu, table: PageTable, options: object): void {
  requireProcessor(vcpu);
  requireTable(table);
  requireVisibility(options);
}

/** Requires a page table. @throws SnpError `INVALID_ARGUMENT` */
export function requireTable(table: PageTable): void {
  requireMethods('the page table', table, ['lookup', 'setShared4k', 'setEncrypted4k', 'split4k']);
}

/** The names of `VisibilityOptions`. */
const VISIBILITY_OPTIONS: readonly string[] = ['validated', 'flush', 'validator', 'clear'];

/** Requires `VisibilityOptions`. @throws SnpError `INVALID_ARGUMENT` */
export function requireVisibility(options: {
  readonly validated?: unknown;
  readonly flush?: unknown;
  readonly validator?: unknown;
  readonly clear?: unknown;
}): void {
  requireOptions('options', options, VISIBILITY_OPTIONS);
  const { validated, flush, validator, clear } = options;
  if (validated !== undefined) requireInstance('validated', validated, ValidatedPages, 'a ValidatedPages');
  if (flush !== undefined) requireFunction('flush', flush);
  if (validator !== undefined) requireFunction('validator', validator);
  if (clear !== undefined) requireBoolean('clear', clear);
}

/** Requires the registers of a call to the SVSM. @throws SnpError `INVALID_ARGUMENT` */
export function requireRegisters(registers: Readonly<SvsmRegisters>): void {
  requireOptions('registers', registers, SVSM_REGISTERS);
  for (const name of SVSM_REGISTERS) requireUint64(name, registers[name]);
}

/** The registers of a call: 0 for those that are not given. @throws SnpError `INVALID_ARGUMENT` */
export function registersOfCall(registers: Partial<SvsmRegisters>): SvsmRegisters {
  requireOptions('registers', registers, SVSM_REGISTERS);
  const { rax = 0n, rcx = 0n, rdx = 0n, r8 = 0n, r9 = 0n } = registers;
  const all = { rax, rcx, rdx, r8, r9 };
  requireRegisters(all);
  return all;
}

/** Requires a calling area. @throws SnpError `INVALID_ARGUMENT` */
export function requireArea(area: { readonly gva: VirtAddr; readonly gpa: PhysAddr }): void {
  const expected = 'pass the addresses gva and gpa of a page';
  const { gva, gpa } = readArgument('the calling area', area, expected, () => ({ ...requireObject(area) }));
  if (!Virt57.isAddress(gva)) refuseArgument('gva of the calling area', gva, expected);
  if (!Phys.isAddress(gpa)) refuseArgument('gpa of the calling area', gpa, expected);
}

/** A copy of a list. @throws SnpError `INVALID_ARGUMENT` if it is not an array */
export function arrayOf<T>(what: string, list: readonly T[]): readonly T[] {
  const expected = 'pass an array';
  const copy = readArgument(what, list, expected, () => (Array.isArray(list) ? [...list] : undefined));
  return copy ?? refuseArgument(what, list, expected);
}
