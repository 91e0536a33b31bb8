import {
  type Bytes,
  byteCount,
  PAGE_SIZE,
  PAGE_SIZE_2M,
  PageSize,
  type PhysAddr,
  pageNumber,
  physAddr,
} from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import { type PhysMemory, pagingConfig, writePhys } from '@svsm/pagetable';
import { NO_KEY } from './encrypted-memory.ts';
import { NpfInfo, PageFaultError } from './exit-info.ts';
import { launchUpdate } from './firmware.ts';
import { decodeGhcbMsr, encodeGhcbMsr, HypervisorFeature, PageOperation } from './ghcb-msr.ts';
import { GhcbExit, type GhcbPage, GhcbRefusal } from './ghcb-page.ts';
import {
  type GhcbAnswer,
  type GhcbRequest,
  ghcbOfGuest,
  readGhcbRequest,
  refusal,
  writeGhcbAnswer,
} from './ghcb-service.ts';
import { Guest } from './guest.ts';
import { HostFrames } from './host-frames.ts';
import { psmash, type RmpreadAnswer, type RmpState, rmpread, rmpupdate } from './host-instructions.ts';
import { type NestedPage, NestedTable } from './nested-table.ts';
import { processPageStateChange, scratchOffset } from './page-state-service.ts';
import type { ExitHandler, GuestContext, SnpPlatform, VcpuContext } from './platform.ts';
import { failedRmpCheck } from './rmp-check.ts';
import type { RmpPageSize } from './rmp-entry.ts';
import { RmpResult } from './rmp-result.ts';
import { SnpError } from './snp-error.ts';
import { SnpFault } from './snp-fault.ts';
import type { SysPhysAddr } from './sys-phys-addr.ts';

/** What a guest is launched with. */
export interface LaunchOptions {
  /** Bytes of memory, from guest-physical 0 on: a multiple of 4096. */
  readonly size: Bytes;
  /** What lies in it at the start; all else is zero. */
  readonly image?: readonly { readonly gpa: PhysAddr; readonly bytes: Uint8Array }[];
  /** The largest pages to use, in the RMP and the nested page table: 2 MiB if not given. */
  readonly pageSize?: RmpPageSize;
  /** Levels of its page tables: 4 if not given. */
  readonly levels?: 4 | 5;
  /**
   * VIRTUAL_TOM, at or above its memory: a multiple of 2 MiB. Above it, each page of memory has a second address, at which
   * it is shared. Without it, the C-bit tells.
   */
  readonly virtualTom?: bigint;
}

/**
 * A hypervisor that does its job: it owns system memory, launches guests, answers their exits. Everything it does goes
 * through the same RMP checks as on hardware, so a subclass may do anything at all and see what comes of it.
 */
export class Hypervisor implements ExitHandler {
  readonly machine: SnpPlatform;
  /** System memory as the host reaches it, by system frame number: unencrypted, writes checked. */
  readonly memory: PhysMemory;
  /** How many entries of a page state change it processes before it goes back to the guest. */
  pageStatesPerExit: number = Number.POSITIVE_INFINITY;
  readonly #frames: HostFrames;
  /** The GHCB that each processor has registered. */
  readonly #ghcbs: WeakMap<object, PhysAddr> = new WeakMap();
  #guests = 0;

  constructor(machine: SnpPlatform) {
    this.machine = machine;
    this.#frames = new HostFrames(machine.memory.size);
    const plain = machine.memory.view(NO_KEY);
    this.memory = {
      get epoch() {
        return plain.epoch;
      },
      words: (frame, write) => {
        const spa = (BigInt(frame) * BigInt(PAGE_SIZE)) as SysPhysAddr;
        if (write) this.#requireWritable(spa, PageSize.Regular);
        return plain.words(frame, write);
      },
      wordOffset: () => 0,
    };
  }

  /**
   * Reads system memory. Reads are not checked: of a private page they give ciphertext (AMD64 APM vol. 2, table 15-39).
   * O(length).
   *
   * @throws PageTableError `BUS_ERROR`
   */
  read(spa: SysPhysAddr, length: number): Uint8Array {
    return this.machine.memory.read(spa, length, NO_KEY);
  }

  /**
   * Writes system memory; if one page cannot be written to, none is. O(bytes).
   *
   * @param mappedWith - the size of the pages with which the host's own page table maps it: with 2 MiB, the write
   *   faults if any page of the region is assigned
   * @throws SnpFault `HOST_PF` if a page is assigned; PageTableError `BUS_ERROR`
   */
  write(spa: SysPhysAddr, bytes: Uint8Array, mappedWith: PageSize = PageSize.Regular): void {
    const end = spa + BigInt(bytes.length);
    for (let at: bigint = spa & -BigInt(PAGE_SIZE); at < end; at += BigInt(PAGE_SIZE)) {
      this.#requireWritable(at as SysPhysAddr, mappedWith);
    }
    this.machine.memory.write(spa, bytes, NO_KEY);
  }

