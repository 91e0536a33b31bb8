/** Makes the calls, and judges how each ended. Runs in a worker: see `fuzz.ts`. */
import { HostileError } from './hostile.ts';
import { type Case, casesOf } from './plan.ts';
import type { Callable } from './surface.ts';
import {
  type Finding,
  hasControl,
  hidesNumber,
  isCoded,
  isControlText,
  isRefusal,
  shown,
  type Verdict,
} from './verdict.ts';
import { type Makers, NoMaker, type State, World } from './world.ts';

/** The modules of a package, by name. */
export type Modules = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** How a call ended. */
type Outcome = { readonly threw: unknown } | { readonly returned: unknown };

/** Of an iterator that a call returns, this many results are read: some errors come only then. */
const MAX_RESULTS = 64;

/** Chooses the calls: all, or those of a slice. */
export interface Slice {
  /** The part of the calls with a wrong value that are made, from 0 to 1. */
  readonly part: number;
  readonly seed: number;
}

/** The calls of these exports, in a fixed order. */
export function planOf(callables: readonly Callable[], makers: Makers, { part, seed }: Slice): Case[] {
  const random = generator(seed);
  return callables.flatMap((callable) =>
    casesOf(callable, makers).filter(({ label }) => label === '' || part >= 1 || random() < part),
  );
}

export class Runner {
  readonly #modules: Modules;
  readonly #makers: Makers;
  #world: World;
  /** The state before the next call. */
  #before: State = [];

  constructor(modules: Modules, makers: Makers) {
    this.#modules = modules;
    this.#makers = makers;
    this.#world = new World(makers);
  }

  /** Makes one call. */
  async run(call: Case): Promise<Finding[]> {
    const { callable, label } = call;
    const found = (verdict: Verdict, seen: unknown): Finding => ({
      verdict,
      id: callable.id,
      label,
      seen: shown(seen),
    });
    const { receiver, args } = this.#prepare(call);
    const outcome = await this.#call(callable, receiver, args);
    const findings = this.#judge(call, outcome).map(([verdict, seen]) => found(verdict, seen));
    const isChanged = !this.#isUnchanged();
    if (isChanged && 'threw' in outcome && !mayChange(call, outcome.threw)) {
      findings.push(found('changed', outcome.threw));
    }
    // A function that was kept would be called by a later call.
    if (isChanged || call.nature === 'function') this.#world = new World(this.#makers);
    return findings;
  }

  /** The receiver and the arguments, made before the state is read, so that the state has them. */
  #prepare(call: Case): { receiver: unknown; args: unknown[] } {
    const prepare = (): { receiver: unknown; args: unknown[] } => {
      const prepared = { receiver: this.#receiver(call.callable), args: call.args(this.#world) };
      this.#before = this.#world.state();
      return prepared;
    };
    try {
      return prepare();
    } catch (error) {
      if (error instanceof NoMaker) throw error;
      // What calls without an error have left: a table that is destroyed, memory that is used up.
      this.#world = new World(this.#makers);
      return prepare();
    }
  }

  #judge(call: Case, outcome: Outcome): [Verdict, unknown][] {
    if ('threw' in outcome) {
      const { threw } = outcome;
      const verdicts: [Verdict, unknown][] = [];
      if (!isOwn(call, threw) && !isCoded(threw)) verdicts.push(['bare', threw]);
      if (threw instanceof Error && hasControl(threw.message)) verdicts.push(['raw-control', threw]);
      if (call.nature === 'number' && isCoded(threw) && hidesNumber((threw as Error).message))
        verdicts.push(['number', threw]);
      return verdicts;
    }
    if (!call.isMeant) return [['silent', outcome.returned]];
    return isControlText(outcome.returned) ? [['raw-control', outcome.returned]] : [];
  }

  #receiver({ kind, receiver, module, owner }: Callable): unknown {
    const exported = this.#modules[module]?.[owner];
    if (kind === 'function' || kind === 'construct') return exported;
    if (receiver === 'export') return exported;
    return this.#world.get(owner);
  }

  async #call(callable: Callable, receiver: unknown, args: unknown[]): Promise<Outcome> {
    try {
      const returned = invoke(callable, receiver, args);
      // A value that a caller passed may come back: it is not read.
      if (args.includes(returned)) return { returned };
      if (returned instanceof Promise) return { returned: await returned };
      await drain(returned);
      return { returned };
    } catch (threw) {
      return { threw };
    }
  }

  /** Whether the state is that from before the call. A state that cannot be read any more has changed. */
  #isUnchanged(): boolean {
    try {
      const after = this.#world.state();
      return (
        after.length === this.#before.length &&
        after.every((part, i) => isSame(part, this.#before[i] as string | Uint8Array))
      );
    } catch {
      return false;
    }
  }
}

/** Whether an error is one of the caller's own, which comes out as it is. */
function isOwn({ nature }: Case, threw: unknown): boolean {
  if (nature === 'iterable') return threw instanceof HostileError;
  return nature === 'function' && threw instanceof TypeError && threw.message.startsWith('Class constructor');
}

/** Whether a call may change the state though it throws: a request that is refused leaves its exits, and its registers. */
function mayChange({ nature, isMeant }: Case, threw: unknown): boolean {
  return nature === 'lie' || nature === 'function' || (isMeant && isRefusal(threw));
}

function invoke({ kind, member }: Callable, receiver: unknown, args: unknown[]): unknown {
  if (kind === 'function') return (receiver as (...args: unknown[]) => unknown)(...args);
  if (kind === 'construct') return Reflect.construct(receiver as new () => unknown, args);
  const symbol = /^\[Symbol\.(\w+)\]$/.exec(member)?.[1];
  const key = symbol === undefined ? member : (Symbol[symbol as keyof typeof Symbol] as symbol);
  const object = receiver as Record<PropertyKey, unknown>;
  if (kind === 'getter') return object[key];
  if (kind === 'setter') {
    object[key] = args[0];
    return undefined;
  }
  return (object[key] as (...args: unknown[]) => unknown)(...args);
}

/** Reads an iterator, also an asynchronous one. Any other value is left alone. */
async function drain(value: unknown): Promise<void> {
  if (typeof value !== 'object' || value === null || !('next' in value)) return;
  if (!(Symbol.iterator in value) && !(Symbol.asyncIterator in value)) return;
  const iterator = value as Iterator<unknown> | AsyncIterator<unknown>;
  for (let i = 0; i < MAX_RESULTS; i += 1) if ((await iterator.next()).done === true) return;
  await iterator.return?.();
}

function isSame(a: string | Uint8Array, b: string | Uint8Array): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  return Buffer.compare(a, b) === 0;
}

/** Numbers from 0 to 1, always the same ones for a seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
