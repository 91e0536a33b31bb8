import { PAGE_SIZE, type PageSize, showInConsoles } from '@svsm/address';
import type { ReadFrame } from '../formats/table-look.ts';
import {
  refuseArgument,
  requireBits,
  requireChoice,
  requireInteger,
  requireOptions,
} from '../source/arguments.ts';
import { DumpError } from '../source/dump-error.ts';

/** The format of a nested page table: AMD's is that of ordinary page tables, Intel's is its own. */
export type NestedFormat = 'npt' | 'ept';

/** A nested page table in the memory of a host. */
export interface NestedOptions {
  readonly format: NestedFormat;
  /** nCR3 of the guest's VMCB, or EPTP of its VMCS. */
  readonly pointer: bigint;
  /** Default: 4, or for EPT what the pointer says. */
  readonly levels?: 4 | 5 | undefined;
  /** MAXPHYADDR of the host, 32 to 52: addresses of entries have no bits from there on. Default: 52. */
  readonly physicalBits?: number | undefined;
  /** The C-bit of the host (SME), 32 to 51. It is not part of an address. */
  readonly cBit?: number | undefined;
}

/** The rights that all levels of a nested page table leave. */
export interface NestedRights {
  /** EPT can forbid reads. */
  readonly readable: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  /** NPT: whether the guest can access it at all. `true` for EPT. */
  readonly user: boolean;
}

/** Why a guest-physical address has no translation. */
export type NestedObstacle = 'not-present' | 'misconfigured' | 'bus-error';

/** The translation of a guest frame. */
export interface NestedPage extends NestedRights {
  /** The number of the host frame. */
  readonly frame: number;
  /** The page of the nested table that has it. */
  readonly pageSize: PageSize;
}

/** Consecutive guest frames in consecutive host frames, with the same rights. */
export interface NestedRun extends NestedRights {
  readonly first: number;
  readonly count: number;
  /** The host frame of the first one. */
  readonly frame: number;
}

/** No translation: the obstacle, and the number of frames from the asked one on that have the same one. */
export interface NestedGap {
  readonly obstacle: NestedObstacle;
  readonly count: number;
}

const ENTRIES = 512;
const LARGE = 0x80;
const CACHED_TABLES = 4096;
const SPANS = [1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36, 2 ** 45] as const;
const ADDRESS_BITS = 0xf_ffff_ffff_f000n;
/** The most runs, and the most tables, that a listing of guest memory may have. */
const MAX_RUNS = 2 ** 20;
const MAX_VISITS = 2 ** 20;
const ALL: NestedRights = { readable: true, writable: true, executable: true, user: true };

/**
 * Translates guest frames to host frames by the tables of a hypervisor.
 *
 * NPT has the entries of an ordinary page table (AMD64 APM vol. 2, §15.25). EPT entries: Intel SDM vol. 3C, §29.3.2 and §29.3.3: bits 2:0
 * are read, write and execute; an entry with none of them is not present; write without read, reserved bits, and memory types 2, 3 and 7
 * are misconfigurations. Bit 10, execute for user mode, counts only with mode-based execute control, which is not modelled.
 */
export class NestedPaging {
  static {
    showInConsoles(this, 'NestedPaging', ({ format, levels, root, frames }) => ({
      format,
      levels,
      root,
      frames,
    }));
  }

  readonly format: NestedFormat;
  readonly levels: 4 | 5;
  /** The physical address of the top table. */
  readonly root: bigint;
  readonly #readFrame: ReadFrame;
  readonly #addressHigh: number;
  readonly #reservedHigh: number;
  readonly #cache: Map<number, Uint32Array | undefined> = new Map();

