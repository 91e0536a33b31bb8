import type { Address } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { type Block, type BlockKind, blockBytes } from '../pages/block.ts';
import { BuddyError } from '../pages/buddy-error.ts';
import { CallGuard } from '../pages/call-guard.ts';
import { requireFunction, requireMethods } from '../pages/options.ts';
import { type PageMemory, requireCovered } from '../pages/page-memory.ts';
import type { PageRange } from '../pages/page-range.ts';
import { pagesOfRegion } from '../pages/region-pages.ts';
import { pageNumberOf } from '../pages/words.ts';
import type { AllocatorEvent, Tracer } from './allocator-event.ts';
import type { PageAllocatorOptions } from './page-allocator-options.ts';
import type { PageSpace } from './page-space.ts';
import { type Poison, poisonOf } from './poison.ts';

/** The kinds of blocks that `freePages` frees. */
export const FREEABLE: readonly BlockKind[] = ['pages', 'run'];

/**
 * Calls the callbacks of an allocator: its tracer and its memory. An allocator without callbacks does not have this object.
 * Operations write `callbacks?.…`, so they pay one comparison.
 *
 * An operation calls `enter` first. A callback that fails after the change makes `CALLBACK_FAILED`; the methods get the
 * result of the operation for that.
 */
export class Callbacks<A extends Address> {
  /** Refuses operations while a callback runs. */
  readonly guard: CallGuard = new CallGuard();
  readonly #space: PageSpace<A>;
  readonly #tracer: Tracer<A> | undefined;
  readonly #memory: PageMemory<A> | undefined;
  readonly #poison: Poison<A> | undefined;
  readonly #beforeFree: PageAllocatorOptions<A>['beforeFree'];
  /** The operation that `enter` has named. No other one can begin while a callback of it runs. */
  #operation = '';

  constructor(
    space: PageSpace<A>,
    { trace, memory, beforeFree }: PageAllocatorOptions<A>,
    poison: Poison<A> | undefined,
  ) {
    this.#poison = poison;
    this.#space = space;
    this.#tracer = trace;
    this.#memory = memory;
    this.#beforeFree = beforeFree;
  }

  /** Begins an operation. @throws BuddyError `BUSY` */
  enter(operation: string): void {
    this.guard.enter(operation);
    this.#operation = operation;
  }

