import type { VirtAddr } from '@svsm/address';
import type { AccessKind } from '@svsm/pagetable';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import { piecesOf } from './access-pieces.ts';
import { type AccessPath, type BeforeShared, targetOf } from './guest-store.ts';
import type { DataAccessOptions } from './vcpu-options.ts';

/**
 * Reads or fetches bytes, page by page. Each piece is checked when it is read: the hypervisor runs before each shared one.
 *
 * @throws SnpFault; PageTableError `BUS_ERROR`
 */
export function loadBytes(
  path: AccessPath,
  gva: VirtAddr,
  length: number,
  kind: AccessKind,
  options: DataAccessOptions,
  beforeShared: BeforeShared,
): Uint8Array {
  const { memory } = path.guest.machine;
  const bytes = new Uint8Array(length);
  for (const { at, start, count } of piecesOf(path.mmu, gva, length, kind, options)) {
    const { spa, key } = targetOf(path, at, kind, options);
    if (key === NO_KEY) beforeShared(spa, count);
    memory.readInto(spa, bytes.subarray(start, start + count), key);
  }
  return bytes;
}
