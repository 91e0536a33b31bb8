import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import { bytesOfInteger, integerOf } from '../formats/byte-fields.ts';
import type { SvsmRegisters } from '../formats/svsm-protocol.ts';
import { EFER_SVME, readVmsa, VMSA_FIELDS, writeVmsa } from '../formats/vmsa.ts';
import type { GuestPages } from './guest-pages.ts';
import { isDone } from './svsm-refusal.ts';

/*
 * A VMSA whose processor does not run holds the registers of a call. While EFER.SVME is clear, the VMSA cannot be run
 * (AMD document 58019, §5).
 */

const [EFER, EFER_SIZE] = VMSA_FIELDS.efer;

/**
 * Clears EFER.SVME in a VMSA, so that it cannot be run. Returns EFER as it was, or `undefined` if the VMSA runs, or has run
 * meanwhile and changed EFER: then nothing has changed. The hypervisor can run it at any exit, also at one that the exchange
 * makes. So EFER is exchanged, and the check comes last.
 *
 * @throws SvsmRefusal
 */
export function disableVmsa(
  memory: GuestPages,
  vmsa: PhysAddr,
  isRunning: (vmsa: PhysAddr) => boolean,
): bigint | undefined {
  if (isRunning(vmsa)) return undefined;
  const at = vmsa + BigInt(EFER);
  const efer = integerOf(memory.read(at, EFER_SIZE));
  const disabled = efer & ~EFER_SVME;
  if (memory.compareExchange(at, efer, disabled) !== efer) return undefined;
  if (!isRunning(vmsa)) return efer;
  isDone(() => void memory.compareExchange(at, disabled, efer));
  return undefined;
}

/** Writes EFER of a VMSA. @throws SvsmRefusal */
export function restoreEfer(memory: GuestPages, vmsa: PhysAddr, efer: bigint): void {
  memory.write(vmsa + BigInt(EFER), bytesOfInteger(efer, EFER_SIZE));
}

/** Reads a VMSA that is disabled. @throws SvsmRefusal */
export function readImage(memory: GuestPages, vmsa: PhysAddr): Uint8Array {
  return memory.read(vmsa, PAGE_SIZE);
}

const REGISTERS = ['rax', 'rcx', 'rdx', 'r8', 'r9'] as const;

/** The registers of a call in a VMSA. */
export function registersOf(image: Uint8Array): SvsmRegisters {
  const entries = REGISTERS.map((name) => [name, readVmsa(image, name)]);
  return Object.fromEntries(entries) as unknown as SvsmRegisters;
}

/** Writes the registers of a call to the image of a VMSA. */
export function putRegisters(image: Uint8Array, registers: SvsmRegisters): void {
  for (const name of REGISTERS) writeVmsa(image, name, BigInt.asUintN(64, registers[name]));
}
