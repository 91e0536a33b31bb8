import { type Address, PAGE_SIZE } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import type { Block } from '../pages/block.ts';
import { pageNumberOf } from '../pages/words.ts';
import type { AllocatorEvent, Tracer } from './allocator-event.ts';
import type { PageSpace } from './page-space.ts';

/**
 * Reports the changes of an allocator to its tracer. An allocator without a tracer has no `Trace`: operations write
 * `this.#trace?.…`, so they pay one comparison.
 *
 * Every method throws what the tracer throws.
 */
export class Trace<A extends Address> {
  readonly #space: PageSpace<A>;
  readonly #tracer: Tracer<A>;

  constructor(space: PageSpace<A>, tracer: Tracer<A>) {
    this.#space = space;
    this.#tracer = tracer;
  }

  /** Reports the block or run that has just been allocated at `start`. O(orders). */
  allocated(start: A): void {
    const { region, kind } = this.#space.blockAround(pageNumberOf(start)) as Block<A>;
    this.#tracer({ what: 'allocate', region, kind });
  }

  /**
   * The block that a caller asks to free, to be passed to {@link freed} when it is free; `undefined` if `block` is not a
   * block, which the allocator then refuses. O(orders).
   */
  toFree(block: MemoryRegion<A> | A): Block<A> | undefined {
    const start: unknown = typeof block === 'object' && block !== null ? block.start : block;
    return this.#space.kind.isAddress(start) ? this.#space.blockAround(pageNumberOf(start)) : undefined;
  }

  /** Reports a block that {@link toFree} has returned and that is free now. */
  freed(block: Block<A> | undefined): void {
    if (block !== undefined) this.#tracer({ what: 'free', region: block.region, kind: block.kind });
  }

  /** Reports a block of one page that is free now. */
  freedPage(page: A): void {
    this.#tracer({
      what: 'free',
      region: new MemoryRegion(this.#space.kind, page, PAGE_SIZE),
      kind: 'pages',
    });
  }

  /** Reports a change to the pages of `region` that neither allocates nor frees. */
  changed(what: Exclude<AllocatorEvent<A>['what'], 'allocate' | 'free'>, region: MemoryRegion<A>): void {
    this.#tracer({ what, region, kind: undefined });
  }
}
