import { PAGE_SIZE, type PhysAddr, pageNumber, pageOffset, Virt, type VirtAddr } from '@svsm/address';
import { isPageTableError, type MappedPage, PageTable, type PhysMemory } from '@svsm/pagetable';
import { NO_KEY } from './encrypted-memory.ts';
import { PageFaultError } from './exit-info.ts';
import { accessGuestPhys, type Privilege, translateNested } from './guest-access.ts';
import {
  type GuestCpu,
  type GuestTranslation,
  type PvalidateAnswer,
  pvalidate,
  type RmpAdjustment,
  type RmpqueryAnswer,
  rmpadjust,
  rmpquery,
} from './guest-instructions.ts';
import { GuestMemory } from './guest-memory.ts';
import type { GuestContext } from './platform.ts';
import type { RmpPageSize } from './rmp-entry.ts';
import type { RmpResult } from './rmp-result.ts';
import { SnpError } from './snp-error.ts';
import { isSnpFault, SnpFault } from './snp-fault.ts';
import type { SvsmRegisters } from './svsm-protocol.ts';
import type { SysPhysAddr } from './sys-phys-addr.ts';
import type { TranslationCache } from './translation-cache.ts';
import { Vmpl } from './vmpl.ts';

/** What a {@link Vcpu} starts with. */
export interface VcpuOptions {
  /** VMPL0 if not given. */
  readonly vmpl?: Vmpl;
  /** What keeps its translations. Without one, every access walks. */
  readonly tlb?: TranslationCache;
}

type DataAccess = 'read' | 'write' | 'fetch';

/** A nested page fault that the hypervisor resolves this often, for one instruction, is a loop: it is thrown. */
const MAX_EXITS = 64;

/**
 * A processor in an SNP guest, in 64-bit mode with CR0.WP and EFER.NXE set, SMEP and SMAP clear. It reads and writes
 * by guest-virtual address, end to end: its own page table, each of whose entries it reads through the nested page
 * table and the RMP; the rights there; the nested page table; the RMP; and the key that the C-bit chooses.
 *
 * An instruction that exits with a nested page fault is repeated if the hypervisor resolves it, and else throws it.
 * One that throws has changed nothing of memory and RMP. It looks at page tables only: accessed and dirty bits stay
 * as they are.
 *
 * Every method that takes an address throws `SnpFault`: `GP` for one that is not canonical, `PF`, `NPF`,
 * `VC_NOT_VALIDATED`.
 */
export class Vcpu implements GuestCpu {
  readonly guest: GuestContext;
  /** Its privilege level, fixed: a VMSA is for one. */
  readonly vmpl: Vmpl;
  /** 0 to 3. */
  cpl = 0;
  /** The GHCB MSR, C001_0130: written with a request, read after {@link vmgexit}. */
  ghcbMsr = 0n;
  /** The registers that a call of the SVSM has its arguments in: what its VMSA shows to VMPL0 while it does not run. */
  readonly registers: SvsmRegisters = { rax: 0n, rcx: 0n, rdx: 0n, r8: 0n, r9: 0n };
  /**
   * The guest's private memory by guest-physical address, as software that maps all of it reaches it: where its page
   * tables lie.
   */
  readonly memory: PhysMemory;
  readonly #tables: PhysMemory;
  readonly #tlb: TranslationCache | undefined;
  #cr3 = 0n;
  /** What the walk at hand is for: its faults name it. */
  #walkedFor: VirtAddr | undefined;
  #table: PageTable | undefined;

