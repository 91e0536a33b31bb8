import { PAGE_SIZE, PageSize, type PhysAddr, showInConsoles } from '@svsm/address';
import { copyOfBytes } from '../formats/byte-fields.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import { VMPL_COUNT, type Vmpl } from '../formats/vmpl.ts';
import type { GuestPages } from './guest-pages.ts';
import { LEVELS } from './page-rights.ts';
import { requireAligned, using } from './svsm-call-context.ts';
import type { SvsmRecords } from './svsm-records.ts';
import { SvsmRefusal } from './svsm-refusal.ts';

/**
 * The guest's memory as one processor of the SVSM uses it outside of calls: its checked accessors, and the operations that
 * change pages. `SvsmCore.memory` is one.
 *
 * Any `gpa` of 64 bits may be passed: nothing is mapped before it is known to be the guest's. A method returns a `SvsmResult`, 0
 * for success, and catches faults: InvalidParameter for a misaligned address; InvalidAddress if a byte is not the guest's, or
 * cannot be reached; Busy while a call uses a page; else the result of the instruction. A page that is refused is as before. The
 * methods throw for a wrong type, and errors of the access and of `trace`. Each is O(pages).
 */
export class SvsmMemory {
  static {
    showInConsoles(this, 'SvsmMemory', (memory) => ({ validated: memory.#records.validated }));
  }

  readonly #records: SvsmRecords;
  readonly #pages: GuestPages;

  /** @internal `SvsmCore.memory` is one of these. */
  constructor(records: SvsmRecords, pages: GuestPages) {
    this.#records = records;
    this.#pages = pages;
  }

  /**
   * Reads bytes, across pages.
   *
   * @param vmpl - the level that must have the right to read and write them: not checked if not given
   * @returns `undefined` if a byte cannot be read: it is not the guest's, it faults, or a call uses it
   * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type, or `length` is not a count
   */
  read(gpa: bigint, length: number, vmpl: Vmpl = 0): Uint8Array | undefined {
    requireAddress(gpa);
    requireVmpl(vmpl);
    const isCount = Number.isSafeInteger(length) && length >= 0;
    if (!isCount) throw refused('the length', length, 'pass a number of bytes');
    let bytes: Uint8Array | undefined;
    const result = this.#onBytes(gpa, length, vmpl, (at, start, count) => {
      bytes ??= new Uint8Array(length);
      bytes.set(this.#pages.read(at, count), start);
    });
    if (result !== SvsmResult.Success) return undefined;
    return bytes ?? new Uint8Array(0);
  }

  /**
   * Writes bytes, across pages. If a page faults, those before it are written.
   *
   * @param vmpl - as for {@link read}
   * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type
   */
  write(gpa: bigint, bytes: Uint8Array, vmpl: Vmpl = 0): number {
    requireAddress(gpa);
    requireVmpl(vmpl);
    const copy = copyOfBytes(bytes, 'the bytes');
    return this.#onBytes(gpa, copy.length, vmpl, (at, start, count) => {
      this.#pages.write(at, copy.subarray(start, start + count));
    });
  }

  /**
   * Validates a page: PVALIDATE, then zeros, then all rights for the levels from VMPL1 to `vmpl`. A page that the record has as
   * validated is PvalidateUnchanged, and is not touched.
   *
   * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type, or the size or level does not exist
   */
  validate(gpa: bigint, size: RmpPageSize, vmpl: Vmpl): number {
    requireVmpl(vmpl);
    return this.#onPage(gpa, size, (page) => this.#pages.validate(page, size, vmpl, false));
  }

  /**
   * Rescinds the validation of a page. First every other level loses its rights.
   *
   * @throws SnpError as {@link SvsmMemory.clear}
   */
  rescind(gpa: bigint, size: RmpPageSize): number {
    return this.#onPage(gpa, size, (page) => this.#pages.rescind(page, size, 0, false));
  }

  /**
   * Gives the levels from VMPL1 to `vmpl` all rights on a validated page. A VMSA is InvalidAddress.
   *
   * @throws SnpError as {@link SvsmMemory.validate}
   */
  grant(gpa: bigint, size: RmpPageSize, vmpl: Vmpl): number {
    requireVmpl(vmpl);
    const { rights } = this.#pages;
    return this.#onPage(gpa, size, (page) => {
      rights.require(page, size, 0);
      const levels = LEVELS.filter((level) => level <= vmpl);
      rights.undoing((journal) => rights.grant(page, size, levels, journal));
    });
  }

  /**
   * Takes all rights on a validated page from the other levels, and flushes. A VMSA is InvalidAddress.
   *
   * @throws SnpError as {@link SvsmMemory.clear}
   */
  revoke(gpa: bigint, size: RmpPageSize): number {
    const { rights } = this.#pages;
    return this.#onPage(gpa, size, (page) => {
      rights.require(page, size, 0);
      rights.undoing((journal) => rights.revoke(page, size, journal));
    });
  }

  /**
   * Fills a validated page with zeros.
   *
   * @throws SnpError `INVALID_ARGUMENT` if the address is not a bigint, or the page size does not exist
   */
  clear(gpa: bigint, size: RmpPageSize): number {
    return this.#onPage(gpa, size, (page) => this.#pages.write(page, new Uint8Array(size)));
  }

  #onPage(gpa: bigint, size: RmpPageSize, action: (page: PhysAddr) => void): number {
    requireAddress(gpa);
    const isSize = size === PageSize.Regular || size === PageSize.Huge;
    if (!isSize) throw refused('the page size', size, 'pass 4096 or 2097152');
    return resultOf(() => {
      requireAligned(gpa, size);
      const operation = { state: this.#records, memory: this.#pages };
      using(operation, [[gpa, size, 'change']], () => action(gpa as PhysAddr));
    });
  }

  /** Runs `action` for the part of the bytes in each page: its address, its start among the bytes, and its length. */
  #onBytes(
    gpa: bigint,
    length: number,
    vmpl: Vmpl,
    action: (at: bigint, start: number, count: number) => void,
  ): number {
    return resultOf(() => {
      const operation = { state: this.#records, memory: this.#pages };
      this.#records.requireGuest(gpa, length);
      for (let start = 0; start < length; ) {
        const at = gpa + BigInt(start);
        const count = Math.min(length - start, PAGE_SIZE - Number(at % BigInt(PAGE_SIZE)));
        using(operation, [[at, count, 'access']], () => {
          this.#pages.rights.requireAccess(at, vmpl);
          action(at, start, count);
        });
        start += count;
      }
    });
  }
}

/** The result of an operation. @throws what is not a refusal */
function resultOf(action: () => void): number {
  try {
    action();
    return SvsmResult.Success;
  } catch (error) {
    if (error instanceof SvsmRefusal) return error.result;
    throw error;
  }
}

function requireAddress(gpa: unknown): void {
  if (typeof gpa === 'bigint' && BigInt.asUintN(64, gpa) === gpa) return;
  throw refused('the guest-physical address', gpa, 'pass a bigint of 64 bits');
}

function requireVmpl(vmpl: unknown): void {
  const isLevel = typeof vmpl === 'number' && Number.isInteger(vmpl) && vmpl >= 0 && vmpl < VMPL_COUNT;
  if (!isLevel) throw refused('VMPL', vmpl, 'pass 0 to 3');
}

function refused(what: string, value: unknown, expected: string): SnpError<'INVALID_ARGUMENT'> {
  return new SnpError('INVALID_ARGUMENT', { what, value, expected });
}
