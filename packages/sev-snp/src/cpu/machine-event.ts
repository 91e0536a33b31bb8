import type { RmpPageSize } from '../formats/rmp-entry.ts';
import type { RmpResult } from '../formats/rmp-result.ts';
import type { RmpState } from '../rmp/host-instructions.ts';

/** An event that a machine reports when it happens: instructions and exits, in the order in which hardware sees them. */
export type MachineEvent =
  | {
      readonly type: 'rmpupdate';
      readonly spa: bigint;
      readonly state: RmpState;
      readonly result: RmpResult;
      /** The number of consecutive pages from `spa` on, of a host that updates a range. 1 if not given. */
      readonly count?: number;
    }
  | { readonly type: 'psmash'; readonly spa: bigint; readonly result: RmpResult }
  | {
      readonly type: 'pvalidate';
      readonly gva: bigint;
      readonly pageSize: RmpPageSize;
      readonly validate: boolean;
      readonly result: RmpResult;
      /** The carry flag. */
      readonly unchanged: boolean;
    }
  | { readonly type: 'rmpadjust'; readonly gva: bigint; readonly result: RmpResult }
  /** The guest exits with this request in the GHCB MSR. */
  | { readonly type: 'vmgexit'; readonly request: bigint }
  /** The guest continues after a VMGEXIT, with this answer in the GHCB MSR. */
  | { readonly type: 'vmrun'; readonly response: bigint }
  /** A nested page fault. The hypervisor handles it before the guest repeats the instruction, or stops. */
  | { readonly type: 'npf'; readonly gpa: bigint; readonly exitInfo1: bigint }
  /** INVLPG of a page, or a flush of everything. */
  | { readonly type: 'flush'; readonly gva: bigint | undefined };
