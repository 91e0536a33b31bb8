import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import { NO_KEY } from './encrypted-memory.ts';
import type { GhcbPage } from './ghcb-page.ts';
import type { GhcbAnswer, GhcbRequest } from './ghcb-service.ts';
import { Hypervisor } from './hypervisor.ts';
import type { GuestContext, VcpuContext } from './platform.ts';
import { RmpResult } from './rmp-result.ts';
import type { SysPhysAddr } from './sys-phys-addr.ts';

/** What a hostile hypervisor does at an exit, in place of its work. What is not given is done as it should be. */
export interface HostileAnswers {
  /** The answer in the GHCB MSR, or `undefined` for the true one. */
  msr?: ((request: bigint, guest: GuestContext) => bigint | undefined) | undefined;
  /** The answer in the GHCB page, whose bytes it may change too. */
  page?: ((request: GhcbRequest, page: GhcbPage) => GhcbAnswer | undefined) | undefined;
  /** Whether a nested page fault is resolved. */
  fault?: ((gpa: PhysAddr, exitInfo1: bigint) => boolean | undefined) | undefined;
  /** Whether a privilege level that the guest asks for is not run, though it is told that it was. */
  withhold?: boolean;
  /** Done at each exit before the guest goes on: what changes memory between check and use. */
  beforeResume?: ((guest: GuestContext) => void) | undefined;
}

/**
 * A hypervisor that does its job until a test composes an attack from what it can do. It has no power that a real one
 * has not: it changes nested page tables at will, and the RMP and memory by instructions and writes that hardware checks.
 */
export class HostileHypervisor extends Hypervisor {
  /** How it answers. */
  answers: HostileAnswers = {};

  /** Lets `gpa` lead to another page, by the nested page table alone. */
  remap(guest: GuestContext, gpa: PhysAddr, spa: SysPhysAddr): void {
    this.hide(guest, gpa);
    guest.nested.map(gpa, spa, PageSize.Regular);
  }

  /** Takes the 4 KiB at `gpa` out of the nested page table. Returns where it led. */
  hide(guest: GuestContext, gpa: PhysAddr): SysPhysAddr | undefined {
    const old = guest.nested.lookup(gpa);
    if (old === undefined) return undefined;
    guest.nested.split4k(gpa);
    guest.nested.unmap(gpa);
    return old.spa;
  }

  /** Lets two addresses lead to each other's pages. */
  swap(guest: GuestContext, a: PhysAddr, b: PhysAddr): void {
    const [ofA, ofB] = [this.hide(guest, a), this.hide(guest, b)];
    if (ofB !== undefined) guest.nested.map(a, ofB, PageSize.Regular);
    if (ofA !== undefined) guest.nested.map(b, ofA, PageSize.Regular);
  }

  /** Lets `gpa` lead where `other` does, so that one page has two addresses. */
  alias(guest: GuestContext, gpa: PhysAddr, other: PhysAddr): void {
    const target = guest.nested.lookup(other);
    if (target !== undefined) this.remap(guest, gpa, target.spa);
  }

  /**
   * Puts another page at `gpa`: assigned to the guest there, mapped, not validated. Returns it, or `undefined` if RMPUPDATE
   * refuses.
   */
  substitute(
    guest: GuestContext,
    gpa: PhysAddr,
    spa: SysPhysAddr = this.allocatePage(),
  ): SysPhysAddr | undefined {
    const result = this.rmpupdate(spa, { assigned: true, asid: guest.asid, gpa });
    this.remap(guest, gpa, spa);
    return result === RmpResult.SUCCESS ? spa : undefined;
  }

  /** What lies in DRAM: the ciphertext of a private page. */
  capture(spa: SysPhysAddr): Uint8Array {
    return this.machine.memory.read((spa & -BigInt(PAGE_SIZE)) as SysPhysAddr, PAGE_SIZE, NO_KEY);
  }

  /**
   * Puts old ciphertext back into a page of a guest's, the one way there is: it takes the page, writes, and assigns it
   * again. Returns the results of both RMPUPDATEs.
   */
  replay(
    guest: GuestContext,
    gpa: PhysAddr,
    captured: Uint8Array,
  ): readonly [RmpResult, RmpResult] | undefined {
    if (!this.splitPage(guest, gpa)) return undefined;
    const spa = guest.nested.lookup(gpa)?.spa as SysPhysAddr;
    const freed = this.rmpupdate(spa, { assigned: false });
    if (freed === RmpResult.SUCCESS) this.write(spa, captured);
    return [freed, this.rmpupdate(spa, { assigned: true, asid: guest.asid, gpa })];
  }

  override vmgexit(guest: GuestContext, request: bigint, vcpu?: VcpuContext): bigint {
    const isRunVmpl = (request & 0xfffn) === 0x016n;
    const lie =
      this.answers.msr?.(request, guest) ?? (isRunVmpl && this.answers.withhold ? 0x017n : undefined);
    const answer = lie ?? super.vmgexit(guest, request, vcpu);
    this.answers.beforeResume?.(guest);
    return answer;
  }

  override answerGhcb(
    guest: GuestContext,
    request: GhcbRequest,
    page: GhcbPage,
    vcpu?: VcpuContext,
  ): GhcbAnswer {
    return this.answers.page?.(request, page) ?? super.answerGhcb(guest, request, page, vcpu);
  }

  override handleNestedPageFault(guest: GuestContext, gpa: PhysAddr, exitInfo1: bigint): boolean {
    const resolved =
      this.answers.fault?.(gpa, exitInfo1) ?? super.handleNestedPageFault(guest, gpa, exitInfo1);
    this.answers.beforeResume?.(guest);
    return resolved;
  }
}