  /** Checks that the memory of poison has the pages of `region`. @throws BuddyError `MEMORY_MISMATCH` */
  requirePages(region: MemoryRegion<A>): void {
    if (this.#poison !== undefined && this.#memory !== undefined) requireCovered(this.#memory, region);
  }

  /** Whether pages can be cleared. */
  get hasMemory(): boolean {
    return this.#memory !== undefined;
  }

  /**
   * Clears the page at `page`, which has just been allocated, if there is memory. If that fails, the page is freed.
   *
   * @throws BuddyError `POISON_OVERWRITTEN`; what the memory throws
   */
  clear(page: A): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    const number = pageNumberOf(page);
    const range = { start: number, end: number + 1 };
    this.#orFree(range, () => {
      this.#poison?.take(range);
      memory.clearPage(page);
    });
  }

  /**
   * Poisons the block or run that has just been allocated at `start`. If that fails, it is freed. O(bytes).
   *
   * @throws BuddyError `POISON_OVERWRITTEN`; what the memory throws
   */
  prepare(start: A): void {
    const poison = this.#poison;
    if (poison === undefined) return;
    const { region } = this.#space.blockAround(pageNumberOf(start)) as Block<A>;
    const range = pagesOfRegion(region);
    this.#orFree(range, () => {
      poison.take(range);
      poison.fillNew(range);
    });
  }

  /**
   * Poisons and reports the block or run that has just been allocated at `start`.
   *
   * @throws BuddyError `POISON_OVERWRITTEN`, `CALLBACK_FAILED`; what the memory throws
   */
  allocated(start: A, result: unknown): void {
    this.prepare(start);
    this.reportAllocated(start, result);
  }

  /** Reports the block or run that has just been allocated at `start`. O(orders). @throws BuddyError `CALLBACK_FAILED` */
  reportAllocated(start: A, result: unknown): void {
    if (this.#tracer === undefined) return;
    const { region, kind } = this.#space.blockAround(pageNumberOf(start)) as Block<A>;
    this.#report({ what: 'allocate', region, kind }, result);
  }

  /**
   * The block that a caller asks to free, to be passed to {@link freed} when it is free. `beforeFree` is called for it, and it is
   * poisoned, if it is a block of one of `kinds` that starts at `start`, any value, and has `size` bytes, unless that is
   * `undefined`. The allocator refuses any other block. O(orders), or O(bytes) to poison it. Throws what the callbacks throw.
   */
  toFree(start: unknown, size: bigint | undefined, kinds: readonly BlockKind[]): Block<A> | undefined {
    if (!this.#space.kind.isAddress(start)) return undefined;
    if (this.#tracer === undefined && !this.#looksAtFrees) return undefined;
    const block = this.#space.blockAround(pageNumberOf(start));
    if (!this.#looksAtFrees || block?.kind === undefined || !kinds.includes(block.kind)) return block;
    const { region, kind } = block;
    if (region.start !== start || (size !== undefined && size !== region.size)) return block;
    this.guard.call(this.#operation, () => {
      this.#beforeFree?.(region, kind);
      this.#poison?.free(pagesOfRegion(region));
    });
    return block;
  }

  /** Begins an operation that frees a block of one page, which {@link freedPage} reports. As {@link toFree}. */
  enterFreePage(operation: string, page: unknown): void {
    this.enter(operation);
    if (this.#looksAtFrees) this.toFree(page, blockBytes(0), FREEABLE);
  }

  /** Whether blocks are looked at before they are freed. */
  get #looksAtFrees(): boolean {
    return this.#poison !== undefined || this.#beforeFree !== undefined;
  }

  /** Reports a block that {@link toFree} has returned and that is free now. @throws BuddyError `CALLBACK_FAILED` */
  freed(block: Block<A> | undefined, result?: unknown): void {
    if (block !== undefined && this.#tracer !== undefined)
      this.#report({ what: 'free', region: block.region, kind: block.kind }, result);
  }

  /** Reports a block of one page that is free now. @throws BuddyError `CALLBACK_FAILED` */
  freedPage(page: A): void {
    if (this.#tracer === undefined) return;
    const region = MemoryRegion.unchecked(this.#space.kind, page, blockBytes(0));
    this.#report({ what: 'free', region, kind: 'pages' }, undefined);
  }

  /**
   * Reports a change to the pages of `region` that neither allocates nor frees.
   *
   * @throws BuddyError `CALLBACK_FAILED`
   */
  changed(what: Exclude<AllocatorEvent<A>['what'], 'allocate' | 'free'>, region: MemoryRegion<A>): void {
    if (what === 'reserve' || what === 'removeRegion') this.#poison?.forget(region);
    this.#report({ what, region, kind: undefined }, undefined);
  }

  /** Checks the freed pages. O(bytes). @throws BuddyError `POISON_OVERWRITTEN`; what the memory throws */
  checkPoison(): void {
    this.guard.call(this.#operation, () => this.#poison?.checkAll());
  }

  /**
   * Begins an operation that returns a generator. Makes its `next` throw `BUSY` while a callback runs: the generator itself
   * would end if it threw. Returns it.
   *
   * @throws BuddyError `BUSY`
   */
  guarded<T>(
    generator: Generator<T, undefined, undefined>,
    operation: string,
  ): Generator<T, undefined, undefined> {
    this.enter(operation);
    const next = () => {
      this.enter(operation);
      return Object.getPrototypeOf(generator).next.call(generator);
    };
    return Object.defineProperty(generator, 'next', { value: next, configurable: true, writable: true });
  }

  /** Calls the memory. If that fails, frees the pages of `range`, which have just been allocated, and throws the error. */
  #orFree(range: PageRange, call: () => void): void {
    try {
      this.guard.call(this.#operation, call);
    } catch (error) {
      this.#space.tree.freeRange(range);
      throw error;
    }
  }

  #report(event: AllocatorEvent<A>, result: unknown): void {
    const tracer = this.#tracer;
    if (tracer === undefined) return;
    const operation = this.#operation;
    try {
      this.guard.begin(operation);
      tracer(event);
    } catch (cause) {
      throw new BuddyError('CALLBACK_FAILED', { operation, result }, { cause });
    } finally {
      this.guard.end();
    }
  }
}

/**
 * The callbacks in the options of an allocator; `undefined` without any.
 *
 * @throws BuddyError `INVALID_OPTION`, `MEMORY_MISMATCH`
 */
export function callbacksOf<A extends Address>(
  space: PageSpace<A>,
  options: PageAllocatorOptions<A>,
): Callbacks<A> | undefined {
  const { memory, beforeFree, trace, poison = false } = options;
  requireFunction('beforeFree', beforeFree);
  requireFunction('trace', trace);
  if (memory !== undefined) {
    requireMethods('memory', memory, 'clearPage');
    if (memory.bytes !== undefined) requireMethods('memory', memory, 'bytes');
  }
  if (poison !== false) return new Callbacks(space, options, poisonOf(space.hull, memory, poison));
  const hasNone = trace === undefined && memory === undefined && beforeFree === undefined;
  return hasNone ? undefined : new Callbacks(space, options, undefined);
}