  /** A 4 KiB page of system memory that nobody has. @throws SnpError `OUT_OF_SYSTEM_MEMORY` */
  allocatePage(): SysPhysAddr {
    return this.#frames.allocateFrame() as bigint as SysPhysAddr;
  }

  /** RMPUPDATE. */
  rmpupdate(spa: SysPhysAddr, state: RmpState): RmpResult {
    const result = rmpupdate(this.machine.rmp, spa, state);
    this.machine.trace({ type: 'rmpupdate', spa, state, result });
    return result;
  }

  /** RMPREAD. */
  rmpread(spa: SysPhysAddr): RmpreadAnswer {
    return rmpread(this.machine.rmp, spa);
  }

  /**
   * Flushes all translations of a guest, on all processors: what must follow a change of its nested page table that takes
   * something away.
   */
  flushTlbs(guest: GuestContext): void {
    guest.flushTlbs();
    this.machine.trace({ type: 'flush', gva: undefined });
  }

  /** PSMASH. */
  psmash(spa: SysPhysAddr): RmpResult {
    const result = psmash(this.machine.rmp, spa);
    this.machine.trace({ type: 'psmash', spa, result });
    return result;
  }

  /**
   * Launches a guest whose memory is all private and validated, with 2 MiB pages wherever 2 MiB are left. O(size /
   * 4096).
   *
   * Each page goes the way of SNP_LAUNCH_UPDATE: the host writes it, RMPUPDATE makes it PRE-GUEST, the firmware
   * encrypts and validates it.
   *
   * @throws SnpError `INVALID_ARGUMENT`, `OUT_OF_SYSTEM_MEMORY`; nothing was launched then. `HOST_INSTRUCTION_FAILED`
   *   if the RMP does not cover memory that was free
   */
  launch(options: LaunchOptions): Guest {
    const { size, image = [], pageSize = PageSize.Huge, levels = 4, virtualTom } = options;
    const memory = this.#guestMemory(size, image);
    requireTom(virtualTom, memory);
    this.#requireFree(memory, pageSize);
    const { machine } = this;
    const nested = new NestedTable({ memory: this.memory, frames: this.#frames, config: pagingConfig() });
    this.#guests += 1;
    const key = machine.memory.createKey();
    const guest = new Guest(machine, { asid: this.#guests, key, nested, memory, levels, virtualTom });
    const pages = [...pagesOf(memory, pageSize)];
    for (const [gpa, size] of pages) nested.map(gpa, this.#allocatePage(size), size);
    for (const { gpa, bytes } of image) this.#load(guest, gpa, bytes);
    for (const [gpa, size] of pages) this.#launchPage(guest, gpa, size);
    return guest;
  }

  /**
   * Deals with a nested page fault. Returns whether the guest should try again.
   *
   * As KVM does it (Linux `arch/x86/kvm/svm/sev.c`, `sev_handle_rmp_fault`): where RMP and nested page table differ
   * in page size, or an instruction wants 4 KiB, both are split. It sees what the exit tells and its own tables; it
   * neither maps new memory nor converts a page that the guest did not ask to convert. Above a virtual top of memory, it
   * maps what lies as far above 0, if that is shared.
   */
  handleNestedPageFault(guest: GuestContext, gpa: PhysAddr, exitInfo1: bigint): boolean {
    const nested = guest.nested.lookup(gpa);
    if (nested === undefined) return this.#mapSharedAlias(guest, gpa);
    if ((exitInfo1 & NpfInfo.Rmp) === 0n) return false;
    const entryIsHuge = this.machine.rmp.entry(nested.spa)?.pageSize === PageSize.Huge;
    const nestedIsHuge = nested.size !== PageSize.Regular;
    if ((exitInfo1 & NpfInfo.SizeMismatch) === 0n && entryIsHuge === nestedIsHuge) return false;
    return (entryIsHuge || nestedIsHuge) && this.splitPage(guest, gpa);
  }

  /** Makes 4 KiB of the page at `gpa`, in RMP and nested page table. Returns whether that is so now. */
  splitPage(guest: GuestContext, gpa: PhysAddr): boolean {
    const nested = guest.nested.lookup(gpa);
    if (nested === undefined) return false;
    if (this.machine.rmp.entry(nested.spa)?.pageSize === PageSize.Huge) {
      const start = nested.spa & -BigInt(PAGE_SIZE_2M);
      if (this.psmash(start as SysPhysAddr) !== RmpResult.SUCCESS) return false;
    }
    guest.nested.split4k(gpa);
    return true;
  }

  /**
   * Answers a VMGEXIT: what the guest left in the GHCB MSR, and what it is to find there (GHCB specification, AMD
   * document 56421). If that is the address of a GHCB that `vcpu` has registered, the request and the answer are in
   * there.
   *
   * @throws SnpError `TERMINATED`, `UNSUPPORTED_VMGEXIT`
   */
  vmgexit(guest: GuestContext, request: bigint, vcpu?: VcpuContext): bigint {
    const message = decodeGhcbMsr(request);
    switch (message.type) {
      case 'ghcb': {
        const isRegistered = this.#ghcbs.get(vcpu ?? guest) === message.gpa;
        const page = isRegistered ? ghcbOfGuest(this, guest, message.gpa) : undefined;
        if (page === undefined) throw new SnpError('UNSUPPORTED_VMGEXIT', { request });
        const asked = readGhcbRequest(page, message.gpa);
        const answer = 'exitCode' in asked ? this.answerGhcb(guest, asked, page, vcpu) : asked;
        writeGhcbAnswer(page, answer);
        return request;
      }
      case 'sev-info-request':
        return encodeGhcbMsr({ type: 'sev-info', minVersion: 2, maxVersion: 2, cBit: this.machine.cBit });
      case 'features-request':
        return encodeGhcbMsr({ type: 'features', features: HypervisorFeature.Snp });
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
          error: this.changePageState(guest, message.gpa, message.operation),
        });
      case 'run-vmpl-request': {
        const hasRun = vcpu !== undefined && guest.enterVmpl(message.vmpl, vcpu);
        const { runVmplError } = this.machine.rmp.assumptions;
        return encodeGhcbMsr({ type: 'run-vmpl', error: hasRun ? 0 : runVmplError });
      }
      case 'terminate':
        throw new SnpError('TERMINATED', { reasonSet: message.reasonSet, reason: message.reason });
      default:
        throw new SnpError('UNSUPPORTED_VMGEXIT', { request });
    }
  }

  /**
   * Answers a request in a GHCB: page state changes, features and termination.
   *
   * @throws SnpError `TERMINATED`
   */
  answerGhcb(guest: GuestContext, request: GhcbRequest, page: GhcbPage, _vcpu?: VcpuContext): GhcbAnswer {
    switch (request.exitCode) {
      case GhcbExit.PageStateChange: {
        const start = scratchOffset(request.gpa, request.scratch ?? -1n, 8);
        if (start === undefined) return refusal(GhcbRefusal.BadScratchArea);
        const change = this.changePageState.bind(this, guest);
        return { info1: 0n, info2: processPageStateChange(page, start, change, this.pageStatesPerExit) };
      }
      case GhcbExit.HypervisorFeatures:
        return { info1: 0n, info2: HypervisorFeature.Snp };
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
   * Makes the page at `gpa` the guest's or its own, in place: the same system memory. Of 2 MiB, only if the nested page
   * table has it so. Returns 0, or the error that the guest is told: 1 if there is no such page, else 0x100 + the
   * result of the instruction that failed.
   */
  changePageState(
    guest: GuestContext,
    gpa: PhysAddr,
    operation: PageOperation,
    pageSize: RmpPageSize = PageSize.Regular,
  ): number {
    if (pageSize === PageSize.Huge) {
      if (guest.nested.lookup(gpa)?.size !== PageSize.Huge) return 1;
    } else if (!this.splitPage(guest, gpa)) return 1;
    const { spa } = guest.nested.lookup(gpa) as NestedPage;
    const assigned = operation === PageOperation.Private;
    const state = assigned ? { assigned, gpa, asid: guest.asid, pageSize } : { assigned, pageSize };
    const result = this.rmpupdate(spa, state);
    return result === RmpResult.SUCCESS ? 0 : 0x100 + result;
  }

  #mapSharedAlias({ nested, virtualTom }: GuestContext, gpa: PhysAddr): boolean {
    if (virtualTom === undefined || gpa < virtualTom) return false;
    const page = (gpa & -BigInt(PAGE_SIZE)) as PhysAddr;
    const target = nested.lookup((page - virtualTom) as PhysAddr);
    if (target === undefined || this.machine.rmp.entry(target.spa)?.assigned === true) return false;
    nested.map(page, target.spa, PageSize.Regular);
    return true;
  }

  #guestMemory(size: Bytes, image: LaunchOptions['image']): MemoryRegion<PhysAddr> {
    const bytes = byteCount(size);
    const refuse = (what: string, value: unknown, expected: string): never => {
      throw new SnpError('INVALID_ARGUMENT', { what, value, expected });
    };
    if (bytes === 0n || bytes % BigInt(PAGE_SIZE) !== 0n) {
      refuse('guest memory size', bytes, 'pass a multiple of 4096');
    }
    if (this.#guests === this.machine.maxGuests) {
      refuse('the number of guests', this.#guests + 1, `there are ${this.machine.maxGuests} ASIDs`);
    }
    const memory = physRegion(physAddr(0), bytes);
    const outside = image?.find(({ gpa, bytes }) => !memory.containsRegion(physRegion(gpa, bytes.length)));
    if (outside !== undefined) refuse('the place of an image', outside.gpa, 'it must lie in guest memory');
    return memory;
  }

  /** Refuses a launch for which memory would run out half way. */
  #requireFree(memory: MemoryRegion<PhysAddr>, pageSize: RmpPageSize): void {
    const count = (unit: number): bigint => memory.size / BigInt(unit) + 1n;
    const tables = 3n + count(PageSize.Giant) + (pageSize === PageSize.Huge ? 1n : count(PageSize.Huge));
    // A 2 MiB page may need its 4 KiB table later; that one is not counted.
    const needed = memory.size + tables * BigInt(PAGE_SIZE);
    const { free } = this.#frames;
    if (free < needed) throw new SnpError('OUT_OF_SYSTEM_MEMORY', { needed, free });
  }

  #allocatePage(size: RmpPageSize): SysPhysAddr {
    if (size === PageSize.Huge) return this.#frames.allocateBlock();
    return this.#frames.allocateFrame() as bigint as SysPhysAddr;
  }

  #load(guest: GuestContext, gpa: PhysAddr, bytes: Uint8Array): void {
    const byGpa: PhysMemory = {
      epoch: Number.NaN,
      words: (frame, write) => {
        const page = guest.nested.lookup((BigInt(frame) * BigInt(PAGE_SIZE)) as PhysAddr) as NestedPage;
        return this.memory.words(pageNumber(page.spa), write);
      },
      wordOffset: () => 0,
    };
    writePhys(byGpa, gpa, bytes);
  }

  #launchPage(guest: GuestContext, gpa: PhysAddr, pageSize: RmpPageSize): void {
    const { spa } = guest.nested.lookup(gpa) as NestedPage;
    const state = { assigned: true, immutable: true, asid: guest.asid, gpa, pageSize };
    const result = this.rmpupdate(spa, state);
    if (result !== RmpResult.SUCCESS) {
      throw new SnpError('HOST_INSTRUCTION_FAILED', { instruction: 'RMPUPDATE', spa, result });
    }
    launchUpdate(this.machine.rmp, this.machine.memory, spa, guest.key);
  }

