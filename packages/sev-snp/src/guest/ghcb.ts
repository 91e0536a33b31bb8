import { PAGE_SIZE, type PhysAddr, showInConsoles, type VirtAddr } from '@svsm/address';
import type { VirtPage } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import type { Vcpu } from '../cpu/vcpu.ts';
import {
  type GhcbRegister,
  type GhcbRegisters,
  ghcbExitFormat,
  readGhcbRegisters,
  registersIn,
  writeGhcbRegisters,
} from '../formats/ghcb-exits.ts';
import { PageOperation } from '../formats/ghcb-msr.ts';
import { GhcbPage } from '../formats/ghcb-page.ts';
import { requireOptions } from '../formats/options.ts';
import { addressOf } from '../formats/page-address.ts';
import { SnpError } from '../formats/snp-error.ts';
import { requireChange } from './argument-checks.ts';
import { changePageState, registerGhcb, requestGhcbMsr } from './msr-protocol.ts';
import { type OnPage, rescindPages, validatePages } from './page-validation.ts';
import { flushPage, privatePage, sharedPage, sharePage, type VisibilityOptions } from './page-visibility.ts';
import { changing, noteUse } from './pages-in-use.ts';
import { pageRegion } from './validated-pages.ts';

/** A request of a guest to the hypervisor. */
export interface GhcbCall<Answer extends GhcbRegister = never> {
  /** A `GhcbExit`. */
  readonly exitCode: bigint;
  /** SW_EXITINFO1; 0 if not given, as is `info2`. */
  readonly info1?: bigint;
  readonly info2?: bigint;
  /** SW_SCRATCH: the guest-physical address of the request's buffer. */
  readonly scratch?: bigint;
  /** The registers to pass. Others are not marked valid. */
  readonly registers?: GhcbRegisters;
  /** Registers that the answer needs, in addition to those of the exit in `ghcbExitFormat`. */
  readonly answers?: readonly Answer[];
}

/** The answer of the hypervisor. It can be a lie. */
export interface GhcbResult<Answer extends GhcbRegister = never> {
  /** SW_EXITINFO2. Its meaning depends on the request. */
  readonly info2: bigint;
  /** The registers that the exit defines, and those that the request asks for. */
  readonly registers: GhcbRegisters & { readonly [Register in Answer]: bigint };
}

/** The names of the fields of a request. */
const GHCB_CALL: readonly (keyof GhcbCall)[] = [
  'exitCode',
  'info1',
  'info2',
  'scratch',
  'registers',
  'answers',
];

/** The request that registers no GHCB. */
const NO_GHCB = { type: 'register-ghcb-request', gpa: 0n as PhysAddr } as const;

/** The GHCB that each processor has registered last. */
const REGISTERED: WeakMap<Vcpu, Ghcb> = /* @__PURE__ */ new WeakMap();

/**
 * The GHCB of a processor: a page shared with the hypervisor, through which the processor requests services. Until it is
 * released, operations that would change the state of its page are refused.
 */
export class Ghcb {
  static {
    showInConsoles(this, 'Ghcb', ({ gva, gpa, isReleased }) => ({ gva, gpa, isReleased }));
  }

  readonly vcpu: Vcpu;
  /** The address at which the guest maps it, shared. */
  readonly gva: VirtAddr;
  readonly gpa: PhysAddr;
  readonly page: GhcbPage;
  #state: 'used' | 'leaving' | 'released' = 'used';
  /** Whether the page was validated by a {@link release} that has failed afterwards. */
  #isValidated = false;

  private constructor(vcpu: Vcpu, gva: VirtAddr, gpa: PhysAddr) {
    this.vcpu = vcpu;
    this.gva = gva;
    this.gpa = gpa;
    const at = (offset: number): VirtAddr => (gva + BigInt(offset)) as VirtAddr;
    this.page = new GhcbPage({
      read: (offset, length) => {
        this.#requireUsed();
        return vcpu.read(at(offset), length);
      },
      write: (offset, bytes) => {
        this.#requireUsed();
        vcpu.write(at(offset), bytes);
      },
    });
    noteUse(vcpu.guest, gpa, 'GHCB');
    REGISTERED.set(vcpu, this);
  }

  /**
   * Makes a private 4 KiB page the GHCB of `vcpu`: shares, clears and registers it. If it throws after the page
   * was shared, take the page back with `makePagePrivate`.
   *
   * @param table - the page table of `vcpu`
   * @throws SnpError as {@link makePageShared}; PageTableError, SnpFault as {@link makePageShared}
   */
  static create(vcpu: Vcpu, table: PageTable, page: VirtPage, options: VisibilityOptions = {}): Ghcb {
    const gva = addressOf(page);
    requireChange(vcpu, table, options);
    const gpa = privatePage(table, gva);
    return changing(vcpu.guest, [pageRegion(gpa, PAGE_SIZE)], () => {
      sharePage(vcpu, table, gva, gpa, options);
      vcpu.write(gva, new Uint8Array(PAGE_SIZE));
      registerGhcb(vcpu, gpa);
      return new Ghcb(vcpu, gva, gpa);
    });
  }

  /** Whether {@link release} was called. */
  get isReleased(): boolean {
    return this.#state !== 'used';
  }

