import { showInConsoles } from '@svsm/address';
import { refuseArgument, requireChoice } from './arguments.ts';

/** Something about a dump that the user must know, although the work goes on. */
export interface Notice {
  /** A stable name for programs. */
  readonly warning:
    | 'copies-differ'
    | 'damaged-page'
    | 'many-ranges'
    | 'empty-table'
    | 'senseless-table'
    | 'other-levels'
    | 'nothing-mapped';
  /** One sentence, and what to do. */
  readonly message: string;
}

const WARNINGS: readonly Notice['warning'][] = [
  'copies-differ',
  'damaged-page',
  'many-ranges',
  'empty-table',
  'senseless-table',
  'other-levels',
  'nothing-mapped',
];
const MOST = 16;

/** Collects notices until they are printed. Each is kept once, and only the first ones, since a hostile file can cause many. */
export class Notices {
  static {
    showInConsoles(this, 'Notices', (notices) => ({ waiting: notices.#waiting }));
  }

  readonly #seen: Set<string> = new Set();
  #waiting: Notice[] = [];
  #isQuiet = false;

  /**
   * Keeps a notice, unless there is one with this message, or there are too many.
   *
   * @throws DumpError `INVALID_ARGUMENT` for another warning, or a message that is not a text
   */
  add(warning: Notice['warning'], message: string): void {
    if (typeof message !== 'string') refuseArgument('message', message, 'pass a text');
    if (warning === undefined) refuseArgument('warning', warning, `pass one of ${WARNINGS.join(', ')}`);
    requireChoice('warning', warning, WARNINGS);
    if (this.#isQuiet || this.#seen.has(message) || this.#seen.size >= MOST) return;
    this.#seen.add(message);
    this.#waiting.push({ warning, message });
  }

  /** The notices since the last call. */
  take(): readonly Notice[] {
    const taken = this.#waiting;
    if (taken.length > 0) this.#waiting = [];
    return taken;
  }

  /**
   * Runs `work`, and ignores the notices meanwhile: it reads memory only to guess.
   *
   * @throws DumpError `INVALID_ARGUMENT` if `work` is not a function
   */
  quietly<Result>(work: () => Result): Result {
    if (typeof work !== 'function') refuseArgument('work', work, 'pass a function');
    this.#isQuiet = true;
    try {
      return work();
    } finally {
      this.#isQuiet = false;
    }
  }

  /** Whether there was no notice yet. */
  get isEmpty(): boolean {
    return this.#seen.size === 0;
  }
}
