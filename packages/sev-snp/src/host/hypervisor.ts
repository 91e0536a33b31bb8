import { PAGE_SIZE_2M, PageSize, type PhysAddr, showInConsoles } from '@svsm/address';
import type { PhysMemory } from '@svsm/pagetable';
import {
  requireGuest,
  requireMachine,
  requirePlace,
  requireProcessor,
  requireVcpu,
} from '../cpu/context-checks.ts';
import type { ExitHandler, GuestContext, RunnableVmsa, SnpPlatform, VcpuContext } from '../cpu/platform.ts';
import { VmExit } from '../cpu/vmrun.ts';
import {
  requireCount,
  requireInstance,
  requireOneOf,
  requireRmpPageSize,
  requireUint64,
} from '../formats/arguments.ts';
import { NpfInfo } from '../formats/exit-info.ts';
import {
  decodeGhcbMsr,
  encodeGhcbMsr,
  PAGE_OPERATIONS,
  PAGE_STATE_ERROR,
  PageOperation,
} from '../formats/ghcb-msr.ts';
import { GhcbExit, GhcbPage, GhcbRefusal } from '../formats/ghcb-page.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { decodeApCreation } from '../guest/ap-creation.ts';
import type { Guest } from '../guest/guest.ts';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import { HostFrames } from '../memory/host-frames.ts';
import type { NestedPage } from '../memory/nested-table.ts';
import { psmash, type RmpreadAnswer, type RmpState, rmpread } from '../rmp/host-instructions.ts';
import { type CpuidRequest, type CpuidResult, cpuidAnswer, cpuidRequest, wordsOf } from './cpuid-service.ts';
import {
  FEATURES,
  GHCB_VERSION,
  type GhcbAnswer,
  type GhcbRequest,
  ghcbOfGuest,
  readGhcbRequest,
  refusal,
  requireGhcbRequest,
  writeGhcbAnswer,
} from './ghcb-service.ts';
import { GuestAsids } from './guest-asids.ts';
import { launchGuest } from './guest-launch.ts';
import { updateRmp, updateRmpPages } from './host-rmp.ts';
import { HostVcpus, refuseWithoutVmsa } from './host-vcpus.ts';
import { hostView, hostWrite } from './host-write.ts';
import { checkLaunch, type LaunchOptions } from './launch-options.ts';
import { exceptGhcb, isPageOperation, processPageStateChange, scratchOffset } from './page-state-service.ts';
import { mapSharedAlias } from './shared-alias.ts';
import { UnbackedMemory } from './unbacked-memory.ts';

/**
 * An honest hypervisor: it owns system memory, launches guests and answers their exits. Everything that it does goes
 * through the same RMP checks as on hardware, so a subclass can try anything.
 */
export class Hypervisor implements ExitHandler {
  static {
    showInConsoles(this, 'Hypervisor', ({ machine, pageStatesPerExit }) => ({ machine, pageStatesPerExit }));
  }

  readonly machine: SnpPlatform;
  /**
   * System memory as the host accesses it, by system frame number: without encryption; writes are checked. An array of it
   * ends with the state of the page, and that of a page of a guest is a copy.
   */
  readonly memory: PhysMemory;
  #pageStatesPerExit: number = Number.POSITIVE_INFINITY;
  readonly #frames: HostFrames;
  /** The registered GHCB of each processor. */
  readonly #ghcbs: WeakMap<object, PhysAddr> = new WeakMap();
  readonly #vcpus: HostVcpus;
  readonly #unbacked: UnbackedMemory;
  readonly #asids: GuestAsids;

  /** @throws SnpError `INVALID_ARGUMENT` if `machine` is not a machine */
  constructor(machine: SnpPlatform) {
    requireMachine(machine);
    this.machine = machine;
    this.#frames = new HostFrames(machine.memory.size);
    this.#unbacked = new UnbackedMemory(this.#frames);
    this.#vcpus = new HostVcpus(() => this.allocatePage());
    this.#asids = new GuestAsids(machine.maxGuests);
    this.memory = hostView(machine);
  }

  /**
   * The number of entries of a page state change that it processes in one exit: an integer from 1 on, or `Infinity`.
   *
   * @throws SnpError `INVALID_ARGUMENT` for another value
   */
  get pageStatesPerExit(): number {
    return this.#pageStatesPerExit;
  }

  set pageStatesPerExit(count: number) {
    requireCount('pageStatesPerExit', count, 1);
    this.#pageStatesPerExit = count;
  }

