/** The messages between the page and the worker that runs a program. */

export interface RunRequest {
  /** A module, without types, whose imports are addresses. */
  readonly code: string;
}

export type RunEvent =
  | { readonly type: 'line'; readonly level: 'log' | 'error'; readonly text: string }
  /** The module was evaluated to its end. */
  | { readonly type: 'done' };
