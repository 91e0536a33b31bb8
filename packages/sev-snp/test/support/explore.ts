/** Explores every reachable state of a small machine, breadth first, and tries every operation in each state. */
import { LawBroken } from './law-broken.ts';

/** One thing that can happen in every state of a machine. */
export interface Operation {
  readonly name: string;
  /** @throws LawBroken if it shows that the law does not hold */
  readonly run: () => void;
  /** Whether it is a call of several instructions, so that other operations can happen inside it. `false` if not given. */
  readonly isCall?: boolean;
  /** Whether it can happen inside a call of another actor: see {@link Operation.actor}. `false` if not given. */
  readonly interrupts?: boolean;
  /** An operation does not interrupt a call of its own actor. */
  readonly actor: string;
}

/** An operation that happens at a point inside a call: before its instruction or exit with the number `at`, from 1 on. */
export interface Interruption {
  readonly at: number;
  readonly operation: Operation;
}

/** A machine whose states can be explored. `State` restores it. */
export interface Explorable<State> {
  readonly operations: readonly Operation[];
  /** How often each thing happened. */
  readonly tally: Readonly<Record<string, number>>;
  /** The state. Equal texts mean that the same operations lead to the same. */
  key(): string;
  /** As {@link key}, but also equal for states that differ in the names of things only: frames, addresses. */
  canonical(): string;
  save(): State;
  restore(state: State): void;
  /** The problem with the state itself, or `undefined`. */
  problem(): string | undefined;
  /** Runs an operation with interruptions. Returns the number of points that it had. @throws LawBroken */
  run(operation: Operation, interruptions: readonly Interruption[]): number;
}

/** The extent of an exploration. */
export interface Extent {
  /** The greatest number of interruptions of one call: 1 if not given. */
  readonly depth?: 0 | 1 | 2;
  /** The number of states after which an exploration fails. */
  readonly limit?: number;
}

/** The findings of an exploration. */
export interface Explored {
  readonly states: number;
  readonly transitions: number;
  /** How often each operation changed the state, and how often each other thing happened. */
  readonly tally: Readonly<Record<string, number>>;
  /** The shortest sequence of operations that breaks the law, and how it breaks it; `undefined` if none does. */
  readonly counterexample: string | undefined;
}

interface Node<State> {
  state: State | undefined;
  readonly parent: Node<State> | undefined;
  readonly step: string;
}

/** Explores all states that the machine's present state leads to, or all up to the first that breaks the law. */
export function explore<State>(
  machine: Explorable<State>,
  { depth = 1, limit = 1e6 }: Extent = {},
): Explored {
  const { stackTraceLimit } = Error;
  // Most operations fault, and no stack is read.
  Error.stackTraceLimit = 0;
  const initial: Node<State> = { state: machine.save(), parent: undefined, step: '' };
  const seen = new Set([machine.canonical()]);
  const queue = [initial];
  const changes: Record<string, number> = {};
  let transitions = 0;
  let here: string;
  /** Runs one operation from the present node on, and notes the state that it leads to. Returns the number of points. */
  const step = (
    node: Node<State>,
    key: string,
    operation: Operation,
    inside: readonly Interruption[],
  ): number => {
    if (here !== key) machine.restore(node.state as State);
    here = '';
    transitions += 1;
    const names = inside.map(({ at, operation: { name } }) => ` [at ${at}: ${name}]`);
    const child = { parent: node, step: operation.name + names.join('') };
    const fail = (problem: string): never => {
      throw new LawBroken(`${pathOf(child)}: ${problem}`);
    };
    let points = 0;
    try {
      points = machine.run(operation, inside);
    } catch (error) {
      if (error instanceof LawBroken) fail(error.message);
      if (error instanceof Error) error.message += `, after ${pathOf(child)}`;
      throw error;
    }
    here = machine.key();
    if (here === key) return points;
    changes[operation.name] = (changes[operation.name] ?? 0) + 1;
    const name = machine.canonical();
    if (seen.has(name)) return points;
    const problem = machine.problem();
    if (problem !== undefined) fail(problem);
    seen.add(name);
    if (seen.size > limit) throw new Error(`more than ${limit} states`);
    queue.push({ ...child, state: machine.save() });
    return points;
  };
  let counterexample: string | undefined;
  try {
    for (let next = 0; next < queue.length; next += 1) {
      const node = queue[next]!;
      machine.restore(node.state as State);
      const key = machine.key();
      here = key;
      for (const operation of machine.operations) {
        const points = step(node, key, operation, []);
        if (operation.isCall !== true || depth === 0) continue;
        const inside = machine.operations.filter(
          (it) => it.interrupts === true && it.actor !== operation.actor,
        );
        // Before its first instruction, a call has not begun.
        for (let at = 2; at <= points; at += 1) {
          for (const first of inside) {
            const total = step(node, key, operation, [{ at, operation: first }]);
            if (depth === 1) continue;
            for (let later = at; later <= total; later += 1) {
              for (const second of inside) {
                step(node, key, operation, [
                  { at, operation: first },
                  { at: later, operation: second },
                ]);
              }
            }
          }
        }
      }
      node.state = undefined;
    }
  } catch (error) {
    if (!(error instanceof LawBroken)) throw error;
    counterexample = error.message;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  return { states: seen.size, transitions, tally: { ...machine.tally, ...changes }, counterexample };
}

function pathOf<State>(node: { parent: Node<State> | undefined; step: string }): string {
  const steps: string[] = [];
  for (let at: typeof node | undefined = node; at?.parent !== undefined; at = at.parent) steps.push(at.step);
  return steps.reverse().join('; ');
}
