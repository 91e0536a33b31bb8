import { PAGE_SIZE } from '@svsm/address';
import { copyOfBytes } from '../formats/byte-fields.ts';
import { SnpError } from '../formats/snp-error.ts';
import { type SvsmRegisters, SvsmResult } from '../formats/svsm-protocol.ts';
import type { Vmpl } from '../formats/vmpl.ts';
import type { SvsmCallContext } from './svsm-call-context.ts';

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

const RESULTS = ['rcx', 'rdx', 'r8', 'r9'] as const;

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

function isWord(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

/** RCX of QUERY_PROTOCOL: the versions of a protocol, or 0 if it does not have `version`. */
export function versionsOf({ min, max }: SvsmProtocol['versions'], version: number): bigint {
  return version >= min && version <= max ? (BigInt(max) << 32n) | BigInt(min) : 0n;
}

/**
 * Serves a call of a protocol. Its results replace registers. Errors that come from outside of the protocol, such as those of
 * `trace`, go on to the caller of the SVSM.
 *
 * @returns RAX
 */
export function serveProtocol(
  protocol: SvsmProtocol,
  context: SvsmCallContext,
  id: number,
  registers: SvsmRegisters,
): number {
  const { rcx, rdx, r8, r9 } = registers;
  const memory = new CallerMemory(context);
  const { vmpl } = context;
  try {
    const answer = answerOf(() =>
      protocol.call({
        id,
        vmpl,
        registers: { rcx, rdx, r8, r9 },
        read: (gpa, length) => memory.read(gpa, length),
        write: (gpa, bytes) => memory.write(gpa, bytes),
      }),
    );
    memory.requireSound();
    for (const name of RESULTS) registers[name] = answer[name] ?? registers[name];
    return answer.result;
  } finally {
    memory.end();
  }
}

/** The answer of a protocol: INVALID_REQUEST if it throws, or its answer is not one. */
function answerOf(call: () => SvsmProtocolAnswer): SvsmProtocolAnswer {
  try {
    const { result, rcx, rdx, r8, r9 } = call();
    const isSound = [rcx, rdx, r8, r9].every((value) => value === undefined || isQuadword(value));
    if (isWord(result) && isSound) return { result, rcx, rdx, r8, r9 } as SvsmProtocolAnswer;
  } catch {
    // A refusal of an access is kept by the memory of the call.
  }
  return { result: SvsmResult.InvalidRequest };
}

function isQuadword(value: unknown): boolean {
  return typeof value === 'bigint' && value === BigInt.asUintN(64, value);
}

/** The memory of a guest as a call may use it: only what its caller may read and write itself. */
class CallerMemory {
  readonly #context: SvsmCallContext;
  /** By page: the end of its claim. */
  readonly #claims: Map<bigint, () => void> = new Map();
  /** The first error of an access. It decides the result, even if the protocol drops it. */
  #failure: { readonly error: unknown } | undefined;
  #isEnded = false;

  constructor(context: SvsmCallContext) {
    this.#context = context;
  }

  read(gpa: bigint, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#eachPiece(gpa, length, (at, from, to) => {
      bytes.set(this.#context.memory.read(at, to - from), from);
    });
    return bytes;
  }

  write(gpa: bigint, bytes: Uint8Array): void {
    const copy = copyOfBytes(bytes, 'the bytes');
    this.#eachPiece(gpa, copy.length, (at, from, to) => this.#context.memory.write(at, copy.slice(from, to)));
  }

  /** Throws the first error of an access. */
  requireSound(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Ends the claims. The protocol cannot access memory any more. */
  end(): void {
    this.#isEnded = true;
    for (const end of this.#claims.values()) end();
  }

  /** Accesses a range page by page. A mistake of the protocol is thrown before, and is not kept. */
  #eachPiece(gpa: bigint, length: number, access: (at: bigint, from: number, to: number) => void): void {
    if (this.#isEnded) throw new Error('the call has ended');
    const parts = [...pieces(gpa, length)];
    this.requireSound();
    try {
      for (const [at, from, to] of parts) {
        this.#claim(at, to - from);
        access(at, from, to);
      }
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  /** Claims a page for the rest of the call, and checks the rights of the caller at each access. */
  #claim(gpa: bigint, bytes: number): void {
    const { state, memory, vmpl } = this.#context;
    const page = gpa & -BigInt(PAGE_SIZE);
    state.requireGuest(gpa, bytes);
    if (!this.#claims.has(page))
      this.#claims.set(page, state.claim(this.#context, page, PAGE_SIZE, 'access'));
    memory.rights.requireAccess(page, vmpl as Vmpl);
  }
}

/** The pieces of a range that each lie in one page: address, and the offsets of their start and end in the range. */
function* pieces(gpa: bigint, length: number): Generator<[at: bigint, from: number, to: number], undefined> {
  if (typeof gpa !== 'bigint') throw new TypeError('an address is a bigint');
  for (let from = 0; from < length; ) {
    const at = gpa + BigInt(from);
    const room = PAGE_SIZE - Number(BigInt.asUintN(12, at));
    const to = Math.min(length, from + room);
    yield [at, from, to];
    from = to;
  }
}
