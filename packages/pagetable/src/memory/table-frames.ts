import { formatAddress, isPageAligned, Phys, type PhysAddr, pageNumber } from '@svsm/address';
import { ENTRIES } from '../entry/page-sizes.ts';
import { isPageTableError, PageTableError } from '../entry/page-table-error.ts';
import { frameAddress } from '../entry/words.ts';
import { CallGuard } from './call-guard.ts';
import type { FrameAllocator } from './frame-allocator.ts';
import { guardedMemory } from './guarded-memory.ts';
import type { PhysMemory } from './phys-memory.ts';

/**
 * Takes the frames for tables from the allocator of a page table, checks and clears them, and gives them back. It guards the
 * allocator and the memory.
 */
export class TableFrames {
  /** The guard of the page table or part. */
  readonly guard: CallGuard = new CallGuard();
  /** The memory, guarded. */
  readonly memory: PhysMemory;
  /** The memory as the caller passed it, to compare. */
  readonly givenMemory: PhysMemory;
  readonly #allocator: FrameAllocator | undefined;
  readonly #physicalEnd: bigint;

  constructor(memory: PhysMemory, allocator: FrameAllocator | undefined, physicalEnd: bigint) {
    this.givenMemory = memory;
    this.memory = guardedMemory(memory, this.guard);
    this.#allocator = allocator;
    this.#physicalEnd = physicalEnd;
  }

  /**
   * Takes and clears `count` frames, all or none. Returns their frame numbers.
   *
   * @throws PageTableError `NO_FRAME_ALLOCATOR`, `OUT_OF_MEMORY`, `INVALID_FRAME`
   */
  take(count: number): number[] {
    const taken: PhysAddr[] = [];
    if (count === 0) return [];
    const allocator = this.#require('a new table');
    try {
      for (let i = 0; i < count; i += 1) {
        const frame = this.#takeFrame(allocator, count);
        taken.push(frame);
        this.requireTable(frame);
        this.#clear(frame);
      }
    } catch (error) {
      // The operation throws `error`. An error of `freeFrame` comes after it.
      this.#free(allocator, taken);
      throw error;
    }
    return taken.map(pageNumber);
  }

  /** Gives frames back to the allocator, all of them. The guard keeps the first error that the allocator throws. */
  giveBack(frames: readonly number[]): void {
    if (frames.length === 0) return;
    const failures = this.#free(this.#require('giving back a table'), frames.map(frameAddress));
    if (failures.length > 0) this.guard.fail('freeFrame', failures[0]);
  }

  /** Gives back frames that were taken for an operation that fails. Errors of the allocator come after its own error. */
  abandon(frames: readonly number[]): void {
    if (frames.length > 0) this.#free(this.#require('giving back a table'), frames.map(frameAddress));
  }

  /** Makes an entry lead to new tables by `link`. If that throws, no entry leads to them, and they are given back. */
  linked<T>(tables: readonly number[], link: () => T): T {
    try {
      return link();
    } catch (error) {
      this.abandon(tables);
      throw error;
    }
  }

  /** Requires an allocator. @throws PageTableError `NO_FRAME_ALLOCATOR` */
  requireAllocator(operation: string): void {
    this.#require(operation);
  }

  /** Requires a frame that can hold a table. @throws PageTableError `INVALID_FRAME` */
  requireTable(frame: PhysAddr): void {
    const end = this.#physicalEnd;
    let problem: string;
    if (!Phys.isAddress(frame)) problem = 'it is not a physical address';
    else if (!isPageAligned(frame)) problem = 'it is not a multiple of 4096';
    else if (frame >= end) problem = `physical addresses of this page table end at ${formatAddress(end)}`;
    else {
      const cause = this.#faultAt(pageNumber(frame));
      if (cause === undefined) return;
      throw new PageTableError('INVALID_FRAME', { frame, problem: 'the memory does not have it' }, { cause });
    }
    throw new PageTableError('INVALID_FRAME', { frame, problem });
  }

  /** The `BUS_ERROR` of memory that does not have the frame. Any other error is one of the memory, and comes out as it is. */
  #faultAt(frame: number): unknown {
    try {
      const words: unknown = this.memory.words(frame, false);
      const at: unknown = this.memory.wordOffset(frame);
      if (isWords(words) && Number.isInteger(at)) return undefined;
      return new TypeError('the memory must return a Uint32Array and an offset');
    } catch (error) {
      if (isPageTableError(error, 'BUS_ERROR')) return error;
      throw error;
    }
  }

  #require(operation: string): FrameAllocator {
    if (this.#allocator === undefined) throw new PageTableError('NO_FRAME_ALLOCATOR', { operation });
    return this.#allocator;
  }

  #clear(table: PhysAddr): void {
    const frame = pageNumber(table);
    const at = this.memory.wordOffset(frame);
    this.memory.words(frame, true).fill(0, at, at + 2 * ENTRIES);
  }

  #takeFrame(allocator: FrameAllocator, needed: number): PhysAddr {
    this.guard.enter('allocateFrame');
    try {
      return allocator.allocateFrame();
    } catch (cause) {
      throw new PageTableError('OUT_OF_MEMORY', { needed }, { cause });
    } finally {
      this.guard.leave();
    }
  }

  /** Frees all frames. Returns the errors of the allocator. */
  #free(allocator: FrameAllocator, frames: readonly PhysAddr[]): unknown[] {
    const failures: unknown[] = [];
    for (const frame of frames) {
      this.guard.enter('freeFrame');
      try {
        allocator.freeFrame(frame);
      } catch (error) {
        failures.push(error);
      } finally {
        this.guard.leave();
      }
    }
    return failures;
  }
}

function isWords(value: unknown): boolean {
  try {
    return value instanceof Uint32Array;
  } catch {
    // A proxy that throws.
    return false;
  }
}
