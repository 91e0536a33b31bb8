/** Random guests on all processors of an SVSM, beside a hypervisor that hides and exchanges pages, against a model of the pages. */
import { PAGE_SIZE, PAGE_SIZE_2M, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { isSnpError, isSnpFault, pvalidateBySvsm, SvsmCall, SvsmResult, Vmpl } from '@svsm/sev-snp';
import {
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
const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(SvsmResult).map(([name, result]) => [result as number, name]),
);

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

  constructor(seed: number) {
    this.#random = randomFrom(seed);
    this.it = guestWorld({ entriesPerCall: 8 });
    const { it } = this;
    for (const page of PAGES) this.#content.set(page, [0n]);
    for (const page of PAGES) it.callers[0]!.vcpu.clear(virtAddr(page), 8);
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
      kind.call(this);
      this.#require(this.it.stale.length === 0, `a stale translation: ${this.it.stale.join()}`);
    }
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
      const registers = { rax: BigInt(SvsmCall.Pvalidate), rcx: list, rdx: 0n, r8: 0n, r9: 0n };
      result = this.it.svsm.serve(caller.vcpu, registers);
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

  /** A call of the other processor, in the middle of one. Its entry does not change a page that the model follows. */
  #interrupt(): undefined {
    if (this.#isNested) return undefined;
    this.#isNested = true;
    const registers = { rax: BigInt(SvsmCall.QueryProtocol), rcx: 1n, rdx: 0n, r8: 0n, r9: 0n };
    this.it.svsm.serve(this.it.callers[1]!.vcpu, registers);
    this.#isNested = false;
    this.#note('nested call');
    return undefined;
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

  #caller(): GuestWorld['callers'][number] {
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