  /**
   * Makes the page private again, and clears it. Afterwards the processor has no GHCB, and this one cannot be used; what
   * remains is the MSR protocol. The processor registers GPA 0 in its place, as COCONUT-SVSM does
   * (`kernel/src/sev/ghcb.rs`); the hypervisor may refuse that. If another GHCB was registered later, that one stays.
   *
   * If it throws after the checks, the GHCB cannot be used, and its page is neither private nor shared: call it again.
   *
   * @param table - the page table of the processor
   * @throws SnpError `RELEASED_GHCB` if it is released already, `WRONG_MAPPING` if the page is not mapped as its GHCB,
   *   `INVALID_ARGUMENT`, `PAGE_IN_USE` if another call releases it, `ALREADY_VALIDATED`, `INVALID_RESPONSE`,
   *   `PAGE_STATE_REFUSED`, `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`; PageTableError, SnpFault as `makePagePrivate`; the errors of
   *   `flush` and `validator`
   */
  release(table: PageTable, options: VisibilityOptions = {}): void {
    const { vcpu, gva, gpa } = this;
    requireChange(vcpu, table, options);
    if (this.#state === 'released') this.#requireUsed();
    const isUsed = this.#state === 'used';
    if (isUsed) {
      if (sharedPage(table, gva) !== gpa) {
        throw new SnpError('WRONG_MAPPING', {
          gva,
          expected: 'to the page of the GHCB',
          found: 'to another page',
        });
      }
      options.validated?.requireNone(pageRegion(gpa, PAGE_SIZE));
      noteUse(vcpu.guest, gpa, undefined);
    }
    changing(vcpu.guest, [pageRegion(gpa, PAGE_SIZE)], () => {
      if (isUsed) this.#unregister();
      this.#takeBack(table, options);
      this.#state = 'released';
    });
  }

  #unregister(): void {
    const { vcpu, gpa } = this;
    try {
      if (REGISTERED.get(vcpu) === this) requestGhcbMsr(vcpu, NO_GHCB, 'register-ghcb');
      this.#state = 'leaving';
    } catch (error) {
      noteUse(vcpu.guest, gpa, 'GHCB');
      throw error;
    }
  }

  #takeBack(table: PageTable, options: VisibilityOptions): void {
    const { vcpu, gva, gpa } = this;
    table.setEncrypted4k(gva);
    flushPage(vcpu, gva, options);
    const context = { vcpu, validated: options.validated, validator: options.validator };
    const page = { gva, gpa, size: PAGE_SIZE } as const;
    const onPage: OnPage = (_, step) => {
      if (step === 'validated' || step === 'rescinded') this.#isValidated = step === 'validated';
    };
    if (this.#isValidated) rescindPages(context, [page], onPage);
    changePageState(vcpu, gpa, PageOperation.Private);
    validatePages(context, [page], onPage);
  }

  /**
   * {@link exchange} of a request whose answer is SW_EXITINFO2 alone. Returns SW_EXITINFO2.
   *
   * @throws SnpError as {@link Ghcb.exchange}; SnpFault
   */
  vmgexit(call: GhcbCall): bigint {
    return this.exchange(call).info2;
  }

  /**
   * VMGEXIT with a request in the page, by protocol version 2. The answer is read once. Of its registers the guest takes
   * only those that the exit defines (`ghcbExitFormat`) and those in `answers`.
   *
   * @throws SnpError `RELEASED_GHCB`, `INVALID_MESSAGE` if a field does not fit, `INVALID_ARGUMENT` for a register that does
   *   not exist, `VMGEXIT_FAILED` unless the hypervisor reports success, `INVALID_RESPONSE` if a register of the answer is
   *   not marked valid, `UNSUPPORTED_VMGEXIT`, `TERMINATED`, `OUT_OF_MEMORY`; SnpFault
   */
  exchange<Answer extends GhcbRegister = never>(call: GhcbCall<Answer>): GhcbResult<Answer> {
    requireOptions('the request', call, GHCB_CALL);
    const { exitCode, info1 = 0n, info2 = 0n, scratch, registers = {}, answers: asked = [] } = call;
    const answers = registersIn(asked);
    const { page, vcpu } = this;
    page.invalidate();
    page.set('protocolVersion', 2n);
    page.set('usage', 0n);
    page.set('exitCode', exitCode);
    page.set('exitInfo1', info1);
    page.set('exitInfo2', info2);
    if (scratch !== undefined) page.set('scratch', scratch);
    writeGhcbRegisters(page, registers);
    const format = ghcbExitFormat(exitCode, info1, registers.rax);
    vcpu.ghcbMsr = this.gpa;
    vcpu.vmgexit();
    const answer = page.snapshot();
    const [answer1, answer2] = [answer.get('exitInfo1'), answer.get('exitInfo2')];
    // Bits 31:0: 1 would raise an exception in the guest, 2 refuses the request. This guest accepts neither.
    const isDone = answer1 !== undefined && BigInt.asUintN(32, answer1) === 0n;
    if (!isDone || answer2 === undefined) {
      throw new SnpError('VMGEXIT_FAILED', { exitCode, info1: answer1, info2: answer2 });
    }
    const needed = [...format.answers, ...answers];
    const missing = needed.find((name) => !answer.isValid(name));
    if (missing !== undefined) {
      const problem = `it does not mark ${missing} valid`;
      throw new SnpError('INVALID_RESPONSE', { request: exitCode, response: answer2, problem });
    }
    const given = readGhcbRegisters(answer, [...needed, ...format.optional]);
    return { info2: answer2, registers: given as GhcbResult<Answer>['registers'] };
  }

  #requireUsed(): void {
    if (this.isReleased) throw new SnpError('RELEASED_GHCB', { gpa: this.gpa });
  }
}
