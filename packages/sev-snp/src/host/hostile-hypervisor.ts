import {
  PAGE_SIZE,
  PAGE_SIZE_2M,
  PageSize,
  Phys,
  type PhysAddr,
  pageNumber,
  showInConsoles,
} from '@svsm/address';
import { requireGuest, requirePages } from '../cpu/context-checks.ts';
import type { GuestContext, VcpuContext } from '../cpu/platform.ts';
import { requireInteger } from '../formats/arguments.ts';
import { copyOfBytes } from '../formats/byte-fields.ts';
import { decodeGhcbMsr, type PageOperation } from '../formats/ghcb-msr.ts';
import type { GhcbPage } from '../formats/ghcb-page.ts';
import { requireOptions } from '../formats/options.ts';
import type { RmpEntry, RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { isSnpError } from '../formats/snp-error.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { pageRegion } from '../guest/validated-pages.ts';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import { HYPERVISOR_ENTRY } from '../rmp/rmp.ts';
import { type GhcbAnswer, type GhcbRequest, ghcbOfGuest } from './ghcb-service.ts';
import { type HostileAnswers, requireAnswers } from './hostile-answers.ts';
import { Hypervisor } from './hypervisor.ts';

/**
 * A hypervisor that is honest until a test composes an attack from its methods and {@link answers}. It has no more power
 * than a real one: it changes nested page tables at will, and RMP and memory by instructions and writes that hardware
 * checks. Three methods go around these checks, as published attacks do: {@link aliasDram}, {@link tamperRmp} and
 * {@link observeCiphertext}. They need what their comments say, and hardware does not stop them.
 *
 * @example
 * ```ts
 * import { PAGE_SIZE, physAddr } from '@svsm/address';
 * import { HostileHypervisor, pageStateOf, SnpMachine } from '@svsm/sev-snp';
 *
 * const machine = new SnpMachine({
 *   memorySize: 32 << 20,
 *   hypervisor: (it) => new HostileHypervisor(it),
 * });
 * const hypervisor = machine.hypervisor as HostileHypervisor;
 * const guest = hypervisor.launch({ size: 8 << 20, pageSize: PAGE_SIZE });
 * // Another page at the same address is assigned to the guest, but not validated.
 * const page = hypervisor.substitute(guest, physAddr(0x5000));
 * if (page !== undefined) console.log(pageStateOf(machine.rmp.entry(page))); // => GUEST-INVALID
 * ```
 */
export class HostileHypervisor extends Hypervisor {
  static {
    showInConsoles(this, 'HostileHypervisor', ({ machine, pageStatesPerExit }) => ({
      machine,
      pageStatesPerExit,
    }));
  }

  #answers: HostileAnswers = {};

  /**
   * The lies of its answers.
   *
   * @throws SnpError `INVALID_ARGUMENT` for a lie that does not exist, or that has another type
   */
  get answers(): HostileAnswers {
    return this.#answers;
  }

  set answers(answers: HostileAnswers) {
    requireAnswers(answers);
    this.#answers = answers;
  }

  /**
   * Maps `gpa` to another page, in the nested page table alone.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  remap(guest: GuestContext, gpa: PhysAddr, spa: SysPhysAddr): void {
    SysPhys.assertIsAddress(spa);
    this.hide(guest, gpa);
    guest.nested.map(gpa, spa, PageSize.Regular);
  }

  /**
   * Unmaps the 4 KiB page at `gpa` from the nested page table. Returns the page that was mapped, or `undefined`.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  hide(guest: GuestContext, gpa: PhysAddr): SysPhysAddr | undefined {
    requireGuest(guest);
    const old = guest.nested.lookup(gpa);
    if (old === undefined) return undefined;
    guest.nested.split4k(gpa);
    guest.nested.unmap(gpa);
    return old.spa;
  }

  /**
   * Swaps the pages of two addresses in the nested page table.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  swap(guest: GuestContext, a: PhysAddr, b: PhysAddr): void {
    // Before the first step: `hide` checks one address after the other.
    Phys.assertIsAddress(b);
    const [ofA, ofB] = [this.hide(guest, a), this.hide(guest, b)];
    if (ofB !== undefined) guest.nested.map(a, ofB, PageSize.Regular);
    if (ofA !== undefined) guest.nested.map(b, ofA, PageSize.Regular);
  }

  /**
   * Maps `gpa` to the page of `other`, so that one page has two addresses.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  alias(guest: GuestContext, gpa: PhysAddr, other: PhysAddr): void {
    requireGuest(guest);
    Phys.assertIsAddress(gpa);
    const target = guest.nested.lookup(other);
    if (target !== undefined) this.remap(guest, gpa, target.spa);
  }

  /**
   * Puts another page at `gpa`: assigned to the guest, mapped, and not validated. Returns it, or `undefined` if RMPUPDATE
   * refuses it.
   *
   * @param spa - a free page if not given
   * @throws SnpError `OUT_OF_MEMORY`; `INVALID_ARGUMENT` if `guest` is not a guest
   */
  substitute(guest: GuestContext, gpa: PhysAddr, spa?: SysPhysAddr): SysPhysAddr | undefined {
    requireGuest(guest);
    requirePages(gpa);
    if (spa !== undefined) requirePages(spa as bigint as PhysAddr);
    return this.#substitute(guest, gpa, spa ?? this.allocatePage());
  }

  #substitute(guest: GuestContext, gpa: PhysAddr, spa: SysPhysAddr): SysPhysAddr | undefined {
    const result = this.rmpupdate(spa, { assigned: true, asid: guest.asid, gpa });
    this.remap(guest, gpa, spa);
    return result === RmpResult.SUCCESS ? spa : undefined;
  }

  /**
   * Maps `gpa` to a page of another guest.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  lend(guest: GuestContext, gpa: PhysAddr, owner: GuestContext, ownerGpa: PhysAddr): void {
    requireGuest(guest);
    requireGuest(owner);
    Phys.assertIsAddress(gpa);
    const target = owner.nested.lookup(ownerGpa);
    if (target !== undefined) this.remap(guest, gpa, target.spa);
  }

  /**
   * Takes the page at `gpa` from the guest with RMPUPDATE, and leaves it mapped. `undefined` if nothing is mapped.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  unassign(guest: GuestContext, gpa: PhysAddr): RmpResult | undefined {
    if (!this.splitPage(guest, gpa)) return undefined;
    return this.rmpupdate(guest.nested.lookup(gpa)?.spa as SysPhysAddr, { assigned: false });
  }

  /**
   * Gives the page at `gpa` to another address of the guest, in RMP and nested page table.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  move(guest: GuestContext, gpa: PhysAddr, to: PhysAddr): RmpResult | undefined {
    requirePages(gpa, to);
    if (!this.splitPage(guest, gpa)) return undefined;
    const { spa } = guest.nested.lookup(gpa) as { spa: SysPhysAddr };
    const result = this.rmpupdate(spa, { assigned: true, asid: guest.asid, gpa: to });
    this.remap(guest, to, spa);
    return result;
  }

  /**
   * PSMASH of the 2 MiB region that `gpa` is mapped to. The nested page table stays as it is.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  smash(guest: GuestContext, gpa: PhysAddr): RmpResult | undefined {
    requireGuest(guest);
    const nested = guest.nested.lookup(gpa);
    return nested && this.psmash((nested.spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr);
  }

  /**
   * Turns the 512 RMP entries of the 2 MiB region that `gpa` leads to into one entry again, with the firmware's help. The
   * nested page table stays as it is. Returns whether the firmware did it.
   *
   * @throws SnpError `FIRMWARE_REFUSED` if a page that was locked for it cannot be reclaimed; `INVALID_ARGUMENT` if
   *   `guest` is not a guest
   */
  unsmash(guest: GuestContext, gpa: PhysAddr): boolean {
    requireGuest(guest);
    const nested = guest.nested.lookup(gpa);
    if (nested === undefined) return false;
    const { firmware } = this.machine;
    const first = (nested.spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr;
    const parts = Array.from({ length: PARTS }, (_, k) => (first + BigInt(k * PAGE_SIZE)) as SysPhysAddr);
    const locked: SysPhysAddr[] = [];
    let isWhole = false;
    try {
      for (const part of parts) {
        const { state } = this.rmpread(part);
        const { assigned = false, gpa = 0n as PhysAddr, asid = 0 } = state ?? {};
        if (this.rmpupdate(part, { assigned, immutable: true, gpa, asid }) !== RmpResult.SUCCESS) break;
        locked.push(part);
      }
      firmware.pageUnsmash(first);
      isWhole = true;
    } catch (error) {
      if (!isSnpError(error, 'FIRMWARE_REFUSED')) throw error;
    }
    if (isWhole) firmware.pageReclaim(first, PageSize.Huge);
    else for (const part of locked) firmware.pageReclaim(part);
    return isWhole;
  }

  /**
   * Maps the 2 MiB around `gpa` as 512 pages, whatever the sizes in the RMP.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  mapSmall(guest: GuestContext, gpa: PhysAddr): void {
    requireGuest(guest);
    if (guest.nested.lookup(gpa) !== undefined) guest.nested.split4k(gpa);
  }

  /**
   * Maps the 2 MiB around `gpa` as one page, to the 2 MiB that `gpa` is mapped to, whatever the sizes in the RMP.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  mapHuge(guest: GuestContext, gpa: PhysAddr): void {
    requireGuest(guest);
    const { nested } = guest;
    const found = nested.lookup(gpa);
    if (found === undefined) return;
    const first = (gpa & -BigInt(PAGE_SIZE_2M)) as PhysAddr;
    if (found.size === PageSize.Regular) {
      for (const part of pageRegion(first, PageSize.Huge).iterPages(PageSize.Regular)) {
        if (nested.lookup(part) !== undefined) nested.unmap(part);
      }
    } else nested.unmap(first);
    nested.map(first, (found.spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr, PageSize.Huge);
  }

  /**
   * Runs a privilege level without a request, on behalf of `vcpu`. Returns whether the level has software.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; AddressError for an address of another type
   */
  enter(guest: GuestContext, vmpl: number, vcpu: VcpuContext): boolean {
    requireGuest(guest);
    requireInteger('vmpl', vmpl, 0, 3);
    return guest.enterVmpl(vmpl, vcpu);
  }

  /** The content of a page in DRAM: ciphertext, for a private page. */
  capture(spa: SysPhysAddr): Uint8Array {
    SysPhys.assertIsAddress(spa);
    return this.machine.memory.read((spa & -BigInt(PAGE_SIZE)) as SysPhysAddr, PAGE_SIZE, NO_KEY);
  }

  /**
   * Puts old ciphertext back into a page of a guest, in the only possible way: takes the page, writes, and assigns the
   * page again. Returns the results of both RMPUPDATEs; `undefined` if nothing is mapped.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `captured` is not a `Uint8Array`, or `guest` is not a guest: nothing has changed
   */
  replay(
    guest: GuestContext,
    gpa: PhysAddr,
    captured: Uint8Array,
  ): readonly [RmpResult, RmpResult] | undefined {
    requirePages(gpa);
    const copy = copyOfBytes(captured, 'captured bytes');
    if (!this.splitPage(guest, gpa)) return undefined;
    const spa = guest.nested.lookup(gpa)?.spa as SysPhysAddr;
    const freed = this.rmpupdate(spa, { assigned: false });
    if (freed === RmpResult.SUCCESS) this.write(spa, copy);
    return [freed, this.rmpupdate(spa, { assigned: true, asid: guest.asid, gpa })];
  }

  /**
   * Makes `alias` a second address of the DRAM of a page. The RMP has an entry for each address, and the alias belongs to
   * the hypervisor: it reads and writes the ciphertext of the page there, and no check fails. Ciphertext that it puts back
   * decrypts at the address of the page. The content of `alias` is out of reach until `aliasDram(alias, alias)`. O(1).
   *
   * BadRAM (IEEE S&P 2025, CVE-2024-21944): needs physical access to the DIMM, whose SPD then claims twice its size.
   * Mitigated by firmware that looks for aliases at boot; the attestation report shows it as ALIAS_CHECK_COMPLETE.
   * Battering RAM (IEEE S&P 2026): needs an interposer on the memory bus, which aliases after that check. Not mitigated.
   *
   * @param alias - a free page if not given
   * @returns the address of the alias
   * @throws SnpError `OUT_OF_MEMORY`; PageTableError `BUS_ERROR`
   *
   * @example
   * ```ts
   * import { physAddr } from '@svsm/address';
   * import { HostileHypervisor, SnpMachine } from '@svsm/sev-snp';
   *
   * const machine = new SnpMachine({
   *   memorySize: 32 << 20,
   *   hypervisor: (it) => new HostileHypervisor(it),
   * });
   * const host = machine.hypervisor as HostileHypervisor;
   * const guest = host.launch({ size: 2 << 20 });
   * const page = guest.nested.lookup(physAddr(0x5000))?.spa;
   * if (page !== undefined) {
   *   const alias = host.aliasDram(page);
   *   const old = host.capture(alias);
   *   // Later, when the guest has changed the page:
   *   host.write(alias, old);
   * }
   * ```
   */
  aliasDram(spa: SysPhysAddr, alias?: SysPhysAddr): SysPhysAddr {
    SysPhys.assertIsAddress(spa);
    if (alias !== undefined) SysPhys.assertIsAddress(alias);
    return this.#aliasDram(spa, alias ?? this.allocatePage());
  }

  #aliasDram(spa: SysPhysAddr, alias: SysPhysAddr): SysPhysAddr {
    this.machine.memory.aliasFrame(pageNumber(alias), pageNumber(spa));
    return alias;
  }

  /**
   * Writes fields of the RMP entry of a page as DRAM holds it: no check is made, and any combination is possible. Returns
   * the entry as it was. A page inside a 2 MiB page has an entry of its own there, which hardware does not read. O(1).
   *
   * BadRAM: through an alias of the memory of the RMP, with the precondition and mitigation of {@link aliasDram}.
   * RMPocalypse (ACM CCS 2025, CVE-2025-0033): needs firmware that leaves the RMP open while it initializes the table; one
   * write of 8 bytes to the entries of the RMP itself opens all others. Mitigated by newer firmware, which the TCB version
   * in the attestation report shows.
   *
   * A processor sees the new entry at its next access, except for a change of the masks alone: as after RMPADJUST, a
   * `NestedTlb` holds its verdicts on them until the guest's translations are flushed. On hardware, a TLB can hold the
   * verdict on any field.
   *
   * @throws SnpError `OUTSIDE_RMP`, `INVALID_MESSAGE` if a field does not fit, `INVALID_ARGUMENT` if a field does not exist
   */
  tamperRmp(spa: SysPhysAddr, fields: Partial<RmpEntry>): RmpEntry {
    const { rmp } = this.machine;
    requireOptions('the fields of an entry', fields, Object.keys(HYPERVISOR_ENTRY));
    const before = rmp.rawEntry(spa) ?? HYPERVISOR_ENTRY;
    rmp.setRawEntry(spa, { ...before, ...fields });
    return before;
  }

  /**
   * The ciphertext of bytes of a private page, as hexadecimal text: a key for a dictionary of ciphertexts. The RMP does not
   * check reads of the host, and equal content at the same address has equal ciphertext: the texts of two moments tell
   * whether the guest has written the same value, and a known value gives away the next one. O(length).
   *
   * CipherLeaks (USENIX Security 2021, CVE-2020-12966) reads the VMSA this way; later work reads any page (IEEE S&P 2022,
   * CVE-2021-46744). Needs no more than a hypervisor has. Mitigated by ciphertext hiding on parts that have it, and by
   * software that masks a secret with a fresh value at each write.
   *
   * @param length - in bytes; 16, a block of AES, if not given
   * @throws PageTableError `BUS_ERROR`
   */
  observeCiphertext(spa: SysPhysAddr, length = 16): string {
    const bytes = this.read(spa, length);
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  override vmgexit(guest: GuestContext, request: bigint, vcpu?: VcpuContext): bigint {
    const message = decodeGhcbMsr(request);
    const isWithheld = message.type === 'run-vmpl-request' && this.answers.withhold === true;
    const lie = this.answers.msr?.(request, guest) ?? (isWithheld ? RUN_VMPL_DONE : undefined);
    const answer = lie ?? super.vmgexit(guest, request, vcpu);
    if (message.type === 'ghcb' && this.answers.afterPage !== undefined) {
      const page = ghcbOfGuest(this, guest, message.gpa);
      if (page !== undefined) this.answers.afterPage(page, guest);
    }
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

  override changePageState(
    guest: GuestContext,
    gpa: PhysAddr,
    operation: PageOperation,
    pageSize: RmpPageSize = PageSize.Regular,
  ): number {
    const lie = this.answers.pageState?.(gpa, operation, pageSize);
    return lie ?? super.changePageState(guest, gpa, operation, pageSize);
  }

  override handleNestedPageFault(guest: GuestContext, gpa: PhysAddr, exitInfo1: bigint): boolean {
    const resolved =
      this.answers.fault?.(gpa, exitInfo1) ?? super.handleNestedPageFault(guest, gpa, exitInfo1);
    this.answers.beforeResume?.(guest);
    return resolved;
  }

  /** Calls the function of {@link answers}. @throws SnpError `INVALID_ARGUMENT` for an argument of another type */
  beforeSharedRead(guest: GuestContext, spa: SysPhysAddr, length: number): void {
    requireGuest(guest);
    SysPhys.assertIsAddress(spa);
    requireInteger('length', length, 0);
    this.answers.beforeSharedRead?.(guest, spa, length);
  }
}

const PARTS = PAGE_SIZE_2M / PAGE_SIZE;

/** The answer in the GHCB MSR after a level has run. */
const RUN_VMPL_DONE = 0x017n;
