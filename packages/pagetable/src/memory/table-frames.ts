import { formatAddress, isPageAligned, Phys, type PhysAddr, pageNumber } from '@svsm/address';
import { ENTRIES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { frameAddress } from '../entry/words.ts';
import type { FrameAllocator } from './frame-allocator.ts';
import type { PhysMemory } from './phys-memory.ts';

/** Takes the frames for tables from the allocator of a page table, checks and clears them, and gives them back. */
export class TableFrames {
  readonly #memory: PhysMemory;
  readonly #allocator: FrameAllocator | undefined;
  readonly #physicalEnd: bigint;

  constructor(memory: PhysMemory, allocator: FrameAllocator | undefined, physicalEnd: bigint) {
    this.#memory = memory;
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
        const frame = takeFrame(allocator, count);
        taken.push(frame);
        this.requireTable(frame);
        this.#clear(frame);
      }
    } catch (error) {
      for (const frame of taken) allocator.freeFrame(frame);
      throw error;
    }
    return taken.map(pageNumber);
  }

  /** Gives frames back to the allocator. */
  giveBack(frames: readonly number[]): void {
    if (frames.length === 0) return;
    const allocator = this.#require('giving back a table');
    for (const frame of frames) allocator.freeFrame(frameAddress(frame));
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
      try {
        this.#memory.words(pageNumber(frame), false);
        return;
      } catch (cause) {
        throw new PageTableError('INVALID_FRAME', { frame, problem: 'there is no memory at it' }, { cause });
      }
    }
    throw new PageTableError('INVALID_FRAME', { frame, problem });
  }

  #require(operation: string): FrameAllocator {
    if (this.#allocator === undefined) throw new PageTableError('NO_FRAME_ALLOCATOR', { operation });
    return this.#allocator;
  }

  #clear(table: PhysAddr): void {
    const frame = pageNumber(table);
    const at = this.#memory.wordOffset(frame);
    this.#memory.words(frame, true).fill(0, at, at + 2 * ENTRIES);
  }
}

function takeFrame(allocator: FrameAllocator, needed: number): PhysAddr {
  try {
    return allocator.allocateFrame();
  } catch (cause) {
    throw new PageTableError('OUT_OF_MEMORY', { needed }, { cause });
  }
}
