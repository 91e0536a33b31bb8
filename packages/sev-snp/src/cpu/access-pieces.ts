import { PAGE_SIZE, pageOffset, type VirtAddr } from '@svsm/address';
import type { AccessKind, AccessOptions } from '@svsm/pagetable';
import type { GuestMmu } from './guest-mmu.ts';

/** The part of an access that lies in one page. */
export interface Piece {
  readonly at: VirtAddr;
  /** The offset in the access, and the number of bytes. */
  readonly start: number;
  readonly count: number;
}

/**
 * The linear address of the first byte of an access to `length` bytes, at least 1.
 *
 * @throws SnpFault `GP` as {@link piecesOf}
 */
export function startOfAccess(
  mmu: GuestMmu,
  gva: VirtAddr,
  length: number,
  kind: AccessKind,
  options: AccessOptions,
): VirtAddr {
  const linear = mmu.linear(gva, kind, options);
  if (linear === undefined || !mmu.endsInSegment(linear, length)) throw mmu.refusal(gva);
  return linear;
}

/** Whether `length` bytes, at least 1, from an address on lie in one page: the access has one piece. */
export function isOnePiece(linear: VirtAddr, length: number): boolean {
  return pageOffset(linear) + length <= PAGE_SIZE;
}

/**
 * The pieces of an access, one for each page. Nothing but the addresses is checked: whoever uses a piece translates and
 * checks it then, before it asks for the next one. It can answer a piece with a number of bytes: that many are its own, and the
 * next piece comes after them.
 *
 * @throws SnpFault `GP` if the access reaches an address that is not one in the processor's mode
 */
export function* piecesOf(
  mmu: GuestMmu,
  gva: VirtAddr,
  length: number,
  kind: AccessKind,
  options: AccessOptions,
): Generator<Piece, undefined, number | undefined> {
  if (length === 0) return undefined;
  const linear = startOfAccess(mmu, gva, length, kind, options);
  for (let start = 0; start < length; ) {
    const at = mmu.add(linear, start);
    if (at === undefined) throw mmu.refusal(gva);
    const count = Math.min(PAGE_SIZE - pageOffset(at), length - start);
    const taken = yield { at, start, count };
    start += taken ?? count;
  }
  return undefined;
}
