import { PAGE_SIZE, type VirtAddr } from '@svsm/address';
import type { AccessKind } from '@svsm/pagetable';
import { refuseArgument, requireInteger } from '../formats/arguments.ts';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import { isOnePiece, piecesOf, startOfAccess } from './access-pieces.ts';
import { type AccessPath, targetOf } from './guest-store.ts';
import type { DataAccessOptions } from './vcpu-options.ts';

/**
 * Reads bytes. Each piece is checked when it is read: the hypervisor runs before each shared one.
 *
 * @throws SnpError `INVALID_ARGUMENT` if `length` is not an integer from 0 on, or more than an array can have; SnpFault
 */
export function loadBytes(
  path: AccessPath,
  gva: VirtAddr,
  length: number,
  kind: AccessKind,
  options: DataAccessOptions,
): Uint8Array {
  const { memory } = path.guest.machine;
  const bytes = arrayOf(length);
  if (length > 0 && length <= PAGE_SIZE) {
    const linear = startOfAccess(path.mmu, gva, length, kind, options);
    if (isOnePiece(linear, length)) {
      const { spa, key } = targetOf(path, linear, kind, options);
      if (key === NO_KEY) path.beforeShared(spa, length);
      memory.readInto(spa, bytes, key);
      return bytes;
    }
  }
  for (const { at, start, count } of piecesOf(path.mmu, gva, length, kind, options)) {
    const { spa, key } = targetOf(path, at, kind, options);
    if (key === NO_KEY) path.beforeShared(spa, count);
    memory.readInto(spa, bytes.subarray(start, start + count), key);
  }
  return bytes;
}

function arrayOf(length: number): Uint8Array {
  requireInteger('the length', length, 0);
  try {
    return new Uint8Array(length);
  } catch (cause) {
    return refuseArgument('the length', length, 'pass the length of an array that can be made', cause);
  }
}
