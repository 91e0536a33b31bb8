import type { MachineEvent } from './machine-event.ts';

/** The answer of an instruction. */
export interface Executed<T> {
  readonly answer: T;
}

/** A throw of an instruction of a processor: the error, and the answer if the instruction had been executed by then. */
interface Thrown {
  readonly cpu: object;
  readonly error: unknown;
  readonly executed: Executed<unknown> | undefined;
}

/**
 * The last throw of an instruction, until it is asked for. It belongs to one call of an instruction, not to the error: the
 * hypervisor and `trace` can throw the same error object, or the same primitive, again.
 */
const LAST: { thrown: Thrown | undefined } = { thrown: undefined };

/** Executes an instruction of a processor and reports it. If it throws, {@link executedBefore} knows its answer. */
export function executeReported<T>(
  cpu: { readonly guest: { readonly machine: { trace(event: MachineEvent): void } } },
  execute: () => T,
  eventOf: (answer: T) => MachineEvent,
): T {
  LAST.thrown = undefined;
  let isExecuted = false;
  let answer: T | undefined;
  try {
    answer = execute();
    isExecuted = true;
    cpu.guest.machine.trace(eventOf(answer));
    return answer;
  } catch (error) {
    LAST.thrown = { cpu, error, executed: isExecuted ? { answer } : undefined };
    throw error;
  }
}

/**
 * The answer of the PVALIDATE or RMPADJUST of `cpu` that has just thrown `error`; `undefined` if it was not executed. With an
 * answer the error comes from `trace`: even if it is a fault, it is not a fault of the instruction. Call it at once in the
 * `catch` around the instruction: it knows the last throw only, and only once.
 */
export function executedBefore<T>(cpu: object, error: unknown): Executed<T> | undefined {
  const thrown = LAST.thrown;
  if (thrown?.cpu !== cpu) return undefined;
  LAST.thrown = undefined;
  return Object.is(thrown.error, error) ? (thrown.executed as Executed<T> | undefined) : undefined;
}
