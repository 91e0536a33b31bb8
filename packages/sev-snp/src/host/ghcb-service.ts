import type { PhysAddr } from '@svsm/address';
import type { GuestContext } from '../cpu/platform.ts';
import { GhcbPage, GhcbRefusal } from '../formats/ghcb-page.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import type { NestedPage } from '../memory/nested-table.ts';

/** A request in a GHCB, read once. */
export interface GhcbRequest {
  /** The guest-physical address of the GHCB. */
  readonly gpa: PhysAddr;
  readonly exitCode: bigint;
  readonly info1: bigint;
  readonly info2: bigint;
  /** SW_SCRATCH; `undefined` if it is not marked valid. `rax` likewise. */
  readonly scratch: bigint | undefined;
  readonly rax: bigint | undefined;
}

/** The answer in a GHCB: SW_EXITINFO1 and SW_EXITINFO2. */
export interface GhcbAnswer {
  readonly info1: bigint;
  readonly info2: bigint;
}

/** System memory as the host reads and writes it. `Hypervisor` has it. */
interface HostMemory {
  read(spa: SysPhysAddr, length: number): Uint8Array;
  write(spa: SysPhysAddr, bytes: Uint8Array): void;
}

/** The GHCB of a guest at `gpa`, for the host; `undefined` if no shared page is mapped there. */
export function ghcbOfGuest(host: HostMemory, guest: GuestContext, gpa: PhysAddr): GhcbPage | undefined {
  const nested = guest.nested.lookup(gpa);
  if (nested === undefined || guest.machine.rmp.entry(nested.spa)?.assigned === true) return undefined;
  const at = ({ spa }: NestedPage, offset: number): SysPhysAddr => (spa + BigInt(offset)) as SysPhysAddr;
  return new GhcbPage({
    read: (offset, length) => host.read(at(nested, offset), length),
    write: (offset, bytes) => host.write(at(nested, offset), bytes),
  });
}

/**
 * The request in a GHCB, or the refusal of it. A request marks exit code and both infos valid, and has the standard usage
 * (KVM `sev_es_validate_vmgexit`).
 */
export function readGhcbRequest(page: GhcbPage, gpa: PhysAddr): GhcbRequest | GhcbAnswer {
  const [exitCode, info1, info2] = [page.get('exitCode'), page.get('exitInfo1'), page.get('exitInfo2')];
  const [scratch, rax] = [page.get('scratch'), page.get('rax')];
  if (page.get('usage') !== 0n) return refusal(GhcbRefusal.BadUsage);
  if (exitCode === undefined || info1 === undefined || info2 === undefined) {
    return refusal(GhcbRefusal.MissingInput);
  }
  return { gpa, exitCode, info1, info2, scratch, rax };
}

/** Writes an answer to a GHCB. No other field is marked valid afterwards. */
export function writeGhcbAnswer(page: GhcbPage, { info1, info2 }: GhcbAnswer): void {
  page.invalidate();
  page.set('exitInfo1', BigInt.asUintN(64, info1));
  page.set('exitInfo2', BigInt.asUintN(64, info2));
}

/** The answer that refuses a request: 2 in SW_EXITINFO1, the reason in SW_EXITINFO2. */
export function refusal(why: bigint): GhcbAnswer {
  return { info1: 2n, info2: why };
}