  /**
   * @throws SnpError `INVALID_ARGUMENT` if there is no such privilege level
   */
  constructor(guest: GuestContext, { vmpl = Vmpl.Vmpl0, tlb }: VcpuOptions = {}) {
    if (!Object.values(Vmpl).includes(vmpl)) {
      throw new SnpError('INVALID_ARGUMENT', { what: 'VMPL', value: vmpl, expected: 'pass 0 to 3' });
    }
    this.guest = guest;
    this.vmpl = vmpl;
    this.#tlb = tlb;
    const data = new GuestMemory(guest, () => ({ ...this.#privilege, gva: undefined, isWalk: false }));
    this.memory = {
      epoch: Number.NaN,
      words: (frame, write) => this.#restarting(() => data.words(frame, write)),
      wordOffset: () => 0,
    };
    this.#tables = new GuestMemory(guest, () => ({ ...this.#privilege, gva: this.#walkedFor, isWalk: true }));
  }

  /** CR3, with the C-bit if it was loaded with it. */
  get cr3(): bigint {
    return this.#cr3;
  }

  /** MOV CR3: uses the page table whose root bits 51:12 name, less the C-bit, and flushes the TLB. */
  loadCr3(value: bigint): void {
    this.#cr3 = value;
    this.#table = undefined;
    this.flushTlb();
  }

  /** INVLPG: forgets the translation of the page of `gva`. */
  invlpg(gva: VirtAddr): void {
    this.#tlb?.flushPage(gva);
    this.guest.machine.trace({ type: 'flush', gva });
  }

  /** Forgets all translations. */
  flushTlb(): void {
    this.#tlb?.flushAll();
    this.guest.machine.trace({ type: 'flush', gva: undefined });
  }

  /** The `length` bytes from `gva` on, across pages. O(length + pages · levels²). */
  read(gva: VirtAddr, length: number): Uint8Array {
    return this.#copyOut(gva, length, 'read');
  }

  /** As {@link read}, for instructions: always private, whatever the C-bit (AMD64 APM vol. 2, §15.34.5). */
  fetch(gva: VirtAddr, length: number): Uint8Array {
    return this.#copyOut(gva, length, 'fetch');
  }

  /** Writes `bytes` from `gva` on, across pages; if one of them cannot be written to, none is. */
  write(gva: VirtAddr, bytes: Uint8Array): void {
    const pieces = this.#restarting(() => this.#pieces(gva, bytes.length, 'write'));
    const { memory } = this.guest.machine;
    for (const { spa, key, start, count } of pieces)
      memory.write(spa, bytes.subarray(start, start + count), key);
  }

  /** PVALIDATE, as {@link pvalidate} describes it. */
  pvalidate(gva: VirtAddr, pageSize: RmpPageSize, validate: boolean): PvalidateAnswer {
    const answer = this.#restarting(() => pvalidate(this, gva, pageSize, validate));
    this.guest.machine.trace({ type: 'pvalidate', gva, pageSize, validate, ...answer });
    return answer;
  }

  /** RMPADJUST, as {@link rmpadjust} describes it. */
  rmpadjust(gva: VirtAddr, pageSize: RmpPageSize, adjustment: RmpAdjustment): RmpResult {
    const result = this.#restarting(() => rmpadjust(this, gva, pageSize, adjustment));
    this.guest.machine.trace({ type: 'rmpadjust', gva, result });
    return result;
  }

  /** RMPQUERY, as {@link rmpquery} describes it. */
  rmpquery(gva: VirtAddr, vmpl: Vmpl): RmpqueryAnswer {
    return this.#restarting(() => rmpquery(this, gva, vmpl));
  }

  /**
   * VMGEXIT: leaves to the hypervisor, which sees the GHCB MSR and may put an answer there.
   *
   * @throws SnpError `UNSUPPORTED_VMGEXIT`, `TERMINATED`
   */
  vmgexit(): void {
    const { machine } = this.guest;
    const request = this.ghcbMsr;
    machine.trace({ type: 'vmgexit', request });
    this.ghcbMsr = BigInt.asUintN(64, machine.hypervisor.vmgexit(this.guest, request, this));
    machine.trace({ type: 'vmrun', response: this.ghcbMsr });
  }

  /**
   * Where `gva` leads, if it were read (or what `kind` says), without the RMP's checks of the page itself. The hypervisor gets no chance to
   * resolve a nested page fault.
   */
  translate(gva: VirtAddr, kind: 'read' | 'write' = 'read'): GuestTranslation {
    const page = this.#guestPage(gva, kind);
    const gpa = gpaOf(page, gva);
    const isPrivate = !page.shared;
    const nested = translateNested(this.guest, { ...this.#privilege, gpa, gva, kind, isPrivate });
    return Object.freeze({ gva, gpa, spa: nested.spa, isPrivate, guestSize: page.size, nested });
  }

  get #privilege(): Privilege {
    return { vmpl: this.vmpl, cpl: this.cpl };
  }

  #copyOut(gva: VirtAddr, length: number, kind: 'read' | 'fetch'): Uint8Array {
    const pieces = this.#restarting(() => this.#pieces(gva, length, kind));
    const { memory, hypervisor } = this.guest.machine;
    const bytes = new Uint8Array(length);
    for (const { spa, key, start, count } of pieces) {
      if (key === NO_KEY) hypervisor.beforeSharedRead?.(this.guest, spa, count);
      memory.readInto(spa, bytes.subarray(start, start + count), key);
    }
    return bytes;
  }

  /** The access page by page, all of them allowed. */
  #pieces(gva: VirtAddr, length: number, kind: DataAccess): Piece[] {
    const pieces: Piece[] = [];
    for (let start = 0; start < length; ) {
      const at = Virt.isAddress(gva) ? Virt.checkedAdd(gva, start) : undefined;
      if (at === undefined) throw notCanonical(gva);
      const count = Math.min(PAGE_SIZE - pageOffset(at), length - start);
      pieces.push({ ...this.#piece(at, kind), start, count });
      start += count;
    }
    return pieces;
  }

  #piece(gva: VirtAddr, kind: DataAccess): { spa: SysPhysAddr; key: number } {
    const page = this.#guestPage(gva, kind);
    const isPrivate = kind === 'fetch' || !page.shared;
    const access = { ...this.#privilege, gva, gpa: gpaOf(page, gva), kind, isPrivate };
    return { spa: accessGuestPhys(this.guest, access), key: isPrivate ? this.guest.key : NO_KEY };
  }

  /** The guest's own translation, from the TLB if that allows the access, else by a walk that fills the TLB. */
  #guestPage(gva: VirtAddr, kind: DataAccess): MappedPage {
    if (!Virt.isAddress(gva)) throw notCanonical(gva);
    const cached = this.#tlb?.lookup(gva)?.page;
    if (cached !== undefined && allows(cached, kind, this.cpl)) return cached;
    const page = this.#walk(gva, kind);
    if (page === undefined) throw this.#pageFault(gva, kind, 0);
    if (!allows(page, kind, this.cpl)) throw this.#pageFault(gva, kind, PageFaultError.Present);
    this.#tlb?.insert(gva, page);
    return page;
  }

  #walk(gva: VirtAddr, kind: DataAccess): MappedPage | undefined {
    this.#walkedFor = gva;
    try {
      return this.#openTable().walk(gva).page;
    } catch (error) {
      if (!isPageTableError(error, 'RESERVED_BITS')) throw error;
      throw this.#pageFault(gva, kind, PageFaultError.Present | PageFaultError.Reserved);
    }
  }

  #openTable(): PageTable {
    if (this.#table !== undefined) return this.#table;
    const cBit = 1n << BigInt(this.guest.machine.cBit);
    const root = (this.#cr3 & 0xf_ffff_ffff_f000n & ~cBit) as PhysAddr;
    // A root that cannot be read is a fault of this access, and no error of the page table.
    this.#tables.words(pageNumber(root), false);
    this.#table = PageTable.open(root, { memory: this.#tables, config: this.guest.paging });
    return this.#table;
  }

  /** The error code as AMD64 APM vol. 2, §8.4.2 has it; NX is on, so fetches are told. */
  #pageFault(gva: VirtAddr, kind: DataAccess, why: number): SnpFault<'PF'> {
    const write = kind === 'write' ? PageFaultError.Write : 0;
    const fetch = kind === 'fetch' ? PageFaultError.Fetch : 0;
    const user = this.cpl === 3 ? PageFaultError.User : 0;
    return new SnpFault('PF', { errorCode: why | write | fetch | user, gva });
  }

  /** Runs an instruction, again after each nested page fault that the hypervisor resolves. */
  #restarting<T>(instruction: () => T): T {
    const { machine } = this.guest;
    for (let exits = 1; ; exits += 1) {
      try {
        return instruction();
      } catch (error) {
        if (!isSnpFault(error, 'NPF')) throw error;
        const { gpa, exitInfo1 } = error.details;
        machine.trace({ type: 'npf', gpa, exitInfo1 });
        const resolved = machine.hypervisor.handleNestedPageFault(this.guest, gpa as PhysAddr, exitInfo1);
        if (!resolved || exits === MAX_EXITS) throw error;
      }
    }
  }
}

interface Piece {
  readonly spa: SysPhysAddr;
  readonly key: number;
  /** Where in the access it begins, and its bytes. */
  readonly start: number;
  readonly count: number;
}

function gpaOf(page: MappedPage, gva: VirtAddr): PhysAddr {
  return (page.frame + (gva & BigInt(page.size - 1))) as PhysAddr;
}

/** Whether the guest's own page table allows an access (AMD64 APM vol. 2, §5.6; CR0.WP set, SMEP and SMAP clear). */
function allows(page: MappedPage, kind: DataAccess, cpl: number): boolean {
  if (cpl === 3 && !page.user) return false;
  if (kind === 'write') return page.writable;
  return kind === 'read' || page.executable;
}

function notCanonical(gva: bigint): SnpFault<'GP'> {
  return new SnpFault('GP', { errorCode: 0, reason: `${String(gva)} is no canonical address` });
}
