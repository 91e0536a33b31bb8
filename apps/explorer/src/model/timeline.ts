import type { MachineEvent } from '@svsm/sev-snp';
import { eventNote } from './event-notes.ts';
import { Camera, type Frame, type World } from './frame.ts';
import { outcomeOf } from './outcome.ts';
import type { Outcome, Step, StepNote } from './step.ts';

/** Steps of a scenario, made by playing it. */
type Play = (stage: Recorder) => void | Promise<void>;

/** A scenario that can be played any number of times, each time with the same steps. */
export interface Scenario {
  /** The name in addresses: letters, digits, hyphens. */
  readonly id: string;
  readonly title: string;
  readonly group: 'The loop' | 'What if' | 'Attacks';
  /** One or two sentences. */
  readonly summary: string;
  readonly play: Play;
  /** A module that makes the state after a step, with the packages. */
  readonly source: (timeline: Timeline, step: number) => string;
}

/** Thrown to end a replay. */
class Stop extends Error {}

/** A step as a scenario describes it. `call` and `event` are those of {@link Step}. */
interface Moment {
  readonly note: StepNote;
  readonly call: number;
  readonly event: number;
}

/** Called after a step, with its index in the play and its world. */
type OnMoment = (moment: number, world: World, camera: Camera, note: StepNote) => void;

/** Passed to a scenario, which describes each of its steps to it. */
export class Recorder {
  readonly moments: Moment[] = [];
  readonly #onMoment: OnMoment;
  #camera: Camera | undefined;
  #world: World | undefined;
  #now: StepNote | undefined;
  #call = 0;
  #events = 0;

  /** @param onMoment - called after each step. Its error ends the play */
  constructor(onMoment: OnMoment = () => {}) {
    this.#onMoment = onMoment;
  }

  /** Begins with a world: the first step. */
  begin(world: World, note: StepNote): void {
    this.#world = world;
    this.#camera = new Camera(world);
    this.add(note);
  }

  /** Runs code. Each event of the machine meanwhile is a step; without any, the code is one. */
  act<T>(note: StepNote, run: () => T): T {
    this.#now = note;
    this.#events = 0;
    let result: T;
    try {
      result = run();
    } finally {
      this.#now = undefined;
    }
    if (this.#events === 0) this.add(note);
    else {
      this.#call += 1;
      this.#events = 0;
    }
    return result;
  }

  /** Runs code that may end in a fault or a refusal, which is the outcome of the last step. Returns whether it worked. */
  attempt(note: StepNote, run: () => Outcome | undefined): boolean {
    this.#now = note;
    this.#events = 0;
    let outcome: Outcome | undefined;
    try {
      outcome = run();
    } catch (error) {
      if (error instanceof Stop) throw error;
      outcome = outcomeOf(error);
    }
    this.#now = undefined;
    this.#events = 0;
    this.add({ ...note, outcome });
    return outcome === undefined || outcome.kind === 'works';
  }

  /**
   * Records an event of the machine as a step of the code that runs. Events before the first step are the boot.
   *
   * @param note - the step, if no code was announced
   */
  event(event: MachineEvent, note?: StepNote): void {
    this.#camera?.note(event);
    if (note !== undefined) this.add(note);
    if (this.#now === undefined) return;
    this.#events += 1;
    this.#push(eventNote(event, this.#now), this.#events);
  }

  /** Records a step of the code that runs and that the machine does not report. */
  mark(note: Partial<StepNote>): void {
    if (this.#now === undefined) return;
    this.#events += 1;
    this.#push({ ...this.#now, outcome: undefined, ...note }, this.#events);
  }

  /** Records a step, with the state of now. */
  add(note: StepNote): void {
    this.#push(note, 0);
    this.#call += 1;
  }

  #push(note: StepNote, event: number): void {
    if (this.#camera === undefined || this.#world === undefined)
      throw new Error('a scenario begins with its world');
    this.moments.push({ note, call: this.#call, event });
    this.#onMoment(this.moments.length - 1, this.#world, this.#camera, note);
  }
}

/** The steps of a scenario, and its world at any of them. */
export class Timeline {
  readonly scenario: Scenario;
  readonly steps: readonly Step[];

  private constructor(scenario: Scenario, steps: readonly Step[]) {
    this.scenario = scenario;
    this.steps = steps;
  }

  /**
   * Plays a scenario. If a long run of events is one step, it plays it once more: the state of that step is the one after the last
   * event of the run, and only a whole play tells which one that is.
   *
   * @param onProgress - called after each step or event, with the number of those that were played, and that of all if it is known
   */
  static async record(
    scenario: Scenario,
    onProgress: (done: number, total: number | undefined) => void = () => {},
  ): Promise<Timeline> {
    let frames = new Map<number, Frame>();
    let fold: string | undefined;
    let length = 0;
    const { moments } = await played(scenario, (moment, _, camera, note) => {
      length = note.fold !== undefined && note.fold === fold ? length + 1 : 1;
      fold = note.fold;
      if (length < FOLDED) frames.set(moment, camera.capture());
      onProgress(moment + 1, undefined);
    });
    const kept = keptMoments(moments);
    const total = moments.length;
    if ([...kept.keys()].some((moment) => !frames.has(moment))) {
      frames = new Map();
      await played(scenario, (moment, _, camera) => {
        if (kept.has(moment)) frames.set(moment, camera.capture());
        onProgress(total + moment + 1, 2 * total);
      });
    }
    const steps = [...kept].map(([moment, count]): Step => {
      const { note, call, event } = moments[moment]!;
      const title = count > 1 ? `${note.title} ×${count}` : note.title;
      return { ...note, title, call, event, moment, frame: frames.get(moment)! };
    });
    return new Timeline(scenario, steps);
  }

  /**
   * Uses a new world in the state after a step: the scenario is played again up to there. Accesses see what they would see at that
   * moment, and change nothing of this timeline.
   *
   * @param step - an index of {@link steps}
   * @param use - called once, in the moment of the step; its result is returned
   */
  async at<T>(step: number, use: (world: World) => T): Promise<T> {
    const wanted = this.steps[step]?.moment;
    if (wanted === undefined)
      throw new RangeError(
        `step ${step} does not exist: the scenario has steps 0 to ${this.steps.length - 1}`,
      );
    let found: { readonly result: T } | undefined;
    let isUsed = false;
    try {
      await played(this.scenario, (moment, world) => {
        // Software may catch the error and go on, and the use itself may cause events: nothing of that is used.
        if (isUsed && found === undefined) return;
        if (!isUsed && moment < wanted) return;
        isUsed = true;
        found ??= { result: use(world) };
        throw new Stop('the replay ends here');
      });
    } catch (error) {
      if (found === undefined) throw error;
    }
    return found!.result;
  }
}

async function played(scenario: Scenario, onMoment?: OnMoment): Promise<Recorder> {
  const recorder = new Recorder(onMoment);
  await scenario.play(recorder);
  return recorder;
}

/** Events of one kind that follow each other are one step from this number on. */
const FOLDED = 4;

/** The moments that are steps, each with the number of moments that it stands for. The last one of those stands for all. */
function keptMoments(moments: readonly Moment[]): Map<number, number> {
  const kept = new Map<number, number>();
  for (let start = 0; start < moments.length; ) {
    const { fold } = moments[start]!.note;
    let end = start + 1;
    while (fold !== undefined && moments[end]?.note.fold === fold) end += 1;
    if (end - start >= FOLDED) kept.set(end - 1, end - start);
    else for (let one = start; one < end; one += 1) kept.set(one, 1);
    start = end;
  }
  return kept;
}
