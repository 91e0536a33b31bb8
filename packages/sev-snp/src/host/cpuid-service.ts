import { GhcbRefusal } from '../formats/ghcb-page.ts';
import { type GhcbAnswer, type GhcbRequest, refusal } from './ghcb-service.ts';

/** A CPUID of a guest that the hypervisor answers. */
export interface CpuidRequest {
  /** EAX and ECX. A request through the GHCB MSR has no ECX: 0. */
  readonly leaf: number;
  readonly subleaf: number;
  /** XCR0 and XSS, which the hypervisor cannot read; `undefined` if the guest does not pass them. */
  readonly xcr0: bigint | undefined;
  readonly xss: bigint | undefined;
}

/** The result of CPUID: 32 bits in each register. */
export interface CpuidResult {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** The CPUID that a request in a GHCB asks for. */
export function cpuidRequest({ registers: { rax = 0n, rcx = 0n, xcr0, xss } }: GhcbRequest): CpuidRequest {
  return { leaf: Number(BigInt.asUintN(32, rax)), subleaf: Number(BigInt.asUintN(32, rcx)), xcr0, xss };
}

/** The answer in a GHCB. Without a result, the hypervisor does not know the exit. */
export function cpuidAnswer(result: CpuidResult | undefined): GhcbAnswer {
  if (result === undefined) return refusal(GhcbRefusal.InvalidEvent);
  const [rax, rbx, rcx, rdx] = wordsOf(result).map((word) => BigInt(word));
  return { info1: 0n, info2: 0n, registers: { rax, rbx, rcx, rdx } };
}

/** EAX, EBX, ECX, EDX, in the order of the numbers that the GHCB MSR has for them. */
export function wordsOf({ eax, ebx, ecx, edx }: CpuidResult): readonly number[] {
  return [eax, ebx, ecx, edx].map((word) => word >>> 0);
}
