/** Operations each of whose steps fails in turn, in each way in which it can. */

/** A world that calls hooks at each step of an operation. */
export interface SteppingWorld<Step extends string> {
  /** Called before a step. Its result, if it is not `undefined`, takes the place of the step. */
  before: (step: Step) => unknown;
  /** Called after a step that has not thrown. */
  after: (step: Step) => void;
}

/** A way for a step to fail. `before` takes its place; `after` comes when it has happened. */
export interface StepFailure<World, Step extends string> {
  readonly steps: readonly Step[];
  readonly before?: (it: World) => unknown;
  readonly after?: (it: World) => void;
}

/** An operation on a world of its own, and what must hold after it. */
export interface Experiment<World> {
  /** A new world, in the state before the operation. */
  readonly prepared: () => World;
  readonly run: (it: World) => unknown;
  /** The law that is broken after the operation, whether it has failed or not; `undefined` if none is. */
  readonly problemOf: (it: World) => string | undefined;
  /** The most points to inject a failure into, spread over all; each of them if not given. */
  readonly most?: number | undefined;
}

/** Makes the hooks of instructions of a processor. `prefix` comes before their names. */
export function hookInstructions<Step extends string>(
  processor: object,
  names: readonly string[],
  hooks: SteppingWorld<Step>,
  prefix = '',
): void {
  const target = processor as Record<string, unknown>;
  for (const name of names) {
    const original = (target[name] as (...args: unknown[]) => unknown).bind(processor);
    const step = `${prefix}${name}` as Step;
    target[name] = (...args: unknown[]): unknown => {
      const result = hooks.before(step) ?? original(...args);
      hooks.after(step);
      return result;
    };
  }
}

/** Injects a failure at each step of an operation in turn. Returns the number of points, and the laws that were broken. */
export function injectInto<Step extends string, World extends SteppingWorld<Step>>(
  experiment: Experiment<World>,
  { steps, before, after }: StepFailure<World, Step>,
): { readonly points: number; readonly broken: string[] } {
  const names = stepsOf<Step, World>(experiment);
  const broken: string[] = [];
  const all = [...names.keys()].filter((k) => steps.includes(names[k]!));
  const places = spread(all, experiment.most ?? all.length);
  for (const at of places) {
    const it = experiment.prepared();
    let step = -1;
    let isDue = false;
    it.before = () => {
      step += 1;
      isDue ||= step === at;
      return step === at ? before?.(it) : undefined;
    };
    it.after = (done) => {
      if (!isDue || done !== names[at]) return;
      isDue = false;
      after?.(it);
    };
    let error: unknown;
    try {
      experiment.run(it);
    } catch (thrown) {
      error = thrown;
    }
    it.before = () => undefined;
    it.after = () => {};
    const problem = experiment.problemOf(it);
    if (problem !== undefined)
      broken.push(`step ${at} of ${names.length}, ${names[at]} (${String(error)}): ${problem}`);
  }
  return { points: places.length, broken };
}

/** The steps of an operation that nothing hinders. */
function stepsOf<Step extends string, World extends SteppingWorld<Step>>(
  experiment: Experiment<World>,
): Step[] {
  const it = experiment.prepared();
  const names: Step[] = [];
  it.before = (step) => void names.push(step);
  experiment.run(it);
  it.before = () => undefined;
  const problem = experiment.problemOf(it);
  if (problem !== undefined) throw new Error(`without a failure: ${problem}`);
  return names;
}

/** At most so many of the steps, the first and the last among them. */
function spread(steps: readonly number[], most: number): readonly number[] {
  if (steps.length <= most) return steps;
  return Array.from({ length: most }, (_, k) => steps[Math.round((k * (steps.length - 1)) / (most - 1))]!);
}
