import { SnpError } from '../formats/snp-error.ts';
import type { SvsmRegisters } from '../formats/svsm-protocol.ts';

/** A call of a protocol that an SVSM has in addition to the core protocol. */
export interface SvsmProtocolCall {
  /** The number of the call within the protocol: RAX[31:0]. */
  readonly id: number;
  /** The level of the caller. */
  readonly vmpl: number;
  /** The arguments, as the caller passed them. */
  readonly registers: Readonly<Omit<SvsmRegisters, 'rax'>>;
  /**
   * Reads memory of the guest: a copy. From the first access to a page on, no other call can change the page until this call
   * ends. An access that the caller may not make itself ends the call: INVALID_ADDRESS for memory that is not the guest's or on
   * which the caller has no rights, BUSY for a page that another call uses. Do not catch what it throws. O(length).
   */
  read(gpa: bigint, length: number): Uint8Array;
  /** Writes memory of the guest, under the rules of `read`. A page before the one that is refused is written. O(bytes). */
  write(gpa: bigint, bytes: Uint8Array): void;
}

/** The registers that a call returns, in addition to its result. Others stay as they were. */
export type SvsmProtocolAnswer = Partial<Omit<SvsmRegisters, 'rax'>> & {
  /** RAX: an `SvsmResult`, or a result of the protocol. 32 bits. */
  readonly result: number;
};

/** A protocol that an SVSM serves in addition to the core protocol: attestation is 1, vTPM is 2 (AMD document 58019, table 3). */
export interface SvsmProtocol {
  /** The least and the greatest version: 32 bits each. */
  readonly versions: { readonly min: number; readonly max: number };
  /**
   * Serves a call. Whatever it throws ends the call with INVALID_REQUEST, and so does an answer that is not one. The caller
   * cannot make another call meanwhile.
   */
  call(call: SvsmProtocolCall): SvsmProtocolAnswer;
}

/** The protocols of an SVSM by number: a copy. @throws SnpError `INVALID_ARGUMENT` if one is not a protocol */
export function checkedProtocols(
  protocols: ReadonlyMap<number, SvsmProtocol> = new Map(),
): ReadonlyMap<number, SvsmProtocol> {
  const expected =
    'pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call';
  const copy = new Map<number, SvsmProtocol>();
  try {
    for (const [id, protocol] of protocols) {
      const { min, max } = protocol.versions;
      const isSound = isWord(id) && id !== 0 && isWord(min) && isWord(max) && min <= max;
      if (!isSound || typeof protocol.call !== 'function') throw new TypeError(`protocol ${String(id)}`);
      copy.set(id, { versions: { min, max }, call: (call) => protocol.call(call) });
    }
  } catch (cause) {
    throw new SnpError('INVALID_ARGUMENT', { what: 'protocols', value: protocols, expected }, { cause });
  }
  return copy;
}

/** Whether a value is an unsigned integer of 32 bits. */
export function isWord(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

/** RCX of QUERY_PROTOCOL: the versions of a protocol, or 0 if it does not have `version`. */
export function versionsOf({ min, max }: SvsmProtocol['versions'], version: number): bigint {
  return version >= min && version <= max ? (BigInt(max) << 32n) | BigInt(min) : 0n;
}
