import { PAGE_SIZE } from '@svsm/address';
import { copyOfBytes } from '../formats/byte-fields.ts';
import { type SvsmRegisters, SvsmResult } from '../formats/svsm-protocol.ts';
import type { Vmpl } from '../formats/vmpl.ts';
import { isWord, type SvsmProtocol, type SvsmProtocolAnswer } from './other-protocol.ts';
import type { SvsmCallContext } from './svsm-call-context.ts';

const RESULTS = ['rcx', 'rdx', 'r8', 'r9'] as const;

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
