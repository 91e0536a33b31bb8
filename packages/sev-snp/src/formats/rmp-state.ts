import { PageSize, type PhysAddr } from '@svsm/address';
import {
  type ByteFields,
  fieldsOf,
  readFields,
  requireFlags,
  requireLength,
  requirePageSize,
  writeFields,
} from './byte-fields.ts';
import type { RmpPageSize } from './rmp-entry.ts';

/** The architectural state of a page: software passes it to RMPUPDATE and gets it from RMPREAD. */
export interface RmpStateFields {
  readonly gpa: PhysAddr;
  readonly assigned: boolean;
  readonly pageSize: RmpPageSize;
  readonly immutable: boolean;
  readonly asid: number;
  /** For RMPREAD, in the first page of a 2 MiB region: whether another page of the region is assigned. */
  readonly regionStatus: boolean;
}

/** The size of a state in bytes. */
export const RMP_STATE_SIZE = 16;

const FIELDS = {
  gpa: [0, 8],
  assigned: [8, 1],
  size: [9, 1],
  immutable: [10, 1],
  asid: [12, 4],
} as const satisfies ByteFields;

const STATE = ['gpa', 'assigned', 'pageSize', 'immutable', 'asid', 'regionStatus'] as const;

/**
 * Decodes a state as RMPUPDATE reads it and RMPREAD writes it. The layout is architectural: every part has it, whatever
 * its raw entries look like (Linux `arch/x86/include/asm/sev.h` `struct rmp_state`, `arch/x86/virt/svm/sev.c` `struct
 * rmpentry`; the page of the `__rmpread` intrinsic). Bits without a meaning are ignored. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `bytes` are not 16 bytes
 */
export function decodeRmpState(bytes: Uint8Array): RmpStateFields {
  requireLength(bytes, RMP_STATE_SIZE, 'a state');
  const { gpa, assigned, size, immutable, asid } = readFields(bytes, FIELDS);
  return Object.freeze({
    gpa: gpa as PhysAddr,
    assigned: (assigned & 1) !== 0,
    pageSize: (size & 1) !== 0 ? PageSize.Huge : PageSize.Regular,
    regionStatus: (size & 2) !== 0,
    immutable: (immutable & 1) !== 0,
    asid,
  });
}

/** The reverse of {@link decodeRmpState}. O(1). @throws SnpError `INVALID_MESSAGE` if a field does not fit */
export function encodeRmpState(state: RmpStateFields): Uint8Array {
  const { gpa, assigned, pageSize, immutable, asid, regionStatus } = fieldsOf('a state', state, STATE);
  requireFlags({ assigned, immutable, regionStatus });
  requirePageSize('pageSize', pageSize);
  const bytes = new Uint8Array(RMP_STATE_SIZE);
  writeFields(bytes, FIELDS, {
    gpa,
    assigned: Number(assigned),
    size: (pageSize === PageSize.Huge ? 1 : 0) | (regionStatus ? 2 : 0),
    immutable: Number(immutable),
    asid,
  });
  return bytes;
}
