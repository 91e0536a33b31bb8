import type { Frame } from './frame.ts';

/** The actor of a step. */
export type Actor = 'guest' | 'hypervisor' | 'processor';

/** The description of a step. */
export interface StepNote {
  /** A few words: "PVALIDATE rescinds". */
  readonly title: string;
  readonly actor: Actor;
  /** The line of code that does it. */
  readonly code: string;
  /** Statements that do it in a module, if `code` is a line of a loop. */
  readonly run?: string | undefined;
  /** One sentence: the reason why the step stands at this place. */
  readonly why: string;
  /** Steps with the same text that follow each other may be shown as one. */
  readonly fold?: string | undefined;
  /** The virtual page that it is about. */
  readonly page?: bigint | undefined;
  /** The result of the last step of an experiment or attack. */
  readonly outcome?: Outcome | undefined;
}

/** The end of an experiment: a fault with the check that gave it, a leak, or an attack that was stopped. */
export interface Outcome {
  readonly kind: 'fault' | 'refused' | 'leak' | 'works';
  readonly text: string;
  /** The check, by its place in the manual's table. */
  readonly check?: string | undefined;
}

/** A step that was played: its description, and the state after it. */
export interface Step extends StepNote {
  /** The index of the call that does it, and the number of the machine's events in that call so far: 0 after the call. */
  readonly call: number;
  readonly event: number;
  /** The index of its moment in a play. */
  readonly moment: number;
  readonly frame: Frame;
}
