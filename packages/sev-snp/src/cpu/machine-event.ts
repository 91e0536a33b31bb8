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

/** The errors of `trace`, with the event that it was called for. */
const EVENTS = new WeakMap<object, MachineEvent>();

/** Reports an event. The error that `trace` throws goes on to the caller, and {@link eventOf} knows it. */
export function report(machine: { trace(event: MachineEvent): void }, event: MachineEvent): void {
  try {
    machine.trace(event);
  } catch (error) {
    if (typeof error === 'object' && error !== null) EVENTS.set(error, event);
    throw error;
  }
}

/**
 * The event after which `trace` has thrown `error`; `undefined` for other errors. The event has happened: even if `error`
 * is a fault, it is not a fault of the instruction.
 */
export function eventOf(error: unknown): MachineEvent | undefined {
  return typeof error === 'object' && error !== null ? EVENTS.get(error) : undefined;
}

/** Whether `error` comes from `trace` after a PVALIDATE that has changed the page at `gva`. */
export function hasPvalidated(error: unknown, gva: bigint, validate: boolean): boolean {
  const event = eventOf(error);
  if (event?.type !== 'pvalidate' || event.gva !== gva || event.validate !== validate) return false;
  return event.result === RmpResult.SUCCESS && !event.unchanged;
}
