import { PageSize, type PhysAddr } from '@svsm/address';
import type { RmpPageSize } from './rmp-entry.ts';
import { SnpError } from './snp-error.ts';

/** The state of a page as software tells and is told it. */
export interface RmpStateFields {
  readonly gpa: PhysAddr;
  readonly assigned: boolean;
  readonly pageSize: RmpPageSize;
  readonly immutable: boolean;
  readonly asid: number;
  /** RMPREAD only: of the first page of a 2 MiB region, whether another page of it is assigned. */
  readonly regionStatus: boolean;
}

/** Bytes of a state: the operand of RMPUPDATE, and what RMPREAD writes. */
export const RMP_STATE_SIZE = 16;

/**
 * Takes a state apart as RMPUPDATE reads it and RMPREAD writes it: the architectural layout, which every part has,
 * whatever its entries look like (Linux `arch/x86/include/asm/sev.h` `struct rmp_state`, `arch/x86/virt/svm/sev.c`
 * `struct rmpentry`; the reference of the `__rmpread` intrinsic). Bits without a meaning are ignored. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if there are not 16 bytes
 */
export function decodeRmpState(bytes: Uint8Array): RmpStateFields {
  if (bytes.length !== RMP_STATE_SIZE) {
    const expected = `pass ${RMP_STATE_SIZE}`;
    throw new SnpError('INVALID_ARGUMENT', { what: 'the number of bytes', value: bytes.length, expected });
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const size = view.getUint8(9);
  return Object.freeze({
    gpa: view.getBigUint64(0, true) as PhysAddr,
    assigned: (view.getUint8(8) & 1) !== 0,
    pageSize: (size & 1) !== 0 ? PageSize.Huge : PageSize.Regular,
    regionStatus: (size & 2) !== 0,
    immutable: (view.getUint8(10) & 1) !== 0,
    asid: view.getUint32(12, true),
  });
}

/** The reverse of {@link decodeRmpState}. O(1). Fields that do not fit are cut off at their width. */
export function encodeRmpState(state: RmpStateFields): Uint8Array {
  const bytes = new Uint8Array(RMP_STATE_SIZE);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, state.gpa, true);
  view.setUint8(8, Number(state.assigned));
  view.setUint8(9, (state.pageSize === PageSize.Huge ? 1 : 0) | (state.regionStatus ? 2 : 0));
  view.setUint8(10, Number(state.immutable));
  view.setUint32(12, state.asid, true);
  return bytes;
}