  /** What the host's own writes must pass: AMD64 APM vol. 2, §15.36.10. */
  #requireWritable(spa: SysPhysAddr, translationSize: PageSize): void {
    const check = failedRmpCheck(this.machine.rmp, {
      accessor: 'host',
      kind: 'write',
      spa,
      translationSize,
      gpa: 0n as PhysAddr,
      asid: 0,
      vmpl: 0,
      cpl: 0,
    });
    if (check === undefined) return;
    const { Present, Write, Rmp } = PageFaultError;
    throw new SnpFault('HOST_PF', { errorCode: Present + Write + Rmp, spa, check });
  }
}

/** The nested page table must reach the second address of each page. */
function requireTom(tom: bigint | undefined, memory: MemoryRegion<PhysAddr>): void {
  if (tom === undefined) return;
  if (tom % BigInt(PAGE_SIZE_2M) === 0n && tom >= memory.end && tom + memory.end <= NestedTable.end) return;
  const end = (NestedTable.end - memory.end).toString(16);
  const expected = `pass a multiple of 2 MiB from 0x${memory.end.toString(16)} to 0x${end}`;
  throw new SnpError('INVALID_ARGUMENT', { what: 'the virtual top of memory', value: tom, expected });
}

/** The pages to launch a guest's memory with: the largest that fit, up to `largest`. */
function* pagesOf(
  memory: MemoryRegion<PhysAddr>,
  largest: RmpPageSize,
): Generator<[PhysAddr, RmpPageSize], void, undefined> {
  const huge = largest === PageSize.Huge ? memory.alignInward(PageSize.Huge) : undefined;
  for (const gpa of huge?.iterPages(PageSize.Huge) ?? []) yield [gpa, PageSize.Huge];
  for (const rest of huge === undefined ? [memory] : memory.subtract(huge)) {
    for (const gpa of rest.iterPages(PageSize.Regular)) yield [gpa, PageSize.Regular];
  }
}
