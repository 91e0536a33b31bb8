/** Random guests on all processors of an SVSM, beside a hypervisor that hides and exchanges pages, against a model of the pages. */
import { PAGE_SIZE, PAGE_SIZE_2M, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import {
  ApRequest,
  createVcpuBySvsm,
  createVmsa,
  deleteVcpuBySvsm,
  EFER_SVME,
  Ghcb,
  isSnpError,
  isSnpFault,
  pvalidateBySvsm,
  RmpResult,
  requestAp,
  SvsmCall,
  SvsmResult,
  svsmValidator,
  type Vcpu,
  Vmpl,
  writeVmsa,
} from '@svsm/sev-snp';
import {
  type Caller,
  GUEST_END,
  GUEST_START,
  type GuestWorld,
  guestWorld,
  type ListEntry,
  writeList,
} from './guest-world.ts';
import { randomFrom } from './random.ts';
import { MIB } from './world.ts';

/** The pages that change: 24 of 4 KiB in one page of 2 MiB, and two whole pages of 2 MiB. */
const SMALL = GUEST_START + 8 * MIB;
const HUGE = GUEST_START + 10 * MIB;
const SMALL_PAGES = 24;
const PAGES: readonly number[] = [
  ...Array.from({ length: SMALL_PAGES }, (_, k) => SMALL + k * PAGE_SIZE),
  ...[HUGE, HUGE + 5 * PAGE_SIZE, HUGE + PAGE_SIZE_2M, HUGE + 2 * PAGE_SIZE_2M - PAGE_SIZE],
];
/** The VMSAs of the processors that the guest creates, not at multiples of 2 MiB (an erratum); calling area and list come after. */
const VMSAS: readonly number[] = [0, 1].map((k) => GUEST_START + 6 * MIB + (1 + 3 * k) * PAGE_SIZE);
const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(SvsmResult).map(([name, result]) => [result as number, name]),
);

type RunningCaller = Pick<Caller, 'vcpu' | 'area' | 'list'>;

/** A run of random steps on one world. */
export class GuestCampaign {
  readonly it: GuestWorld;
  /** How often each kind of step has come to each end. */
  readonly tally: Map<string, number> = new Map();
  readonly #random: (below: number) => number;
  /** The values that a validated page can hold: two after a call that may have cleared it. */
  readonly #content: Map<number, readonly bigint[]> = new Map();
  /** Pages that the hypervisor has hidden or exchanged: an access may fault. */
  readonly #attacked: Set<number> = new Set();
  readonly #start: string;
  #last = 0n;
  #isNested = false;
  readonly #ghcb: Ghcb;
  /** The processors that the guest has created, by APIC ID: the addresses of their VMSAs. */
  readonly #created: Map<number, number> = new Map();
  /** The processor that runs, if it is one of these. */
  #running: RunningCaller | undefined;
  /** The list of the call in progress, while another processor can make one with it. */
  #listInUse: bigint | undefined;

  constructor(seed: number) {
    this.#random = randomFrom(seed);
    this.it = guestWorld({ entriesPerCall: 8 });
    const { it } = this;
    for (const page of PAGES) this.#content.set(page, [0n]);
    for (const page of PAGES) it.callers[0]!.vcpu.clear(virtAddr(page), 8);
    const { vcpu, table, spare, area } = it.callers[0]!;
    this.#ghcb = Ghcb.create(vcpu, table, virtAddr(spare), { validator: svsmValidator(area) });
    it.guest.onStart((started) => this.#runCreated(started));
    // At a fault of the SVSM, the hypervisor runs another processor of the guest.
    it.hypervisor.answers = { fault: () => this.#interrupt() };
    // The windows take their addresses with the first call.
    for (const cpu of it.svsm.cpus) it.svsm.service.on(cpu);
    this.#start = this.#held();
  }

  /** Runs `steps` steps. @throws Error if a law is broken */
  run(steps: number): void {
    for (let step = 0; step < steps; step += 1) {
      const kinds = [this.#write, this.#write, this.#write, this.#read, this.#read, this.#read, this.#read];
      const kind = [...kinds, this.#call, this.#call, this.#attack][this.#random(10)]!;
      if (this.#random(40) === 0) this.#processor();
      else kind.call(this);
      this.#require(this.it.stale.length === 0, `a stale translation: ${this.it.stale.join()}`);
    }
    for (const apicId of [...this.#created.keys()]) this.#delete(apicId);
    for (const page of PAGES) this.#compare(page);
    this.#require(this.#held() === this.#start, `${this.#held()} is held, not ${this.#start}`);
    this.it.svsm.checkInvariants();
  }

  /** The pages, tables and addresses that a call must give back. */
  #held(): string {
    const { pages, cpus, kernel } = this.it.svsm;
    const mapped = cpus.map(({ part, temp4k, temp2m }) => [
      ...[[...part.leaves()].length, temp4k.allocations, temp2m.allocations, part.countTables()],
    ]);
    return JSON.stringify([pages.memoryInfo().freePages, kernel.countTables(), mapped]);
  }

  #write(): void {
    const page = this.#page();
    this.#access('write', page, () => {
      this.#last += 1n;
      this.#caller().vcpu.write(virtAddr(page), new Uint8Array(BigUint64Array.of(this.#last).buffer));
      this.#content.set(page, [this.#last]);
    });
  }

  #read(): void {
    const page = this.#page();
    this.#access('read', page, () => {
      const value = new DataView(this.#caller().vcpu.read(virtAddr(page), 8).buffer).getBigUint64(0, true);
      const known = this.#content.get(page) ?? [];
      this.#require(
        known.includes(value),
        `0x${page.toString(16)} holds ${value}, not ${known.join(' or ')}`,
      );
    });
  }

