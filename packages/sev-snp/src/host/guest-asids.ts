import { SnpError } from '../formats/snp-error.ts';

/** The ASIDs of a hypervisor's guests. No guest gets one that another guest has had. */
export class GuestAsids {
  readonly #max: number;
  #taken = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** @throws SnpError `INVALID_ARGUMENT` if no ASID is left */
  requireFree(): void {
    if (this.#taken < this.#max) return;
    const expected = `at most ${this.#max} guests have an ASID`;
    throw new SnpError('INVALID_ARGUMENT', {
      what: 'the number of guests',
      value: this.#taken + 1,
      expected,
    });
  }

  /** The next ASID, from 1 on. */
  take(): number {
    this.#taken += 1;
    return this.#taken;
  }
}
