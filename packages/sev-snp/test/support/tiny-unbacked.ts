import { PAGE_SIZE, PAGE_SIZE_2M, type PhysAddr, type VirtAddr } from '@svsm/address';
import { pageAddress } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import type { PvalidateAnswer } from '../../src/cpu/guest-instructions.ts';
import { NpfInfo } from '../../src/formats/exit-info.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { rescindPages, type ValidationContext, validatePages } from '../../src/guest/page-validation.ts';
import { acceptPage, releasePage } from '../../src/guest/page-visibility.ts';
import { pageRegion, ValidatedPages } from '../../src/guest/validated-pages.ts';
import { UnbackedMemory } from '../../src/host/unbacked-memory.ts';
import { HostFrames } from '../../src/memory/host-frames.ts';
import type { NestedPage } from '../../src/memory/nested-table.ts';
import type { Operation } from './explore.ts';
import { LawBroken } from './law-broken.ts';
import {
  bytesOfWord,
  gvaOf,
  refusalOf,
  StoppableVcpu,
  TinyMachine,
  type TinyState,
  TOM,
  wordOfBytes,
} from './tiny-machine.ts';

/** A word that only the host writes, and one that the guest writes to shared memory. */
const HOST_WORD = 0xdead_0001;
const SHARED_WORD = 0xdead_0002;

interface UnbackedState extends TinyState {
  /** Of each address: whether the guest's record has it, and whether PVALIDATE has validated it and not rescinded that. */
  readonly recorded: readonly boolean[];
  readonly held: readonly boolean[];
  /** The word that the guest must read there; `undefined` for a page that is given up, or not validated. */
  readonly expected: readonly (number | undefined)[];
  /** The addresses that have no system page yet, and the number of frames that the hypervisor has given to the others. */
  readonly unbacked: readonly number[];
  readonly given: number;
}

/** The options of an {@link UnbackedMachine}. */
export interface UnbackedOptions {
  /** The number of contested addresses that the launch validates. */
  readonly launched: number;
  /** The number of contested addresses that it leaves unaccepted. Each gets one of the spare frames when it is backed. */
  readonly unaccepted: number;
  /** The number of frames that are never used to back memory. */
  readonly spares: number;
  /** Whether the guest records the pages that it validates. `true` if not given. */
  readonly records?: boolean;
}

/** Reports each PVALIDATE that has changed a page. */
class ReportingVcpu extends StoppableVcpu {
  onChange: (gva: VirtAddr, validate: boolean) => void = () => {};

  override pvalidate(...operands: Parameters<StoppableVcpu['pvalidate']>): PvalidateAnswer {
    const answer = super.pvalidate(...operands);
    const [gva, , validate] = operands;
    if (answer.result === RmpResult.SUCCESS && !answer.unchanged) this.onChange(pageAddress(gva), validate);
    return answer;
  }
}

/**
 * A guest whose memory map has a hole and unaccepted memory after it. It accepts and releases pages, by a page state change and
 * PVALIDATE or by PVALIDATE alone, uses them, and accesses the hole. The hypervisor backs unaccepted memory as it does outside of
 * this exploration. The host does all that it can to frames, mappings and page states, also those of the hole.
 */
export class UnbackedMachine extends TinyMachine<UnbackedState> {
  readonly operations: readonly Operation[];
  readonly #vcpu: ReportingVcpu;
  /** The address of the hole, by index. The addresses from the next one on are unaccepted at first. */
  readonly #hole: number;
  /** The frames that back unaccepted memory, in their order. */
  readonly #reserve: readonly SysPhysAddr[];
  readonly #memory: UnbackedMemory;
  readonly #records: boolean;
  #validated!: ValidatedPages;
  #held: boolean[];
  #expected: (number | undefined)[];
  #given = 0;
  #values = 1;