  /** An access works exactly on a validated page, unless the hypervisor has attacked it. */
  #access(what: string, page: number, access: () => void): void {
    const isValidated = this.it.svsm.validated.has(physAddr(page));
    try {
      access();
    } catch (error) {
      if (!isSnpFault(error)) throw error;
      const isExpected = !isValidated || this.#attacked.has(page);
      this.#require(isExpected, `${what} of 0x${page.toString(16)}: ${error.message}`);
      this.#note(`${what}: fault`);
      return;
    }
    this.#require(isValidated, `${what} of 0x${page.toString(16)}, which is not validated`);
    this.#note(what);
  }

  /** A list of random entries, through VMGEXIT or directly. */
  #call(): void {
    const caller = this.#caller();
    const entries = Array.from({ length: 1 + this.#random(12) }, (): ListEntry => this.#entry());
    const before = PAGES.filter((page) => this.it.svsm.validated.has(physAddr(page)));
    let result: number = SvsmResult.Success;
    if (this.#random(2) === 0) {
      const list = writeList(caller, entries);
      this.#listInUse = list;
      result = this.it.svsm.serve(caller.vcpu, pvalidateOf(list));
      this.#listInUse = undefined;
    } else {
      const full = entries.map(({ gpa, huge = false, validate = true, ignoreUnchanged = false }) => ({
        ...{ gpa: physAddr(gpa), size: huge ? 1 : 0, validate, ignoreUnchanged, reserved: 0 },
      }));
      try {
        pvalidateBySvsm(caller.vcpu, caller.area, full);
      } catch (error) {
        if (!isSnpError(error, 'SVSM_REFUSED')) throw error;
        result = error.details.result;
      }
    }
    this.#note(`call: ${NAMES.get(result) ?? 'InstructionFailed'}`);
    for (const page of PAGES) {
      const known = this.#content.get(page) ?? [];
      if (!this.it.svsm.validated.has(physAddr(page))) this.#content.set(page, []);
      else if (!before.includes(page)) this.#content.set(page, [0n]);
      else if (entries.some((entry) => covers(entry, page))) this.#content.set(page, [...known, 0n]);
    }
    this.#compare(this.#page());
  }

  #entry(): ListEntry {
    const flags = { validate: this.#random(2) === 0, ignoreUnchanged: this.#random(4) === 0 };
    const kind = this.#random(60);
    if (kind === 0) return { gpa: [16 * MIB, GUEST_END, 2 ** 51 - PAGE_SIZE_2M][this.#random(3)]!, ...flags };
    if (kind < 3) return { gpa: HUGE + this.#random(2) * PAGE_SIZE_2M, huge: true, ...flags };
    const gpa = PAGES[this.#random(SMALL_PAGES)]!;
    // Most entries are such as an honest guest makes, so that a call comes further than its first one.
    if (kind > 10) return { gpa, validate: !this.it.svsm.validated.has(physAddr(gpa)) };
    return { gpa, ...flags };
  }

  /** The hypervisor hides a page, or exchanges two. */
  #attack(): void {
    if (this.#random(8) !== 0) return;
    const { it } = this;
    const [one, other] = [this.#page(), this.#page()].map((page) => physAddr(page)) as [PhysAddr, PhysAddr];
    if (it.guest.nested.lookup(one) === undefined || it.guest.nested.lookup(other) === undefined) return;
    if (this.#random(2) === 0) it.hypervisor.unassign(it.guest, one);
    else it.hypervisor.swap(it.guest, one, other);
    it.hypervisor.flushTlbs(it.guest);
    for (const gpa of [one, other]) this.#attacked.add(Number(gpa));
    this.#note('attack');
  }

  /**
   * A call of another processor, in the middle of one. It changes no page that the model follows: it is a query, or a call with the
   * list that is in use, which is BUSY.
   */
  #interrupt(): undefined {
    if (this.#isNested) return undefined;
    this.#isNested = true;
    const list = this.#listInUse;
    const isBusy = list !== undefined && this.#random(2) === 0;
    const query = { rax: BigInt(SvsmCall.QueryProtocol), rcx: 1n, rdx: 0n, r8: 0n, r9: 0n };
    const registers = isBusy ? pvalidateOf(list) : query;
    // The caller itself is in a call: another one of the two, which have other calling areas.
    const other = this.it.callers.find(({ list: own }) => own !== list)!;
    const result = this.it.svsm.serve(other.vcpu, registers);
    if (isBusy) {
      this.#require(result === SvsmResult.Busy, `a list in use: 0x${result.toString(16)}`);
    }
    this.#isNested = false;
    this.#note(isBusy ? 'nested call: Busy' : 'nested call');
    return undefined;
  }

  // ---------- processors that the guest creates ----------

  /** Creates a processor, lets the hypervisor run it, or deletes it. */
  #processor(): void {
    const apicId = this.#random(VMSAS.length);
    if (!this.#created.has(apicId)) this.#create(apicId);
    else if (this.#random(3) === 0) this.#delete(apicId);
    else {
      this.it.hypervisor.run(this.it.guest, apicId, Vmpl.Vmpl2);
      this.#note('run');
    }
  }

  /** CREATE_VCPU for a page, and AP creation. The processor uses the page tables of the one that creates it. */
  #create(apicId: number): void {
    const { vcpu, area } = this.it.callers[0]!;
    const vmsa = VMSAS[apicId]!;
    const image = createVmsa({ vmpl: Vmpl.Vmpl2, control: { cr3: vcpu.cr3 } });
    writeVmsa(image, 'efer', EFER_SVME | 0xd00n);
    vcpu.write(virtAddr(vmsa), image);
    createVcpuBySvsm(vcpu, area, { vmsa: physAddr(vmsa), caa: physAddr(vmsa + PAGE_SIZE), apicId });
    requestAp(this.#ghcb, apOf(ApRequest.Create, apicId, vmsa));
    this.#created.set(apicId, vmsa);
    this.#note('create');
  }

  #delete(apicId: number): void {
    const { vcpu, area } = this.it.callers[0]!;
    const vmsa = this.#created.get(apicId)!;
    requestAp(this.#ghcb, apOf(ApRequest.Destroy, apicId, vmsa));
    deleteVcpuBySvsm(vcpu, area, physAddr(vmsa));
    this.#created.delete(apicId);
    this.#note('delete');
  }

  /** The software of a processor that was created: some steps of its own. Meanwhile nobody can delete it. */
  #runCreated(vcpu: Vcpu): void {
    const vmsa = [...this.#created.values()].find((gpa) => BigInt(gpa) === vcpu.vmsa?.gpa)!;
    const caa = physAddr(vmsa + PAGE_SIZE);
    this.#running = { vcpu, area: { gva: virtAddr(caa), gpa: caa }, list: physAddr(vmsa + 2 * PAGE_SIZE) };
    const registers = { rax: BigInt(SvsmCall.DeleteVcpu), rcx: BigInt(vmsa), rdx: 0n, r8: 0n, r9: 0n };
    const result = this.it.svsm.serve(this.it.callers[1]!.vcpu, registers);
    const inUse = SvsmResult.InstructionFailed + RmpResult.FAIL_INUSE;
    this.#require(result === inUse, `DELETE_VCPU of a processor that runs: 0x${result.toString(16)}`);
    this.#note('delete: FAIL_INUSE');
    for (let step = 0; step < 4; step += 1) {
      [this.#write, this.#read, this.#call][this.#random(3)]!.call(this);
    }
    this.#running = undefined;
  }

  /** The record of the SVSM has what the RMP has, for a page that the hypervisor has left alone. */
  #compare(page: number): void {
    const { svsm, guest, machine } = this.it;
    const gpa = physAddr(page);
    const nested = guest.nested.lookup(gpa);
    if (this.#attacked.has(page) || nested === undefined) return;
    const { validated, vmplMasks } = machine.rmp.entry(nested.spa)!;
    const name = `0x${page.toString(16)}`;
    this.#require(svsm.validated.has(gpa) === validated, `${name}: validated ${validated} in the RMP alone`);
    const isOpen = (vmplMasks[Vmpl.Vmpl2]! & 3) === 3;
    this.#require(isOpen === validated, `${name}: open ${isOpen}, and validated ${validated}`);
  }

  #caller(): RunningCaller {
    if (this.#running !== undefined) return this.#running;
    return this.it.callers[this.#random(this.it.callers.length)]!;
  }

  #page(): number {
    return PAGES[this.#random(PAGES.length)]!;
  }

  #note(name: string): void {
    this.tally.set(name, (this.tally.get(name) ?? 0) + 1);
  }

  #require(holds: boolean, problem: string): void {
    if (!holds) throw new Error(problem);
  }
}

/** Whether an entry names a page, or one of 2 MiB around it. */
function covers({ gpa, huge = false }: ListEntry, page: number): boolean {
  return page >= gpa && page < gpa + (huge ? PAGE_SIZE_2M : PAGE_SIZE);
}

function pvalidateOf(list: bigint): { rax: bigint; rcx: bigint; rdx: bigint; r8: bigint; r9: bigint } {
  return { rax: BigInt(SvsmCall.Pvalidate), rcx: list, rdx: 0n, r8: 0n, r9: 0n };
}

function apOf(request: ApRequest, apicId: number, vmsa: number): Parameters<typeof requestAp>[1] {
  return { request, apicId, vmpl: Vmpl.Vmpl2, vmsa: physAddr(vmsa), sevFeatures: 1n };
}
