import { isBytes, refuseArgument, requireMethods } from '../formats/arguments.ts';

/**
 * The guest's memory, as `SvsmMemory` of `@svsm/sev-snp` gives it: `ServingCpu.memory` is one. It judges an address before it maps
 * anything, reads each byte once, and catches faults.
 */
export interface GuestMemory {
  /** The bytes, or `undefined` if one of them cannot be read. */
  read(gpa: bigint, length: number): Uint8Array | undefined;
  /** A result of the SVSM protocol: 0 if all bytes are written. */
  write(gpa: bigint, bytes: Uint8Array): number;
}

/**
 * Copies bytes of the guest, each read once: what the guest or the hypervisor changes later is not seen. O(length).
 *
 * @param gpa - any address of 64 bits
 * @param length - bytes, across pages
 * @returns `undefined` if a byte is not the guest's, belongs to a VMSA, faults, or is in use by a call
 * @throws MmError `INVALID_ARGUMENT` if `memory` is not the memory of a guest, or reads another
 *   number of bytes; SnpError `INVALID_ARGUMENT` for another type
 */
export function copyFromGuest(memory: GuestMemory, gpa: bigint, length: number): Uint8Array | undefined {
  requireGuestMemory(memory);
  const bytes = memory.read(gpa, length);
  if (bytes === undefined || (isBytes(bytes) && bytes.length === length)) return bytes;
  return refuseArgument('the bytes that the memory has read', bytes, `return ${length} bytes, or undefined`);
}

/**
 * Copies bytes to the guest. If a page faults, those before it are written. O(length).
 *
 * @param gpa - any address of 64 bits
 * @returns whether all bytes are written; as for {@link copyFromGuest}
 * @throws as {@link copyFromGuest}
 */
export function copyToGuest(memory: GuestMemory, gpa: bigint, bytes: Uint8Array): boolean {
  requireGuestMemory(memory);
  return memory.write(gpa, bytes) === 0;
}

/** @throws MmError `INVALID_ARGUMENT` */
export function requireGuestMemory(memory: GuestMemory): void {
  requireMethods('the memory of the guest', memory, ['read', 'write']);
}
