import { isPageAligned, Phys, type PhysAddr } from '@svsm/address';
import { readArgument, refuseArgument, requireMethods, requireWhole } from '../formats/arguments.ts';
import { EncryptedMemory } from '../memory/encrypted-memory.ts';
import { NestedTable } from '../memory/nested-table.ts';
import { Rmp } from '../rmp/rmp.ts';
import type { GuestContext, SnpPlatform, VcpuContext } from './platform.ts';

/**
 * Requires a guest that a hypervisor has launched.
 *
 * @throws SnpError `INVALID_ARGUMENT`
 */
export function requireGuest(guest: GuestContext): void {
  const expected = 'pass a guest that launch has returned';
  if (!readArgument('the guest', guest, expected, isGuest)) refuseArgument('the guest', guest, expected);
}

function isGuest(guest: GuestContext): boolean {
  return guest.nested instanceof NestedTable && typeof guest.enterVmpl === 'function';
}

/** Requires a processor of a guest. @throws SnpError `INVALID_ARGUMENT` */
export function requireVcpu(vcpu: VcpuContext): void {
  requireMethods('the processor', vcpu, ['leave']);
}

/** Requires a guest and an address in it. @throws SnpError `INVALID_ARGUMENT`; AddressError */
export function requirePlace(guest: GuestContext, gpa: PhysAddr): void {
  requireGuest(guest);
  Phys.assertIsAddress(gpa);
}

/** Requires addresses of 4 KiB pages. @throws SnpError `INVALID_ARGUMENT`; AddressError */
export function requirePages(...pages: readonly PhysAddr[]): void {
  for (const gpa of pages) {
    Phys.assertIsAddress(gpa);
    if (!isPageAligned(gpa))
      refuseArgument('the address of a page', gpa, 'pass a multiple of 4096 as a bigint');
  }
}

/** Requires a guest and the names of one of its processors. @throws SnpError `INVALID_ARGUMENT` */
export function requireProcessor(guest: GuestContext, apicId: number, vmpl: number): void {
  requireGuest(guest);
  requireWhole('the APIC ID', apicId);
  requireWhole('the VMPL', vmpl);
}

/** Requires the parts of a machine that all rooms use. @throws SnpError `INVALID_ARGUMENT` */
export function requireMachine(machine: SnpPlatform): void {
  const expected = 'pass an SnpMachine';
  const isMachine = readArgument(
    'the machine',
    machine,
    expected,
    () => machine.rmp instanceof Rmp && machine.memory instanceof EncryptedMemory,
  );
  if (!isMachine) refuseArgument('the machine', machine, expected);
}
