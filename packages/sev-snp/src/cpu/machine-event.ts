import { PageSize } from '@svsm/address';
import {
  readArgument,
  refuseArgument,
  requireBoolean,
  requireOneOf,
  requireRmpPageSize,
  requireUint64,
  requireWhole,
} from '../formats/arguments.ts';
import { splitInteger } from '../formats/byte-fields.ts';
import { type Check, optional, requireFields } from '../formats/options.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
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

const requireType: Check = () => {};
const requireResult: Check = (what, value) => requireOneOf(what, value, RESULTS);
const requireState: Check = (what, value) => requireFields(what, value as object, STATE);
const RESULTS: readonly unknown[] = /* @__PURE__ */ Object.values(RmpResult);

const STATE: Readonly<Record<keyof RmpState, Check>> = {
  assigned: requireBoolean,
  pageSize: /* @__PURE__ */ optional((_, value) => requireRmpPageSize(value)),
  immutable: /* @__PURE__ */ optional(requireBoolean),
  gpa: /* @__PURE__ */ optional(requireUint64),
  asid: /* @__PURE__ */ optional(requireWhole),
};

/** The fields of each event. */
const EVENTS: Readonly<Record<MachineEvent['type'], Readonly<Record<string, Check>>>> = {
  rmpupdate: {
    type: requireType,
    spa: requireUint64,
    state: requireState,
    result: requireResult,
    count: /* @__PURE__ */ optional(requireWhole),
  },
  psmash: { type: requireType, spa: requireUint64, result: requireResult },
  pvalidate: {
    type: requireType,
    gva: requireUint64,
    pageSize: (_, value) => requireRmpPageSize(value),
    validate: requireBoolean,
    result: requireResult,
    unchanged: requireBoolean,
  },
  rmpadjust: { type: requireType, gva: requireUint64, result: requireResult },
  vmgexit: { type: requireType, request: requireUint64 },
  vmrun: { type: requireType, response: requireUint64 },
  npf: { type: requireType, gpa: requireUint64, exitInfo1: requireUint64 },
  flush: { type: requireType, gva: /* @__PURE__ */ optional(requireUint64) },
};

/** Requires an event with all its fields. @throws SnpError `INVALID_ARGUMENT` */
export function requireEvent(event: MachineEvent): void {
  if (isSound(event)) return;
  const type = readArgument('the event', event, 'pass a MachineEvent', () => event.type);
  const isType = typeof type === 'string' && Object.hasOwn(EVENTS, type);
  if (!isType) refuseArgument('the type of the event', type, `pass one of ${Object.keys(EVENTS).join(', ')}`);
  requireFields('the event', event, EVENTS[type]);
}

/** Whether an event of the frequent types is sound, without its table: instructions report each page. */
function isSound(event: MachineEvent): boolean {
  try {
    switch (event.type) {
      case 'pvalidate': {
        const { gva, pageSize, validate, result, unchanged } = event;
        const isPage = pageSize === PageSize.Regular || pageSize === PageSize.Huge;
        const areFlags = typeof validate === 'boolean' && typeof unchanged === 'boolean';
        return isPage && areFlags && splitInteger(gva) && RESULTS.includes(result) && fieldsIn(event) === 6;
      }
      case 'rmpupdate': {
        const { spa, state, result, count } = event;
        const isWhole = fieldsIn(event) === ('count' in event ? 5 : 4);
        const isCount = count === undefined || Number.isInteger(count);
        return splitInteger(spa) && RESULTS.includes(result) && isWhole && isCount && isState(state);
      }
      case 'vmgexit':
        return splitInteger(event.request) && fieldsIn(event) === 2;
      case 'vmrun':
        return splitInteger(event.response) && fieldsIn(event) === 2;
      case 'rmpadjust':
        return splitInteger(event.gva) && RESULTS.includes(event.result) && fieldsIn(event) === 3;
      case 'flush':
        if (!('gva' in event) || fieldsIn(event) !== 2) return false;
        return event.gva === undefined || splitInteger(event.gva);
      default:
        return false;
    }
  } catch {
    // A field cannot be read: the table names it.
    return false;
  }
}

/** Whether a state of RMPUPDATE is sound, with all its fields. */
function isState(state: RmpState): boolean {
  const { assigned, pageSize, immutable, gpa, asid } = state;
  return (
    typeof assigned === 'boolean' &&
    (pageSize === undefined || pageSize === PageSize.Regular || pageSize === PageSize.Huge) &&
    (immutable === undefined || typeof immutable === 'boolean') &&
    (gpa === undefined || splitInteger(gpa)) &&
    (asid === undefined || Number.isInteger(asid)) &&
    fieldsIn(state) === 5
  );
}

function fieldsIn(event: object): number {
  let count = 0;
  for (const _ in event) count += 1;
  return count;
}