  /**
   * Reads system memory. Reads are not checked: a private page reads as ciphertext (AMD64 APM vol. 2, table 15-39). O(length).
   *
   * @throws PageTableError `BUS_ERROR`; SnpError `INVALID_ARGUMENT` if `length` is not an integer from 0 on
   */
  read(spa: SysPhysAddr, length: number): Uint8Array {
    return this.machine.memory.read(spa, length, NO_KEY);
  }

  /**
   * Writes system memory. If one page cannot be written, nothing is. O(bytes).
   *
   * @param mappedWith - the page size of the host's own mapping. With 2 MiB, the write faults if a page of the 2 MiB
   *   region is assigned
   * @throws SnpFault `HOST_PF` if a page is assigned; SnpError `INVALID_ARGUMENT` if `bytes` are not a `Uint8Array`, or
   *   `mappedWith` is not a page size; PageTableError `BUS_ERROR`; AddressError `INVALID_ADDRESS`
   */
  write(spa: SysPhysAddr, bytes: Uint8Array, mappedWith: PageSize = PageSize.Regular): void {
    hostWrite(this.machine, spa, bytes, mappedWith);
  }

  /** A free 4 KiB page of system memory. @throws SnpError `OUT_OF_MEMORY` */
  allocatePage(): SysPhysAddr {
    return this.#frames.allocateFrame() as bigint as SysPhysAddr;
  }

  /**
   * A free 4 KiB page that is the firmware's: in state FIRMWARE. It can become a context page or a metadata page.
   *
   * @throws SnpError `OUT_OF_MEMORY`; `HOST_INSTRUCTION_FAILED` if the RMP does not cover the page
   */
  givePageToFirmware(): SysPhysAddr {
    const spa = this.#frames.allocateFirmwareFrame();
    const result = this.rmpupdate(spa, { assigned: true, immutable: true });
    if (result === RmpResult.SUCCESS) return spa;
    throw new SnpError('HOST_INSTRUCTION_FAILED', { instruction: 'RMPUPDATE', spa, result });
  }

  /**
   * RMPUPDATE: see `rmpupdate`. If it succeeds, the arrays of {@link memory} of the page end. Each field of the state is read once.
   *
   * @throws SnpError `INVALID_ARGUMENT`; AddressError `INVALID_ADDRESS`
   */
  rmpupdate(spa: SysPhysAddr, newState: RmpState): RmpResult {
    return updateRmp(this.machine, spa, newState);
  }

  /**
   * {@link rmpupdate} of `count` consecutive pages, up to the first that does not succeed. Pages of a guest have consecutive
   * addresses from that of `state` on. Pages that are alike cost nothing: O(512) for each run of equal 2 MiB regions. `trace`
   * gets one event for all pages that were changed, with their number.
   *
   * @param count - the number of pages of the size in `state`
   * @returns the last result
   * @throws SnpError `INVALID_ARGUMENT`; AddressError `INVALID_ADDRESS`
   */
  rmpupdatePages(spa: SysPhysAddr, count: number, asked: RmpState): RmpResult {
    return updateRmpPages(this.machine, spa, count, asked);
  }

  /** RMPREAD: see `rmpread`. */
  rmpread(spa: SysPhysAddr): RmpreadAnswer {
    return rmpread(this.machine.rmp, spa);
  }

  /**
   * Flushes all translations of a guest, on all processors. It has to follow a change of the nested page table that takes
   * something away.
   * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest
   */
  flushTlbs(guest: GuestContext): void {
    requireGuest(guest);
    guest.flushTlbs();
    this.machine.trace({ type: 'flush', gva: undefined });
  }

  /** PSMASH: see `psmash`. */
  psmash(spa: SysPhysAddr): RmpResult {
    const result = psmash(this.machine.rmp, spa);
    this.machine.trace({ type: 'psmash', spa, result });
    return result;
  }

