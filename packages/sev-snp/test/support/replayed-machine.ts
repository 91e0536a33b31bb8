import type { Interruption, Operation } from './explore.ts';
import { TinyMachine, type TinyState } from './tiny-machine.ts';

interface Step {
  readonly operation: Operation;
  readonly interruptions: readonly Interruption[];
}

/** A sequence of steps, from the last one back to the first. */
interface Path {
  readonly before: Path | undefined;
  readonly step: Step;
}

/** A small machine with objects that cannot be copied. A state is restored by its steps from the start. */
export abstract class ReplayedMachine extends TinyMachine<TinyState & { readonly path: Path | undefined }> {
  #path: Path | undefined;
  #start: TinyState | undefined;

  /** Makes all objects anew. The platform is in its first state. */
  protected abstract reset(): void;

  /** Notes the first state. Constructors call it last. */
  protected begin(): void {
    this.#start = this.savePlatform();
    this.reset();
  }

  override run(operation: Operation, interruptions: readonly Interruption[]): number {
    this.#path = { before: this.#path, step: { operation, interruptions } };
    return super.run(operation, interruptions);
  }

  save(): TinyState & { readonly path: Path | undefined } {
    return { entries: [], dram: [], mapped: [], path: this.#path };
  }

  restore({ path }: { readonly path: Path | undefined }): void {
    const steps: Step[] = [];
    for (let at = path; at !== undefined; at = at.before) steps.push(at.step);
    this.clearFrames();
    this.restorePlatform(this.#start as TinyState);
    this.reset();
    for (const { operation, interruptions } of steps.reverse()) super.run(operation, interruptions);
    this.#path = path;
  }
}
