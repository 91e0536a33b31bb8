import { PAGE_SHIFT, PAGE_SIZE } from '@svsm/address';
import type { RmpEntry } from '@svsm/sev-snp/formats';
import { DumpError } from '../source/dump-error.ts';
import { Runs } from '../source/runs.ts';
import type { RmpTable } from './rmp-table.ts';

/** The page of system memory that a Reverse Map Table gives to a guest-physical address. */
export interface GuestPage {
  /** The number of the frame of system memory. */
  readonly frame: number;
  readonly entry: RmpEntry;
  /** The number of guest frames from the asked one on that follow in system memory, with entries that are alike. */
  readonly count: number;
  /** Whether other pages have the same address. */
  readonly isAmbiguous: boolean;
}

/** The most runs of pages of a guest, and the most pages that may have one address. */
const MAX_RUNS = 2 ** 22;
const MAX_COPIES = 16;

/**
 * The pages of one guest by their guest-physical addresses, collected from a Reverse Map Table. So the table of a host can be read
 * beside a dump that was made in the guest.
 */
export class GuestPages {
  readonly #rmp: RmpTable;
  /** By guest frame. The delta leads to the frame of system memory. */
  readonly #layers: readonly Runs[];

  /**
   * Reads the whole table. O(n log n) for n entries.
   *
   * @throws DumpError `OUTSIDE_LIMITS` for too many runs, or too many pages with one address
   */
  constructor(rmp: RmpTable, asid: number) {
    const runs = new Runs();
    for (const { first, count, entry } of rmp.runs()) {
      if (entry === undefined || entry === null || !entry.assigned || entry.asid !== asid) continue;
      const frame = Number(entry.gpa >> BigInt(PAGE_SHIFT));
      runs.add(frame, frame + count, first - frame);
      if (runs.length <= MAX_RUNS) continue;
      throw new DumpError('OUTSIDE_LIMITS', {
        reason: `its RMP has more than ${MAX_RUNS} runs of pages of ASID ${asid}`,
      });
    }
    this.#rmp = rmp;
    this.#layers = runs.joined().layers(MAX_COPIES, (frame) => {
      throw new DumpError('OUTSIDE_LIMITS', {
        reason: `its RMP has more than ${MAX_COPIES} pages of ASID ${asid} at address 0x${(frame * PAGE_SIZE).toString(16)}`,
      });
    });
  }

  /** The page of a guest frame; or the number of frames, at most `most`, that have none. */
  from(first: number, most: number): GuestPage | { readonly count: number } {
    let end = first + most;
    let found: { delta: number; end: number } | undefined;
    let isAmbiguous = false;
    for (const layer of this.#layers) {
      for (const { from, to, delta } of layer.within(first, end)) {
        if (from > first) end = from;
        else if (found === undefined) [found, end] = [{ delta, end: to }, to];
        else [isAmbiguous, end] = [true, to];
        break;
      }
    }
    if (found === undefined) return { count: end - first };
    const frame = first + found.delta;
    const { count, entry } = this.#rmp.runFrom(frame, end - first);
    return { frame, entry: entry!, count, isAmbiguous };
  }

  /** The number of guest frames that have a page. */
  get count(): number {
    return this.#layers.reduce((sum, layer) => sum + layer.covered(), 0);
  }
}