  constructor({ launched, unaccepted, spares, records = true }: UnbackedOptions) {
    super({ addresses: launched, spares: unaccepted + spares, unaccepted });
    this.#records = records;
    this.#hole = launched;
    this.#reserve = this.frames.slice(launched, launched + unaccepted);
    this.#memory = receiverOf(UnbackedMemory.prototype, 'backPrivate', () => {
      this.host.handleNestedPageFault(this.guest, this.gpas[launched]!, NpfInfo.Encrypted);
    });
    const frames = receiverOf(HostFrames.prototype, 'allocateFrame', () => this.host.allocatePage());
    frames.allocatePage = () => this.#nextFrame();
    this.#vcpu = new ReportingVcpu(this.guest, {}, () => this.point());
    this.#vcpu.onChange = (gva, validate) => this.#noteValidation(this.#indexOf(gva), validate);
    this.#held = this.gpas.map((_, a) => a < launched);
    this.#expected = this.gpas.map((_, a) => (a < launched ? 0 : undefined));
    this.#record(this.gpas.slice(0, launched));
    this.operations = [...this.#hostOperations(), ...this.#guestOperations()];
  }

  // The guest's page table: every address is mapped private.
  readonly #table = {
    lookup: (gva: VirtAddr) => ({ shared: false, paddr: gva as bigint as PhysAddr }),
  } as unknown as PageTable;

  #indexOf(gva: bigint): number {
    return this.gpas.indexOf(gva as PhysAddr);
  }

  #record(gpas: readonly PhysAddr[]): void {
    const pages = gpas.map((gpa) => pageRegion(gpa, PAGE_SIZE));
    this.#validated = new ValidatedPages(this.guest.memory, pages);
  }

  /** The frame that backs the next page. The hypervisor asks for one frame for each page of unaccepted memory. */
  #nextFrame(): SysPhysAddr {
    const frame = this.#reserve[this.#given];
    if (frame === undefined) throw new LawBroken('a page of unaccepted memory gets a second system page');
    this.#given += 1;
    this.note('backed');
    return frame;
  }

  #noteValidation(a: number, validate: boolean): void {
    if (validate && this.#held[a]) throw new LawBroken(`${this.#nameOf(a)} is validated twice`);
    this.#held[a] = validate;
    this.note(validate ? 'validated' : 'rescinded');
  }

  #nameOf(a: number): string {
    if (a === this.#hole) return 'the hole';
    return a < this.#hole ? `a${a}` : `u${a - this.#hole - 1}`;
  }

  #hostOperations(): Operation[] {
    const operations: Operation[] = [];
    const add = (name: string, run: () => void): void => {
      operations.push({ name, run, actor: 'host', interrupts: true });
    };
    for (const [f, spa] of this.frames.entries()) {
      add(`take f${f}`, () => void this.host.rmpupdate(spa, { assigned: false }));
      add(`write f${f}`, () => void refusalOf(() => this.host.write(spa, bytesOfWord(HOST_WORD))));
      for (const [a, gpa] of this.gpas.entries()) {
        const state = { assigned: true, asid: this.guest.asid, gpa };
        add(`give f${f} as ${this.#nameOf(a)}`, () => void this.host.rmpupdate(spa, state));
        add(`map ${this.#nameOf(a)} to f${f}`, () => this.map(a, f));
      }
    }
    for (const a of this.gpas.keys()) add(`hide ${this.#nameOf(a)}`, () => this.map(a, -1));
    const block = (this.frames[0]! & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr;
    add('smash', () => {
      const result = this.host.psmash(block);
      // All pages of the machine are 4 KiB.
      if (result === RmpResult.SUCCESS) throw new LawBroken('PSMASH splits a page of 4 KiB');
      this.note('smash refused');
    });
    return operations;
  }

  #guestOperations(): Operation[] {
    const operations: Operation[] = [];
    const add = (name: string, run: () => void): void => {
      operations.push({ name, run, actor: 'guest', isCall: true });
    };
    for (const [a, gpa] of this.gpas.entries()) {
      const name = this.#nameOf(a);
      const vcpu = this.#vcpu;
      const context = (): ValidationContext => ({
        vcpu,
        validated: this.#records ? this.#validated : undefined,
      });
      const page = { gva: gvaOf(gpa), gpa, size: PAGE_SIZE } as const;
      add(`read ${name}`, () => this.#read(a));
      add(`write ${name}`, () => this.#write(a));
      add(`validate ${name}`, () => this.#change(a, () => validatePages(context(), [page])));
      add(`rescind ${name}`, () => this.#change(a, () => rescindPages(context(), [page])));
      for (const [lie, pageState] of [
        ['', undefined],
        [' of a liar', () => 0],
      ] as const) {
        const asked = (change: () => void) => (): void => {
          this.host.answers.pageState = pageState;
          this.#change(a, change);
          this.host.answers.pageState = undefined;
        };
        const { gva } = page;
        add(
          `accept ${name}${lie}`,
          asked(() => acceptPage(vcpu, this.#table, gva, context())),
        );
        add(
          `release ${name}${lie}`,
          asked(() => releasePage(vcpu, this.#table, gva, context())),
        );
      }
    }
    for (const f of this.frames.keys()) add(`use the hole shared on f${f}`, () => this.#useHoleShared(f));
    return operations;
  }

  #read(a: number): void {
    const expected = this.#expected[a];
    let found: number | undefined;
    const fault = refusalOf(() => {
      found = wordOfBytes(this.#vcpu.read(gvaOf(this.gpas[a]!), 4));
    });
    this.#noteAccess('read', a, fault !== undefined);
    if (fault === undefined && expected !== undefined && found !== expected) {
      throw new LawBroken(`the guest wrote ${expected} to ${this.#nameOf(a)}, and reads ${found}`);
    }
  }

  /** A guest does not write to a page that it has given up. It writes to one that it has not accepted, and to the hole. */
  #write(a: number): void {
    if (this.#held[a] && this.#expected[a] === undefined) return;
    this.#values += 1;
    const fault = refusalOf(() => this.#vcpu.write(gvaOf(this.gpas[a]!), bytesOfWord(this.#values)));
    this.#noteAccess('write', a, fault !== undefined);
    if (fault === undefined) this.#expected[a] = this.#values;
  }

  #noteAccess(what: string, a: number, isFault: boolean): void {
    const name = a === this.#hole ? ' of the hole' : this.#held[a] ? '' : ' without validation';
    this.note(isFault ? `fault at a ${what}${name}` : `${what}${name}`);
    if (isFault || this.#held[a]) return;
    throw new LawBroken(
      `a private ${what} of ${this.#nameOf(a)} succeeds, and the guest has not validated it`,
    );
  }

  /** The guest reads and writes the hole above the virtual top of memory, where the host maps it to a frame. */
  #useHoleShared(f: number): void {
    const gpa = (this.gpas[this.#hole]! + BigInt(TOM)) as PhysAddr;
    this.guest.nested.map(gpa, this.frames[f]!, PAGE_SIZE);
    let found = 0;
    refusalOf(() => {
      found = wordOfBytes(this.#vcpu.read(gvaOf(gpa), 4));
    });
    const a = this.#expected.indexOf(found);
    const fault = refusalOf(() => this.#vcpu.write(gvaOf(gpa), bytesOfWord(SHARED_WORD)));
    this.note(fault === undefined ? 'shared write of the hole' : 'fault at a shared write of the hole');
    this.guest.nested.unmap(gpa);
    if (found !== 0 && a !== -1) throw new LawBroken(`the shared hole shows the word of ${this.#nameOf(a)}`);
  }

  #isRecorded(a: number): boolean {
    return this.#records ? this.#validated.has(this.gpas[a]!) : this.#held[a]!;
  }

  /** After a refusal, a page that was recorded before is as it was, if it still is; the others are given up. */
  #change(a: number, change: () => void): void {
    const wasRecorded = this.#isRecorded(a);
    const refused = refusalOf(change);
    const isRecorded = this.#isRecorded(a);
    this.note(refused === undefined ? 'changed' : `refused: ${refused.code}`);
    if (a === this.#hole && refused === undefined) throw new LawBroken('the hole has changed its state');
    if (refused === undefined) this.#expected[a] = isRecorded ? 0 : undefined;
    else if (!wasRecorded || !isRecorded) this.#expected[a] = undefined;
  }

  /** The page that is validated at an address is the one that the guest has validated. */
  override problem(): string | undefined {
    const seen = new Set<number>();
    for (const f of this.frames.keys()) {
      const { validated, gpa } = this.entry(f);
      if (!validated) continue;
      const a = this.#indexOf(gpa);
      if (!this.#held[a]) return `f${f} is validated as ${this.#nameOf(a)}, and the guest did not do that`;
      if (seen.has(a)) return `${this.#nameOf(a)} has two validated pages`;
      seen.add(a);
    }
    return undefined;
  }

  /** The addresses that the hypervisor would back now, if nothing were mapped there. */
  #unbacked(): number[] {
    const { nested } = this.guest;
    const { lookup } = nested;
    let isAsked = false;
    // The hypervisor looks for a mapping before it backs a page, and does not back one that is mapped.
    nested.lookup = () => {
      isAsked = true;
      return {} as NestedPage;
    };
    try {
      return [...this.gpas.keys()].filter((a) => {
        isAsked = false;
        this.#memory.back(this.guest, this.gpas[a]!, PAGE_SIZE);
        return isAsked;
      });
    } finally {
      nested.lookup = lookup;
    }
  }

  key(): string {
    const { frames, rest } = this.#texts();
    return `${frames.join()};${rest}`;
  }

  canonical(): string {
    const { frames, rest } = this.#texts();
    return `${frames.sort().join()};${rest}`;
  }

  #texts(): { readonly frames: string[]; readonly rest: string } {
    const frames = this.frames.map((spa, f) => {
      const word = this.word(f);
      let text = `${this.entryText(f)} ${word === 0 ? 'z' : ''}`;
      for (const [a, expected] of this.#expected.entries()) {
        if (expected === word) text += a;
        if (this.mapped(a) === f) text += `<${a}`;
      }
      // A frame that is to back memory is unlike all others.
      const turn = this.#reserve.indexOf(spa) - this.#given;
      return turn >= 0 ? `${text}#${turn}` : text;
    });
    const guest = this.gpas.map((gpa, a) => {
      const expected = this.#expected[a];
      const known = expected === undefined ? '-' : expected === 0 ? '0' : '+';
      return `${this.#validated.has(gpa) ? 'r' : ''}${this.#held[a] ? 'h' : ''}${known}`;
    });
    return { frames, rest: `${guest.join()};${this.#unbacked().join()}` };
  }

  save(): UnbackedState {
    return {
      ...this.savePlatform(),
      recorded: this.gpas.map((gpa) => this.#validated.has(gpa)),
      held: [...this.#held],
      expected: [...this.#expected],
      unbacked: this.#unbacked(),
      given: this.#given,
    };
  }

  restore(state: UnbackedState): void {
    this.restorePlatform(state);
    this.#record(this.gpas.filter((_, a) => state.recorded[a]));
    this.#held = [...state.held];
    this.#expected = [...state.expected];
    this.#given = state.given;
    const pages = state.unbacked.map((a) => pageRegion(this.gpas[a]!, PAGE_SIZE));
    this.#memory.add(this.guest, pages, PAGE_SIZE);
  }
}

/** The object that a method of a class is called on, when `action` calls it first. */
function receiverOf<Class extends object>(
  prototype: Class,
  name: keyof Class & string,
  action: () => void,
): Class {
  const original = prototype[name] as (...args: unknown[]) => unknown;
  let receiver: Class | undefined;
  prototype[name] = function (this: Class, ...args: unknown[]): unknown {
    receiver ??= this;
    return original.apply(this, args);
  } as Class[typeof name];
  try {
    action();
  } finally {
    prototype[name] = original as Class[typeof name];
  }
  if (receiver === undefined) throw new Error(`${name} was not called`);
  return receiver;
}
