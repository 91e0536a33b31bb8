import { PAGE_SIZE, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { PageTable } from '@svsm/pagetable';
import type { Vcpu } from '../cpu/vcpu.ts';
import { GhcbPage } from '../formats/ghcb-page.ts';
import { SnpError } from '../formats/snp-error.ts';
import { registerGhcb } from './msr-protocol.ts';
import { makePageShared, type VisibilityOptions } from './page-visibility.ts';

/** A request of a guest to the hypervisor. */
export interface GhcbCall {
  /** A `GhcbExit`. */
  readonly exitCode: bigint;
  /** SW_EXITINFO1; 0 if not given, as is `info2`. */
  readonly info1?: bigint;
  readonly info2?: bigint;
  /** SW_SCRATCH: the guest-physical address of the request's buffer. */
  readonly scratch?: bigint;
  readonly rax?: bigint;
}

/** The GHCB of a processor: a page shared with the hypervisor, through which the processor requests services. */
export class Ghcb {
  readonly vcpu: Vcpu;
  /** The address at which the guest maps it, shared. */
  readonly gva: VirtAddr;
  readonly gpa: PhysAddr;
  readonly page: GhcbPage;

  private constructor(vcpu: Vcpu, gva: VirtAddr, gpa: PhysAddr) {
    this.vcpu = vcpu;
    this.gva = gva;
    this.gpa = gpa;
    const at = (offset: number): VirtAddr => (gva + BigInt(offset)) as VirtAddr;
    this.page = new GhcbPage({
      read: (offset, length) => vcpu.read(at(offset), length),
      write: (offset, bytes) => vcpu.write(at(offset), bytes),
    });
  }

  /**
   * Makes the private 4 KiB page at `gva` the GHCB of `vcpu`: shares, clears and registers it.
   *
   * @param table - the page table of `vcpu`
   * @throws SnpError as {@link makePageShared}; PageTableError, SnpFault as {@link makePageShared}
   */
  static create(vcpu: Vcpu, table: PageTable, gva: VirtAddr, options: VisibilityOptions = {}): Ghcb {
    makePageShared(vcpu, table, gva, options);
    const gpa = table.translate(gva) as PhysAddr;
    vcpu.write(gva, new Uint8Array(PAGE_SIZE));
    registerGhcb(vcpu, gpa);
    return new Ghcb(vcpu, gva, gpa);
  }

  /**
   * VMGEXIT with a request in the page, by protocol version 2. Returns SW_EXITINFO2, whose meaning depends on the
   * request. The answer is read once.
   *
   * @throws SnpError `INVALID_MESSAGE` if a field does not fit, `VMGEXIT_FAILED` unless the hypervisor reports success,
   *   `UNSUPPORTED_VMGEXIT`, `TERMINATED`, `OUT_OF_MEMORY`; SnpFault
   */
  vmgexit({ exitCode, info1 = 0n, info2 = 0n, scratch, rax }: GhcbCall): bigint {
    const { page, vcpu } = this;
    page.invalidate();
    page.set('protocolVersion', 2n);
    page.set('usage', 0n);
    page.set('exitCode', exitCode);
    page.set('exitInfo1', info1);
    page.set('exitInfo2', info2);
    if (scratch !== undefined) page.set('scratch', scratch);
    if (rax !== undefined) page.set('rax', rax);
    vcpu.ghcbMsr = this.gpa;
    vcpu.vmgexit();
    const [answer1, answer2] = [page.get('exitInfo1'), page.get('exitInfo2')];
    // Bits 31:0: 1 would raise an exception in the guest, 2 refuses the request. This guest accepts neither.
    const isDone = answer1 !== undefined && BigInt.asUintN(32, answer1) === 0n;
    if (!isDone || answer2 === undefined) {
      throw new SnpError('VMGEXIT_FAILED', { exitCode, info1: answer1, info2: answer2 });
    }
    return answer2;
  }
}