  /**
   * Launches a guest. Its validated memory is private, in 2 MiB pages wherever the map allows it. The rest of the memory is
   * unaccepted: see `LaunchMemory.validated`. O(validated bytes / 4096).
   *
   * SNP_GCTX_CREATE, SNP_LAUNCH_START and SNP_ACTIVATE make a guest with an ASID that no guest has had. SNP_LAUNCH_UPDATE launches
   * each page: the host writes it, RMPUPDATE makes it PRE-GUEST, and the firmware encrypts and validates it. First come the `pages`
   * of the launch in their order, then all other validated memory, then `vmsas`. `Firmware.launchDigest` has their digest.
   *
   * After SNP_LAUNCH_FINISH no page can be launched.
   *
   * @throws SnpError `INVALID_ARGUMENT`, `INVALID_MESSAGE` if the masks or `imi` of a page do not fit, `OUT_OF_MEMORY`: nothing
   *   was launched. `HOST_INSTRUCTION_FAILED` if the RMP does not cover a free page, `FIRMWARE_REFUSED` if a free page or the
   *   ASID is not in the state that the launch needs, or the firmware refuses a CPUID page
   */
  launch(options: LaunchOptions): Guest {
    const launch = checkLaunch(options, this.machine);
    this.#asids.requireFree();
    const takeAsid = (): number => this.#asids.take();
    const guest = launchGuest(this, { frames: this.#frames, vcpus: this.#vcpus, takeAsid }, launch);
    this.#unbacked.add(guest, launch.unaccepted, launch.pageSize);
    this.machine.firmware.launchFinish(guest.context);
    return guest;
  }

  /**
   * Handles a nested page fault. Returns whether the guest tries again.
   *
   * As in KVM (Linux `arch/x86/kvm/svm/sev.c`, `sev_handle_rmp_fault`): if RMP and nested page table differ in page
   * size, or an instruction needs 4 KiB, both are split. The hypervisor knows the exit information and its own tables.
   * Unaccepted memory gets its system page at the first private access: assigned to the guest, and not validated. Else it
   * neither maps new memory nor changes the owner of a page without a request. Above a virtual top of memory, it maps the page
   * at the same offset from 0, if that page is shared.
   * @throws SnpError `INVALID_ARGUMENT` for an argument of another type; AddressError for an address of another type
   */
  handleNestedPageFault(guest: GuestContext, gpa: PhysAddr, exitInfo1: bigint): boolean {
    requirePlace(guest, gpa);
    requireUint64('exitInfo1', exitInfo1);
    const nested = guest.nested.lookup(gpa);
    if (nested === undefined) {
      if (mapSharedAlias(guest, gpa)) return true;
      const isPrivate = (exitInfo1 & NpfInfo.Encrypted) !== 0n;
      return isPrivate && this.#unbacked.backPrivate(guest, gpa, this.rmpupdate.bind(this));
    }
    if ((exitInfo1 & NpfInfo.Rmp) === 0n) return false;
    const entryIsHuge = this.machine.rmp.isHuge(nested.spa);
    const nestedIsHuge = nested.size !== PageSize.Regular;
    if ((exitInfo1 & NpfInfo.SizeMismatch) === 0n && entryIsHuge === nestedIsHuge) return false;
    return (entryIsHuge || nestedIsHuge) && this.splitPage(guest, gpa);
  }

  /**
   * Splits the page at `gpa` into 4 KiB pages, in RMP and nested page table. Returns whether it is 4 KiB afterwards.
   * @throws SnpError `INVALID_ARGUMENT` for an argument of another type; AddressError for an address of another type
   */
  splitPage(guest: GuestContext, gpa: PhysAddr): boolean {
    requirePlace(guest, gpa);
    const nested = guest.nested.lookup(gpa);
    if (nested === undefined) return false;
    if (this.machine.rmp.isHuge(nested.spa)) {
      const start = nested.spa & -BigInt(PAGE_SIZE_2M);
      if (this.psmash(start as SysPhysAddr) !== RmpResult.SUCCESS) return false;
    }
    if (nested.size !== PageSize.Regular) guest.nested.split4k(gpa);
    return true;
  }

  /**
   * Answers a VMGEXIT. `request` is the GHCB MSR as the guest left it; the result is what the guest finds there. If the
   * request is the address of a GHCB that `vcpu` has registered, request and answer lie in the GHCB. The protocol is that
   * of Linux, KVM and EDK2: as in KVM, an unknown request stays in the MSR, where the guest does not find an answer.
   *
   * @throws SnpError `TERMINATED`, `OUT_OF_MEMORY`; `UNSUPPORTED_VMGEXIT` for a GHCB at an address without a shared page;
   *   `INVALID_ARGUMENT` for an argument of another type
   */
  vmgexit(guest: GuestContext, request: bigint, vcpu?: VcpuContext): bigint {
    requireGuest(guest);
    if (vcpu !== undefined) requireVcpu(vcpu);
    const message = decodeGhcbMsr(request);
    switch (message.type) {
      case 'ghcb': {
        const page = ghcbOfGuest(this, guest, message.gpa);
        if (page === undefined) throw new SnpError('UNSUPPORTED_VMGEXIT', { request });
        const isRegistered = this.#ghcbs.get(vcpu ?? guest) === message.gpa;
        const asked = readGhcbRequest(page, message.gpa, isRegistered);
        const answer = 'exitCode' in asked ? this.answerGhcb(guest, asked, page, vcpu) : asked;
        writeGhcbAnswer(page, answer);
        return request;
      }
      case 'sev-info-request': {
        const { cBit } = this.machine;
        return encodeGhcbMsr({ type: 'sev-info', minVersion: GHCB_VERSION, maxVersion: GHCB_VERSION, cBit });
      }
      case 'cpuid-request': {
        const asked = { leaf: message.leaf, subleaf: 0, xcr0: undefined, xss: undefined };
        const result = this.cpuid(guest, asked, vcpu);
        if (result === undefined) return request;
        const { register } = message;
        return encodeGhcbMsr({ type: 'cpuid', register, value: wordsOf(result)[register] as number });
      }
      case 'features-request':
        return encodeGhcbMsr({ type: 'features', features: FEATURES });
      case 'preferred-ghcb-request':
        return encodeGhcbMsr({ type: 'preferred-ghcb', gpa: undefined });
      case 'register-ghcb-request': {
        const known = guest.nested.lookup(message.gpa) !== undefined;
        if (known) this.#ghcbs.set(vcpu ?? guest, message.gpa);
        return encodeGhcbMsr({ type: 'register-ghcb', gpa: known ? message.gpa : undefined });
      }
      case 'page-state-request':
        return encodeGhcbMsr({
          type: 'page-state',
          error: isPageOperation(message.operation)
            ? this.changePageState(guest, message.gpa, message.operation)
            : PAGE_STATE_ERROR,
        });
      case 'run-vmpl-request': {
        const hasRun = vcpu !== undefined && this.runVmpl(guest, message.vmpl, vcpu);
        const { runVmplError } = this.machine.rmp.assumptions;
        return encodeGhcbMsr({ type: 'run-vmpl', error: hasRun ? 0 : runVmplError });
      }
      case 'terminate':
        throw new SnpError('TERMINATED', { reasonSet: message.reasonSet, reason: message.reason });
      default:
        return request;
    }
  }

  /**
   * The result of CPUID, through the GHCB or its MSR; `undefined` if the hypervisor does not answer it. This one does not:
   * an SNP guest has a CPUID page. A subclass can.
   */
  cpuid(_guest: GuestContext, _request: CpuidRequest, _vcpu?: VcpuContext): CpuidResult | undefined {
    return undefined;
  }

  /**
   * Answers a request in a GHCB: page state changes, AP creation, "run VMPL", CPUID, features and termination. Another exit
   * is refused as an invalid event; a subclass can answer it. The request has the inputs of its exit.
   *
   * @throws SnpError `TERMINATED`; `OUT_OF_MEMORY` if no page is left for the VMCB of a new processor; `INVALID_ARGUMENT` for
   *   an argument of another type
   */
  answerGhcb(guest: GuestContext, request: GhcbRequest, page: GhcbPage, vcpu?: VcpuContext): GhcbAnswer {
    requireGuest(guest);
    requireGhcbRequest(request);
    requireInstance('page', page, GhcbPage, 'a GhcbPage');
    if (vcpu !== undefined) requireVcpu(vcpu);
    switch (request.exitCode) {
      case GhcbExit.PageStateChange: {
        const start = scratchOffset(request.gpa, request.scratch ?? -1n, 8);
        if (start === undefined) return refusal(GhcbRefusal.BadScratchArea);
        const change = exceptGhcb(request.gpa, this.changePageState.bind(this, guest));
        return { info1: 0n, info2: processPageStateChange(page, start, change, this.pageStatesPerExit) };
      }
      case GhcbExit.SnpApCreation: {
        const { info1, info2, registers } = request;
        const creation = decodeApCreation(info1, info2, registers.rax);
        const isDone = creation !== undefined && this.#vcpus.handle(guest, creation);
        return isDone ? { info1: 0n, info2: 0n } : refusal(GhcbRefusal.InvalidInput);
      }
      case GhcbExit.RunVmpl: {
        const hasRun = vcpu !== undefined && this.runVmpl(guest, Number(request.info1 & 0xffn), vcpu);
        return hasRun ? { info1: 0n, info2: 0n } : refusal(GhcbRefusal.InvalidInput);
      }
      case GhcbExit.Cpuid:
        return cpuidAnswer(this.cpuid(guest, cpuidRequest(request), vcpu));
      case GhcbExit.HypervisorFeatures:
        return { info1: 0n, info2: FEATURES };
      case GhcbExit.Terminate: {
        const { info1 } = request;
        throw new SnpError('TERMINATED', {
          reasonSet: Number(info1 & 0xfn),
          reason: Number((info1 >> 4n) & 0xffn),
        });
      }
      default:
        return refusal(GhcbRefusal.InvalidEvent);
    }
  }

  /**
   * The VMSA of a guest's processor at a level, by launch or AP creation; `undefined` if it has none.
   * @throws SnpError `INVALID_ARGUMENT` for an argument of another type
   */
  vmsaOf(guest: GuestContext, apicId: number, vmpl = 0): RunnableVmsa | undefined {
    requireProcessor(guest, apicId, vmpl);
    return this.#vcpus.find(guest, apicId, vmpl);
  }

  /**
   * VMRUN of a guest's processor: runs the guest's start software until it returns. Each exit of the software is
   * followed by another VMRUN.
   *
   * @throws SnpError `INVALID_ARGUMENT` if the processor has no VMSA; SnpFault `VMRUN`, `HOST_GP`; the errors of the
   *   software
   */
  run(guest: GuestContext, apicId = 0, vmpl = 0): void {
    const vmsa = this.vmsaOf(guest, apicId, vmpl) ?? refuseWithoutVmsa(apicId, vmpl);
    const vcpu = guest.vmrun(vmsa);
    try {
      guest.start(vcpu);
    } finally {
      vcpu.leave(VmExit.Halt);
    }
  }

  /**
   * Sends an INIT: a VMSA that waits for it can be run from now on.
   * @throws SnpError `OUT_OF_MEMORY`; `INVALID_ARGUMENT` for an argument of another type
   */
  init(guest: GuestContext, apicId: number): void {
    requireProcessor(guest, apicId, 0);
    this.#vcpus.init(guest, apicId);
  }

  /**
   * Runs another level of the processor of `caller`. Returns whether the level has a VMSA or software.
   * @throws SnpError `INVALID_ARGUMENT` for an argument of another type
   */
  runVmpl(guest: GuestContext, vmpl: number, caller: VcpuContext): boolean {
    requireProcessor(guest, 0, vmpl);
    requireVcpu(caller);
    const vmsa = this.#vcpus.findSibling(guest, caller, vmpl);
    if (vmsa === undefined) return guest.enterVmpl(vmpl, caller);
    const vcpu = guest.vmrun(vmsa);
    try {
      return guest.enterVmpl(vmpl, caller) || guest.start(vcpu);
    } finally {
      vcpu.leave(VmExit.Vmgexit);
    }
  }

  /**
   * Gives the page at `gpa` to the guest or to the hypervisor, in place: the system page stays the same. A page of
   * unaccepted memory gets its system page first. A 2 MiB page needs a 2 MiB page in the nested page table. Returns 0, or an
   * error for the guest: 1 if the page is not memory of the guest, is not mapped, or has no system page because no memory is
   * left; else 0x100 + the result of the failed instruction.
   * @throws SnpError `INVALID_ARGUMENT` for an argument of another type; AddressError for an address of another type
   */
  changePageState(
    guest: GuestContext,
    gpa: PhysAddr,
    operation: PageOperation,
    pageSize: RmpPageSize = PageSize.Regular,
  ): number {
    requirePlace(guest, gpa);
    requireOneOf('operation', operation, PAGE_OPERATIONS);
    requireRmpPageSize(pageSize);
    if (!guest.memory.containsPage(gpa, pageSize)) return 1;
    this.#unbacked.back(guest, gpa, pageSize);
    if (pageSize === PageSize.Regular && !this.splitPage(guest, gpa)) return 1;
    const nested = guest.nested.lookup(gpa) as NestedPage;
    if (pageSize === PageSize.Huge && nested?.size !== PageSize.Huge) return 1;
    const { spa } = nested;
    const assigned = operation === PageOperation.Private;
    const state = assigned ? { assigned, gpa, asid: guest.asid, pageSize } : { assigned, pageSize };
    const result = this.rmpupdate(spa, state);
    return result === RmpResult.SUCCESS ? 0 : 0x100 + result;
  }
}