  /**
   * @throws DumpError `INVALID_ARGUMENT`; `NO_MEMORY` if the top table does not exist; `TRUNCATED_FILE`, `READ_FAILED`,
   *   `UNSUPPORTED_FORMAT`
   */
  constructor(readFrame: ReadFrame, options: NestedOptions) {
    requireOptions('options', options, ['format', 'pointer', 'levels', 'physicalBits', 'cBit']);
    const { format, pointer, physicalBits = 52, cBit } = options;
    if (format !== 'npt' && format !== 'ept')
      refuseArgument('the nested format', format, "pass 'npt' or 'ept'");
    requireBits('the nested pointer, nCR3 or EPTP,', pointer, 64);
    requireInteger('the physical bits of the host', physicalBits, 32, 52);
    if (cBit !== undefined) requireInteger('the C-bit of the host', cBit, 32, 51);
    const addressBit = cBit === undefined ? 0 : 2 ** (cBit - 32);
    requireChoice('the levels', options.levels, [4, 5]);
    this.format = format;
    this.levels = options.levels ?? (format === 'ept' ? levelsOfEptp(pointer) : 4);
    this.#readFrame = readFrame;
    this.#addressHigh = 0xf_ffff & ~addressBit;
    this.#reservedHigh = 0xf_ffff & ~(2 ** (physicalBits - 32) - 1) & ~addressBit;
    this.root = pointer & ADDRESS_BITS & ~(BigInt(addressBit) << 32n);
    if (this.#words(Number(this.root >> 12n)) !== undefined) return;
    const name = format === 'ept' ? 'EPTP' : 'nCR3';
    throw new DumpError('NO_MEMORY', {
      paddr: this.root,
      hint: `Check ${name}, and pass the dump of the host, not that of the guest`,
      register: name,
    });
  }

  /** The number of guest frames that the table can map. */
  get frames(): number {
    return SPANS[this.levels];
  }

  /**
   * The translation of a guest frame, or why it has none: a table of 4 levels has none from frame 2^36 on. O(levels).
   *
   * @throws DumpError `INVALID_ARGUMENT` if a table of 5 levels has no such frame; `TRUNCATED_FILE`, `READ_FAILED`, `UNSUPPORTED_FORMAT`
   */
  translate(frame: number): NestedPage | NestedGap {
    requireInteger('frame', frame, 0, SPANS[5] - 1);
    if (frame >= this.frames) return { obstacle: 'not-present', count: SPANS[5] - frame };
    let rights = ALL;
    let table = Number(this.root >> 12n);
    for (let level = this.levels - 1; level >= 0; level -= 1) {
      const span = SPANS[level as 0];
      const words = this.#words(table);
      const rest = span * ENTRIES - (frame % (span * ENTRIES));
      if (words === undefined) return { obstacle: 'bus-error', count: rest };
      const index = Math.floor(frame / span) % ENTRIES;
      const [low, high] = [words[2 * index]!, words[2 * index + 1]!];
      const obstacle = this.#obstacleOf(low, high, level);
      if (obstacle !== undefined) return { obstacle, count: span - (frame % span) };
      rights = this.#and(rights, low, high);
      const next = this.#frameOf(low, high);
      if (isLeaf(low, level)) {
        const start = next - (next % span);
        return { ...rights, frame: start + (frame % span), pageSize: (span * PAGE_SIZE) as PageSize };
      }
      table = next;
    }
    return { obstacle: 'not-present', count: 1 };
  }

  /**
   * The guest frames that the table maps, ascending.
   *
   * @throws DumpError `OUTSIDE_LIMITS` for more than a million runs or tables; `TRUNCATED_FILE`, `READ_FAILED`, `UNSUPPORTED_FORMAT`
   */
  *runs(): Generator<NestedRun, undefined, undefined> {
    let [runs, visits] = [0, 0];
    let last: NestedRun | undefined;
    const tooMany = (what: string): never => {
      throw new DumpError('OUTSIDE_LIMITS', {
        reason: `its nested page table has more than 1048576 ${what}`,
      });
    };
    const self = this;
    function* below(
      table: number,
      level: number,
      first: number,
      above: NestedRights,
    ): Generator<NestedRun, undefined, undefined> {
      visits += 1;
      if (visits > MAX_VISITS) tooMany('tables');
      const words = self.#words(table);
      for (let i = 0; words !== undefined && i < ENTRIES; i += 1) {
        const [low, high] = [words[2 * i]!, words[2 * i + 1]!];
        if (self.#obstacleOf(low, high, level) !== undefined) continue;
        const span = SPANS[level as 0];
        const at = first + i * span;
        const next = self.#frameOf(low, high);
        const rights = self.#and(above, low, high);
        if (isLeaf(low, level)) yield { ...rights, first: at, count: span, frame: next - (next % span) };
        else yield* below(next, level - 1, at, rights);
      }
    }
    for (const run of below(Number(this.root >> 12n), this.levels - 1, 0, ALL)) {
      if (last !== undefined && continues(last, run)) {
        last = { ...last, count: last.count + run.count };
        continue;
      }
      if (last !== undefined) {
        runs += 1;
        if (runs > MAX_RUNS) tooMany('runs');
        yield last;
      }
      last = run;
    }
    if (last !== undefined) yield last;
  }

  #and(above: NestedRights, low: number, high: number): NestedRights {
    if (this.format === 'npt') {
      return {
        readable: true,
        writable: above.writable && (low & 2) !== 0,
        executable: above.executable && high >>> 31 === 0,
        user: above.user && (low & 4) !== 0,
      };
    }
    return {
      readable: above.readable && (low & 1) !== 0,
      writable: above.writable && (low & 2) !== 0,
      executable: above.executable && (low & 4) !== 0,
      user: true,
    };
  }

  #obstacleOf(low: number, high: number, level: number): NestedObstacle | undefined {
    if ((low & (this.format === 'npt' ? 1 : 7)) === 0) return 'not-present';
    const leaf = isLeaf(low, level);
    // Bits 8:7 of a PML4E or PML5E of AMD are reserved, bits 7:3 of Intel's.
    const isLarge = level >= 3 && (low & (this.format === 'npt' ? 0x180 : LARGE)) !== 0;
    // The address of a large page has zeros below. Bit 12 of NPT is its PAT.
    const belowAddress = leaf && level > 0 ? (level === 1 ? 0x1f_f000 : 0x3fff_f000) : 0;
    const ignored = this.format === 'npt' ? 0x1000 : 0;
    const isWrong = isLarge || (low & belowAddress & ~ignored) !== 0 || (high & this.#reservedHigh) !== 0;
    if (isWrong) return 'misconfigured';
    return this.format === 'ept' && isEptWrong(low, leaf) ? 'misconfigured' : undefined;
  }

  #frameOf(low: number, high: number): number {
    return (high & this.#addressHigh) * 0x10_0000 + (low >>> 12);
  }

  #words(frame: number): Uint32Array | undefined {
    const known = this.#cache.get(frame);
    if (known !== undefined || this.#cache.has(frame)) return known;
    const words = new Uint32Array(PAGE_SIZE / 4);
    const found = this.#readFrame(frame, new Uint8Array(words.buffer)) ? words : undefined;
    if (this.#cache.size >= CACHED_TABLES) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.set(frame, found);
    return found;
  }
}

/** Bits 5:3 of EPTP are the number of levels less 1: Intel SDM vol. 3C, table 25-9. */
function levelsOfEptp(pointer: bigint): 4 | 5 {
  return ((pointer >> 3n) & 7n) === 4n ? 5 : 4;
}

function isEptWrong(low: number, leaf: boolean): boolean {
  if ((low & 3) === 2) return true;
  if (!leaf) return (low & 0x78) !== 0;
  const type = (low >>> 3) & 7;
  return type === 2 || type === 3 || type === 7;
}

function isLeaf(low: number, level: number): boolean {
  return level === 0 || (level <= 2 && (low & LARGE) !== 0);
}

function continues(last: NestedRun, run: NestedRun): boolean {
  return (
    last.first + last.count === run.first &&
    last.frame + last.count === run.frame &&
    last.readable === run.readable &&
    last.writable === run.writable &&
    last.executable === run.executable &&
    last.user === run.user
  );
}
